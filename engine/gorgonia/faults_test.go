//go:build gorgonia

package gorgonia

import (
	"math"
	"slices"
	"testing"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
)

// TestFaults shows that what the package says of Gorgonia is so. A fault that is gone can be taken
// from the list, and the operator be lowered to Gorgonia's own.
func TestFaults(t *testing.T) {
	image := func(g *G.ExprGraph) *G.Node {
		v := make([]float32, 2*3*4*4)
		for i := range v {
			v[i] = float32(i%7) - 2.5 + float32(i)/10
		}
		return G.NewTensor(g, tensor.Float32, 4, G.WithShape(2, 3, 4, 4), G.WithName("x"), G.WithValue(tensor.New(tensor.WithShape(2, 3, 4, 4), tensor.WithBacking(v))))
	}
	// gradient is that of Σ f(x), or nil where there is none.
	gradient := func(f func(x *G.Node) *G.Node) (d []float32) {
		defer func() {
			if recover() != nil {
				d = nil
			}
		}()
		g := G.NewGraph()
		x := image(g)
		y := f(x)
		sum := G.Must(G.Sum(G.Must(G.Reshape(y, tensor.Shape{y.Shape().TotalSize()})), 0))
		grads, err := G.Grad(sum, x)
		if err != nil {
			return nil
		}
		var v G.Value
		G.Read(grads[0], &v)
		if err := G.NewTapeMachine(g).RunAll(); err != nil {
			return nil
		}
		return v.Data().([]float32)
	}
	all := func(v []float32, want float32) bool {
		for _, x := range v {
			if math.Abs(float64(x-want)) > 1e-5 {
				return false
			}
		}
		return v != nil
	}

	if all(gradient(func(x *G.Node) *G.Node {
		return G.Must(G.AveragePool2D(x, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}))
	}), 0.25) {
		t.Error("AveragePool: the gradient is right")
	}
	if all(gradient(func(x *G.Node) *G.Node { return G.Must(G.GlobalAveragePool2D(x)) }), 1./16) {
		t.Error("GlobalAveragePool: there is a gradient, and it is right")
	}

	g := G.NewGraph()
	x := G.NewTensor(g, tensor.Float32, 2, G.WithShape(1, 2), G.WithName("x"), G.WithValue(tensor.New(tensor.WithShape(1, 2), tensor.WithBacking([]float32{0, 0}))))
	var p, log G.Value
	G.Read(G.Must(G.SoftMax(x, 1)), &p)
	G.Read(G.Must(G.LogSoftMax(x, 1)), &log)
	if err := G.NewTapeMachine(g).RunAll(); err != nil {
		t.Fatal(err)
	}
	if p.Data().([]float32)[0] != log.Data().([]float32)[0] {
		t.Error("SoftMax and LogSoftMax of one value are two nodes")
	}

	// Mean over two axes, in graphs of the kind that the engines are compared on.
	own := operators["ReduceMean"]
	defer func() { operators["ReduceMean"] = own }()
	operators["ReduceMean"] = func(l *lowering, n *graph.Node) (*G.Node, error) {
		x, err := l.in(n, 0)
		if err != nil {
			return nil, err
		}
		return G.Mean(x, 2, 3)
	}
	wrong := false
	for seed := uint64(0); seed < networks && !wrong; seed++ {
		n := network(t, seed)
		if !slices.ContainsFunc(n.Nodes, func(n *graph.Node) bool { return n.Type == "ReduceMean" }) {
			continue
		}
		var outputs [2][]float32
		for i, lower := range []engine.Lowering{nil, Lower} {
			p, err := engine.Compile(n, engine.NewState(n), engine.Options{Batch: 2, Lower: lower})
			if err != nil {
				t.Fatal(err)
			}
			for k := range p.Inputs[0].F {
				p.Inputs[0].F[k] = float32(k%11) - 5
			}
			if err := p.Forward(); err != nil {
				t.Fatal(err)
			}
			outputs[i] = p.Outputs[0].F
		}
		for k, v := range outputs[0] {
			wrong = wrong || math.Abs(float64(v-outputs[1][k])) > 1e-2
		}
	}
	if !wrong {
		t.Error("Mean over two axes: right in all networks")
	}
}
