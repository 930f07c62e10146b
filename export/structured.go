package export

import (
	"errors"
	"fmt"
	"strings"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/onnxio"
)

// Removal is what structured pruning left behind.
type Removal struct {
	// Values are the new elements of initializers by name, as before the removal,
	// row-major. Initializers that are absent keep theirs.
	Values map[string][]float32
	Groups *graph.Groups
	// Removed[g][u] says that unit u of group g goes.
	Removed [][]bool
	// KeepShapes writes the masked model: zeros in place, nothing cut.
	KeepShapes bool
	// Inputs are the samples of the proof; nil for random ones.
	Inputs Inputs
	Pool   *kernel.Pool
}

// WriteRemoval puts values into the file that the groups were found in, removes the
// slices of the removed units, and saves the result at path, which may be the file
// itself. The graph must not be used after.
//
// Before it is saved, the pruned model, decoded from the bytes to be written, and the
// model with the same slices at zero are run on the same inputs and must agree to
// [Tolerance]; otherwise nothing is written, and the error names the first node whose
// values differ. What our engine cannot run is not written either, but for KeepShapes,
// which cuts nothing; the proof then says why.
func WriteRemoval(g *graph.Graph, r Removal, path string) (Proof, error) {
	masked, pruned, plan, err := r.models(g)
	if err != nil {
		return Proof{}, err
	}
	v := &prover{groups: r.Groups, plan: plan, masked: masked, pruned: pruned, pool: r.Pool}
	proof, err := v.prove(r.Inputs)
	why := (cannotRun{})
	switch {
	case err == nil:
	case !errors.As(err, &why):
		return proof, fmt.Errorf("%s: the pruned model failed its check and was not written: %w", g.Name, err)
	case r.KeepShapes:
		proof.Reason = oneLine(why)
	default:
		return proof, fmt.Errorf("%s: the pruned model was not written, since it cannot be run beside the masked one: %s\nhint: --keep-shapes leaves zeros in place, which needs no such check", g.Name, oneLine(why))
	}
	if r.KeepShapes {
		return proof, masked.Save(path)
	}
	return proof, pruned.Save(path)
}

// models makes the masked and the pruned model.
func (r *Removal) models(g *graph.Graph) (masked, pruned *onnxio.Model, plan *graph.Plan, err error) {
	if plan, err = r.Groups.Plan(r.Removed); err != nil {
		return nil, nil, nil, err
	}
	m := g.File
	for _, v := range g.Initializers() {
		if values := r.Values[v.Name]; values != nil {
			if err := m.SetTensor(v.Name, values); err != nil {
				return nil, nil, nil, err
			}
		}
	}
	if masked, err = m.Clone(); err != nil {
		return nil, nil, nil, err
	}
	keep := r.Groups.Keep(r.Removed)
	for _, v := range g.Values {
		if k := keep[v.Name]; k != nil {
			if err := masked.MaskTensor(v.Name, k); err != nil {
				return nil, nil, nil, err
			}
		}
	}
	if err := plan.Apply(m); err != nil {
		return nil, nil, nil, err
	}
	// What is run is what the bytes say.
	pruned, err = m.Clone()
	return masked, pruned, plan, err
}

// oneLine is the first line of an error.
func oneLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}
