package op

import "github.com/onnxprune/onnxprune/internal/kernel"

// Widener is an operator that can work on activations [N,C,…] with more channels
// than its parameters have. It takes the parameters of the additional ones for
// zeros, so that they change nothing.
type Widener interface {
	// Wide lists the inputs that may be wider: free ones whose channels are the
	// operator's own affair, and those that have the same channels as all outputs.
	Wide(in []*Tensor) (free, same []int)
}

// WideChannels returns how many channels an activation of c channels should have
// in memory: a multiple of 16, so that pixels start with a cache line, or of 8,
// where this adds at most one to every part channels.
func WideChannels(c, part int) int {
	for _, m := range []int{16, 8} {
		if w := (c + m - 1) / m * m; part*(w-c) <= c {
			return w
		}
	}
	return c
}

// widened are the parameters of a convolution that has more channels in memory
// than in its weights: w [O,C/G,kH,kW] with zeros around it.
type widened struct {
	on       bool
	o, row   int // filters, and elements of one
	wideRow  int
	w, dw, b []float32
}

// widen describes the convolution of x = in[0] to the kernels, with as many
// channels as x and y have, and prepares the parameters.
func (f *convForm) widen(in []*Tensor, y *Tensor) (kernel.ConvShape, error) {
	x, w := *in[0], in[1].Shape
	if len(x.Shape) < 2 || len(w) < 2 {
		return f.shape(in)
	}
	x.Shape = append([]int(nil), x.Shape...)
	x.Shape[1] = min(x.Shape[1], w[1]*f.group)
	s, err := f.shape(append([]*Tensor{&x}, in[1:]...))
	if err != nil {
		return s, err
	}
	c, o := in[0].Shape[1], y.Shape[1]
	if f.wide = (widened{}); c == s.C && o == s.O {
		return s, nil
	}
	if f.wide.o = s.O; s.Groups == 1 {
		f.wide.row, f.wide.wideRow = s.C*s.KH*s.KW, c*s.KH*s.KW
	} else {
		f.wide.row = s.C / s.Groups * s.KH * s.KW
		f.wide.wideRow = f.wide.row
		s.Groups = c
	}
	s.C, s.O = c, o
	f.wide.on = true
	f.wide.w = make([]float32, o*f.wide.wideRow)
	f.wide.b = make([]float32, o)
	return s, nil
}

// Wide: a depthwise convolution has the channels of its input, and one whose
// groups have several channels cannot be widened.
func (f *convForm) Wide(in []*Tensor) (free, same []int) {
	switch w := in[1].Shape; {
	case len(w) > 4:
	case f.group == 1:
		return []int{0}, []int{3}
	case w[1] == 1 && w[0] == f.group:
		return nil, []int{0, 3}
	}
	return nil, nil
}

// filters returns w with the additional channels.
func (v *widened) filters(w []float32) []float32 {
	if !v.on {
		return w
	}
	for o := range v.o {
		copy(v.w[o*v.wideRow:], w[o*v.row:][:v.row])
	}
	return v.w
}

// last is filters for the w of the last forward pass.
func (v *widened) last(w []float32) []float32 {
	if v.on {
		return v.w
	}
	return w
}

// bias returns b with the additional channels.
func (v *widened) bias(b []float32) []float32 {
	if !v.on {
		return b
	}
	copy(v.b, b)
	return v.b
}

// grad returns where the kernels put or add the gradient for dw.
func (v *widened) grad(dw *Tensor) (to []float32, add bool) {
	if !v.on {
		return dw.F, dw.Acc
	}
	if v.dw == nil {
		v.dw = make([]float32, len(v.w))
	}
	return v.dw, false
}

// deliver brings the gradient from there to dw.
func (v *widened) deliver(dw *Tensor) {
	if !v.on || dw == nil {
		return
	}
	for o := range v.o {
		dst, src := dw.F[o*v.row:][:v.row], v.dw[o*v.wideRow:][:v.row]
		if dw.Acc {
			kernel.Add(dst, dst, src)
		} else {
			copy(dst, src)
		}
	}
}
