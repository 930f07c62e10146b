package ortjudge

import (
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// gemm is y = x·W + b with x [N,2], W = [[1,2,3],[4,5,6]] and b = [10,20,30].
var gemm = testGraph{
	nodes: [][]byte{node("Gemm", []string{"x", "W", "b"}, []string{"y"})},
	initializers: [][]byte{
		floatTensor("W", []int64{2, 3}, 1, 2, 3, 4, 5, 6),
		floatTensor("b", []int64{3}, 10, 20, 30),
	},
	inputs:  [][]byte{value("x", onnxFloat, -1, 2)},
	outputs: [][]byte{value("y", onnxFloat, -1, 3)},
}

func TestRunGemm(t *testing.T) {
	path := gemm.write(t)
	got := Run(t, path, map[string]Tensor{"x": {Shape: []int64{2, 2}, F: []float32{1, 0, 1, -1}}})
	want := map[string]Tensor{"y": {Shape: []int64{2, 3}, F: []float32{11, 22, 33, 7, 17, 27}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSessionManyBatches(t *testing.T) {
	for _, level := range []Level{LevelAll, LevelExtended, LevelBasic, LevelNone} {
		s := Open(t, gemm.write(t), Options{Threads: 2, Level: level})
		for n := int64(0); n < 4; n++ {
			x := Tensor{Shape: []int64{n, 2}, F: make([]float32, 2*n)}
			got, err := s.Run(map[string]Tensor{"x": x})
			if err != nil {
				t.Fatal(err)
			}
			want := slices.Repeat([]float32{10, 20, 30}, int(n))
			if y := got["y"]; !slices.Equal(y.Shape, []int64{n, 3}) || !slices.Equal(y.F, want) {
				t.Errorf("level %d, batch %d: got %v, want %v", level, n, y, want)
			}
		}
	}
}

func TestInputsOutputs(t *testing.T) {
	path := gemm.write(t)
	if got, want := Inputs(t, path), []ValueInfo{{"x", "float", []int64{-1, 2}}}; !reflect.DeepEqual(got, want) {
		t.Errorf("inputs: got %v, want %v", got, want)
	}
	if got, want := Outputs(t, path), []ValueInfo{{"y", "float", []int64{-1, 3}}}; !reflect.DeepEqual(got, want) {
		t.Errorf("outputs: got %v, want %v", got, want)
	}
}

func TestElementTypes(t *testing.T) {
	shape := []int64{4}
	tests := []struct {
		name     string
		from, to int64
		in, out  Tensor
	}{
		{"float to double", onnxFloat, onnxDouble, Tensor{F: []float32{0, 1, -2.5, 3}}, Tensor{F: []float32{0, 1, -2.5, 3}}},
		{"double to int32", onnxDouble, onnxInt32, Tensor{F: []float32{0, 1, -2, 3}}, Tensor{I: []int64{0, 1, -2, 3}}},
		{"int32 to int64", onnxInt32, onnxInt64, Tensor{I: []int64{0, 1, -2, 3}}, Tensor{I: []int64{0, 1, -2, 3}}},
		{"int64 to bool", onnxInt64, onnxBool, Tensor{I: []int64{0, 1, -2, 0}}, Tensor{B: []bool{false, true, true, false}}},
		{"bool to uint8", onnxBool, onnxUint8, Tensor{B: []bool{true, false, true, true}}, Tensor{I: []int64{1, 0, 1, 1}}},
		{"uint8 to float", onnxUint8, onnxFloat, Tensor{I: []int64{0, 1, 254, 255}}, Tensor{F: []float32{0, 1, 254, 255}}},
		{"float to float16", onnxFloat, onnxFloat16, Tensor{F: []float32{1.0 / 3, 65504, -1e-7, 2049}}, Tensor{F: []float32{0.33325195, 65504, -1.1920929e-07, 2048}}},
		{"float16 to float", onnxFloat16, onnxFloat, Tensor{F: []float32{1.0 / 3, 65504, -1e-7, 2049}}, Tensor{F: []float32{0.33325195, 65504, -1.1920929e-07, 2048}}},
		{"float to bfloat16", onnxFloat, onnxBF16, Tensor{F: []float32{1, 257, 259, -3e38}}, Tensor{F: []float32{1, 256, 260, -3.0040553e38}}},
		{"bfloat16 to float", onnxBF16, onnxFloat, Tensor{F: []float32{1, 257, 259, -3e38}}, Tensor{F: []float32{1, 256, 260, -3.0040553e38}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := testGraph{
				nodes:   [][]byte{node("Cast", []string{"x"}, []string{"y"}, intAttribute("to", tt.to))},
				inputs:  [][]byte{value("x", tt.from, shape...)},
				outputs: [][]byte{value("y", tt.to, shape...)},
			}.write(t)
			tt.in.Shape, tt.out.Shape = shape, shape
			got := Run(t, path, map[string]Tensor{"x": tt.in})["y"]
			for i, f := range tt.out.F {
				if i < len(got.F) && math.Abs(float64(got.F[i]/f-1)) < 1e-4 {
					got.F[i] = f
				}
			}
			if !reflect.DeepEqual(got, tt.out) {
				t.Errorf("got %v, want %v", got, tt.out)
			}
		})
	}
}

func TestScalarsBesideTensors(t *testing.T) {
	path := testGraph{
		nodes: [][]byte{
			node("Add", []string{"x", "s"}, []string{"y"}),
			node("ReduceSum", []string{"y"}, []string{"sum"}, intAttribute("keepdims", 0)),
			node("Shape", []string{"y"}, []string{"shape"}),
			node("Size", []string{"y"}, []string{"size"}),
		},
		inputs: [][]byte{value("x", onnxFloat, -1, 2), value("s", onnxFloat)},
		outputs: [][]byte{
			value("y", onnxFloat, -1, 2), value("sum", onnxFloat), value("shape", onnxInt64, 2), value("size", onnxInt64),
		},
	}.write(t)
	got := Run(t, path, map[string]Tensor{
		"x": {Shape: []int64{3, 2}, F: []float32{1, 2, 3, 4, 5, 6}},
		"s": {F: []float32{0.5}},
	})
	want := map[string]Tensor{
		"y":     {Shape: []int64{3, 2}, F: []float32{1.5, 2.5, 3.5, 4.5, 5.5, 6.5}},
		"sum":   {F: []float32{24}},
		"shape": {Shape: []int64{2}, I: []int64{3, 2}},
		"size":  {I: []int64{6}},
	}
	for name, w := range want {
		g := got[name]
		if !slices.Equal(g.Shape, w.Shape) || !slices.Equal(g.F, w.F) || !slices.Equal(g.I, w.I) {
			t.Errorf("%s: got %v, want %v", name, g, w)
		}
	}
}

func TestNoInputs(t *testing.T) {
	path := testGraph{
		nodes: [][]byte{node("Constant", nil, []string{"y"},
			tensorAttribute("value", floatTensor("", []int64{2}, 3, 4)))},
		outputs: [][]byte{value("y", onnxFloat, 2)},
	}.write(t)
	if got := Run(t, path, nil)["y"].F; !slices.Equal(got, []float32{3, 4}) {
		t.Errorf("got %v, want [3 4]", got)
	}
}

func TestRunErrors(t *testing.T) {
	s := Open(t, gemm.write(t), Options{})
	tests := []struct {
		name   string
		inputs map[string]Tensor
		want   string
	}{
		{"missing", nil, `input "x" is missing`},
		{"unknown", map[string]Tensor{"z": {F: []float32{1}}}, `input "x" is missing; input "z" is none of the model's ["x"]`},
		{"short", map[string]Tensor{"x": {Shape: []int64{1, 2}, F: []float32{1}}}, `input "x": tensor has 1 elements, shape [1 2] needs 2`},
		{"wrong type", map[string]Tensor{"x": {Shape: []int64{1, 2}, I: []int64{1, 2}}}, "tensor holds int elements, the model wants float"},
		{"two types", map[string]Tensor{"x": {Shape: []int64{2}, F: []float32{1}, I: []int64{1}}}, "more than one type"},
		{"wrong shape", map[string]Tensor{"x": {Shape: []int64{1, 3}, F: []float32{1, 2, 3}}}, "Expected: 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := s.Run(tt.inputs); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	if err := Load(t, gemm.write(t)); err != nil {
		t.Errorf("valid model: %v", err)
	}
	broken := gemm
	broken.nodes = [][]byte{node("Gemm", []string{"x", "nowhere", "b"}, []string{"y"})}
	if err := Load(t, broken.write(t)); err == nil {
		t.Error("a node reads a value that nothing writes, and the model loaded")
	}
	if err := Load(t, filepath.Join(t.TempDir(), "absent.onnx")); err == nil {
		t.Error("a file that does not exist loaded")
	}
}

func TestResNet20(t *testing.T) {
	const path = "../../../shared/models/resnet20_bn.onnx"
	if _, err := os.Stat(path); err != nil {
		t.Skip(err)
	}
	s := Open(t, path, Options{})
	name := s.Inputs()[0].Name
	x := Tensor{Shape: []int64{3, 3, 32, 32}, F: make([]float32, 3*3*32*32)}
	for i := range x.F {
		x.F[i] = float32(i%17)/8 - 1
	}
	var runs []Tensor
	for range 2 {
		outputs, err := s.Run(map[string]Tensor{name: x})
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, slices.Collect(maps.Values(outputs))[0])
	}
	if !slices.Equal(runs[0].Shape, []int64{3, 10}) {
		t.Errorf("got shape %v, want [3 10]", runs[0].Shape)
	}
	if !reflect.DeepEqual(runs[0], runs[1]) {
		t.Error("two runs on the same input differ")
	}
}

func TestMoved(t *testing.T) {
	x := Floats([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, []int{2, 3, 2})
	y := x.Moved(1, 0)
	if want := []float32{1, 2, 7, 8, 3, 4, 9, 10, 5, 6, 11, 12}; !slices.Equal(y.F, want) || !slices.Equal(y.Shape, []int64{3, 2, 2}) {
		t.Errorf("axis 1 first is %v %v, want [3 2 2] %v", y.Shape, y.F, want)
	}
	if z := y.Moved(0, 1); !slices.Equal(z.F, x.F) || !slices.Equal(z.Shape, x.Shape) {
		t.Errorf("and back is %v %v", z.Shape, z.F)
	}
	if z, ok := x.BatchFirst([]int{3, 2, 2}); !ok || !slices.Equal(z.F, y.F) {
		t.Errorf("as [3,2,2] it is %v, %v", z.F, ok)
	}
	if _, ok := x.BatchFirst([]int{3, 4}); ok {
		t.Error("[2,3,2] is taken for [3,4]")
	}
}
