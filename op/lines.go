package op

// eachLine calls f for every line of t along an axis: offset o, n elements, stride
// apart. Lines are spread over threads; buf has floats of its own per task.
func eachLine(c *Context, t *Tensor, axis, floats int, f func(o, n, stride int, buf []float32)) {
	if t.Size() == 0 {
		return
	}
	n, stride := t.Shape[axis], t.Strides()[axis]
	shape := append([]int{}, t.Shape...)
	shape[axis] = 1
	w := newWalk(shape, t.Strides())
	at := newOdometer(w.dims, w.str)
	c.Parallel(at.size(), 4*n, func(lo, hi int) {
		buf := make([]float32, floats)
		for i := lo; i < hi; i++ {
			f(at.at(i)[0], n, stride, buf)
		}
	})
}

// axisAlone links every axis but one, with equal layouts of input 0 and all outputs.
func axisAlone(in, out []*Tensor, axis int) []Link {
	own, err := wantAxis(axis, in[0].Rank())
	if err != nil {
		return nil
	}
	return identityLinks(in, out, func(a int) bool { return a != own })
}
