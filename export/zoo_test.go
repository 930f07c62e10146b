package export

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/internal/ortjudge"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// stiff are models that legitimately keep more of their parameters than a ratio of 0.3
// asks for, with the reason.
var stiff = map[string]string{
	"light_squeezenet": "its filters are no initializers but ConstantOfShape nodes of equal numbers",
	"tiny_if":          "its weights are read inside an If",
}

// TestZoo removes channels of every model there is, data-free, and holds the result
// against the masked model in ONNX Runtime. With -v it prints the table of make zoo.
func TestZoo(t *testing.T) {
	ortjudge.Require(t)
	pool := kernel.NewPool(2)
	defer pool.Close()
	dir := t.TempDir()
	var written []string
	for _, path := range zooModels(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		for _, ratio := range []float64{0.3, 0.6} {
			out := filepath.Join(dir, fmt.Sprintf("%s-%g.onnx", name, ratio))
			written = append(written, out)
			t.Run(fmt.Sprintf("%s/%g", name, ratio), func(t *testing.T) { zooModel(t, path, out, ratio, pool) })
		}
	}
	t.Run("checker", func(t *testing.T) { onnxChecker(t, written) })
}

func zooModels(t *testing.T) []string {
	var paths []string
	for _, p := range []string{"../testdata/models/*.onnx", "../../shared/models/*.onnx", "../../shared/zoo/*.onnx"} {
		found, err := filepath.Glob(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			t.Logf("%s: no model there, not tested", p)
		}
		paths = append(paths, found...)
	}
	return paths
}

func zooModel(t *testing.T, path, pruned string, ratio float64, pool *kernel.Pool) {
	m, err := onnxio.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Inline(); err != nil {
		t.Fatal(err)
	}
	g, err := graph.New(m, filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	if g, err = g.Untie(); err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSuffix(filepath.Base(path), ".onnx")
	gs, err := g.Groups(nil)
	if err != nil {
		if stiff[name] == "" {
			t.Fatal(err)
		}
		t.Logf("zoo: %-28s %4.1f refused: %s (%v)", name, ratio, stiff[name], err)
		return
	}
	removal := smallest(gs, ratio)
	dense := gs.NewRemoval()
	params, macs := dense.Params(), dense.MACs()
	keptParams, keptMACs := gs.Cost(removal)
	loads := ortjudge.Load(t, path)
	r := Removal{Groups: gs, Removed: removal, Pool: pool}
	masked := filepath.Join(t.TempDir(), "masked.onnx")
	writeMasked(t, g, gs, removal, masked)
	proof, err := WriteRemoval(g, r, pruned)
	if err != nil {
		t.Fatal(err)
	}
	achieved := float64(params-keptParams) / float64(params)
	checkCost(t, pruned, keptParams, keptMACs)
	diff := "-"
	if loads == nil {
		plain, optimised := compareRuntime(t, masked, pruned, g, gs)
		diff = fmt.Sprintf("%.2g (optimised %.2g)", plain, optimised)
		if !(plain <= Tolerance) {
			t.Errorf("pruned and masked model differ by %g in ONNX Runtime", plain)
		}
	}
	if dense.MACs() < 2e7 && ratio == 0.6 && len(proof.Until) == 0 {
		if _, d := in64(t, path, removal, pool); d != 0 {
			t.Errorf("pruned and masked model differ by %g in float64, want the same bits", d)
		}
	}
	if len(proof.Until) > 0 {
		proof.Reason = "compared up to " + strings.Join(proof.Until, ", ")
	}
	if r := stiff[name]; r != "" {
		proof.Reason = strings.Trim(r+"; "+proof.Reason, "; ")
	} else if achieved < 0.25 && ratio == 0.3 {
		t.Errorf("%.1f %% of the parameters can go", 100*achieved)
	}
	t.Logf("zoo: %-28s %4.1f %4d groups %4d frozen  params %9d → %9d (%4.1f %%)  MACs %11d → %11d  ours %.2g  ONNX Runtime %s  %s", name, ratio, len(gs.Groups), len(gs.Frozen), params, keptParams, 100*achieved, macs, keptMACs, proof.MaxRel, diff, proof.Reason)
}

// checkCost compares what was counted with what a written model has.
func checkCost(t *testing.T, path string, params, macs int64) {
	t.Helper()
	g := open(t, path)
	gs, err := g.Groups(nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := gs.NewRemoval().MACs(); g.Params() != params || n != macs {
		t.Errorf("counted %d parameters and %d MACs, the pruned model has %d and %d", params, macs, g.Params(), n)
	}
}

// writeMasked writes the model with the slices of removed units at zero.
func writeMasked(t *testing.T, g *graph.Graph, gs *graph.Groups, removed [][]bool, path string) {
	m, err := g.File.Clone()
	if err != nil {
		t.Fatal(err)
	}
	for name, keep := range gs.Keep(removed) {
		if err := m.MaskTensor(name, keep); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
}

// smallest removes the units with the least norm of their weights per element, over all
// groups, until a share of the parameters is gone.
func smallest(gs *graph.Groups, ratio float64) [][]bool {
	type unit struct {
		g, u int
		norm float64
	}
	var order []unit
	for g := range gs.Groups {
		mean := 0.0
		first := len(order)
		for u := range gs.Groups[g].Width {
			sum, n := 0.0, 0
			for i := range gs.Groups[g].Members {
				m := &gs.Groups[g].Members[i]
				if !m.Weight || m.Value.Init == nil {
					continue
				}
				for lo, hi := range m.Elements(u) {
					for _, x := range m.Value.Init.F[lo:hi] {
						sum += float64(x) * float64(x)
					}
					n += hi - lo
				}
			}
			norm := math.Sqrt(sum / float64(max(1, n)))
			mean += norm / float64(gs.Groups[g].Width)
			order = append(order, unit{g, u, norm})
		}
		for i := first; i < len(order); i++ {
			order[i].norm /= mean + 1e-30
		}
	}
	slices.SortStableFunc(order, func(a, b unit) int {
		switch {
		case a.norm < b.norm:
			return -1
		case a.norm > b.norm:
			return 1
		}
		return 0
	})
	r := gs.NewRemoval()
	goal := int64(float64(r.Params()) * (1 - ratio))
	for _, x := range order {
		if r.Params() <= goal {
			break
		}
		if !r.Empties(x.g, x.u) {
			r.Set(x.g, x.u, true)
		}
	}
	return r.Removed()
}

// compareRuntime runs both models in ONNX Runtime and returns the largest difference
// relative to the largest value of an output: node by node as the file has them, and with
// the runtime's optimisations, which fuse and reorder differently in the two models and
// change the masked model by as much as they change the difference.
func compareRuntime(t *testing.T, masked, pruned string, g *graph.Graph, gs *graph.Groups) (plain, optimised float64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(5, 6))
	feed := map[string]ortjudge.Tensor{}
	for _, v := range gs.Inputs() {
		in := gs.Shapes.Of[v.Index]
		x := ortjudge.Tensor{}
		for _, d := range in.Shape {
			x.Shape = append(x.Shape, int64(d))
		}
		for range in.Size() {
			switch {
			case in.Type.IsFloat():
				x.F = append(x.F, float32(rng.NormFloat64()))
			case in.Type == op.Bool:
				x.B = append(x.B, rng.Int64N(2) == 1)
			default:
				x.I = append(x.I, rng.Int64N(2))
			}
		}
		feed[v.Name] = x
	}
	difference := func(level ortjudge.Level) float64 {
		var out [2]map[string]ortjudge.Tensor
		for i, path := range []string{masked, pruned} {
			var err error
			if out[i], err = ortjudge.Open(t, path, ortjudge.Options{Level: level}).Run(feed); err != nil {
				t.Fatal(err)
			}
		}
		worst := 0.0
		for _, v := range g.Outputs {
			worst = math.Max(worst, apart(t, v.Name, out[0][v.Name], out[1][v.Name], terms(v)))
		}
		return worst
	}
	return difference(ortjudge.LevelNone), difference(ortjudge.LevelAll)
}

// terms is the size of what a value is computed from, where that is known to be larger
// than the value may be: ONNX Runtime computes a Sigmoid as ½ + ½·tanh(x/2), so that a
// probability of 0.001 is exact to 2⁻²⁴ and not to 2⁻³³.
func terms(v *graph.Value) float64 {
	for v.Producer != nil && slices.Contains([]string{"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity"}, v.Producer.Type) {
		v = v.Producer.In[0]
	}
	if v.Producer != nil && v.Producer.Type == "Sigmoid" {
		return 0.5
	}
	return 1e-30
}

// apart is the largest difference of an output over its largest value or the size of its
// terms.
func apart(t *testing.T, name string, x, y ortjudge.Tensor, terms float64) float64 {
	t.Helper()
	if !slices.Equal(x.Shape, y.Shape) {
		t.Fatalf("output %q has shape %v, masked %v", name, y.Shape, x.Shape)
	}
	if !slices.Equal(x.I, y.I) || !slices.Equal(x.B, y.B) {
		return math.Inf(1)
	}
	largest, top := terms, 0.0
	for i, v := range x.F {
		largest = math.Max(largest, math.Abs(float64(v)))
		if d := math.Abs(float64(v - y.F[i])); d > top || math.IsNaN(d) {
			top = d
		}
	}
	return top / largest
}

// onnxChecker runs the ONNX checker on files where Python has it.
func onnxChecker(t *testing.T, paths []string) {
	python := "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		t.Skipf("%s is not there: the ONNX checker was not run", python)
	}
	const script = `import sys, onnx
for path in sys.argv[1:]:
    try:
        onnx.checker.check_model(path)
    except Exception as e:
        print(path, e)
`
	paths = slices.DeleteFunc(paths, func(p string) bool { _, err := os.Stat(p); return err != nil })
	out, err := exec.Command(python, append([]string{"-c", script}, paths...)...).CombinedOutput()
	if strings.Contains(string(out), "No module named") {
		t.Skip("python3 has no onnx: the checker was not run")
	}
	if err != nil || len(out) > 0 {
		t.Errorf("the ONNX checker refuses pruned models: %v\n%s", err, out)
	}
}
