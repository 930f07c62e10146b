package op

import "fmt"

// pad is y[o] = x[o − begin] per axis where that exists, in any layout;
// elsewhere the constant value, or x mirrored at the edge element (reflect), the
// edge element (edge) or x repeated (wrap). Negative pads crop; the other modes
// then mirror or repeat what is left. Pads and value are attributes before
// opset 11, constant inputs 1 and 2 since, and input 3 names the axes since
// opset 18. https://onnx.ai/onnx/operators/onnx__Pad.html
type pad struct {
	mode  string
	pads  []int
	value float32
	input bool
	// other marks a value to pad with that is not zero; valid after Infer.
	other bool
}

func init() {
	vec := func(v ...int) Arg { return Const(Vector(v...)) }
	mode := func(m string) Attrs { return Attrs{"mode": StringAttr(m)} }
	Register(Def{
		Name: "Pad", Since: 2,
		New:       newPad,
		Reference: refPad,
		Cases: []Case{
			{In: []Arg{Rand(2, 3, 5, 7), vec(0, 0, 1, 2, 0, 0, 3, 0)}},
			{Name: "value", In: []Arg{Rand(2, 3, 5), vec(0, 1, 2, 1, 0, 1), Const(Scalar(-1.5))}},
			{Name: "crop", In: []Arg{Rand(2, 3, 5, 7), vec(0, 0, -1, 2, 0, 0, 1, -3)}},
			{Name: "crop past", In: []Arg{Rand(2, 3), vec(0, -5, 0, 4)}},
			{Name: "attributes", Opset: 7, Attrs: Attrs{"pads": IntsAttr(0, 0, 1, 1, 0, 0, 2, 1), "value": FloatAttr(2)}, In: []Arg{Rand(2, 3, 5, 2)}},
			{Name: "axes", Opset: 18, In: []Arg{Rand(2, 3, 5), vec(1, 2), None(), vec(-1)}},
			{Name: "reflect", Attrs: mode("reflect"), In: []Arg{Rand(2, 3, 5, 7), vec(0, 0, 2, 3, 0, 0, 4, 1)}},
			{Name: "reflect far", Opset: 7, Attrs: Attrs{"mode": StringAttr("reflect"), "pads": IntsAttr(0, 5, 0, 7)}, In: []Arg{Rand(2, 3)}},
			{Name: "reflect cropped", Attrs: mode("reflect"), In: []Arg{Rand(2, 7), vec(0, -2, 0, 3)}},
			{Name: "edge", Attrs: mode("edge"), In: []Arg{Rand(2, 3, 5, 7), vec(1, 0, 2, 3, 0, 2, 0, 1)}},
			{Name: "wrap", Opset: 19, Attrs: mode("wrap"), In: []Arg{Rand(2, 3, 5), vec(0, 1, 6, 0, 2, 1)}},
			{Name: "int64", In: []Arg{Const(Ints([]int64{1, 2, 3}, 3)), vec(1, 2), Const(Ints([]int64{9}))}},
		},
	})
}

func newPad(n Node) (Op, error) {
	r := &reader{n: n}
	o := &pad{mode: r.String("mode", "constant"), input: n.Opset >= 11}
	switch o.mode {
	case "constant", "reflect", "edge", "wrap":
	default:
		r.keep(fmt.Errorf("attribute %q is %q, wants constant, reflect, edge or wrap", "mode", o.mode))
	}
	if !o.input {
		o.pads, o.value = r.Ints("pads"), r.Float("value", 0)
		if o.pads == nil {
			r.keep(fmt.Errorf("attribute %q is missing", "pads"))
		}
	}
	return o, r.err
}

// borders returns the pads at the begin and the end of every axis.
func (o *pad) borders(in []*Tensor) (begin, end []int, err error) {
	r := in[0].Rank()
	pads := o.pads
	var axes []int
	if o.input {
		if pads, err = constInts(in, 1); err != nil {
			return nil, nil, err
		}
		if axes, err = constAxes(in, 3, r); err != nil {
			return nil, nil, err
		}
	}
	if axes == nil {
		for i := 0; i < r; i++ {
			axes = append(axes, i)
		}
	}
	if len(pads) != 2*len(axes) {
		return nil, nil, fmt.Errorf("%d pads, wants %d for %d axes", len(pads), 2*len(axes), len(axes))
	}
	begin, end = make([]int, r), make([]int, r)
	for k, a := range axes {
		begin[a], end[a] = pads[k], pads[len(axes)+k]
		for _, p := range []int{begin[a], end[a]} {
			if p < -maxStep || p > maxStep {
				return nil, nil, fmt.Errorf("pad %d of axis %d is out of range", p, a)
			}
		}
	}
	return begin, end, nil
}

func (o *pad) Infer(in []*Tensor) ([]*Tensor, error) {
	lo, hi := 1, 1
	if o.input {
		lo, hi = 2, 4
	}
	if err := wantInputs(in, lo, hi); err != nil {
		return nil, err
	}
	begin, end, err := o.borders(in)
	if err != nil {
		return nil, err
	}
	o.other = o.value != 0
	if hasInput(in, 2) {
		v := in[2]
		if v.Type.IsFloat() != in[0].Type.IsFloat() || v.Size() != 1 {
			return nil, fmt.Errorf("input 2 is %s of type %s, wants one element of type %s", ShapeString(v.Shape), v.Type, in[0].Type)
		}
		if !v.IsConst() {
			return nil, NeedConst{2}
		}
		o.other = v.F != nil && v.F[0] != 0
	}
	y := Info(in[0].Type, in[0].Shape...)
	for a, d := range in[0].Shape {
		left := d - max(0, -begin[a]) - max(0, -end[a])
		if o.mode != "constant" && (left < 0 || left == 0 && (begin[a] > 0 || end[a] > 0)) {
			return nil, fmt.Errorf("pads %d and %d leave nothing to %s of axis %d of length %d", begin[a], end[a], o.mode, a, d)
		}
		if y.Shape[a] = d + begin[a] + end[a]; y.Shape[a] < 0 {
			return nil, fmt.Errorf("pads %d and %d cut more than axis %d of length %d has", begin[a], end[a], a, d)
		}
	}
	if err := checkSize(y.Shape); err != nil {
		return nil, err
	}
	return []*Tensor{y}, nil
}

func (o *pad) Layouts(in []*Tensor) (want, out []Layout) { return keepLayouts(in, 1) }

// Couplings couples the elements that are kept; padding with a constant adds positions
// that can go by themselves.
func (o *pad) Couplings(in, out []*Tensor) []Coupling {
	begin, end, err := o.borders(in)
	if err != nil {
		return nil
	}
	var all []Coupling
	for a, n := range in[0].Shape {
		b, e := begin[a], end[a]
		if o.mode != "constant" {
			if b == 0 && e == 0 {
				all = append(all, Coupling{Sides: []Side{Whole(Axis(0, a)), Whole(Axis(^0, a))}})
			}
			continue
		}
		kept := n + min(0, b) + min(0, e)
		if kept < 0 {
			continue // crops more than there is, into its own padding
		}
		if kept > 0 {
			all = append(all, Coupling{Sides: []Side{Part(Axis(0, a), max(0, -b), 1, kept), Part(Axis(^0, a), max(0, b), 1, kept)}})
		}
		if b > 0 {
			all = append(all, Coupling{Sides: []Side{Whole(HiddenAxis(2*a+1, b)), Part(Axis(^0, a), 0, 1, b)}})
		}
		if e > 0 {
			all = append(all, Coupling{Sides: []Side{Whole(HiddenAxis(2*a+2, e)), Part(Axis(^0, a), n+b, 1, e)}})
		}
	}
	return all
}

// Zeros needs padding with zeros.
func (o *pad) Zeros(zero []bool) bool { return zero[0] && !o.other }

// Cut pads by as many positions as are left.
func (o *pad) Cut(c *Cut) (Change, error) {
	begin, end, err := o.borders(c.In)
	if err != nil {
		return Change{}, err
	}
	for a := range begin {
		into, from := c.Gone(AxisRef{^0, a}), c.Gone(AxisRef{0, a})
		b, e := begin[a], end[a]
		n := c.In[0].Shape[a]
		if b > 0 {
			begin[a] = keptIn(into, 0, b)
		} else {
			begin[a] = -keptIn(from, 0, -b)
		}
		if e > 0 {
			end[a] = keptIn(into, n+b, n+b+e)
		} else {
			end[a] = -keptIn(from, n+e, n)
		}
	}
	if !o.input {
		pads := append(begin, end...)
		if EqualShape(pads, o.pads) {
			return Change{}, nil
		}
		return Change{Attrs: Attrs{"pads": IntsAttr(pads...)}}, nil
	}
	axes, err := constAxes(c.In, 3, len(begin))
	if err != nil {
		return Change{}, err
	}
	if axes == nil {
		return Change{Inputs: map[int]*Tensor{1: intsLike(c.In[1], append(begin, end...))}}, nil
	}
	var pads []int
	for _, v := range [][]int{begin, end} {
		pads = append(pads, permute(v, axes)...)
	}
	return Change{Inputs: map[int]*Tensor{1: intsLike(c.In[1], pads)}}, nil
}

func (o *pad) Forward(c *Context, in, out []*Tensor) error {
	x, y := in[0], out[0]
	begin, end, err := o.borders(in)
	if err != nil {
		return err
	}
	if o.mode != "constant" {
		lines(c, y, o.sources(begin, end, x, y), func(yo, xo int, inner []int) {
			if y.F != nil {
				for i, k := range inner {
					y.F[yo+i] = x.F[xo+k]
				}
				return
			}
			for i, k := range inner {
				y.I[yo+i] = x.I[xo+k]
			}
		})
		return nil
	}
	value, whole := o.value, int64(0)
	if hasInput(in, 2) {
		if in[2].F != nil {
			value = in[2].F[0]
		} else {
			whole = in[2].I[0]
		}
	}
	for i := range y.F {
		y.F[i] = value
	}
	for i := range y.I {
		y.I[i] = whole
	}
	shape, xOff, yOff := o.window(begin, x, y)
	moveTensor(c, shape, y, yOff, y.Strides(), x, xOff, x.Strides())
	return nil
}

func (o *pad) Reads() (in, out uint32) { return 1<<1 | 1<<3, 0 }

// Accumulates marks the operator as an [Accumulator].
func (o *pad) Accumulates() {}

func (o *pad) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if len(din) > 2 && din[2] != nil {
		clearGrad(din[2]) // the value is a constant
	}
	dx, dy := din[0], dout[0]
	if dx == nil {
		return nil
	}
	begin, end, err := o.borders(in)
	if err != nil {
		return err
	}
	clearGrad(dx)
	if o.mode != "constant" {
		lines(nil, dy, o.sources(begin, end, dx, dy), func(yo, xo int, inner []int) {
			for i, k := range inner {
				dx.F[xo+k] += dy.F[yo+i]
			}
		})
		return nil
	}
	shape, xOff, yOff := o.window(begin, dx, dy)
	moveGrad(c, shape, dx, xOff, dx.Strides(), dy, yOff, dy.Strides())
	return nil
}

func refPad(n Node, in []*Array) []*Array {
	x := in[0]
	r := len(x.Shape)
	begin, end := make([]int, r), make([]int, r)
	value, mode := float64(n.Attrs["value"].F), n.Attrs["mode"].S
	if len(in) > 1 {
		for k := 0; k < len(in[1].V)/2; k++ {
			a := k
			if len(in) > 3 && in[3] != nil {
				a = (int(in[3].V[k]) + r) % r
			}
			begin[a], end[a] = int(in[1].V[k]), int(in[1].V[k+len(in[1].V)/2])
		}
		if len(in) > 2 && in[2] != nil {
			value = in[2].V[0]
		}
	} else {
		for a := range begin {
			begin[a], end[a] = int(n.Attrs["pads"].Ints[a]), int(n.Attrs["pads"].Ints[a+r])
		}
	}
	shape := make([]int, r)
	for a := range shape {
		shape[a] = x.Shape[a] + begin[a] + end[a]
	}
	y := NewArray(shape...)
	Each(shape, func(idx []int) {
		from := make([]int, r)
		outside := false
		for a := range from {
			p := idx[a] - begin[a]
			lo, hi := max(0, -begin[a]), x.Shape[a]+min(0, end[a])
			for p < lo || p >= hi {
				switch mode {
				case "edge":
					p = max(lo, min(hi-1, p))
				case "wrap":
					if p < lo {
						p += hi - lo
					} else {
						p -= hi - lo
					}
				case "reflect":
					if hi-lo == 1 {
						p = lo
					} else if p < lo {
						p = 2*lo - p
					} else {
						p = 2*(hi-1) - p
					}
				default:
					if p < 0 || p >= x.Shape[a] {
						outside = true
					}
				}
				if mode == "" || mode == "constant" {
					break
				}
			}
			from[a] = p
		}
		if outside {
			y.V[y.At(idx...)] = value
		} else {
			y.V[y.At(idx...)] = x.V[x.At(from...)]
		}
	})
	return []*Array{y}
}
