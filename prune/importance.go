package prune

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Importance scores the units of groups: the smallest go first. An importance is one
// file that calls register.
type Importance struct {
	// Name as --importance takes it.
	Name string
	// Gradients marks one that needs data; Score then finds Scoring.Taylor.
	Gradients bool
	// Score returns a score per group and unit. Units of different groups are
	// compared, so that scores must not depend on the size of a layer. A nil slice
	// leaves a group whole; the reason is what Score says of it.
	Score func(s *Scoring) (scores [][]float64, reason string)
}

// Scoring is what importances see.
type Scoring struct {
	Units *Units
	Graph *graph.Graph
	Pool  *kernel.Pool
	Seed  uint64
	// Taylor holds, per group and unit, the first-order change of the loss.
	Taylor [][]float64
}

// The importances by default: what did best without training, and what bi-level pruning
// starts from, in the measurements that RATIONALE.md lists.
const (
	UntrainedImportance = "fpgm"
	TrainedImportance   = "l2"
)

var importances = map[string]Importance{}

func register(i Importance) { importances[i.Name] = i }

// Importances are the names of all importances, sorted.
func Importances() []string { return slices.Sorted(maps.Keys(importances)) }

// FindImportance returns the importance of that name.
func FindImportance(name string) (Importance, error) {
	i, ok := importances[name]
	if !ok {
		return i, fmt.Errorf("--importance is %q, wants one of %s", name, strings.Join(Importances(), ", "))
	}
	return i, nil
}

// Scores applies an importance. Groups that it cannot score stay whole.
func (u *Units) Scores(i Importance, s *Scoring) [][]float64 {
	s.Units = u
	scores, reason := i.Score(s)
	for g := range scores {
		if scores[g] == nil {
			scores[g] = make([]float64, u.Groups.Groups[g].Width)
			if w := &u.shape[g]; w.most > 0 && w.fixed < 0 {
				w.most = 0
				u.Left = append(u.Left, LeftGroup{u.Groups.Groups[g].Name, reason})
			}
		}
	}
	return scores
}

// each scores every group on its own, in parallel.
func (s *Scoring) each(f func(g int) []float64) [][]float64 {
	out := make([][]float64, len(s.Units.Groups.Groups))
	s.Pool.Run(len(out), func(g, _ int) { out[g] = f(g) })
	return out
}

// slices lists the members of a group that a score reads: weights of at least two
// axes, and all parameters where there is none. Under KindChannel they are those that
// read the channel, where there are any.
func (s *Scoring) slices(g int) []*graph.Member {
	pick := func(matrices, readers bool) (out []*graph.Member) {
		grp := &s.Units.Groups.Groups[g]
		for i := range grp.Members {
			m := &grp.Members[i]
			if m.Weight && s.values(m) != nil && (!matrices || len(m.Shape()) > 1) && (!readers || !m.Produces) {
				out = append(out, m)
			}
		}
		return out
	}
	if s.Units.Structure.Kind == KindChannel {
		if list := pick(true, true); len(list) > 0 {
			return list
		}
	}
	if list := pick(true, false); len(list) > 0 {
		return list
	}
	return pick(false, false)
}

// values are the present elements of a member.
func (s *Scoring) values(m *graph.Member) []float32 {
	if at, ok := s.Units.layerOf[m.Value.Name]; ok {
		return s.Units.Masks.Layers[at].Theta
	}
	if m.Value.Init != nil {
		return m.Value.Init.F
	}
	return nil
}

// relative divides by the mean; scores that are all zero stay.
func relative(v []float64) []float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	if sum > 0 {
		for i := range v {
			v[i] *= float64(len(v)) / sum
		}
	}
	return v
}
