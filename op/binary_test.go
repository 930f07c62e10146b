package op

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func runNode(t *testing.T, n Node, in ...*Tensor) *Tensor {
	t.Helper()
	for range in {
		n.Inputs = append(n.Inputs, true)
	}
	o, err := Lookup("", n.Type).Make(n)
	if err != nil {
		t.Fatal(err)
	}
	infos, err := o.Infer(in)
	if err != nil {
		t.Fatal(err)
	}
	y := New(infos[0].Type, infos[0].Shape...)
	if err := o.Forward(nil, in, []*Tensor{y}); err != nil {
		t.Fatal(err)
	}
	return y
}

func typed(t Type, v ...int64) *Tensor { return &Tensor{Type: t, Shape: []int{len(v)}, I: v} }

// TestIntegers covers what a reference in float64 cannot show: truncation,
// division by zero, overflow.
func TestIntegers(t *testing.T) {
	fmod := Attrs{"fmod": IntAttr(1)}
	for _, c := range []struct {
		name  string
		attrs Attrs
		a, b  *Tensor
		want  []int64
	}{
		{"Div", nil, typed(Int64, 7, -7, 7, 5, math.MinInt64), typed(Int64, 2, 2, -2, 0, -1), []int64{3, -3, -3, 0, math.MinInt64}},
		{"Mod", nil, typed(Int64, 7, -7, 5, math.MinInt64), typed(Int64, 3, 3, 0, -1), []int64{1, 2, 0, 0}},
		{"Mod", fmod, typed(Int32, 7, -7, 5), typed(Int32, 3, 3, 0), []int64{1, -1, 0}},
		{"Sub", nil, typed(Uint8, 3, 200), typed(Uint8, 5, 1), []int64{254, 199}},
		{"Add", nil, typed(Int8, 127, -128), typed(Int8, 1, -1), []int64{-128, 127}},
		{"Mul", nil, typed(Int32, 1<<20, 3), typed(Int32, 1<<12, -3), []int64{0, -9}},
		{"Add", nil, typed(Uint16, 65535), typed(Uint16, 2), []int64{1}},
		{"Add", nil, typed(Int16, 32767), typed(Int16, 2), []int64{-32767}},
		{"Sub", nil, typed(Uint32, 0), typed(Uint32, 1), []int64{math.MaxUint32}},
		{"Pow", nil, typed(Int64, 2, 1, -1, -1, 0, 5), typed(Int64, -1, -5, -3, -2, 0, 3), []int64{0, 1, -1, 1, 1, 125}},
	} {
		y := runNode(t, Node{Type: c.name, Opset: 14, Attrs: c.attrs}, c.a, c.b)
		for i, w := range c.want {
			if y.I[i] != w {
				t.Errorf("%s of %s %v and %v is %v, wants %v", c.name, c.a.Type, c.a.I[i], c.b.I[i], y.I[i], w)
			}
		}
	}
}

// TestRefused holds the messages for inputs and attributes that do not fit.
func TestRefused(t *testing.T) {
	f := func(shape ...int) *Tensor { return Info(Float, shape...) }
	for _, c := range []struct {
		node Node
		in   []*Tensor
		want string
	}{
		{Node{Type: "Mul"}, []*Tensor{f(2)}, "input 1 is missing, wants 2 inputs"},
		{Node{Type: "Mul"}, []*Tensor{f(2), f(2), f(2)}, "has 3 inputs, wants at most 2"},
		{Node{Type: "Mul"}, []*Tensor{f(2, 3), f(4)}, "shapes [2,3] [4] do not broadcast: axis 1 has 3 and 4"},
		{Node{Type: "Mul"}, []*Tensor{f(2), Info(Int64, 2)}, "input 0 is of type float, input 1 of type int64, wants equal types"},
		{Node{Type: "Mul"}, []*Tensor{Info(Bool, 2), Info(Bool, 2)}, "inputs are of types bool and bool, wants numbers"},
		{Node{Type: "Mul"}, []*Tensor{f(1<<21, 1), f(1, 1<<21)}, "shape [2097152,2097152] has more than 1099511627776 elements"},
		{Node{Type: "Sum"}, []*Tensor{f(1<<21, 1), f(1, 1<<21)}, "shape [2097152,2097152] has more than 1099511627776 elements"},
		{Node{Type: "And"}, []*Tensor{f(2), f(2)}, "inputs are of types float and float, wants bool"},
		{Node{Type: "Mod"}, []*Tensor{f(2), f(2)}, "inputs are of type float, wants integers"},
		{Node{Type: "Not"}, []*Tensor{f(2)}, "input 0 is of type float, wants bool"},
		{Node{Type: "Exp"}, []*Tensor{Info(Int64, 2)}, "input 0 is of type int64, wants a float type"},
		{Node{Type: "Relu"}, []*Tensor{Info(Bool, 2)}, "input 0 is of type bool, wants a number"},
		{Node{Type: "Gelu", Opset: 20, Attrs: Attrs{"approximate": StringAttr("exact")}}, nil, `attribute "approximate" is "exact", wants none or tanh`},
		{Node{Type: "Elu", Attrs: Attrs{"alpha": IntAttr(1)}}, nil, `attribute "alpha" is of type int, wants float`},
		{Node{Type: "Max"}, []*Tensor{}, "has no inputs, wants at least 1"},
		{Node{Type: "Sum"}, []*Tensor{Info(Int64, 2)}, "inputs are of type int64, wants a float type"},
		{Node{Type: "Clip"}, []*Tensor{f(2), Floats([]float32{1, 2}, 2)}, "input 1 has shape [2], wants a scalar"},
		{Node{Type: "Clip"}, []*Tensor{f(2), f()}, "input 1 must be a constant"},
		{Node{Type: "Clip", Opset: 6}, []*Tensor{f(2), f()}, "has 2 inputs, wants at most 1"},
		{Node{Type: "ReduceSum"}, []*Tensor{f(2), Info(Int64, 1)}, "input 1 must be a constant"},
		{Node{Type: "ReduceSum"}, []*Tensor{f(2, 3), Vector(2)}, "axis 2 is out of range for rank 2"},
		{Node{Type: "ReduceSum"}, []*Tensor{f(2, 3), Vector(1, -1)}, "axis 1 is given twice"},
		{Node{Type: "ReduceSum"}, []*Tensor{f(2, 3), Scalar(1)}, "axes are float [], wants int64 of one axis"},
		{Node{Type: "ReduceMean"}, []*Tensor{f(2, 3), Vector(1)}, "has 2 inputs, wants at most 1"},
		{Node{Type: "ReduceL2"}, []*Tensor{Info(Int64, 2)}, "input 0 is of type int64, wants a float type"},
		{Node{Type: "ArgMax", Attrs: Attrs{"axis": IntAttr(-3)}}, []*Tensor{f(2, 3)}, "axis -3 is out of range for rank 2"},
		{Node{Type: "ArgMax"}, []*Tensor{f(0, 3)}, "axis 0 of shape [0,3] has no elements"},
		{Node{Type: "ArgMax"}, []*Tensor{f()}, "axis 0 is out of range for rank 0"},
		{Node{Type: "CumSum"}, []*Tensor{f(2, 3), Info(Int64)}, "input 1 must be a constant"},
		{Node{Type: "CumSum"}, []*Tensor{f(2, 3), Vector(0, 1)}, "axis is int64 [2], wants one integer"},
		{Node{Type: "CumSum"}, []*Tensor{f(2, 3), typed(Int64, math.MinInt64)}, "axis -9223372036854775808 is out of range for rank 2"},
	} {
		if c.node.Opset == 0 {
			c.node.Opset = 13
		}
		o, err := Lookup("", c.node.Type).Make(c.node)
		if err == nil {
			_, err = o.Infer(c.in)
		}
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: error %v, wants %s", c.node.Type, err, c.want)
		}
		if need := (NeedConst{}); strings.Contains(c.want, "constant") && !errors.As(err, &need) {
			t.Errorf("%s: %v is no NeedConst", c.node.Type, err)
		}
	}
}

// TestReduceNothing reduces over an axis of length 0.
func TestReduceNothing(t *testing.T) {
	inf := math.Inf(1)
	for name, want := range map[string]float64{
		"ReduceSum": 0, "ReduceProd": 1, "ReduceMax": -inf, "ReduceMin": inf, "ReduceL1": 0, "ReduceL2": 0,
		"ReduceSumSquare": 0, "ReduceLogSum": -inf, "ReduceLogSumExp": -inf, "ReduceMean": math.NaN(),
	} {
		y := runNode(t, Node{Type: name, Opset: 18}, Floats([]float32{}, 2, 0, 3), Vector(1))
		if !EqualShape(y.Shape, []int{2, 1, 3}) {
			t.Errorf("%s: shape %v", name, y.Shape)
		}
		for _, v := range y.F {
			if float64(v) != want && !(math.IsNaN(want) && v != v) {
				t.Errorf("%s over nothing is %v, wants %v", name, v, want)
			}
		}
	}
}
