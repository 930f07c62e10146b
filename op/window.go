package op

import (
	"fmt"
	"math"
)

// window holds the attributes that convolutions and pools slide by.
type window struct {
	kernel, strides, dilations, pads []int
	autoPad                          string
	ceil                             bool
}

// axisWindow is a window along one spatial axis: out positions, each of which
// covers the inputs o·stride − begin + t·dil for taps t in [0,kernel).
type axisWindow struct {
	in, out, kernel, stride, dil, begin, end int
}

// extent is the distance from the first to one past the last tap.
func (a axisWindow) extent() int { return (a.kernel-1)*a.dil + 1 }

// cropped drops the taps that lie in the padding at every position, of which a file may
// ask for any number.
func (a axisWindow) cropped() axisWindow {
	if lead := (a.begin - (a.out-1)*a.stride + a.dil - 1) / a.dil; lead > 0 {
		lead = min(lead, a.kernel-1)
		a.kernel, a.begin = a.kernel-lead, a.begin-lead*a.dil
	}
	a.kernel = max(1, min(a.kernel, (a.in+a.begin+a.dil-1)/a.dil))
	return a
}

var pointAxis = axisWindow{in: 1, out: 1, kernel: 1, stride: 1, dil: 1}

// readWindow reads kernel_shape, strides, dilations, pads, auto_pad and
// ceil_mode.
func readWindow(r *reader) window {
	// An empty list stands for an absent one.
	ints := func(name string) []int {
		if v := r.Ints(name); len(v) > 0 {
			return v
		}
		return nil
	}
	w := window{
		kernel: ints("kernel_shape"), strides: ints("strides"), dilations: ints("dilations"), pads: ints("pads"),
		autoPad: r.String("auto_pad", "NOTSET"),
		ceil:    r.Bool("ceil_mode", false),
	}
	atLeast := func(name string, v []int, lo int) {
		for _, x := range v {
			if x < lo || x > math.MaxInt32 {
				r.keep(fmt.Errorf("attribute %q has element %d, wants %d to %d", name, x, lo, math.MaxInt32))
			}
		}
	}
	atLeast("kernel_shape", w.kernel, 1)
	atLeast("strides", w.strides, 1)
	atLeast("dilations", w.dilations, 1)
	atLeast("pads", w.pads, 0)
	switch w.autoPad {
	case "", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID":
	default:
		r.keep(fmt.Errorf("attribute %q is %q, wants NOTSET, SAME_UPPER, SAME_LOWER or VALID", "auto_pad", w.autoPad))
	}
	return w
}

// axes lays the window over the spatial axes of an input. kernel is the length
// of the window per axis.
func (w *window) axes(spatial, kernel []int) ([]axisWindow, error) {
	r := len(spatial)
	for _, a := range []struct {
		name string
		n, w int
	}{
		{"kernel_shape", len(kernel), r}, {"strides", len(w.strides), r}, {"dilations", len(w.dilations), r}, {"pads", len(w.pads), 2 * r},
	} {
		if a.n != 0 && a.n != a.w {
			return nil, fmt.Errorf("attribute %q has %d elements, wants %d for %d spatial axes", a.name, a.n, a.w, r)
		}
	}
	ax := make([]axisWindow, r)
	for i := range ax {
		a := axisWindow{in: spatial[i], kernel: kernel[i], stride: 1, dil: 1}
		if w.strides != nil {
			a.stride = w.strides[i]
		}
		if w.dilations != nil {
			a.dil = w.dilations[i]
		}
		if err := w.place(&a, i, r); err != nil {
			return nil, fmt.Errorf("spatial axis %d: %w", i, err)
		}
		ax[i] = a
	}
	return ax, nil
}

// place sets the pads and the number of positions of spatial axis i of r.
func (w *window) place(a *axisWindow, i, r int) error {
	if a.kernel < 1 {
		return fmt.Errorf("window of %d elements", a.kernel)
	}
	switch w.autoPad {
	case "SAME_UPPER", "SAME_LOWER":
		a.out = (a.in + a.stride - 1) / a.stride
		total := max(0, (a.out-1)*a.stride+a.extent()-a.in)
		a.begin = total / 2
		if w.autoPad == "SAME_LOWER" {
			a.begin = total - total/2
		}
		a.end = total - a.begin
	default:
		if w.pads != nil && w.autoPad != "VALID" {
			a.begin, a.end = w.pads[i], w.pads[r+i]
		}
		span := a.in + a.begin + a.end - a.extent()
		if span < 0 {
			return fmt.Errorf("window spans %d elements, padded input has %d", a.extent(), a.in+a.begin+a.end)
		}
		a.out = span/a.stride + 1
		if w.ceil {
			a.out = (span+a.stride-1)/a.stride + 1
			if (a.out-1)*a.stride >= a.in+a.begin {
				a.out--
			}
		}
	}
	if a.out < 1 {
		return fmt.Errorf("input has %d elements, window spans %d", a.in, a.extent())
	}
	// A longer stride leads from the first position past the input as well.
	a.stride = max(1, min(a.stride, a.in+a.begin))
	return nil
}

// wantTaps makes sure that every position covers at least one element of the
// input, as pooling needs.
func wantTaps(ax []axisWindow) error {
	for i, a := range ax {
		if m := max(a.begin, a.end); m >= a.extent() {
			return fmt.Errorf("spatial axis %d: padding of %d, wants less than the window's span of %d", i, m, a.extent())
		}
		if a.kernel > 1 && a.begin+a.end > 0 && a.dil > a.in {
			return fmt.Errorf("spatial axis %d: dilation %d exceeds the input's %d elements", i, a.dil, a.in)
		}
	}
	return nil
}

// plane returns the windows as height and width; a single axis is a width.
func plane(ax []axisWindow) (h, w axisWindow) {
	if len(ax) == 1 {
		return pointAxis, ax[0]
	}
	return ax[0], ax[1]
}

// refWindow is the geometry of a window in the words of the ONNX operator
// pages, for the reference implementations: padding before, and positions.
func refWindow(n Node, spatial, kernel []int) (begin, end, stride, dil, out []int) {
	r := &reader{n: n}
	at := func(name string, i, def int) int {
		if v := r.Ints(name); v != nil {
			return v[i]
		}
		return def
	}
	k := len(spatial)
	begin, end, stride, dil, out = make([]int, k), make([]int, k), make([]int, k), make([]int, k), make([]int, k)
	for i, in := range spatial {
		stride[i], dil[i] = at("strides", i, 1), at("dilations", i, 1)
		span := float64(dil[i]*(kernel[i]-1) + 1)
		switch auto := r.String("auto_pad", "NOTSET"); auto {
		case "SAME_UPPER", "SAME_LOWER":
			out[i] = int(math.Ceil(float64(in) / float64(stride[i])))
			p := max(0, float64((out[i]-1)*stride[i])+span-float64(in))
			begin[i] = int(math.Floor(p / 2))
			if auto == "SAME_LOWER" {
				begin[i] = int(math.Ceil(p / 2))
			}
			end[i] = int(p) - begin[i]
			continue
		case "NOTSET", "":
			begin[i], end[i] = at("pads", i, 0), at("pads", k+i, 0)
		}
		steps := (float64(in+begin[i]+end[i]) - span) / float64(stride[i])
		if r.Int("ceil_mode", 0) == 0 {
			out[i] = int(math.Floor(steps)) + 1
			continue
		}
		out[i] = int(math.Ceil(steps)) + 1
		for (out[i]-1)*stride[i] >= in+begin[i] {
			out[i]--
		}
	}
	return begin, end, stride, dil, out
}
