package prune

import (
	"math"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"pgregory.net/rapid"
)

// drawLayers makes masked tensors of several ranks with axes anywhere.
func drawLayers(t *rapid.T) (*Masks, [][]float32) {
	m := &Masks{}
	var scores [][]float32
	value := rapid.OneOf(rapid.SampledFrom([]float32{0, 1, -1, 0.5}), rapid.Float32Range(-2, 2))
	for range rapid.IntRange(1, 3).Draw(t, "layers") {
		shape := rapid.SliceOfN(rapid.IntRange(1, 7), 2, 4).Draw(t, "shape")
		axes := rapid.Permutation([]int{0, 1}).Draw(t, "axes")
		n := 1
		for _, d := range shape {
			n *= d
		}
		m.Layers = append(m.Layers, Layer{Shape: shape, Out: axes[0], In: axes[1], Mask: make([]float32, n)})
		m.total += n
		s := rapid.SliceOfN(value, n, n).Draw(t, "scores")
		for i := range s {
			s[i] += 0 // −0 and +0 are equal for sorting and not for bits
		}
		scores = append(scores, s)
	}
	return m, scores
}

// index returns the coordinates of a position.
func index(shape []int, at int) []int {
	c := make([]int, len(shape))
	for i := len(shape) - 1; i >= 0; i-- {
		c[i], at = at%shape[i], at/shape[i]
	}
	return c
}

// TestPatternExactly compares with the definition: among positions that agree in all
// coordinates but that of the input axis, and in which group of m it falls, the n
// largest stay, of equal ones the first.
func TestPatternExactly(t *testing.T) {
	pool := kernel.NewPool(3)
	defer pool.Close()
	rapid.Check(t, func(t *rapid.T) {
		ms, scores := drawLayers(t)
		m := rapid.IntRange(2, 6).Draw(t, "m")
		n := rapid.IntRange(1, m-1).Draw(t, "n")
		order, key := value, func(v float32) float32 { return v }
		if rapid.Bool().Draw(t, "by magnitude") {
			order, key = magnitude, func(v float32) float32 { return max(v, -v) }
		}
		masks := ms.masks()
		newPattern(ms, n, m, pool, order).project(scores, masks)
		for i, l := range ms.Layers {
			for at := range scores[i] {
				better, me := 0, index(l.Shape, at)
				for o := range scores[i] {
					other := index(l.Shape, o)
					same := other[l.In]/m == me[l.In]/m
					for d := range me {
						same = same && (d == l.In || me[d] == other[d])
					}
					if same && (key(scores[i][o]) > key(scores[i][at]) || key(scores[i][o]) == key(scores[i][at]) && o < at) {
						better++
					}
				}
				if want := better < n; (masks[i][at] == 1) != want || masks[i][at] != 0 && masks[i][at] != 1 {
					t.Fatalf("layer %v, %d:%d: mask at %v is %v, %d of its group are better", l.Shape, n, m, me, masks[i][at], better)
				}
			}
		}
	})
}

// TestBlocksExactly compares with the definition: blocks sorted by their mean, and of
// all prefixes the one whose elements come nearest to the request.
func TestBlocksExactly(t *testing.T) {
	pool := kernel.NewPool(3)
	defer pool.Close()
	rapid.Check(t, func(t *rapid.T) {
		ms, scores := drawLayers(t)
		rows, columns := rapid.IntRange(1, 4).Draw(t, "rows"), rapid.IntRange(1, 4).Draw(t, "columns")
		keep := rapid.IntRange(0, ms.total).Draw(t, "keep")
		type block struct {
			layer int
			at    []int
			mean  float64
		}
		found := map[[3]int]int{}
		var all []block
		for i, l := range ms.Layers {
			// A position's column is its place among those with the same output.
			column := map[int]int{}
			for at := range scores[i] {
				o := index(l.Shape, at)[l.Out]
				k := [3]int{i, o / rows, column[o] / columns}
				column[o]++
				if _, ok := found[k]; !ok {
					found[k] = len(all)
					all = append(all, block{layer: i})
				}
				b := &all[found[k]]
				b.at = append(b.at, at)
			}
		}
		keys := make([][3]int, len(all))
		for k, i := range found {
			keys[i] = k
			sum := 0.0
			for _, at := range all[i].at {
				sum += float64(scores[all[i].layer][at])
			}
			all[i].mean = float64(float32(sum / float64(len(all[i].at))))
		}
		order := make([]int, len(all))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int { return slices.Compare(keys[a][:], keys[b][:]) })
		sort.SliceStable(order, func(a, b int) bool { return all[order[a]].mean > all[order[b]].mean })
		kept, nearest := 0, keep
		for _, i := range order {
			kept += len(all[i].at)
			nearest = min(nearest, max(kept-keep, keep-kept))
		}
		masks := ms.masks()
		newBlocks(ms, rows, columns, keep, pool, value).project(scores, masks)
		got, state := 0, float32(1)
		for _, i := range order {
			b := all[i]
			for _, at := range b.at {
				if masks[b.layer][at] != masks[b.layer][b.at[0]] {
					t.Fatalf("a block of layer %d is split", b.layer)
				}
			}
			m := masks[b.layer][b.at[0]]
			if m > state {
				t.Fatal("a block stays that is worse than one that goes")
			}
			state = m
			got += int(m) * len(b.at)
		}
		if off := max(got-keep, keep-got); off != nearest {
			t.Fatalf("%d elements stay, %d are wanted, blocks allow to be off by %d", got, keep, nearest)
		}
	})
}

func TestParseStructure(t *testing.T) {
	for _, text := range []string{"weight", "filter", "channel", "2:4", "1:16", "block:4x1", "block:8x16"} {
		s, err := ParseStructure(text)
		if err != nil || s.String() != text {
			t.Errorf("%s is read as %s, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "4:2", "4:4", "0:4", "-1:4", "2:", "2:4:8", "x:y", "block:4", "block:0x1", "block:ax1", "filters", "2:99999999"} {
		if s, err := ParseStructure(text); err == nil {
			t.Errorf("%q is read as %s", text, s)
		}
	}
}

// TestPatternAxis: the groups run along the summed axis, whatever way a node reads its
// weight, and every run of bip ends within the pattern.
func TestPatternAxis(t *testing.T) {
	b := onnxtest.New(13, 3)
	x := b.Input("x", -1, 1, 8, 8)
	x = b.ConvBlock(x, "a", 1, 6, 3, 1)
	x = b.ConvBlock(x, "b", 6, 5, 3, 2)
	x = b.Node("Flatten", "flat", []string{x})
	x = b.Node("MatMul", "mm", []string{x, b.Weight("mm.weight", 0.3, 80, 10)})
	x = b.Node("Gemm", "plain", []string{x, b.Weight("plain.weight", 0.3, 10, 9)})
	turned := b.Node("Transpose", "turned", []string{b.Weight("turned.weight", 0.3, 4, 9)}, "perm", []int64{1, 0})
	b.Node("Gemm", "y", []string{x, turned})
	b.Output("y", -1, 4)
	g, err := graph.New(b.Model(t), "axes.onnx")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][2]int{"a.weight": {0, 1}, "b.weight": {0, 1}, "mm.weight": {1, 0}, "plain.weight": {1, 0}, "turned.weight": {0, 1}}
	for _, w := range g.Weights() {
		out, in, ok := w.Axes()
		if !ok || want[w.Value.Name] != [2]int{out, in} {
			t.Errorf("%s: outputs along %d, inputs along %d, want %v", w.Value.Name, out, in, want[w.Value.Name])
		}
	}
	c := config()
	c.Epochs, c.Structure = 1, Structure{Kind: KindNM, N: 2, M: 4}
	tr := trainer(t, g, 2, c)
	if err := NewBiP(tr).Run(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range tr.Masks.Layers {
		names = append(names, l.Name)
		copy(g.Value(l.Name).Init.F, l.Z)
	}
	if _, err := CheckPattern(g, c.Structure, names); err != nil {
		t.Error(err)
	}
	// 6 inputs: two of four and two of the last two; 1 input: all.
	l := tr.Masks.Layers[1]
	kept := 0
	for _, m := range l.Mask {
		kept += int(m)
	}
	if kept != len(l.Mask)/6*4 {
		t.Errorf("%d of %d weights of b stay", kept, len(l.Mask))
	}
	g.Value("mm.weight").Init.F[0], g.Value("mm.weight").Init.F[10], g.Value("mm.weight").Init.F[20] = 1, 1, 1
	if _, err := CheckPattern(g, c.Structure, names); err == nil || !strings.Contains(err.Error(), `initializer "mm.weight": 3 of the group of 4 at element 0`) && !strings.Contains(err.Error(), `4 of the group`) {
		t.Errorf("a broken pattern gives %v", err)
	}
}

// TestSharedAlongDifferentAxes: a weight that one node reads as it is and another
// turned has no input axis.
func TestSharedAlongDifferentAxes(t *testing.T) {
	b := onnxtest.New(13, 3)
	x := b.Input("x", -1, 4)
	w := b.Weight("w", 1, 4, 4)
	x = b.Node("Gemm", "p", []string{x, w})
	b.Node("Gemm", "y", []string{x, w}, "transB", 1)
	b.Output("y", -1, 4)
	g, err := graph.New(b.Model(t), "tied.onnx")
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMasks(g, engine.NewState(g), nil)
	if err != nil {
		t.Fatal(err)
	}
	err = m.CheckAxes(g.Name, Structure{Kind: KindNM, N: 2, M: 4})
	if err == nil || !strings.Contains(err.Error(), `tied.onnx: initializer "w": nodes read it along different axes, or reshaped (p, y)`) {
		t.Errorf("error is %v", err)
	}
	if err := m.CheckAxes(g.Name, Structure{}); err != nil {
		t.Error(err)
	}
	if math.IsNaN((Structure{Kind: KindNM, N: 1, M: 4}).Share()) || (Structure{Kind: KindNM, N: 1, M: 4}).Share() != 0.75 {
		t.Error("1:4 removes three quarters")
	}
}
