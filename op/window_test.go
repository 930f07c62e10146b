package op

import (
	"math"
	"testing"
)

// Strides past the input, as no model has them, cost nothing, and an empty list is an
// absent one.
func TestWindowAxes(t *testing.T) {
	for _, c := range []struct {
		name  string
		attrs Attrs
		want  axisWindow
	}{
		{"defaults", nil, axisWindow{in: 8, out: 6, kernel: 3, stride: 1, dil: 1}},
		{"empty lists", Attrs{"strides": IntsAttr(), "dilations": IntsAttr(), "pads": IntsAttr(), "kernel_shape": IntsAttr()},
			axisWindow{in: 8, out: 6, kernel: 3, stride: 1, dil: 1}},
		{"long stride", Attrs{"strides": IntsAttr(math.MaxInt32)}, axisWindow{in: 8, out: 1, kernel: 3, stride: 8, dil: 1}},
		{"long stride with pads", Attrs{"strides": IntsAttr(100), "pads": IntsAttr(2, 95)},
			axisWindow{in: 8, out: 2, kernel: 3, stride: 10, dil: 1, begin: 2, end: 95}},
	} {
		r := &reader{n: Node{Type: "Conv", Opset: 13, Attrs: c.attrs}}
		w := readWindow(r)
		if r.err != nil {
			t.Errorf("%s: %v", c.name, r.err)
			continue
		}
		ax, err := w.axes([]int{8}, []int{3})
		if err != nil || ax[0] != c.want {
			t.Errorf("%s: %+v, %v, want %+v", c.name, ax, err, c.want)
		}
	}
}
