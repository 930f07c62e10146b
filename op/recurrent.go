package op

import (
	"fmt"
	"math"
	"strings"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// recurrent is what RNN, GRU and LSTM share. x [T,B,I] is run through by each of D
// directions with weights w [D,G·H,I] and r [D,G·H,H] of G gates, biases [D,2·G·H] for
// w, then r, and initial states [D,B,H]; y [T,D,B,H]. With layout 1 the batch comes
// first: x [B,T,I], states [B,D,H], y [B,T,D,H]. sequence_lens [B] ends a sequence
// before T: its state stays, and y is 0 from there.
type recurrent struct {
	cell       cell
	hidden     int
	backwards  []bool // per direction
	batchFirst bool
	outputs    int
	act        [][]activation // per direction

	T, B, I, H int
	dirs       []*direction
	xs, dxs    []float32 // x and its gradient in the order of layout 0
	step       []float32 // [B,G·H]: what a step adds, or its gradient
	dh, dc     []float32 // [B,H]
}

// direction holds the values of a forward pass in one direction, and tables.
type direction struct {
	gates  []float32 // [T·B,G·H], after the activations
	dgates []float32
	h, c   []float32 // [T+1,B,H], by steps
	extra  []float32 // [T,B,H], what the cell keeps besides
}

// cell is the arithmetic of a step.
type cell interface {
	gates() int
	// forward computes step s of direction d; extra products go through f.
	forward(c *Context, f *recurrent, in []*Tensor, d, s int)
	// backward turns dh and dc after step s into those before it, and writes the
	// gradients of the gates.
	backward(c *Context, f *recurrent, in, din []*Tensor, d, s int)
	// bias adds what the biases [2·G·H] give to a row of gates before any step.
	bias(row, b []float32)
	// biasGrad adds the gradient of the biases.
	biasGrad(f *recurrent, d int, db []float32)
}

// activation is an element-wise function with its derivative as one of its value.
type activation struct {
	f func(dst, a []float32)
	d func(y float32) float32
	r func(x float64) float64
}

var activations = map[string]activation{
	"sigmoid": {kernel.Sigmoid, func(y float32) float32 { return y * (1 - y) }, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }},
	"tanh":    {kernel.Tanh, func(y float32) float32 { return 1 - y*y }, math.Tanh},
	"relu": {kernel.Relu, func(y float32) float32 {
		if y > 0 {
			return 1
		}
		return 0
	}, func(x float64) float64 { return max(0, x) }},
}

// newRecurrent reads the attributes that all have. defaults are the activations of a
// direction.
func newRecurrent(n Node, k cell, defaults ...string) (*recurrent, *reader) {
	r := &reader{n: n}
	f := &recurrent{cell: k, hidden: r.Int("hidden_size", 0), batchFirst: r.Int("layout", 0) == 1, outputs: max(1, n.Outputs)}
	switch dir := r.String("direction", "forward"); dir {
	case "forward":
		f.backwards = []bool{false}
	case "reverse":
		f.backwards = []bool{true}
	case "bidirectional":
		f.backwards = []bool{false, true}
	default:
		r.keep(fmt.Errorf("attribute %q is %q, wants forward, reverse or bidirectional", "direction", dir))
	}
	if r.Has("clip") {
		r.keep(fmt.Errorf("attribute %q is not supported", "clip"))
	}
	names, ok, err := n.attr("activations", KindStrings)
	r.keep(err)
	list := names.Strings
	if !ok {
		for range f.backwards {
			list = append(list, defaults...)
		}
	}
	if len(list) != len(defaults)*len(f.backwards) {
		r.keep(fmt.Errorf("attribute %q has %d elements, wants %d", "activations", len(list), len(defaults)*len(f.backwards)))
		return f, r
	}
	for i, name := range list {
		a, ok := activations[strings.ToLower(name)]
		if !ok {
			r.keep(fmt.Errorf("activation %q is not supported, wants Sigmoid, Tanh or Relu", name))
		}
		if i%len(defaults) == 0 {
			f.act = append(f.act, nil)
		}
		f.act[i/len(defaults)] = append(f.act[i/len(defaults)], a)
	}
	return f, r
}

// shapes checks the inputs and sets the lengths.
func (f *recurrent) shapes(in []*Tensor, inputs int) error {
	if err := wantInputs(in, 3, inputs); err != nil {
		return err
	}
	for i, t := range in {
		if t != nil && i != 4 && !t.Type.IsFloat() {
			return fmt.Errorf("input %d is of type %s, wants a float type", i, t.Type)
		}
	}
	x, w, r := in[0].Shape, in[1].Shape, in[2].Shape
	if len(x) != 3 || len(w) != 3 || len(r) != 3 {
		return fmt.Errorf("inputs have shapes %s, %s and %s, wants rank 3", ShapeString(x), ShapeString(w), ShapeString(r))
	}
	f.T, f.B, f.I, f.H = x[0], x[1], x[2], r[2]
	if f.batchFirst {
		f.T, f.B = f.B, f.T
	}
	D, G := len(f.backwards), f.cell.gates()
	if f.H < 1 || f.I < 1 || f.hidden != 0 && f.hidden != f.H {
		return fmt.Errorf("input 2 has shape %s and x %s, attribute %q is %d", ShapeString(r), ShapeString(x), "hidden_size", f.hidden)
	}
	if f.H > maxSize/8 || f.T > maxSize-1 {
		return fmt.Errorf("%d steps of %d elements are too many", f.T, f.H)
	}
	state := []int{D, f.B, f.H}
	if f.batchFirst {
		state = []int{f.B, D, f.H}
	}
	wants := [][]int{nil, {D, G * f.H, f.I}, {D, G * f.H, f.H}, {D, 2 * G * f.H}, {f.B}, state, state, {D, 3 * f.H}}
	for i := 1; i < len(in); i++ {
		if hasInput(in, i) {
			if err := wantShape(i, in[i], wants[i]); err != nil {
				return err
			}
		}
	}
	if hasInput(in, 4) {
		if err := wantIndex(4, in[4]); err != nil {
			return err
		}
	}
	return checkSize([]int{max(f.T, 1) + 1, max(f.B, 1), D * G * f.H})
}

// infer returns y and as many states as there are outputs.
func (f *recurrent) infer(in []*Tensor) ([]*Tensor, error) {
	D := len(f.backwards)
	y, state := []int{f.T, D, f.B, f.H}, []int{D, f.B, f.H}
	if f.batchFirst {
		y, state = []int{f.B, f.T, D, f.H}, []int{f.B, D, f.H}
	}
	out := []*Tensor{Info(in[0].Type, y...)}
	for len(out) < f.outputs {
		out = append(out, Info(in[0].Type, state...))
	}
	return out, nil
}

// Layouts is row-major throughout.
func (f *recurrent) Layouts(in []*Tensor) (want, out []Layout) {
	return make([]Layout, len(in)), make([]Layout, f.outputs)
}

func (f *recurrent) MACs(in, out []*Tensor) int64 {
	return int64(in[0].Shape[0]) * int64(in[0].Shape[1]) * int64(in[1].Size()+in[2].Size())
}

func (f *recurrent) Prepare(in, out []*Tensor, training bool) (int, error) {
	D, width := len(f.backwards), f.cell.gates()*f.H
	f.dirs = nil
	for range D {
		d := &direction{gates: make([]float32, f.T*f.B*width), h: make([]float32, (f.T+1)*f.B*f.H), c: make([]float32, (f.T+1)*f.B*f.H), extra: make([]float32, f.T*f.B*f.H)}
		if training {
			d.dgates = make([]float32, f.T*f.B*width)
		}
		f.dirs = append(f.dirs, d)
	}
	if f.batchFirst {
		f.xs = make([]float32, in[0].Size())
	}
	if training {
		f.dxs = make([]float32, in[0].Size())
	}
	f.step, f.dh, f.dc = make([]float32, f.B*width), make([]float32, f.B*f.H), make([]float32, f.B*f.H)
	ws := 0
	for _, m := range [][3]int{{f.T * f.B, width, f.I}, {f.B, width, f.H}, {f.B, f.H, f.H}} {
		ws = max(ws, kernel.GemmWorkspace(false, true, m[0], m[1], m[2]), kernel.GemmWorkspace(false, false, m[0], m[2], m[1]), kernel.GemmWorkspace(true, false, m[1], m[2], m[0]))
	}
	return ws, nil
}

// times computes out = a·bᵀ for a [m,k] and b [n,k], added to out·beta.
func (f *recurrent) times(c *Context, out []float32, ldc int, a []float32, lda int, b []float32, m, n, k int, beta float32) {
	kernel.Gemm(c.pool(), false, true, m, n, k, 1, a, lda, b, k, beta, out, ldc, c.scratch(kernel.GemmWorkspace(false, true, m, n, k)))
}

// back adds g·w to out, for g [m,n] and w [n,k].
func (f *recurrent) back(c *Context, out []float32, g []float32, ldg int, w []float32, m, n, k int, beta float32) {
	kernel.Gemm(c.pool(), false, false, m, k, n, 1, g, ldg, w, k, beta, out, k, c.scratch(kernel.GemmWorkspace(false, false, m, k, n)))
}

// outer adds gᵀ·a to out, for g [m,n] and a [m,k].
func (f *recurrent) outer(c *Context, out []float32, g []float32, ldg int, a []float32, m, n, k int) {
	kernel.Gemm(c.pool(), true, false, n, k, m, 1, g, ldg, a, k, 1, out, k, c.scratch(kernel.GemmWorkspace(true, false, n, k, m)))
}

// length is the number of steps of sequence b.
func (f *recurrent) length(in []*Tensor, b int) int {
	if hasInput(in, 4) {
		return int(max(0, min(int64(f.T), in[4].I[b])))
	}
	return f.T
}

// row is the time that step s of sequence b is at; false past its end.
func (f *recurrent) row(in []*Tensor, d, s, b int) (t int, ok bool) {
	n := f.length(in, b)
	if s >= n {
		return 0, false
	}
	if f.backwards[d] {
		return n - 1 - s, true
	}
	return s, true
}

func (f *recurrent) stateAt(d, b int) int {
	if f.batchFirst {
		return (b*len(f.backwards) + d) * f.H
	}
	return (d*f.B + b) * f.H
}

func (f *recurrent) outputAt(t, d, b int) int {
	if f.batchFirst {
		return ((b*f.T+t)*len(f.backwards) + d) * f.H
	}
	return ((t*len(f.backwards)+d)*f.B + b) * f.H
}

// matrix returns the part of direction d of a weight.
func (f *recurrent) matrix(t *Tensor, d int) []float32 {
	n := t.Size() / len(f.backwards)
	return t.F[d*n:][:n]
}

// ordered returns x in the order of layout 0.
func (f *recurrent) ordered(x *Tensor) []float32 {
	if !f.batchFirst {
		return x.F
	}
	for t := range f.T {
		for b := range f.B {
			copy(f.xs[(t*f.B+b)*f.I:][:f.I], x.F[(b*f.T+t)*f.I:])
		}
	}
	return f.xs
}

func (f *recurrent) Forward(c *Context, in, out []*Tensor) error {
	if f.dirs == nil {
		if _, err := f.Prepare(in, out, false); err != nil {
			return err
		}
	}
	if f.B == 0 {
		return nil
	}
	x, width := f.ordered(in[0]), f.cell.gates()*f.H
	clear(out[0].F)
	for k, d := range f.dirs {
		f.times(c, d.gates, width, x, f.I, f.matrix(in[1], k), f.T*f.B, width, f.I, 0)
		if hasInput(in, 3) {
			b := f.matrix(in[3], k)
			for i := range f.T * f.B {
				f.cell.bias(d.gates[i*width:][:width], b)
			}
		}
		for i, start := range [][]float32{d.h[:f.B*f.H], d.c[:f.B*f.H]} {
			clear(start)
			for b := range f.B {
				if hasInput(in, 5+i) {
					copy(start[b*f.H:][:f.H], in[5+i].F[f.stateAt(k, b):])
				}
			}
		}
		for s := range f.T {
			f.cell.forward(c, f, in, k, s)
			for b := range f.B {
				if t, ok := f.row(in, k, s, b); ok {
					copy(out[0].F[f.outputAt(t, k, b):][:f.H], d.h[((s+1)*f.B+b)*f.H:])
				} else {
					copy(d.h[((s+1)*f.B+b)*f.H:][:f.H], d.h[(s*f.B+b)*f.H:])
					copy(d.c[((s+1)*f.B+b)*f.H:][:f.H], d.c[(s*f.B+b)*f.H:])
				}
			}
		}
		for j, v := range [][]float32{d.h, d.c} {
			for b := range f.B {
				if o := output(out, 1+j); o != nil {
					copy(o.F[f.stateAt(k, b):][:f.H], v[(f.T*f.B+b)*f.H:])
				}
			}
		}
	}
	return nil
}

// before and after return the states around step s.
func (f *recurrent) before(v []float32, s int) []float32 { return v[s*f.B*f.H:][:f.B*f.H] }
func (f *recurrent) after(v []float32, s int) []float32  { return v[(s+1)*f.B*f.H:][:f.B*f.H] }

// Reads: gates and states of the forward pass are kept by the operator.
func (f *recurrent) Reads() (in, out uint32) { return 0xff, 0 }

// Backward runs the steps in reverse, then collects what the gates give to x, w and the
// biases.
func (f *recurrent) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if f.dxs == nil { // prepared for inference
		if _, err := f.Prepare(in, dout, true); err != nil {
			return err
		}
		again := []*Tensor{}
		for _, y := range out {
			again = append(again, New(Float, y.Shape...))
		}
		if err := f.Forward(c, in, again); err != nil {
			return err
		}
	}
	width := f.cell.gates() * f.H
	x := f.ordered(in[0])
	for i := 1; i < len(din); i++ {
		if din[i] != nil {
			clear(din[i].F)
		}
	}
	if f.B == 0 {
		return nil
	}
	for k, d := range f.dirs {
		clear(d.dgates)
		for j, v := range [][]float32{f.dh, f.dc} {
			clear(v)
			for b := range f.B {
				if g := output(dout, 1+j); g != nil {
					copy(v[b*f.H:][:f.H], g.F[f.stateAt(k, b):])
				}
			}
		}
		for s := f.T - 1; s >= 0; s-- {
			for b := range f.B {
				if t, ok := f.row(in, k, s, b); ok && dout[0] != nil {
					kernel.Add(f.dh[b*f.H:][:f.H], f.dh[b*f.H:][:f.H], dout[0].F[f.outputAt(t, k, b):][:f.H])
				}
			}
			f.cell.backward(c, f, in, din, k, s)
		}
		for i, v := range [][]float32{f.dh, f.dc} {
			if g := input(din, 5+i); g != nil {
				for b := range f.B {
					copy(g.F[f.stateAt(k, b):][:f.H], v[b*f.H:])
				}
			}
		}
		if din[0] != nil {
			f.back(c, f.dxs, d.dgates, width, f.matrix(in[1], k), f.T*f.B, width, f.I, float32(min(k, 1)))
		}
		if din[1] != nil {
			f.outer(c, f.matrix(din[1], k), d.dgates, width, x, f.T*f.B, width, f.I)
		}
		if g := input(din, 3); g != nil {
			f.cell.biasGrad(f, k, f.matrix(g, k))
		}
	}
	if dx := din[0]; dx != nil {
		copy(dx.F, f.dxs)
		for i := 0; f.batchFirst && i < f.T*f.B; i++ {
			t, b := i/f.B, i%f.B
			copy(dx.F[(b*f.T+t)*f.I:][:f.I], f.dxs[i*f.I:])
		}
	}
	return nil
}

// sumRows adds rows of n floats, apart from each other, to dst.
func sumRows(dst, v []float32, pitch int) {
	for i := 0; i+len(dst) <= len(v); i += pitch {
		kernel.Add(dst, dst, v[i:][:len(dst)])
	}
}

// Couplings: an input feature goes with its columns of w; a hidden unit with its rows
// of every gate, its columns of r, its states and its place in every output. Columns of
// r are read by the other units, so they must be zero.
func (f *recurrent) Couplings(in, out []*Tensor) []Coupling {
	unit, g := HiddenAxis(1, f.H), f.cell.gates()
	all := []Coupling{
		{Sides: []Side{Whole(Axis(0, 2)), Whole(Axis(1, 2))}, Sum: true},
		{Sides: []Side{Whole(Axis(1, 1)), Whole(FixedAxis(g), unit)}},
		{Sides: []Side{Whole(Axis(2, 1)), Whole(FixedAxis(g), unit)}},
		{Sides: []Side{Whole(Axis(2, 2)), Whole(unit)}, Sum: true},
	}
	if hasInput(in, 3) {
		all = append(all, Coupling{Sides: []Side{Whole(Axis(3, 1)), Whole(FixedAxis(2*g), unit)}})
	}
	if hasInput(in, 7) {
		all = append(all, Coupling{Sides: []Side{Whole(Axis(7, 1)), Whole(FixedAxis(3), unit)}})
	}
	units := []Side{Whole(unit)}
	for i := 5; i < 7; i++ {
		if hasInput(in, i) {
			units = append(units, Whole(Axis(i, 2)))
		}
	}
	for j, y := range out {
		units = append(units, Whole(Axis(^j, y.Rank()-1)))
	}
	return append(all, Coupling{Sides: units})
}

// Cut adapts the number of hidden units.
func (f *recurrent) Cut(c *Cut) (Change, error) {
	if h := c.Kept(2, 2); f.hidden != 0 && h != f.hidden {
		return Change{Attrs: Attrs{"hidden_size": IntAttr(h)}}, nil
	}
	return Change{}, nil
}
