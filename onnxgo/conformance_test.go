package onnxgo

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend"
	"github.com/owulveryck/onnx-go/backend/testbackend"
	_ "github.com/owulveryck/onnx-go/backend/testbackend/onnx"
	"gorgonia.org/tensor"

	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

var _ backend.ComputationBackend = (*Backend)(nil)

var update = flag.Bool("update", false, "write the manifest")

const manifest = "testdata/conformance.txt"

// retyped are the cases whose scalars onnx-go has as floats of shape [1], where the model
// declares integers: they are read as the model says.
const retyped = "scalars read as the model declares them"

// TestConformance runs the conformance cases of onnx-go. The manifest says for every
// case that it passes, or why it cannot be run. A wrong value is never accepted,
// also not with -update.
func TestConformance(t *testing.T) {
	var cases []*testbackend.TestCase
	for _, c := range testbackend.FindAllTestsMatching(regexp.MustCompile("")) {
		cases = append(cases, c())
	}
	slices.SortFunc(cases, func(a, b *testbackend.TestCase) int { return cmp.Compare(a.Title, b.Title) })
	if len(cases) < 348 {
		t.Fatalf("onnx-go has %d conformance cases, wants at least 348", len(cases))
	}
	var lines []string
	passed := 0
	for _, c := range cases {
		line := "pass " + c.Title
		passed++
		t.Run(c.Title, func(t *testing.T) {
			cast, err := conforms(c)
			if cast {
				line += ": " + retyped
			}
			if err != nil {
				var wrong *wrongValue
				if errors.As(err, &wrong) {
					t.Error(err)
				}
				passed--
				text, _, _ := strings.Cut(err.Error(), "\n")
				text, _, _ = strings.Cut(text, " (&ir.") // a dump of addresses
				line = fmt.Sprintf("excluded %s: %s", c.Title, text)
			}
		})
		lines = append(lines, line)
		t.Log(line)
	}
	t.Logf("judge: onnx-go conformance: %d cases run, %d passed, %d excluded", len(lines), passed, len(lines)-passed)
	if t.Failed() {
		return
	}
	text := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile(manifest, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	golden, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSuffix(string(golden), "\n"), "\n")
	for _, l := range lines {
		if !slices.Contains(want, l) {
			t.Errorf("not in %s: %s", manifest, l)
		}
	}
	for _, l := range want {
		if !slices.Contains(lines, l) {
			t.Errorf("only in %s: %s", manifest, l)
		}
	}
}

// wrongValue is the error of a result that is not the expected one.
type wrongValue struct{ error }

// conforms runs one case as onnx-go does. The error says why it cannot be run, or what is wrong;
// cast, whether values had to be brought into the declared types.
func conforms(c *testbackend.TestCase) (cast bool, err error) {
	file, err := onnxio.LoadBytes("model", c.ModelB)
	if err != nil {
		return false, err
	}
	b := New(Options{Opset: int(file.Opset("")), Threads: 2})
	defer b.Close()
	m := onnx.NewModel(b)
	if err := m.UnmarshalBinary(c.ModelB); err != nil {
		return false, err
	}
	for i, x := range c.Input {
		x, changed, err := declared(x, file.Proto.Graph.Input[i])
		if err != nil {
			return cast, err
		}
		cast = cast || changed
		if err := m.SetInput(i, x); err != nil {
			return cast, err
		}
	}
	if err := b.Run(); err != nil {
		return cast, err
	}
	got, err := m.GetOutputTensors()
	if err != nil {
		return cast, err
	}
	if len(got) != len(c.ExpectedOutput) {
		return cast, &wrongValue{fmt.Errorf("%d outputs, wants %d", len(got), len(c.ExpectedOutput))}
	}
	for i, want := range c.ExpectedOutput {
		want, changed, err := declared(want, file.Proto.Graph.Output[i])
		if err != nil {
			return cast, err
		}
		cast = cast || changed
		if err := same(got[i], want); err != nil {
			return cast, &wrongValue{fmt.Errorf("output %d: %w", i, err)}
		}
	}
	return cast, nil
}

// declared returns a float of shape [1] as the integer that the model declares in its place.
func declared(x tensor.Tensor, v *onnxio.ValueInfoProto) (tensor.Tensor, bool, error) {
	t := v.GetType().GetTensorType()
	kind := op.Type(t.GetElemType())
	if x.Dtype() != tensor.Float32 || kind.IsFloat() || !slices.Equal(x.Shape(), []int{1}) {
		return x, false, nil
	}
	value := &op.Tensor{Type: kind, I: []int64{int64(x.Data().([]float32)[0])}}
	for range t.GetShape().GetDim() {
		value.Shape = append(value.Shape, 1)
	}
	y, err := toTensor(value)
	return y, true, err
}

// same compares as onnx-go does, shapes and types exactly and elements to 1e-6, but to 1e-6 of
// an element where that is more, since float32 holds no more of it.
func same(got, want tensor.Tensor) error {
	if got == nil {
		return errors.New("has no value")
	}
	x, err := fromTensor(got)
	if err != nil {
		return err
	}
	y, err := fromTensor(want)
	if err != nil {
		return fmt.Errorf("the expected value: %w", err)
	}
	if x.Type != y.Type || !slices.Equal(x.Shape, y.Shape) {
		return fmt.Errorf("is %s %s, wants %s %s", x.Type, op.ShapeString(x.Shape), y.Type, op.ShapeString(y.Shape))
	}
	if !slices.Equal(x.I, y.I) {
		return fmt.Errorf("is %v, wants %v", x.I, y.I)
	}
	for i, w := range y.F {
		a, b := float64(x.F[i]), float64(w)
		if a != b && !(math.Abs(a-b) <= 1e-6*max(1, math.Abs(b))) && !(math.IsNaN(a) && math.IsNaN(b)) {
			return fmt.Errorf("element %d is %v, wants %v", i, a, b)
		}
	}
	return nil
}
