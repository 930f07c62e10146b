package op

// keepLayouts lets input 0 have any layout, which all outputs take; the other
// inputs are row-major.
func keepLayouts(in []*Tensor, outs int) (want, out []Layout) {
	want = make([]Layout, len(in))
	want[0] = in[0].Layout
	return want, lastLayouts(outs, in[0].Layout)
}

// identityLinks links axis a of input 0 with axis a of every output where keep
// says so.
func identityLinks(in, out []*Tensor, keep func(a int) bool) []Link {
	var links []Link
	for a := range in[0].Shape {
		if !keep(a) {
			continue
		}
		l := Link{{0, a}}
		for j := range out {
			l = append(l, AxisRef{^j, a})
		}
		links = append(links, l)
	}
	return links
}

// moveTensor copies a strided view of src into a strided view of dst, for the
// element type that both have.
func moveTensor(c *Context, shape []int, dst *Tensor, dstOff int, dstStr []int, src *Tensor, srcOff int, srcStr []int) {
	if dst.Type.IsFloat() {
		move(c, shape, dst.F, dstOff, dstStr, src.F, srcOff, srcStr)
	} else {
		move(c, shape, dst.I, dstOff, dstStr, src.I, srcOff, srcStr)
	}
}

// moveGrad writes, or adds if dst.Acc is set, a strided view of src into one of
// dst. No two elements of the view of dst may coincide.
func moveGrad(c *Context, shape []int, dst *Tensor, dstOff int, dstStr []int, src *Tensor, srcOff int, srcStr []int) {
	if dst.Acc {
		moveAdd(c, shape, dst.F, dstOff, dstStr, src.F, srcOff, srcStr)
	} else {
		move(c, shape, dst.F, dstOff, dstStr, src.F, srcOff, srcStr)
	}
}

// clearGrad zeroes a gradient that is not accumulated.
func clearGrad(dx *Tensor) {
	if !dx.Acc {
		clear(dx.F)
	}
}

// sumInto adds a strided view of src to one of dst whose strides may be 0, in
// fixed order.
func sumInto(shape []int, dst []float32, dstStr []int, src []float32, srcStr []int) {
	newWalk(shape, dstStr, srcStr).rows(nil, func(o offsets, n int, s offsets) {
		if s[0] == 0 {
			sum := 0.0
			for i := 0; i < n; i++ {
				sum += float64(src[o[1]+i*s[1]])
			}
			dst[o[0]] += float32(sum)
			return
		}
		for i := 0; i < n; i++ {
			dst[o[0]+i*s[0]] += src[o[1]+i*s[1]]
		}
	})
}

// permute returns v[perm[0]], v[perm[1]], …
func permute(v, perm []int) []int {
	out := make([]int, len(perm))
	for i, p := range perm {
		out[i] = v[p]
	}
	return out
}
