package export

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"github.com/onnxprune/onnxprune/onnxio"
)

// conditioned is the largest difference of the masked model in float32 from float64, by
// the measure of [Proof], at which two runs in float32 that sum in different orders can be
// held to agree to [Tolerance].
const conditioned = 2e-6

// fataler is what testing.TB and rapid.T have in common.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

// in64 removes units of the model at path and returns how far the masked model in
// float32 is from float64, and the pruned one from the masked one in float64.
func in64(t fataler, path string, removed [][]bool, pool *kernel.Pool) (precision, difference float64) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	g, err := load(path)
	check(err)
	g, err = g.Untie()
	check(err)
	gs, err := g.Groups(nil)
	check(err)
	masked, pruned, plan, err := (&Removal{Groups: gs, Removed: removed}).models(g)
	check(err)
	v := &prover{groups: gs, plan: plan, masked: masked, pruned: pruned, pool: pool}
	known, _, err := v.runnable()
	check(err)
	p, err := engine.Compile(known, engine.NewState(known), v.options())
	check(err)
	check(Random(known, 1)(p))
	inputs := clones(p.Inputs)
	check(p.Forward())
	r, err := v.interpret(masked, inputs)
	check(err)
	for {
		n, err := r.Next()
		check(err)
		if n == nil {
			break
		}
	}
	for i, y := range p.Outputs {
		if y.F != nil {
			precision = math.Max(precision, relative(r.Value(r.Graph.Outputs[i]).V, engine.NewArray(y).V))
		}
	}
	difference, err = v.compare64(inputs)
	check(err)
	return precision, difference
}

// TestAmplifiedRounding: the sine of a large multiple makes rounding large. In float32
// the two models differ by more than the tolerance; in float64 they have the same bits,
// which decides. A real difference is found all the same, with the node it begins at.
func TestAmplifiedRounding(t *testing.T) {
	m, err := onnxio.Load("../testdata/models/glyphs_resnet_bn.onnx")
	if err != nil {
		t.Fatal(err)
	}
	p := m.Proto
	logits, name := p.Graph.Output[0].GetName(), "y"
	p.Graph.Initializer = append(p.Graph.Initializer, onnxio.NewFloatTensor("large", []int{1}, []float32{1 << 14}))
	p.Graph.Node = append(p.Graph.Node, onnxio.NewNode("Mul", "times", []string{logits, "large"}, []string{"z"}), onnxio.NewNode("Sin", "sine", []string{"z"}, []string{name}))
	p.Graph.Output[0].Name = &name
	data, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.onnx")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	g := open(t, path)
	r := second(t, g)
	masked, pruned, plan, err := r.models(g)
	if err != nil {
		t.Fatal(err)
	}
	v := &prover{groups: r.Groups, plan: plan, masked: masked, pruned: pruned, pool: r.Pool}
	proof, err := v.prove(nil)
	if err != nil || proof.Precision != "float64" || proof.MaxRel != 0 || !(proof.MaxRelFloat32 > Tolerance) {
		t.Fatalf("%+v %v", proof, err)
	}
	const weight = "layer2.conv1.weight"
	_, values, err := pruned.Float32s(pruned.Initializer(weight))
	if err != nil {
		t.Fatal(err)
	}
	values[0] *= 1.001
	if err := pruned.SetTensor(weight, values); err != nil {
		t.Fatal(err)
	}
	if _, err = v.prove(nil); err == nil || !strings.Contains(err.Error(), `first at node "/layer2/conv1/Conv" (Conv)`) {
		t.Errorf("the error is %v", err)
	}
}

// TestProofOfLogarithms: inputs are drawn so that what is compared are numbers. Where no
// inputs make it so, the proof says how many are none.
func TestProofOfLogarithms(t *testing.T) {
	for _, last := range []string{"Identity", "Neg"} {
		b := onnxtest.New(13, 1)
		x := b.Node("Log", "log", []string{b.Input("x", -1, 3, 4, 4)})
		x = b.Node("Conv", "a", []string{x, b.Weight("a.w", 1, 6, 3, 1, 1)})
		x = b.Node("Conv", "c", []string{x, b.Weight("c.w", 1, 2, 6, 1, 1)})
		x = b.Node("Abs", "abs", []string{x})
		b.Output(b.Node("Sqrt", "root", []string{b.Node(last, "last", []string{x})}), -1, 2, 4, 4)
		path := filepath.Join(t.TempDir(), "log.onnx")
		if err := os.WriteFile(path, b.Bytes(t), 0o666); err != nil {
			t.Fatal(err)
		}
		g := open(t, path)
		proof, err := WriteRemoval(g, second(t, g), filepath.Join(t.TempDir(), "out.onnx"))
		want := map[string]int{"Identity": 0, "Neg": 2 * 2 * 16}[last]
		if err != nil || !proof.Ran || proof.NotFinite != want {
			t.Errorf("%s: %+v %v, want %d values that are no numbers", last, proof, err, want)
		}
	}
}
