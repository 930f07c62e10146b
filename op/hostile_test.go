package op

import "testing"

// TestHostileNodes runs nodes that once panicked, hung or allocated without measure.
func TestHostileNodes(t *testing.T) {
	f := func(shape ...int) *Tensor { return New(Float, shape...) }
	for _, c := range []struct {
		name, op string
		opset    int
		attrs    Attrs
		in       []*Tensor
	}{
		{"no channels to average", "GlobalAveragePool", 13, nil, []*Tensor{f(1, 0, 3, 4)}},
		{"trailing empty inputs", "Range", 13, nil, []*Tensor{Scalar(0), Scalar(3), Scalar(1), nil, nil}},
		{"window of padding", "MaxPool", 13, Attrs{"kernel_shape": IntsAttr(1<<30, 1<<30), "pads": IntsAttr(1<<29, 1<<29, 1<<29, 1<<29)}, []*Tensor{f(1, 1, 3, 4)}},
		{"window of counted padding", "AveragePool", 13, Attrs{"kernel_shape": IntsAttr(1<<30, 1<<30), "pads": IntsAttr(1<<29, 1<<29, 1<<29, 1<<29), "count_include_pad": IntAttr(1)}, []*Tensor{f(1, 1, 3, 4)}},
		{"no sequences", "GRU", 13, nil, []*Tensor{f(4, 0, 5), f(1, 9, 5), f(1, 9, 3)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := Node{Type: c.op, Opset: c.opset, Attrs: c.attrs, Outputs: 1, Training: true}
			for _, x := range c.in {
				n.Inputs = append(n.Inputs, x != nil)
			}
			fuzzRun(t, Lookup("", c.op), n, c.in, c.in)
		})
	}
}
