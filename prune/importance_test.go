package prune

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/internal/onnxtest"
)

// threeFilters has one group of three: filters (1,1), (1,1.5), (−3,0), read with the
// weights (1,1), (0,1), (2,2).
func threeFilters(t *testing.T) *graph.Graph {
	t.Helper()
	b := onnxtest.New(13, 1)
	x := b.Input("x", -1, 2)
	x = b.Node("Gemm", "a", []string{x, b.Floats("a.weight", []float32{1, 1, 1, 1.5, -3, 0}, 3, 2)}, "transB", 1)
	x = b.Node("Relu", "r", []string{x})
	b.Node("Gemm", "y", []string{x, b.Floats("b.weight", []float32{1, 0, 2, 1, 1, 2}, 2, 3)}, "transB", 1)
	b.Output("y", -1, 2)
	g, err := graph.New(b.Model(t), "three.onnx")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestImportancesByHand(t *testing.T) {
	root := math.Sqrt
	mean := func(parts ...[]float64) []float64 {
		out := make([]float64, 3)
		for _, p := range parts {
			sum := p[0] + p[1] + p[2]
			for i := range out {
				out[i] += p[i] * 3 / sum / float64(len(parts))
			}
		}
		return out
	}
	// Distances between filters, and between the weights that read them.
	ab, ac, bc := 0.5, root(17), root(18.25)
	de, df, ef := 1.0, root(2), root(5)
	squares := mean([]float64{2, 3.25, 9}, []float64{2, 1, 8})
	for _, c := range []struct {
		name string
		kind Kind
		want []float64
	}{
		{"l1", KindFilter, mean([]float64{2, 2.5, 3}, []float64{2, 1, 4})},
		{"l1", KindChannel, mean([]float64{2, 1, 4})},
		{"l2", KindFilter, mean([]float64{root(2), root(3.25), 3}, []float64{root(2), 1, root(8)})},
		{"fpgm", KindFilter, mean([]float64{ab + ac, ab + bc, ac + bc}, []float64{de + df, de + ef, df + ef})},
		{"lamp", KindFilter, []float64{squares[0] / (squares[0] + squares[1] + squares[2]) * 1, 0, 1}},
	} {
		g := threeFilters(t)
		state := engine.NewState(g)
		u := unitsOf(t, g, state, Structure{Kind: c.kind}, Limits{})
		pool := kernel.NewPool(2)
		defer pool.Close()
		i, err := FindImportance(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if c.name == "lamp" {
			// In descending order: each over the sum of those not smaller.
			c.want = lampByHand(squares)
		}
		got := u.Scores(i, &Scoring{Graph: g, Pool: pool})
		if len(got) != 1 {
			t.Fatalf("%d groups, want 1", len(got))
		}
		for k := range c.want {
			if math.Abs(got[0][k]-c.want[k]) > 1e-6 {
				t.Errorf("%s %s: scores %v, want %v", c.name, Structure{Kind: c.kind}, got[0], c.want)
				break
			}
		}
	}
}

func lampByHand(v []float64) []float64 {
	out := make([]float64, len(v))
	for i := range v {
		sum := 0.0
		for _, w := range v {
			if w >= v[i] {
				sum += w
			}
		}
		out[i] = v[i] / sum
	}
	return out
}

// TestImportanceLeavesWhatItCannotScore: bn keeps groups without BatchNormalization.
func TestImportanceLeavesWhatItCannotScore(t *testing.T) {
	g := threeFilters(t)
	u := unitsOf(t, g, engine.NewState(g), Structure{Kind: KindFilter}, Limits{})
	pool := kernel.NewPool(1)
	defer pool.Close()
	i, err := FindImportance("bn")
	if err != nil {
		t.Fatal(err)
	}
	scores := u.Scores(i, &Scoring{Graph: g, Pool: pool})
	if _, err := u.Choose(Goal{Of: OfParams, Ratio: 0.3}, scores); err == nil {
		t.Error("something went")
	}
	if len(u.Left) != 1 || u.Left[0].Reason != "no BatchNormalization scales it" {
		t.Errorf("left whole: %+v", u.Left)
	}
}

// TestRandomFollowsTheSeed: the same seed ranks the same, another differently.
func TestRandomFollowsTheSeed(t *testing.T) {
	g := residualNet(t)
	u := unitsOf(t, g, engine.NewState(g), Structure{Kind: KindFilter}, Limits{})
	pool := kernel.NewPool(2)
	defer pool.Close()
	i, err := FindImportance("random")
	if err != nil {
		t.Fatal(err)
	}
	at := func(seed uint64) []float64 {
		return slices.Concat(u.Scores(i, &Scoring{Graph: g, Pool: pool, Seed: seed})...)
	}
	if !slices.Equal(at(1), at(1)) || slices.Equal(at(1), at(2)) {
		t.Error("scores do not follow the seed")
	}
}

// TestDistancesByProducts: many rows are compared by products of matrices, with the same
// result.
func TestDistancesByProducts(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	pool := kernel.NewPool(2)
	defer pool.Close()
	rows := make([][]float32, 300)
	for u := range rows {
		rows[u] = make([]float32, 37)
		for i := range rows[u] {
			rows[u][i] = float32(rng.NormFloat64())
		}
	}
	got := (&Scoring{Pool: pool}).sums(rows, slices.Concat(rows...))
	for u := range rows {
		want := 0.0
		for v := range rows {
			want += distance(rows[u], rows[v])
		}
		if math.Abs(got[u]-want) > 1e-5*want {
			t.Fatalf("row %d: %v, want %v", u, got[u], want)
		}
	}
}
