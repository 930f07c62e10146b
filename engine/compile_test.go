package engine

import (
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/onnxtest"
)

// TestCompileErrors: what cannot be compiled is said with file and node, all nodes
// of a kind at once.
func TestCompileErrors(t *testing.T) {
	cases := []struct {
		name  string
		train bool
		make  func(b *onnxtest.Builder)
		want  []string
		not   string
	}{
		{"unknown operators are listed together", false, func(b *onnxtest.Builder) {
			b.Node("Swirl", "s1", []string{b.Input("x", -1, 4)})
			b.Node("Twirl", "s2", []string{"x"})
			b.Node("Add", "y", []string{"s1", "s2"})
			b.Output("y", -1, 4)
		}, []string{`test.onnx: node "s1" (Swirl): the operator is not supported`, `test.onnx: node "s2" (Twirl): the operator is not supported`, "hint: onnxprune ops"}, `node "y"`},
		{"contradiction at any batch size", false, func(b *onnxtest.Builder) {
			b.Node("Conv", "y", []string{b.Input("x", -1, 3, 8, 8), b.Weight("w", 1, 4, 5, 3, 3)})
			b.Output("y", -1, 4, 6, 6)
		}, []string{`test.onnx: node "y" (Conv): `}, "fixes its batch size"},
		{"value known at run time only", false, func(b *onnxtest.Builder) {
			n := b.Node("Cast", "n", []string{b.Input("x", -1, 2)}, "to", 7)
			r := b.Node("Reshape", "flat", []string{n, b.Ints("minus", -1)})
			b.Node("Reshape", "y", []string{"x", r})
			b.Output("y", -1, 2)
		}, []string{`node "y" (Reshape): input "flat" must be a constant, here it depends on data`}, ""},
		{"operators without gradient are listed together", true, func(b *onnxtest.Builder) {
			x := b.Node("MatMul", "m", []string{b.Input("x", -1, 4), b.Weight("w", 1, 4, 4)})
			x = b.Node("Hardmax", "c1", []string{x})
			x = b.Node("Hardmax", "c2", []string{x})
			b.Node("MatMul", "y", []string{x, b.Weight("v", 1, 4, 3)})
			b.Output("y", -1, 3)
		}, []string{`node "c1" (Hardmax): the operator has no gradient`, `node "c2" (Hardmax): the operator has no gradient`, "hint: without --data"}, ""},
		{"nothing to train", true, func(b *onnxtest.Builder) {
			b.Node("Relu", "y", []string{b.Input("x", -1, 4)})
			b.Output("y", -1, 4)
		}, []string{`output 0 "y" depends on no weight that can be trained`}, ""},
		{"a value larger than memory", false, func(b *onnxtest.Builder) {
			c := b.Node("ConstantOfShape", "c", []string{b.Ints("s", 1<<39)})
			b.Node("Add", "y", []string{b.Input("x", -1, 4), b.Node("ReduceSum", "r", []string{c}, "keepdims", 1)})
			b.Output("y", -1, 4)
		}, []string{`test.onnx: node "c" (ConstantOfShape): a value of shape [549755813888] at batch size 2 needs 2048.0 GiB, the machine has `}, ""},
		{"a batch larger than memory", false, func(b *onnxtest.Builder) {
			b.Node("Relu", "y", []string{b.Input("x", -1, 1<<29)})
			b.Output("y", -1, 1<<29)
		}, []string{`test.onnx: `, ` GiB, the machine has `}, ""},
		{"a loss without rows of samples", true, func(b *onnxtest.Builder) {
			b.Node("ReduceSum", "y", []string{b.Node("MatMul", "m", []string{b.Input("x", -1, 4), b.Weight("w", 1, 4, 3)}), b.Ints("axes", 0)}, "keepdims", 0)
			b.Output("y", 3)
		}, []string{`test.onnx: output 0 has shape [3] at batch size 2, a loss wants one row per sample`}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := onnxtest.New(14, 1)
			c.make(b)
			g, err := graph.New(b.Model(t), "test.onnx")
			if err != nil {
				t.Fatal(err)
			}
			opt := Options{Batch: 2}
			if c.name == "a batch larger than memory" {
				opt.Batch = 1000
			}
			if c.train {
				opt.Loss = CrossEntropy{}
			}
			_, err = Compile(g, NewState(g), opt)
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error is\n%v\nand lacks %s", err, w)
				}
			}
			if c.not != "" && strings.Contains(err.Error(), c.not) {
				t.Errorf("error is\n%v\nand has %s", err, c.not)
			}
		})
	}
}

// A model that is bound to its batch size runs at that one.
func TestCompileAtOwnBatch(t *testing.T) {
	b := onnxtest.New(14, 1)
	b.Node("Add", "y", []string{b.Input("x", 3, 4), b.Weight("w", 1, 3, 4)})
	b.Output("y", 3, 4)
	g, err := graph.New(b.Model(t), "test.onnx")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Compile(g, NewState(g), Options{Batch: 3}); err != nil {
		t.Error(err)
	}
	_, err = Compile(g, NewState(g), Options{Batch: 2})
	if err == nil || !strings.Contains(err.Error(), "test.onnx: the file fixes its batch size at 3") {
		t.Errorf("error %v", err)
	}
}

// What a loss cannot score is an error, not a crash.
func TestCheckScored(t *testing.T) {
	b := onnxtest.New(14, 1)
	b.Input("x", -1, 4)
	b.Weight("w", 1, 3, 4)
	b.Output("w", 3, 4)
	g, err := graph.New(b.Model(t), "test.onnx")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(g, NewState(g), Options{Batch: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CheckScored(CrossEntropy{}); err == nil || !strings.Contains(err.Error(), "test.onnx: output 0 has shape [3,4] at batch size 2") {
		t.Errorf("error %v", err)
	}
}

// TestScoredSoftmax: a loss of class probabilities reads what goes into the Softmax of its classes only.
func TestScoredSoftmax(t *testing.T) {
	for _, c := range []struct {
		name   string
		opset  int64
		axis   int
		loss   Loss
		skips  bool
		shapes []int64
	}{
		{"of rows", 13, -1, CrossEntropy{}, true, []int64{-1, 4}},
		{"of rows, before opset 13", 11, 1, CrossEntropy{}, true, []int64{-1, 4}},
		{"classes first", 13, 1, CrossEntropy{}, true, []int64{-1, 5, 4}},
		{"over all that follows, before opset 13", 11, 1, CrossEntropy{}, false, []int64{-1, 5, 4}},
		{"over places", 13, 2, CrossEntropy{}, false, []int64{-1, 5, 4}},
		{"classes last", 13, -1, CrossEntropy{Last: true}, true, []int64{-1, 5, 4}},
		{"classes last, by KL", 13, 2, Distillation{Temperature: 1, Last: true}, true, []int64{-1, 5, 4}},
		{"places, with the classes last", 13, 1, CrossEntropy{Last: true}, false, []int64{-1, 5, 4}},
		{"values", 13, -1, MeanSquaredError{}, false, []int64{-1, 4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := onnxtest.New(c.opset, 1)
			h := b.Node("MatMul", "h", []string{b.Input("x", c.shapes...), b.Weight("w", 1, 4, 4)})
			b.Output(b.Node("Softmax", "y", []string{h}, "axis", c.axis), c.shapes...)
			g, err := graph.New(b.Model(t), "test.onnx")
			if err != nil {
				t.Fatal(err)
			}
			for _, loss := range []Loss{nil, c.loss} {
				p, err := Compile(g, NewState(g), Options{Batch: 2, Loss: loss})
				if err != nil {
					t.Fatal(err)
				}
				if got := p.Scored(c.loss) != p.Outputs[0]; got != c.skips {
					t.Errorf("compiled for %T it reads what is before the Softmax: %v, want %v", loss, got, c.skips)
				}
			}
		})
	}
}
