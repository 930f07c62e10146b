package op

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestMovementRefusals feeds the operators that move elements what a file may
// hold and what must be refused in clear words.
func TestMovementRefusals(t *testing.T) {
	f := func(shape ...int) *Tensor { return Info(Float, shape...) }
	in := func(t ...*Tensor) []*Tensor { return t }
	v := Vector
	for _, c := range []struct {
		name  string
		opset int
		attrs Attrs
		outs  int
		in    []*Tensor
		want  string
	}{
		{"Reshape", 13, nil, 1, in(f(2, 3), v(4, 2)), "input [2,3] has 6 elements, shape [4,2] wants 8"},
		{"Reshape", 13, nil, 1, in(f(2, 3), v(-1, 4)), "no -1 in shape [-1,4] fits"},
		{"Reshape", 13, nil, 1, in(f(2, 3), v(-1, -1)), "more than one -1"},
		{"Reshape", 13, nil, 1, in(f(2, 3), v(-2, 3)), "negative dimension"},
		{"Reshape", 13, nil, 1, in(f(2, 3), v(2, 3, 0)), "keeps axis 2, input has rank 2"},
		{"Reshape", 13, nil, 1, in(f(0, 3), v(0, -1)), "no -1"},
		{"Reshape", 13, nil, 1, in(f(2, 3), v(math.MaxInt64, math.MaxInt64)), "more than"},
		{"Reshape", 13, nil, 1, in(f(2, 3), Info(Int64, 2)), "input 1 must be a constant"},
		{"Reshape", 13, nil, 1, in(f(2, 3), f(2)), "input 1 is of type float, wants int64"},
		{"Reshape", 13, nil, 1, in(f(2, 3), Ints([]int64{6}, 1, 1)), "input 1 has shape [1,1], wants one axis"},
		{"Reshape", 4, nil, 1, nil, "supported from opset 5"},
		{"Flatten", 13, Attrs{"axis": IntAttr(3)}, 1, in(f(2, 3)), "axis 3 is out of range for rank 2"},
		{"Squeeze", 13, nil, 1, in(f(2, 3), v(1)), "has length 3, wants 1"},
		{"Squeeze", 13, nil, 1, in(f(1, 1), v(0, -2)), "axis 0 is named twice"},
		{"Unsqueeze", 13, nil, 1, in(f(2, 3), v(4)), "axis 4 is out of range for rank 3"},
		{"Unsqueeze", 13, nil, 1, in(f(2, 3)), "input 1 is missing"},
		{"Dropout", 13, nil, 3, nil, "has 3 outputs"},
		{"Transpose", 13, Attrs{"perm": IntsAttr(0, 0)}, 1, in(f(2, 3)), `"perm" is [0,0]`},
		{"Transpose", 13, Attrs{"perm": IntsAttr(0)}, 1, in(f(2, 3)), `"perm" has 1 elements, input has rank 2`},
		{"Concat", 13, nil, 1, nil, `"axis" is missing`},
		{"Concat", 13, Attrs{"axis": IntAttr(1)}, 1, in(f(2, 3), f(3, 3)), "input 1 is [3,3], input 0 is [2,3]"},
		{"Concat", 13, Attrs{"axis": IntAttr(1)}, 1, in(f(2, 3), nil), "input 1 is missing"},
		{"Concat", 13, Attrs{"axis": IntAttr(0)}, 1, nil, "input 0 is missing"},
		{"Concat", 13, Attrs{"axis": IntAttr(0)}, 1, in(f(2), v(2)), "of type"},
		{"Split", 13, nil, 2, in(f(3)), "not a multiple of 2"},
		{"Split", 13, nil, 2, in(f(3), v(1, 1)), "parts [1,1], wants 2 that sum to 3"},
		{"Split", 13, nil, 2, in(f(3), v(-1, 4)), "do not fit"},
		{"Split", 18, Attrs{"num_outputs": IntAttr(3)}, 2, nil, `"num_outputs" is 3, node has 2 outputs`},
		{"Slice", 13, nil, 1, in(f(3), v(0), v(1), v(0), v(0)), "step of axis 0 is 0"},
		{"Slice", 13, nil, 1, in(f(3), v(0, 1), v(1)), "2 starts, 1 ends"},
		{"Slice", 13, nil, 1, in(f(3), v(0), v(1), v(1)), "axis 1 is out of range for rank 1"},
		{"Slice", 13, nil, 1, in(f(3), Info(Int64, 1), v(1)), "input 1 must be a constant"},
		{"Pad", 13, nil, 1, in(f(3, 3), v(1, 1)), "2 pads, wants 4 for 2 axes"},
		{"Pad", 13, nil, 1, in(f(3), v(-2, -2)), "cut more than axis 0 of length 3"},
		{"Pad", 13, nil, 1, in(f(3), v(math.MaxInt64, 0)), "out of range"},
		{"Pad", 13, Attrs{"mode": StringAttr("reflect")}, 1, in(f(0), v(1, 0)), "leave nothing to reflect"},
		{"Pad", 13, Attrs{"mode": StringAttr("circular")}, 1, nil, `"mode" is "circular"`},
		{"Pad", 13, nil, 1, in(f(3), v(1, 0), v(1)), "input 2 is [1] of type int64"},
		{"Gather", 13, nil, 1, in(f(3, 2), v(0, 3)), "index 3 is out of range for an axis of length 3"},
		{"Gather", 13, Attrs{"axis": IntAttr(2)}, 1, in(f(3, 2), v(0)), "axis 2 is out of range"},
		{"Gather", 13, nil, 1, in(f(3, 2), f(1)), "wants int32 or int64"},
		{"Expand", 13, nil, 1, in(f(3, 2), v(4, 2)), "input [3,2] does not expand to [4,2]"},
		{"Expand", 13, nil, 1, in(f(1, 1), v(1<<30, 1<<30)), "more than"},
		{"Tile", 13, nil, 1, in(f(3, 2), v(1)), "1 repeats, input has rank 2"},
		{"Tile", 13, nil, 1, in(f(3), v(math.MaxInt64)), "repeats of axis 0"},
		{"Where", 13, nil, 1, in(Info(Bool, 2), f(3), f(1)), "do not broadcast"},
		{"Cast", 13, Attrs{"to": IntAttr(8)}, 1, nil, "cast to string is not supported"},
		{"Cast", 13, Attrs{"to": IntAttr(17)}, 1, nil, "cast to type17 is not supported"},
		{"Constant", 13, nil, 1, nil, "has no value attribute"},
		{"Constant", 13, Attrs{"value_string": StringAttr("a")}, 1, nil, `"value_string" is not supported`},
		{"Constant", 13, Attrs{"value_int": IntAttr(1), "value_float": FloatAttr(1)}, 1, nil, "wants one"},
		{"ConstantOfShape", 13, nil, 1, in(v(1<<30, 1<<30)), "more than"},
		{"ConstantOfShape", 13, nil, 1, in(v(-1)), "negative dimension"},
		{"Range", 13, nil, 1, in(Scalar(0), Scalar(1), Scalar(0)), "delta is 0"},
		{"Range", 13, nil, 1, in(Ints([]int64{math.MinInt64}), Ints([]int64{math.MaxInt64}), Ints([]int64{1})), "more than"},
		{"Range", 13, nil, 1, in(Scalar(0), Scalar(float32(math.NaN())), Scalar(1)), "more than"},
		{"NonZero", 13, nil, 1, in(f(3)), "input 0 must be a constant"},
	} {
		o, err := Lookup("", c.name).Make(Node{Type: c.name, Opset: c.opset, Attrs: c.attrs, Outputs: c.outs})
		if err == nil {
			_, err = o.Infer(c.in)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: error is %q, want %q in it", c.name, c.attrs, err, c.want)
		}
	}
}

// TestMovementNonsense draws parameters, sensible and not: none may panic, and
// every accepted one moves elements as the reference does, in both layouts.
func TestMovementNonsense(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"Reshape", "Squeeze", "Unsqueeze", "Slice", "Pad", "Split", "Gather", "Expand", "Tile", "Transpose", "Flatten"}).Draw(t, "op")
		shape := rapid.SliceOfN(rapid.IntRange(0, 4), 0, 4).Draw(t, "shape")
		r := len(shape)
		value := rapid.OneOf(rapid.IntRange(-3, 4), rapid.IntRange(0, 2),
			rapid.SampledFrom([]int{math.MinInt64, -1 << 62, 1 << 40, 1 << 62, math.MaxInt64}))
		list := func(label string, n int) []int { return rapid.SliceOfN(value, n, n).Draw(t, label) }
		n := Node{Type: name, Opset: 18, Attrs: Attrs{}, Outputs: 1}
		x := New(Float, shape...)
		for i := range x.F {
			x.F[i] = float32(i + 1)
		}
		in := []*Tensor{x}
		add := func(v []int) { in = append(in, Vector(v...)) }
		switch name {
		case "Reshape", "Expand", "Squeeze", "Unsqueeze":
			add(list("values", rapid.IntRange(0, 4).Draw(t, "count")))
		case "Tile":
			add(list("repeats", r))
		case "Slice":
			k := rapid.IntRange(0, r).Draw(t, "count")
			for _, l := range []string{"starts", "ends"} {
				add(list(l, k))
			}
			axes := make([]int, k)
			for i := range axes {
				axes[i] = i
			}
			add(axes)
			add(list("steps", k))
		case "Pad":
			n.Opset = 19
			n.Attrs["mode"] = StringAttr(rapid.SampledFrom([]string{"constant", "reflect", "edge", "wrap"}).Draw(t, "mode"))
			add(list("pads", 2*r))
		case "Split":
			n.Outputs = rapid.IntRange(1, 3).Draw(t, "outputs")
			n.Attrs["axis"] = IntAttr(value.Draw(t, "axis"))
			add(list("lengths", n.Outputs))
		case "Gather":
			n.Attrs["axis"] = IntAttr(value.Draw(t, "axis"))
			add(list("indices", rapid.IntRange(0, 3).Draw(t, "count")))
		case "Flatten":
			n.Attrs["axis"] = IntAttr(value.Draw(t, "axis"))
		case "Transpose":
			n.Attrs["perm"] = IntsAttr(list("perm", r)...)
		}
		d := Lookup("", name)
		for range in {
			n.Inputs = append(n.Inputs, true)
		}
		o, err := d.Make(n)
		if err != nil {
			return
		}
		infos, err := o.Infer(in)
		if err != nil {
			return
		}
		args := make([]*Array, len(in))
		for i, a := range in {
			args[i] = toArray(a)
		}
		for _, y := range infos {
			if y.Size() > 1e5 {
				return
			}
		}
		want := d.Reference(n, args)
		for _, last := range []bool{false, true} {
			got, outl := layoutsOf(o, in, last, func(i int) bool { return i > 0 }, len(infos))
			var out []*Tensor
			for j, y := range infos {
				y := &Tensor{Type: y.Type, Shape: y.Shape, Layout: outl[j]}
				y.Alloc()
				for i := range y.F {
					y.F[i] = float32(math.NaN())
				}
				out = append(out, y)
			}
			if err := o.Forward(nil, got, out); err != nil {
				t.Fatal(err)
			}
			for j, y := range out {
				if !EqualShape(y.Shape, want[j].Shape) {
					t.Fatalf("%v %v: output %d is %v, want %v", n.Attrs, in[1:], j, y.Shape, want[j].Shape)
				}
				a := toArray(y)
				for i, w := range want[j].V {
					if a.V[i] != w {
						t.Fatalf("%v: output %d, element %d is %v, want %v", n.Attrs, j, i, a.V[i], w)
					}
				}
			}
		}
	})
}
