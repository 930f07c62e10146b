package op

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestRefusals feeds the convolution and normalisation families nodes that a
// file may hold and that must be refused in clear words.
func TestRefusals(t *testing.T) {
	f := func(shape ...int) *Tensor { return Info(Float, shape...) }
	in := func(t ...*Tensor) []*Tensor { return t }
	yes := &Tensor{Type: Bool, Shape: []int{}, I: []int64{1}}
	norm := func(x *Tensor, c int) []*Tensor { return in(x, f(c), f(c), f(c), f(c)) }
	for _, c := range []struct {
		name  string
		opset int
		attrs Attrs
		in    []*Tensor
		want  string
	}{
		{"Conv", 13, nil, in(f(1, 32, 8, 8), f(64, 64, 3, 3)), "weight [64,64,3,3] wants 64 input channels, input has 32"},
		{"Conv", 13, nil, in(f(1, 3, 4, 4, 4, 4), f(2, 3, 3, 3, 3, 3)), "only convolutions of 1 to 3 spatial axes"},
		{"Conv", 13, nil, in(f(1, 3, 4, 4), f(2, 3, 3)), "weight [2,3,3] has rank 3"},
		{"Conv", 13, nil, in(f(1, 3, 2, 4), f(2, 3, 3, 3)), "spatial axis 0: window spans 3 elements, padded input has 2"},
		{"Conv", 13, Attrs{"kernel_shape": IntsAttr(5, 5)}, in(f(1, 3, 8, 8), f(2, 3, 3, 3)), `"kernel_shape" is [5,5]`},
		{"Conv", 13, Attrs{"strides": IntsAttr(0, 1)}, nil, `"strides" has element 0`},
		{"Conv", 13, Attrs{"pads": IntsAttr(-1, 0, 0, 0)}, nil, `"pads" has element -1`},
		{"Conv", 13, Attrs{"pads": IntsAttr(1, 1)}, in(f(1, 3, 8, 8), f(2, 3, 3, 3)), `"pads" has 2 elements, wants 4`},
		{"Conv", 13, Attrs{"group": IntAttr(0)}, nil, `"group" is 0`},
		{"Conv", 13, Attrs{"group": IntAttr(2)}, in(f(1, 4, 8, 8), f(3, 2, 1, 1)), "3 output channels"},
		{"Conv", 13, Attrs{"auto_pad": StringAttr("FULL")}, nil, `"auto_pad" is "FULL"`},
		{"Conv", 13, Attrs{"dilations": FloatAttr(1)}, nil, `"dilations" is of type float, wants ints`},
		{"Conv", 13, nil, in(f(1, 3, 8, 8), f(2, 3, 3, 3), f(3)), "bias has shape [3], wants [2]"},
		{"Conv", 13, nil, in(f(1<<20, 1, 1<<10, 1<<10), f(8, 1, 1, 1)), "more than"},
		{"Conv", 13, nil, in(f(1, 3, 8, 8)), "input 1 is missing"},
		{"Conv", 13, nil, in(Info(Int8, 1, 3, 8, 8), f(2, 3, 3, 3)), "of type int8"},
		{"MaxPool", 13, nil, nil, `"kernel_shape" is missing`},
		{"MaxPool", 13, Attrs{"kernel_shape": IntsAttr(2, 2), "pads": IntsAttr(2, 0, 0, 0)}, in(f(1, 1, 4, 4)), "padding of 2"},
		{"MaxPool", 13, Attrs{"kernel_shape": IntsAttr(2)}, in(f(1, 1, 4, 4)), "input has 2 spatial axes"},
		{"AveragePool", 13, Attrs{"kernel_shape": IntsAttr(2), "dilations": IntsAttr(2)}, nil, "not defined before opset 19"},
		{"GlobalAveragePool", 13, nil, in(f(2, 3)), "wants [N,C,…]"},
		{"BatchNormalization", 13, nil, norm(f(2, 4, 3, 3), 5), "scale has shape [5], wants [4]"},
		{"BatchNormalization", 13, nil, norm(f(4), 4), "wants channels on axis 1"},
		{"BatchNormalization", 7, Attrs{"spatial": IntAttr(0)}, nil, `"spatial" is 0`},
		{"BatchNormalization", 6, nil, nil, "opset 6, supported from opset 7"},
		{"LayerNormalization", 17, Attrs{"axis": IntAttr(3)}, in(f(2, 3, 4), f(4)), "axis 3 is out of range for rank 3"},
		{"LayerNormalization", 17, nil, in(f(2, 3, 4), f(3)), "scale has shape [3], wants [4]"},
		{"Gemm", 13, nil, in(f(2, 3), f(4, 5)), "weight [4,5] wants 4 input features, input [2,3] has 3"},
		{"Gemm", 13, nil, in(f(2, 3), f(3, 5), f(2, 5, 1)), "bias has shape [2,5,1]"},
		{"Gemm", 13, nil, in(f(2, 3, 4), f(4, 5)), "wants rank 2"},
		{"MatMul", 13, nil, in(f(2, 3), f(4, 5)), "wants 4 elements"},
		{"MatMul", 13, nil, in(f(2, 3, 4), f(3, 4, 5)), "do not broadcast"},
		{"MatMul", 13, nil, in(f(), f(3)), "wants at least rank 1"},
		{"Softmax", 13, Attrs{"axis": IntAttr(math.MinInt64)}, in(f(2, 3)), "out of range"},
		{"Softmax", 13, nil, in(f()), "out of range for rank 0"},
		{"Dropout", 13, nil, in(f(2, 3), nil, yes), "training_mode is true with ratio 0.5"},
		{"Dropout", 13, nil, in(f(2, 3), Scalar(0.25), yes), "training_mode is true with ratio 0.25"},
		{"Dropout", 13, nil, in(f(2, 3), f(), yes), "input 1 must be a constant"},
		{"Dropout", 13, nil, in(f(2, 3), nil, Info(Bool)), "input 2 must be a constant"},
		{"Dropout", 13, nil, in(f(2, 3), nil, f()), "input 2 (training_mode) is float"},
		{"PRelu", 16, nil, in(f(2, 3), f(4, 2, 3)), "slope has shape [4,2,3]"},
	} {
		o, err := Lookup("", c.name).Make(Node{Type: c.name, Opset: c.opset, Attrs: c.attrs, Outputs: 1})
		if err == nil {
			_, err = o.Infer(c.in)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: error is %q, want %q in it", c.name, c.attrs, err, c.want)
		}
	}
}

// TestWindows draws windows, sensible and not: none may panic, and every
// accepted one has the positions that the ONNX pages define.
func TestWindows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]string{"Conv", "MaxPool", "AveragePool"}).Draw(t, "op")
		r := rapid.IntRange(1, 2).Draw(t, "axes")
		value := rapid.OneOf(rapid.IntRange(0, 5), rapid.SampledFrom([]int{-1, math.MaxInt32, math.MaxInt64, math.MinInt64}))
		list := func(name string, n int) []int { return rapid.SliceOfN(value, n, n).Draw(t, name) }
		node := Node{Type: n, Opset: 19, Outputs: 1, Attrs: Attrs{"kernel_shape": IntsAttr(list("kernel", r)...)}}
		for _, name := range []string{"strides", "dilations", "pads"} {
			if rapid.Bool().Draw(t, "has "+name) {
				n := r
				if name == "pads" {
					n = 2 * r
				}
				node.Attrs[name] = IntsAttr(list(name, n)...)
			}
		}
		if rapid.Bool().Draw(t, "has auto_pad") {
			node.Attrs["auto_pad"] = StringAttr(rapid.SampledFrom([]string{"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"}).Draw(t, "auto_pad"))
		}
		if n != "Conv" && rapid.Bool().Draw(t, "ceil") {
			node.Attrs["ceil_mode"] = IntAttr(1)
		}
		o, err := Lookup("", n).Make(node)
		if err != nil {
			return
		}
		spatial := rapid.SliceOfN(rapid.IntRange(0, 9), r, r).Draw(t, "spatial")
		kernel := (&reader{n: node}).Ints("kernel_shape")
		in := []*Tensor{Info(Float, append([]int{1, 1}, spatial...)...)}
		if n == "Conv" {
			in = append(in, Info(Float, append([]int{1, 1}, kernel...)...))
		}
		out, err := o.Infer(in)
		if err != nil {
			return
		}
		_, _, _, _, want := refWindow(node, spatial, kernel)
		if !EqualShape(out[0].Shape[2:], want) {
			t.Fatalf("%v of %v gives %v, want %v", node.Attrs, spatial, out[0].Shape[2:], want)
		}
	})
}
