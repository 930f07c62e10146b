package op

// view is y = x with another shape: the elements keep their order in memory.
// It is embedded in the operators that only rename axes.
type view struct{}

// View marks the operator as a [Viewer].
func (view) View() {}

func (view) Forward(c *Context, in, out []*Tensor) error {
	x, y := in[0], out[0]
	if y.Type.IsFloat() {
		c.sweep(len(y.F), copyVector, y.F, x.F, nil, nil)
	} else {
		copy(y.I, x.I)
	}
	return nil
}

// Zeros holds: the elements are the input's.
func (view) Zeros(zero []bool) bool { return zero[0] }

func (view) Reads() (in, out uint32) { return 0, 0 }

// Accumulates marks the operator as an [Accumulator].
func (view) Accumulates() {}

func (view) Backward(c *Context, in, out, dout, din []*Tensor) error {
	dx := din[0]
	if dx == nil {
		return nil
	}
	if dx.Acc {
		c.sweep(len(dx.F), addVector, dx.F, dout[0].F, nil, nil)
	} else {
		c.sweep(len(dx.F), copyVector, dx.F, dout[0].F, nil, nil)
	}
	return nil
}

// reshapeCouplings couples, between two points where the products of the leading
// dimensions agree, the product of the input's axes with that of the output's.
func reshapeCouplings(in, out []int) []Coupling {
	if Size(in) == 0 {
		return nil
	}
	var all []Coupling
	i, j := 0, 0
	for i < len(in) && j < len(out) {
		switch {
		case in[i] == 1:
			i++
			continue
		case out[j] == 1:
			j++
			continue
		}
		x, y := Side{}, Side{}
		a, b := 1, 1
		for {
			if a <= b {
				a *= in[i]
				x.Of = append(x.Of, Axis(0, i))
				i++
			} else {
				b *= out[j]
				y.Of = append(y.Of, Axis(^0, j))
				j++
			}
			if a == b {
				break
			}
		}
		all = append(all, Coupling{Sides: []Side{x, y}})
	}
	return all
}

// refView is the reference of a view: the elements in a new shape.
func refView(x *Array, shape []int) []*Array {
	return []*Array{{Shape: append([]int{}, shape...), V: append([]float64{}, x.V...)}}
}
