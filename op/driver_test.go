package op

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// TestOperators runs every case of every registered operator: shapes and
// values against the reference, gradients against finite differences of the
// reference in float64, the channel rule against deletion; on every kernel
// variant, in every layout the operator accepts, at one and at three threads.
func TestOperators(t *testing.T) {
	ran := 0
	for _, d := range All() {
		if len(d.Cases) == 0 || d.Reference == nil {
			t.Errorf("%s: no cases or no reference", d.Name)
		}
		for i, cs := range d.Cases {
			name := fmt.Sprintf("%s/%d%s", d.Name, i, cs.Name)
			t.Run(name, func(t *testing.T) { runCase(t, d, cs) })
			ran++
		}
	}
	if ran < 10 {
		t.Fatalf("only %d cases ran", ran)
	}
}

func caseNode(d *Def, cs Case) Node {
	n := Node{Type: d.Name, Opset: cs.Opset, Attrs: cs.Attrs, Outputs: max(1, cs.Outputs), Training: cs.Training}
	if n.Opset == 0 {
		n.Opset = max(13, d.Since)
	}
	for _, a := range cs.In {
		n.Inputs = append(n.Inputs, !a.Omitted)
	}
	return n
}

// caseInputs draws the inputs. Random values stay clear of each other by
// multiples of a step, so that maxima are not tied within the differences.
func caseInputs(cs Case, seed uint64) []*Tensor {
	rng := rand.New(rand.NewPCG(seed, 7))
	var in []*Tensor
	for _, a := range cs.In {
		switch {
		case a.Omitted:
			in = append(in, nil)
		case a.Tensor != nil:
			in = append(in, a.Tensor)
		default:
			x := New(Float, a.Shape...)
			perm := rng.Perm(len(x.F))
			for i := range x.F {
				u := (float64(perm[i]) + 0.25 + 0.5*rng.Float64()) / float64(len(x.F))
				x.F[i] = float32(a.Lo + u*(a.Hi-a.Lo))
				if math.Abs(float64(x.F[i])) < 4e-3 {
					x.F[i] += float32(math.Copysign(8e-3, float64(x.F[i])))
				}
			}
			in = append(in, x)
		}
	}
	return in
}

func toArray(t *Tensor) *Array {
	if t == nil {
		return nil
	}
	row := &Tensor{Type: t.Type, Shape: t.Shape}
	row.Alloc()
	Relayout(nil, row, t)
	a := NewArray(t.Shape...)
	for i := range a.V {
		if row.F != nil {
			a.V[i] = float64(row.F[i])
		} else {
			a.V[i] = float64(row.I[i])
		}
	}
	return a
}

func inLayout(t *Tensor, l Layout) *Tensor {
	if t == nil || l == t.Layout {
		return t
	}
	u := &Tensor{Type: t.Type, Shape: t.Shape, Layout: l}
	u.Alloc()
	Relayout(nil, u, t)
	return u
}

// layoutsOf applies an operator's choice to row-major or channels-last inputs.
func layoutsOf(o Op, in []*Tensor, last bool, constant func(i int) bool, outs int) ([]*Tensor, []Layout) {
	l, ok := o.(Layouter)
	out := lastLayouts(outs, RowMajor)
	if !ok {
		return in, out
	}
	shown := make([]*Tensor, len(in))
	for i, t := range in {
		if t == nil {
			continue
		}
		shown[i] = Info(t.Type, t.Shape...)
		if last && t.Rank() >= 3 && !constant(i) {
			shown[i].Layout = ChannelsLast
		}
		if constant(i) {
			shown[i].F, shown[i].I = t.F, t.I
		}
	}
	want, out := l.Layouts(shown)
	got := make([]*Tensor, len(in))
	for i, t := range in {
		if t != nil {
			got[i] = inLayout(t, want[i])
		}
	}
	return got, out
}

type pass struct {
	op      Op
	in, out []*Tensor
	ws      int
}

func forward(t *testing.T, d *Def, cs Case, in []*Tensor, last bool, threads int) (*pass, *Context, error) {
	t.Helper()
	o, err := d.Make(caseNode(d, cs))
	if err != nil {
		return nil, nil, err
	}
	infos, err := o.Infer(in)
	if err != nil {
		return nil, nil, err
	}
	p := &pass{op: o}
	var outl []Layout
	p.in, outl = layoutsOf(o, in, last, func(i int) bool { return cs.In[i].Tensor != nil }, len(infos))
	for j, info := range infos {
		y := &Tensor{Type: info.Type, Shape: info.Shape, Layout: outl[j]}
		y.Alloc()
		for i := range y.F {
			y.F[i] = float32(math.NaN()) // Forward must write every element.
		}
		p.out = append(p.out, y)
	}
	if pr, ok := o.(Preparer); ok {
		if p.ws, err = pr.Prepare(p.in, p.out, cs.Training); err != nil {
			return nil, nil, err
		}
	}
	pool := kernel.NewPool(threads)
	t.Cleanup(pool.Close)
	c := &Context{Pool: pool, Training: cs.Training, Workspace: make([]float32, p.ws)}
	return p, c, o.Forward(c, p.in, p.out)
}

func runCase(t *testing.T, d *Def, cs Case) {
	in := caseInputs(cs, 1)
	args := make([]*Array, len(in))
	for i, x := range in {
		args[i] = toArray(x)
	}
	n := caseNode(d, cs)
	want := d.Reference(n, args)
	tol := cs.Tol
	if tol == 0 {
		tol = 2e-5
	}
	slopes := map[[2]int]float64{}
	active := kernel.Active()
	defer kernel.Force(active)
	for _, variant := range kernel.Variants() {
		if err := kernel.Force(variant); err != nil {
			t.Fatal(err)
		}
		for _, last := range []bool{false, true} {
			label := fmt.Sprintf("%s, channels-last %v", variant, last)
			p, c, err := forward(t, d, cs, clone(in), last, 1)
			if err != nil {
				t.Fatalf("%s: %v", label, err)
			}
			if len(p.out) != len(want) {
				t.Fatalf("%s: %d outputs, reference has %d", label, len(p.out), len(want))
			}
			for j, y := range p.out {
				compare(t, fmt.Sprintf("%s: output %d", label, j), y, want[j], tol)
			}
			q, _, err := forward(t, d, cs, clone(in), last, 3)
			if err != nil {
				t.Fatal(err)
			}
			for j := range p.out {
				sameBits(t, label+": output at 1 and 3 threads", p.out[j], q.out[j])
			}
			if g, ok := p.op.(Gradient); ok && p.out[0].Type.IsFloat() {
				checkGradient(t, label, d, cs, g, p, q, c, args, slopes, tol)
			}
		}
	}
	if o, err := d.Make(n); err == nil {
		checkCouplings(t, d, cs, o, in)
	}
}

func clone(in []*Tensor) []*Tensor {
	out := make([]*Tensor, len(in))
	for i, t := range in {
		if t != nil {
			u := *t
			u.F, u.I = append([]float32(nil), t.F...), append([]int64(nil), t.I...)
			if t.F != nil && u.F == nil {
				u.F = []float32{}
			}
			if t.I != nil && u.I == nil {
				u.I = []int64{}
			}
			out[i] = &u
		}
	}
	return out
}

func compare(t *testing.T, what string, got *Tensor, want *Array, tol float64) {
	t.Helper()
	if !EqualShape(got.Shape, want.Shape) {
		t.Fatalf("%s: shape %s, reference %s", what, ShapeString(got.Shape), ShapeString(want.Shape))
	}
	g := toArray(got)
	bad := 0
	for i, w := range want.V {
		if x := g.V[i]; x != w && !(math.Abs(x-w) <= tol*(1+math.Abs(w))) && !(math.IsNaN(x) && math.IsNaN(w)) {
			if bad++; bad < 4 {
				t.Errorf("%s: element %d is %v, reference %v", what, i, x, w)
			}
		}
	}
	if bad > 0 {
		t.Errorf("%s: %d of %d elements differ", what, bad, len(want.V))
	}
}

func sameBits(t *testing.T, what string, a, b *Tensor) {
	t.Helper()
	for i := range a.F {
		if math.Float32bits(a.F[i]) != math.Float32bits(b.F[i]) {
			t.Fatalf("%s: element %d is %v and %v", what, i, a.F[i], b.F[i])
		}
	}
	for i := range a.I {
		if a.I[i] != b.I[i] {
			t.Fatalf("%s: element %d is %v and %v", what, i, a.I[i], b.I[i])
		}
	}
}

// onlyRead hides what the operator says it does not read.
func onlyRead(ts []*Tensor, mask uint32) []*Tensor {
	out := make([]*Tensor, len(ts))
	for i, x := range ts {
		if x == nil {
			continue
		}
		u := *x
		if mask&(1<<i) == 0 && u.F != nil {
			u.F = nil
		}
		out[i] = &u
	}
	return out
}

// checkGradient compares Backward with finite differences. These depend on the
// case alone: slopes keeps them, by input and element, for the next call.
func checkGradient(t *testing.T, label string, d *Def, cs Case, g Gradient, p, q *pass, c *Context, args []*Array, slopes map[[2]int]float64, tol float64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 9))
	var dout []*Tensor
	seeds := make([][]float64, len(p.out))
	for j, y := range p.out {
		if !y.Type.IsFloat() || slices.Contains(d.Kept, j) {
			dout = append(dout, nil)
			continue
		}
		dy := &Tensor{Type: y.Type, Shape: y.Shape, Layout: y.Layout}
		row := New(Float, y.Shape...)
		for i := range row.F {
			row.F[i] = float32(rng.Float64()*2 - 1)
			seeds[j] = append(seeds[j], float64(row.F[i]))
		}
		dy.Alloc()
		Relayout(nil, dy, row)
		dout = append(dout, dy)
	}
	var states uint32
	for _, s := range d.State {
		states |= 1 << s
	}
	gradients := func(p *pass, c *Context, acc bool) []*Tensor {
		din := make([]*Tensor, len(p.in))
		for i, x := range p.in {
			if x == nil || !x.Type.IsFloat() || cs.In[i].Tensor != nil || states&(1<<i) != 0 {
				continue
			}
			din[i] = &Tensor{Type: x.Type, Shape: x.Shape, Layout: x.Layout, Acc: acc}
			din[i].Alloc()
			for k := range din[i].F {
				din[i].F[k] = float32(math.NaN())
				if acc {
					din[i].F[k] = 0.5
				}
			}
		}
		ri, ro := g.Reads()
		for i := range c.Workspace {
			c.Workspace[i] = float32(math.NaN())
		}
		if err := p.op.(Gradient).Backward(c, onlyRead(p.in, ri), onlyRead(p.out, ro), dout, din); err != nil {
			t.Fatalf("%s: backward: %v", label, err)
		}
		return din
	}
	din := gradients(p, c, false)
	pool := kernel.NewPool(3)
	defer pool.Close()
	din3 := gradients(q, &Context{Pool: pool, Training: cs.Training, Workspace: make([]float32, q.ws)}, false)
	_, accumulates := p.op.(Accumulator)
	var dinAcc []*Tensor
	if accumulates {
		dinAcc = gradients(p, c, true)
	}
	loss := func() float64 {
		s := 0.0
		for j, y := range d.Reference(caseNode(d, cs), args) {
			for i, seed := range seeds[j] {
				s += y.V[i] * seed
			}
		}
		return s
	}
	for i, dx := range din {
		if dx == nil {
			continue
		}
		sameBits(t, fmt.Sprintf("%s: gradient %d at 1 and 3 threads", label, i), dx, din3[i])
		got := toArray(dx)
		var added *Array
		if accumulates {
			added = toArray(dinAcc[i])
		}
		step := max(1, len(got.V)/60)
		for k := 0; k < len(got.V); k += step {
			num, known := slopes[[2]int{i, k}]
			if !known {
				const h = 1e-5
				x := args[i].V[k]
				args[i].V[k] = x + h
				up := loss()
				args[i].V[k] = x - h
				down := loss()
				args[i].V[k] = x
				num = (up - down) / (2 * h)
				slopes[[2]int{i, k}] = num
			}
			if e := math.Abs(num - got.V[k]); !(e <= (10*tol+1e-5)*(1+math.Abs(num))) {
				t.Errorf("%s: gradient of input %d, element %d is %v, finite difference %v", label, i, k, got.V[k], num)
				return
			}
			if accumulates {
				if e := math.Abs(added.V[k] - 0.5 - got.V[k]); !(e <= 1e-4*(1+math.Abs(num))) {
					t.Errorf("%s: accumulated gradient of input %d, element %d is off by %v", label, i, k, e)
					return
				}
			}
		}
	}
}
