package export

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"github.com/onnxprune/onnxprune/internal/ortjudge"
	"github.com/onnxprune/onnxprune/onnxio"
)

// image is a value [N,C,4,4] of a random graph.
type image struct {
	name string
	c    int
}

// sketch draws a random graph of the operators that channel rules connect.
type sketch struct {
	*onnxtest.Builder
	t     *rapid.T
	n     int
	opset int
	batch int64 // −1 where the file leaves it open
}

func (s *sketch) name(kind string) string {
	s.n++
	return fmt.Sprintf("%s%d", kind, s.n)
}

func (s *sketch) conv(x image, out, k, group int) image {
	y := s.name("conv")
	in := []string{x.name, s.Weight(y+".w", 1, out, x.c/group, k, k)}
	if rapid.Bool().Draw(s.t, "bias") {
		in = append(in, s.Weight(y+".b", 1, out))
	}
	p := int64(k / 2)
	return image{s.Node("Conv", y, in, "kernel_shape", []int64{int64(k), int64(k)}, "pads", []int64{p, p, p, p}, "group", group), out}
}

// like makes x fit c channels.
func (s *sketch) like(x image, c int) image {
	if x.c == c {
		return x
	}
	return s.conv(x, c, 1, 1)
}

// divisor draws a divisor of n that is neither 1 nor n; 1 where there is none.
func (s *sketch) divisor(n int) int {
	var all []int
	for d := 2; d < n; d++ {
		if n%d == 0 {
			all = append(all, d)
		}
	}
	if all == nil {
		return 1
	}
	return rapid.SampledFrom(all).Draw(s.t, "divisor")
}

func (s *sketch) reshape(x string, shape ...int64) string {
	y := s.name("reshape")
	return s.Node("Reshape", y, []string{x, s.Ints(y+".shape", shape...)})
}

func (s *sketch) ints(kind string, v ...int64) string { return s.Ints(s.name(kind), v...) }

// steps are what a random graph is made of; each returns a new image.
var steps = map[string]func(s *sketch, x, other image) image{
	"conv": func(s *sketch, x, _ image) image {
		return s.conv(x, rapid.SampledFrom([]int{4, 6, 8}).Draw(s.t, "out"), rapid.SampledFrom([]int{1, 3}).Draw(s.t, "k"), 1)
	},
	"depthwise": func(s *sketch, x, _ image) image { return s.conv(x, x.c*rapid.IntRange(1, 2).Draw(s.t, "m"), 3, x.c) },
	"grouped": func(s *sketch, x, _ image) image {
		g := s.divisor(x.c)
		return s.conv(x, g*rapid.IntRange(1, 3).Draw(s.t, "per"), 1, g)
	},
	"norm": func(s *sketch, x, _ image) image { return image{s.Norm(x.name, s.name("norm"), x.c), x.c} },
	"act": func(s *sketch, x, _ image) image {
		op := rapid.SampledFrom([]string{"Relu", "Sigmoid", "Tanh", "Softplus", "HardSigmoid"}).Draw(s.t, "act")
		return image{s.Node(op, s.name("act"), []string{x.name}), x.c}
	},
	"prelu": func(s *sketch, x, _ image) image {
		y := s.name("prelu")
		return image{s.Node("PRelu", y, []string{x.name, s.Weight(y+".slope", 1, x.c, 1, 1)}), x.c}
	},
	"instance": func(s *sketch, x, _ image) image {
		y := s.name("instance")
		return image{s.Node("InstanceNormalization", y, []string{x.name, s.Weight(y+".scale", 1, x.c), s.Weight(y+".bias", 1, x.c)}), x.c}
	},
	"affine": func(s *sketch, x, _ image) image {
		y := s.name("affine")
		c := s.Node("Constant", y+".scale", nil, "value", onnxio.NewFloatTensor("", []int{1, x.c, 1, 1}, s.values(x.c)))
		m := s.Node("Mul", y+".mul", []string{x.name, c})
		return image{s.Node("Add", y, []string{m, s.Weight(y+".shift", 1, x.c, 1, 1)}), x.c}
	},
	"divide": func(s *sketch, x, _ image) image {
		y := s.name("divide")
		return image{s.Node("Div", y, []string{x.name, s.Uniform(y+".by", 1, 2, x.c, 1, 1)}), x.c}
	},
	"add": func(s *sketch, x, o image) image {
		op := rapid.SampledFrom([]string{"Add", "Sub", "Mul"}).Draw(s.t, "op")
		return image{s.Node(op, s.name("join"), []string{s.like(o, x.c).name, x.name}), x.c}
	},
	"excite": func(s *sketch, x, _ image) image {
		pool := image{s.Node("GlobalAveragePool", s.name("pool"), []string{x.name}), x.c}
		gate := s.Node("Sigmoid", s.name("gate"), []string{s.conv(s.conv(pool, 3, 1, 1), x.c, 1, 1).name})
		return image{s.Node("Mul", s.name("excite"), []string{x.name, gate}), x.c}
	},
	"concat": func(s *sketch, x, o image) image {
		return image{s.Node("Concat", s.name("concat"), []string{x.name, o.name}, "axis", 1), x.c + o.c}
	},
	"split": func(s *sketch, x, _ image) image {
		a := rapid.IntRange(1, x.c-1).Draw(s.t, "at")
		even := x.c%2 == 0 && rapid.Bool().Draw(s.t, "even")
		y := s.name("split")
		sizes := []int64{int64(a), int64(x.c - a)}
		n := onnxio.NewNode("Split", y, []string{x.name}, []string{y + ".a", y + ".b"})
		axis, i, name := onnxio.AttributeProto_INT, int64(1), "axis"
		n.Attribute = append(n.Attribute, &onnxio.AttributeProto{Name: &name, Type: &axis, I: &i})
		switch {
		case even && s.opset >= 18:
			two, name := int64(2), "num_outputs"
			n.Attribute = append(n.Attribute, &onnxio.AttributeProto{Name: &name, Type: &axis, I: &two})
		case even:
		case s.opset >= 13:
			n.Input = append(n.Input, s.ints("sizes", sizes...))
		default:
			list, name := onnxio.AttributeProto_INTS, "split"
			n.Attribute = append(n.Attribute, &onnxio.AttributeProto{Name: &name, Type: &list, Ints: sizes})
		}
		s.Proto.Graph.Node = append(s.Proto.Graph.Node, n)
		return image{s.Node("Concat", s.name("swap"), []string{y + ".b", y + ".a"}, "axis", 1), x.c}
	},
	"slice": func(s *sketch, x, _ image) image {
		lo := rapid.IntRange(0, x.c-2).Draw(s.t, "lo")
		hi := rapid.IntRange(lo+2, x.c).Draw(s.t, "hi")
		y := s.name("slice")
		return image{s.Node("Slice", y, []string{x.name, s.ints("starts", int64(lo)), s.ints("ends", int64(hi)), s.ints("axes", 1)}), hi - lo}
	},
	"pad": func(s *sketch, x, _ image) image {
		a, b := rapid.IntRange(0, 2).Draw(s.t, "a"), rapid.IntRange(-1, 2).Draw(s.t, "b")
		y := s.name("pad")
		return image{s.Node("Pad", y, []string{x.name, s.ints("pads", 0, int64(a), 0, 0, 0, int64(b), 0, 0)}), x.c + a + b}
	},
	"shuffle": func(s *sketch, x, _ image) image {
		g := s.divisor(x.c)
		y := s.reshape(x.name, 0, int64(g), int64(x.c/g), 4, 4)
		y = s.Node("Transpose", s.name("shuffle"), []string{y}, "perm", []int64{0, 2, 1, 3, 4})
		return image{s.reshape(y, 0, int64(x.c), 4, 4), x.c}
	},
	// What exporters write for chunk and view: positions and targets from shapes.
	"half": func(s *sketch, x, _ image) image {
		if x.c < 4 {
			return s.conv(x, 6, 1, 1)
		}
		y := s.name("half")
		end := s.Node("Div", y+".end", []string{s.channels(x), s.ints("two", 2)})
		return image{s.Node("Slice", y, []string{x.name, s.ints("starts", 0), end, s.ints("axes", 1)}), x.c / 2}
	},
	"computed": func(s *sketch, x, _ image) image {
		g := s.divisor(x.c)
		y := s.name("computed")
		per := s.Node("Div", y+".per", []string{s.channels(x), s.ints("groups", int64(g))})
		to := s.Node("Concat", y+".to", []string{s.ints("batch", 0), s.ints("g", int64(g)), per, s.ints("pixels", 16)}, "axis", 0)
		r := s.Node("Reshape", y, []string{x.name, to})
		r = s.Node("Transpose", y+".turned", []string{r}, "perm", []int64{0, 2, 1, 3})
		back := s.Node("Concat", y+".back", []string{s.ints("batch", 0), s.channels(x), s.ints("rows", 4), s.ints("rest", -1)}, "axis", 0)
		return image{s.Node("Reshape", y+".image", []string{r, back}), x.c}
	},
	"gather": func(s *sketch, x, _ image) image {
		n := rapid.IntRange(2, 6).Draw(s.t, "n")
		var at []int64
		for range n {
			at = append(at, int64(rapid.IntRange(0, x.c-1).Draw(s.t, "index")))
		}
		return image{s.Node("Gather", s.name("gather"), []string{x.name, s.ints("indices", at...)}, "axis", 1), n}
	},
	"transposed": func(s *sketch, x, _ image) image {
		g := 1
		if rapid.Bool().Draw(s.t, "grouped") {
			g = s.divisor(x.c)
		}
		out := rapid.IntRange(1, 4).Draw(s.t, "out")
		y := s.name("up")
		return image{s.Node("ConvTranspose", y, []string{x.name, s.Weight(y+".w", 1, x.c, out, 3, 3), s.Weight(y+".b", 1, out*g)}, "group", g, "pads", []int64{1, 1, 1, 1}), out * g}
	},
	"blocks": func(s *sketch, x, _ image) image {
		deep := s.Node("SpaceToDepth", s.name("deep"), []string{x.name}, "blocksize", 2)
		c := s.conv(image{deep, 4 * x.c}, 8, 1, 1)
		mode := rapid.SampledFrom([]string{"DCR", "CRD"}).Draw(s.t, "mode")
		return image{s.Node("DepthToSpace", s.name("wide"), []string{c.name}, "blocksize", 2, "mode", mode), 2}
	},
	"attention": func(s *sketch, x, _ image) image {
		h, d := 2, 3
		e := h * d
		y := s.name("attention")
		tokens := s.Node("Transpose", y+".tokens", []string{s.reshape(x.name, 0, int64(x.c), 16)}, "perm", []int64{0, 2, 1})
		heads := func(kind string, perm ...int64) string {
			p := s.Node("MatMul", y+"."+kind, []string{tokens, s.Weight(y+"."+kind+".w", 0.5, x.c, e)})
			p = s.Node("Add", y+"."+kind+".biased", []string{p, s.Weight(y+"."+kind+".b", 0.5, e)})
			return s.Node("Transpose", y+"."+kind+".heads", []string{s.reshape(p, 0, 16, int64(h), int64(d))}, "perm", perm)
		}
		score := s.Node("MatMul", y+".score", []string{heads("q", 0, 2, 1, 3), heads("k", 0, 2, 3, 1)})
		mixed := s.Node("MatMul", y+".mixed", []string{s.Node("Softmax", y+".softmax", []string{score}, "axis", -1), heads("v", 0, 2, 1, 3)})
		flat := s.reshape(s.Node("Transpose", y+".back", []string{mixed}, "perm", []int64{0, 2, 1, 3}), 0, 16, int64(e))
		out := s.Node("MatMul", y+".out", []string{flat, s.Weight(y+".out.w", 0.5, e, 5)})
		image4 := s.reshape(s.Node("Transpose", y+".image", []string{out}, "perm", []int64{0, 2, 1}), 0, 5, 4, 4)
		return image{image4, 5}
	},
	"mean": func(s *sketch, x, _ image) image {
		// The mean over channels freezes them, but not what reads the result.
		return s.conv(image{s.reduce("ReduceMean", 18, x), 1}, 4, 1, 1)
	},
	"sum": func(s *sketch, x, _ image) image {
		return s.conv(image{s.reduce("ReduceSum", 13, x), 1}, 4, 1, 1)
	},
	"softmax": func(s *sketch, x, _ image) image {
		return image{s.Node("Softmax", s.name("softmax"), []string{x.name}, "axis", 1), x.c}
	},
	"groups": func(s *sketch, x, _ image) image {
		if s.opset < 21 {
			return s.conv(x, 6, 1, 1)
		}
		y := s.name("groups")
		return image{s.Node("GroupNormalization", y, []string{x.name, s.Weight(y+".scale", 1, x.c), s.Weight(y+".bias", 1, x.c)}, "num_groups", s.divisor(x.c)), x.c}
	},
	"tokens": func(s *sketch, x, _ image) image {
		// Normalised over channels, and the hidden channels of a perceptron behind it.
		y := s.name("tokens")
		tokens := s.Node("Transpose", y+".tokens", []string{s.reshape(x.name, 0, int64(x.c), 16)}, "perm", []int64{0, 2, 1})
		if s.opset >= 17 {
			tokens = s.Node("LayerNormalization", y+".norm", []string{tokens, s.Weight(y+".scale", 1, x.c), s.Weight(y+".bias", 1, x.c)})
		}
		h := s.Node("MatMul", y+".up", []string{tokens, s.Weight(y+".up.w", 0.5, x.c, 7)})
		h = s.Node("Sigmoid", y+".act", []string{s.Node("Add", y+".biased", []string{h, s.Weight(y+".up.b", 0.5, 7)})})
		h = s.Node("MatMul", y+".down", []string{h, s.Weight(y+".down.w", 0.5, 7, x.c)})
		return image{s.reshape(s.Node("Transpose", y, []string{h}, "perm", []int64{0, 2, 1}), 0, int64(x.c), 4, 4), x.c}
	},
	"recurrent": func(s *sketch, x, _ image) image {
		y := s.name("recurrent")
		kind := rapid.SampledFrom([]string{"LSTM", "GRU", "RNN"}).Draw(s.t, "cell")
		gates := map[string]int{"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
		h := rapid.IntRange(2, 4).Draw(s.t, "hidden")
		tokens := s.Node("Transpose", y+".tokens", []string{s.reshape(x.name, 0, int64(x.c), 16)}, "perm", []int64{2, 0, 1})
		in := []string{tokens, s.Weight(y+".w", 0.5, 1, gates*h, x.c), s.Weight(y+".r", 0.5, 1, gates*h, h), s.Weight(y+".b", 0.5, 1, 2*gates*h)}
		states := s.Node("Transpose", y+".states", []string{s.Node(kind, y, in, "hidden_size", h)}, "perm", []int64{2, 3, 0, 1})
		return image{s.reshape(states, 0, int64(h), 4, 4), h}
	},
	"resize": func(s *sketch, x, _ image) image {
		if s.opset < 13 {
			return s.conv(x, 6, 1, 1)
		}
		y := s.name("resize")
		in := []string{x.name, "", s.Floats(y+".scales", []float32{1, 1, 2, 2}, 4)}
		if s.batch > 0 {
			in = []string{x.name, "", "", s.ints("sizes", s.batch, int64(x.c), 8, 8)}
		}
		up := s.Node("Resize", y, in, "mode", "nearest", "nearest_mode", "floor", "coordinate_transformation_mode", "asymmetric")
		return image{s.Node("MaxPool", y+".pool", []string{up}, "kernel_shape", []int64{2, 2}, "strides", []int64{2, 2}), x.c}
	},
	"shared": func(s *sketch, x, o image) image {
		y := s.name("shared")
		w := s.Weight(y+".w", 1, x.c, x.c, 1, 1)
		a := s.Node("Conv", y+".a", []string{x.name, w})
		b := s.Node("Conv", y+".b", []string{s.Node("Relu", y+".relu", []string{a}), w})
		return image{b, x.c}
	},
	"behind": func(s *sketch, x, _ image) image {
		y := s.name("behind")
		w := s.Node("Transpose", y+".w", []string{s.Weight(y+".t", 1, x.c, 5, 1, 1)}, "perm", []int64{1, 0, 2, 3})
		return image{s.Node("Conv", y, []string{x.name, w}), 5}
	},
}

// channels reads the number of channels at run time, as a vector of one.
func (s *sketch) channels(x image) string {
	y := s.name("channels")
	return s.Node("Gather", y, []string{s.Node("Shape", y+".shape", []string{x.name}), s.ints("one", 1)})
}

// reduce folds the channels; axes are an input since the given opset.
func (s *sketch) reduce(kind string, since int, x image) string {
	if s.opset >= since {
		return s.Node(kind, s.name(kind), []string{x.name, s.ints("axes", 1)}, "keepdims", 1)
	}
	return s.Node(kind, s.name(kind), []string{x.name}, "axes", []int64{1}, "keepdims", 1)
}

func (s *sketch) values(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rapid.Float64Range(0.5, 1.5).Draw(s.t, "value"))
	}
	return v
}

// draw makes a graph with one or two outputs.
func draw(t *rapid.T) []byte {
	opset := rapid.SampledFrom([]int{11, 13, 21}).Draw(t, "opset")
	s := &sketch{Builder: onnxtest.New(int64(opset), rapid.Uint64().Draw(t, "seed")), t: t, opset: opset, batch: rapid.SampledFrom([]int64{2, -1}).Draw(t, "batch")}
	x := image{s.Input("x", s.batch, 3, 4, 4), 3}
	images := []image{s.conv(x, 6, 3, 1)}
	kinds := slices.Sorted(maps.Keys(steps))
	for range rapid.IntRange(1, 7).Draw(t, "steps") {
		a := images[len(images)-1]
		b := rapid.SampledFrom(images).Draw(t, "other")
		kind := rapid.SampledFrom(kinds).Draw(t, "kind")
		if a.c < 2 || a.c > 24 {
			kind = "conv"
		}
		images = append(images, steps[kind](s, a, b))
	}
	last := images[len(images)-1]
	switch rapid.IntRange(0, 2).Draw(t, "end") {
	case 0:
		flat := s.Node("Flatten", "flat", []string{last.name})
		s.Node("Gemm", "y", []string{flat, s.Weight("head.w", 0.3, 3, 16*last.c), s.Weight("head.b", 1, 3)}, "transB", 1)
		s.Output("y", s.batch, 3)
	case 1:
		pooled := s.Node("GlobalMaxPool", "pooled", []string{last.name})
		s.Node("MatMul", "y", []string{s.reshape(pooled, -1, int64(last.c)), s.Weight("head.w", 0.3, last.c, 3)})
		s.Output("y", s.batch, 3)
	default:
		y := s.Node("Conv", "y", []string{last.name, s.Weight("head.w", 1, 2, last.c, 1, 1)})
		s.Output(y, s.batch, 2, 4, 4)
	}
	if rapid.Bool().Draw(t, "second output") {
		o := rapid.SampledFrom(images).Draw(t, "output")
		s.Output(o.name, s.batch, int64(o.c), 4, 4)
	}
	b, err := s.Proto.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRandomGraphs: for random removals of units, the pruned graph computes what the
// masked one does, in our engine and in ONNX Runtime, and costs what was counted.
func TestRandomGraphs(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	dir := t.TempDir()
	ortjudge.Require(t)
	removedUnits, graphs, amplifying := 0, 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(dir, "dense.onnx")
		if err := os.WriteFile(path, draw(rt), 0o666); err != nil {
			rt.Fatal(err)
		}
		if err := ortjudge.Load(t, path); err != nil {
			rt.Fatalf("the random graph is wrong: %v", err)
		}
		g := open(t, path)
		gs, err := g.Groups(nil)
		if err != nil {
			rt.Fatal(err)
		}
		r := gs.NewRemoval()
		for k := range gs.Groups {
			for u := range gs.Groups[k].Width {
				if rapid.IntRange(0, 2).Draw(rt, "goes") == 0 && !r.Empties(k, u) {
					r.Set(k, u, true)
					removedUnits++
				}
			}
		}
		masked, pruned := filepath.Join(dir, "masked.onnx"), filepath.Join(dir, "pruned.onnx")
		writeMasked(t, g, gs, r.Removed(), masked)
		proof, err := WriteRemoval(g, Removal{Groups: gs, Removed: r.Removed(), Pool: pool}, pruned)
		if err != nil {
			rt.Fatal(err)
		}
		if !proof.Ran {
			rt.Fatalf("not run: %s", proof.Reason)
		}
		p := open(t, pruned)
		again, err := p.Groups(nil)
		if err != nil {
			rt.Fatal(err)
		}
		dense := again.NewRemoval()
		if params, macs := r.Params(), r.MACs(); params != p.Params() || macs != dense.MACs() {
			rt.Fatalf("counted %d parameters and %d MACs, the pruned model has %d and %d", params, macs, p.Params(), dense.MACs())
		}
		if proof.Precision != "float32" && !(proof.MaxRelFloat32 <= 1e-3) {
			rt.Fatalf("differs by %g in float32", proof.MaxRelFloat32)
		}
		precision, exact := in64(rt, path, r.Removed(), pool)
		if exact != 0 {
			rt.Fatalf("differs by %g in float64, wants the same bits", exact)
		}
		graphs++
		if precision > conditioned {
			amplifying++
			return
		}
		if d, _ := compareRuntime(t, masked, pruned, g, gs); !(d <= Tolerance) {
			rt.Fatalf("differs by %g in ONNX Runtime, from exact by %g in float32", d, precision)
		}
	})
	t.Logf("%d graphs, %d of them amplify rounding and were not judged by ONNX Runtime", graphs, amplifying)
	if amplifying > max(2, graphs/20) {
		t.Errorf("%d of %d graphs amplify rounding", amplifying, graphs)
	}
	if removedUnits == 0 {
		t.Error("no unit was removed in any graph")
	}
}
