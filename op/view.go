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

// reshapeLinks links the axes that a reshape keeps one to one: between two
// points where the products of the leading dimensions agree there is a single
// axis longer than 1 on both sides.
func reshapeLinks(in, out []int) []Link {
	var links []Link
	i, j := 0, 0
	for i < len(in) && j < len(out) {
		switch {
		case in[i] == 1:
			i++
		case out[j] == 1:
			j++
		default:
			a, b := in[i], out[j]
			i0, j0 := i, j
			i, j = i+1, j+1
			for a != b {
				if a < b && i < len(in) {
					a *= in[i]
					i++
				} else if b < a && j < len(out) {
					b *= out[j]
					j++
				} else {
					return links
				}
			}
			if i == i0+1 && j == j0+1 {
				links = append(links, Link{{0, i0}, {^0, j0}})
			}
		}
	}
	return links
}

// refView is the reference of a view: the elements in a new shape.
func refView(x *Array, shape []int) []*Array {
	return []*Array{{Shape: append([]int{}, shape...), V: append([]float64{}, x.V...)}}
}
