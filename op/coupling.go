package op

// Factor is one factor of a [Side]: an axis of a tensor at a node, an axis that
// only exists inside the operator (the groups of a grouped convolution), or a
// number of positions none of which ever goes.
type Factor struct {
	AxisRef
	// Hidden, if positive, numbers an axis inside the operator; Fixed marks
	// positions that stay. Both have Length positions.
	Hidden int
	Fixed  bool
	Length int
}

// Axis returns the factor that is an axis of input tensor, or of output ^tensor.
func Axis(tensor, axis int) Factor { return Factor{AxisRef: AxisRef{tensor, axis}} }

// HiddenAxis returns an axis inside the operator, called k ≥ 1, of n positions that
// can go.
func HiddenAxis(k, n int) Factor { return Factor{Hidden: k, Length: n} }

// FixedAxis returns n positions that always stay.
func FixedAxis(n int) Factor { return Factor{Fixed: true, Length: n} }

// Side is a list of positions: those of a row-major product of axes, or some of them.
// A position of a product goes when the position goes in any of its factors.
type Side struct {
	Of []Factor
	// At selects positions of the product by number, in this order; nil takes all.
	At []int
}

// Whole is the side of all positions of a product of axes.
func Whole(of ...Factor) Side { return Side{Of: of} }

// Part is the side of count positions start, start+step, … of one axis.
func Part(of Factor, start, step, count int) Side {
	at := make([]int, count)
	for i := range at {
		at[i] = start + i*step
	}
	return Side{Of: []Factor{of}, At: at}
}

// Coupling says that position i of all its sides goes at once. It generalises
// [Link], which couples whole axes:
//
//   - Concat couples each input's axis with a part of the output's;
//   - a Reshape couples a product of input axes with a product of output axes;
//   - a grouped Conv couples the input's channels with HiddenAxis(1, G) × the
//     weight's axis 1, and the weight's axis 0, bias and output with
//     HiddenAxis(1, G) × HiddenAxis(2, O/G).
//
// Axes that are in no coupling and no link never lose a position, nor do output
// positions that are in none.
type Coupling struct {
	Sides []Side
	// Sum marks axes that are summed over, as the channels of a Conv: what goes must
	// be zero there in at least one of the tensors of the sides. A link without an
	// output is such a sum.
	Sum bool
}

// Coupler declares channel rules that are no links of whole axes. An operator may
// be a [Linker] as well.
type Coupler interface {
	Couplings(in, out []*Tensor) []Coupling
}

// ZeroKeeper tells where zeros come out, which matters where what comes out is
// summed without weights (attention, ReduceSum): Zeros reports whether the output's
// slices of a coupling are zero where those of the inputs i with zero[i] are. Inputs
// that are omitted count as zero; those that are in no side of the coupling do not,
// except where the output's side is a part of an axis (Concat): there they count for
// nothing and zero[i] is set. Without it, slices count as nonzero.
type ZeroKeeper interface {
	Zeros(zero []bool) bool
}

// Couplings returns the channel rule of an operator: its couplings, and its links as
// couplings; false where it has none.
func Couplings(o Op, in, out []*Tensor) ([]Coupling, bool) {
	var all []Coupling
	l, linker := o.(Linker)
	if linker {
		for _, link := range l.Links(in, out) {
			c := Coupling{Sum: true}
			for _, r := range link {
				c.Sum = c.Sum && r.Tensor >= 0
				c.Sides = append(c.Sides, Whole(Factor{AxisRef: r}))
			}
			all = append(all, c)
		}
	}
	k, coupler := o.(Coupler)
	if coupler {
		all = append(all, k.Couplings(in, out)...)
	}
	return all, linker || coupler
}

// Cut tells an operator which positions leave its axes.
type Cut struct {
	// In and Out are types, shapes and constants before the cut.
	In, Out []*Tensor
	// New are the inputs after it, with the constants as the file then has them.
	New []*Tensor
	// Gone returns per position whether it leaves; nil where nothing does.
	Gone func(r AxisRef) []bool
}

// Kept counts the positions of an axis that stay.
func (c *Cut) Kept(tensor, axis int) int {
	t := c.Out
	k := ^tensor
	if tensor >= 0 {
		t, k = c.In, tensor
	}
	n := t[k].Shape[axis]
	for _, gone := range c.Gone(AxisRef{tensor, axis}) {
		if gone {
			n--
		}
	}
	return n
}

// Lost reports whether an axis loses a position.
func (c *Cut) Lost(tensor, axis int) bool { return c.Gone(AxisRef{tensor, axis}) != nil }

// Shape is the shape of a tensor after the cut.
func (c *Cut) Shape(tensor int) []int {
	t := c.Out
	k := ^tensor
	if tensor >= 0 {
		t, k = c.In, tensor
	}
	shape := make([]int, t[k].Rank())
	for a := range shape {
		shape[a] = c.Kept(tensor, a)
	}
	return shape
}

// keptIn counts the positions from lo to hi (exclusive) that stay.
func keptIn(gone []bool, lo, hi int) int {
	n := hi - lo
	if gone == nil {
		return n
	}
	for _, g := range gone[lo:hi] {
		if g {
			n--
		}
	}
	return n
}

// Change is what a cut makes of a node: new attributes, attributes to drop, and new
// constants for some inputs. Constants that an input has already change nothing.
type Change struct {
	Attrs  Attrs
	Drop   []string
	Inputs map[int]*Tensor
}

// intsLike returns v as a 1-D constant of the type of t, int64 without one.
func intsLike(t *Tensor, v []int) *Tensor {
	x := Vector(v...)
	if t != nil {
		x.Type = t.Type
	}
	return x
}

// Cutter is an operator with attributes or constant inputs that depend on the
// lengths of axes: the group of a Conv, the sizes of a Split, the target of a
// Reshape. Inputs that are sliced along a coupled axis are not its business.
type Cutter interface {
	// Cut returns what must change; the zero Change if nothing. It is also called where
	// no axis loses a position, but a constant that the file computes from shapes has
	// changed. Constants that an input has already may be returned. An error says what
	// the operator cannot express.
	Cut(c *Cut) (Change, error)
}
