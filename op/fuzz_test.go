package op

import (
	"hash/fnv"
	"maps"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// source turns fuzz bytes into choices; at the end it gives zeros.
type source []byte

func (s *source) byte() int {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return int(b)
}

// one reports true once in n.
func (s *source) one(n int) bool { return s.byte()%n == n-1 }

var oddInts = []int64{0, 1, -1, 2, 3, 4, 5, 7, -2, -3, 100, 1 << 20, math.MaxInt32, math.MinInt32, math.MaxInt32 + 1, 1 << 40, 1 << 62, math.MaxInt64, math.MinInt64}

var oddFloats = []float32{0, 1, -1, 0.5, 2, 1.5, -0.75, 1e-20, 1e20, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}

var oddTypes = []Type{Float, Int64, Bool, Int32, Uint8, Float16, Double, Int8, Uint64, String, BFloat16, Undefined, 99}

func (s *source) int() int64     { return oddInts[s.byte()%len(oddInts)] }
func (s *source) float() float32 { return oddFloats[s.byte()%len(oddFloats)] }

func (s *source) dim() int {
	if s.one(16) {
		return []int{0, 64, 1 << 20, 1 << 31, 1 << 40}[s.byte()%5]
	}
	return s.byte() % 7
}

// attr changes an attribute, or makes one of any kind.
func (s *source) attr(a Attr) Attr {
	if s.one(8) || a.Kind == 0 {
		a = Attr{Kind: AttrKind(1 + s.byte()%9)}
	}
	switch a.Kind {
	case KindInt:
		a.I = s.int()
	case KindFloat:
		a.F = s.float()
	case KindString:
		words := []string{"", "SAME_UPPER", "linear", "cubic", "reflect", "add", "CRD", "ij,jk->ik", "...i->...", "align_corners", "tf_crop_and_resize", a.S}
		a.S = words[s.byte()%len(words)]
	case KindInts:
		a.Ints = slices.Clone(a.Ints)
		s.list(len(a.Ints), func(n int) { a.Ints = lengthened(a.Ints, n) }, func(i int) { a.Ints[i] = s.int() })
	case KindFloats:
		a.Floats = slices.Clone(a.Floats)
		s.list(len(a.Floats), func(n int) { a.Floats = lengthened(a.Floats, n) }, func(i int) { a.Floats[i] = s.float() })
	case KindTensor:
		a.T = s.tensor(Info(Float), true)
	}
	return a
}

func lengthened[T any](v []T, n int) []T {
	var zero T
	for len(v) < n {
		v = append(v, zero)
	}
	return v[:n]
}

// list changes the length of a list and some of its elements.
func (s *source) list(n int, resize func(n int), set func(i int)) {
	if s.one(4) || n == 0 {
		n = s.byte() % 6
		resize(n)
	}
	for i := range n {
		if s.one(3) {
			set(i)
		}
	}
}

// tensor changes type, shape and elements of x. Without elements only type and shape
// are known to Infer.
func (s *source) tensor(x *Tensor, constant bool) *Tensor {
	y := &Tensor{Type: x.Type, Shape: slices.Clone(x.Shape), F: slices.Clone(x.F), I: slices.Clone(x.I)}
	if s.one(8) {
		y.Type = oddTypes[s.byte()%len(oddTypes)]
	}
	if s.one(3) {
		s.list(len(y.Shape), func(n int) { y.Shape = lengthened(y.Shape, n) }, func(i int) { y.Shape[i] = s.dim() })
	}
	total := fuzzSize(y.Shape)
	if total > fuzzLimit || y.Type == String {
		y.F, y.I = nil, nil
		return y
	}
	if y.Type.IsFloat() {
		y.I, y.F = nil, lengthened(y.F, total)
		for i := range y.F {
			if x.F == nil || s.one(6) {
				y.F[i] = s.float()
			}
		}
	} else {
		y.F, y.I = nil, lengthened(y.I, total)
		for i := range y.I {
			switch {
			case y.Type == Bool:
				y.I[i] = int64(s.byte() % 2)
			case x.I == nil || s.one(6):
				y.I[i] = s.int()
			}
		}
	}
	if y.F == nil && y.I == nil {
		y.Alloc()
	}
	return y
}

// fuzzLimit is the number of elements up to which operators are run.
const fuzzLimit = 1 << 12

func fuzzSize(shape []int) int {
	n := 1
	for _, d := range shape {
		if d < 0 || n > 1<<45/max(1, d) {
			return 1 << 45
		}
		n *= d
	}
	return n
}

// longest is the longest axis: channel rules list its positions.
func longest(shape []int) int {
	n := 0
	for _, d := range shape {
		n = max(n, d)
	}
	return n
}

// FuzzOperators changes attributes, opset, types, shapes and constants of the test cases of
// an operator. Whatever comes out may be refused, but not panic, not hang, and not
// make Infer allocate more than its inputs justify.
func FuzzOperators(f *testing.F) {
	for _, d := range All() {
		for i := range d.Cases {
			f.Add(d.Name, []byte{byte(i)})
		}
		f.Add(d.Name, []byte{0, 1, 7, 3, 255, 15, 8, 9, 10, 2, 5, 47, 11, 23, 31, 3, 2})
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) { fuzzOperator(t, name, source(data)) })
}

// fuzzDef finds an operator for any name.
func fuzzDef(name string) *Def {
	all := All()
	for _, d := range all {
		if d.Name == name {
			return d
		}
	}
	h := fnv.New32a()
	h.Write([]byte(name))
	return all[int(h.Sum32()%uint32(len(all)))]
}

func fuzzOperator(t *testing.T, name string, s source) {
	d := fuzzDef(name)
	cs := d.Cases[s.byte()%len(d.Cases)]
	n := caseNode(d, cs)
	n.Attrs = maps.Clone(cs.Attrs)
	if n.Attrs == nil {
		n.Attrs = Attrs{}
	}
	if s.one(4) {
		n.Opset = s.byte() % 30
	}
	n.Training = s.one(2)
	if s.one(8) {
		n.Outputs = s.byte() % 5
	}
	known := map[string]Attr{"axis": IntAttr(0), "axes": IntsAttr(0)}
	for _, c := range d.Cases {
		maps.Copy(known, c.Attrs)
	}
	for _, k := range slices.Sorted(maps.Keys(known)) {
		if s.one(6) {
			n.Attrs[k] = s.attr(known[k])
		}
		if s.one(16) {
			delete(n.Attrs, k)
		}
	}
	in := caseInputs(cs, 1)
	if s.one(8) {
		in = lengthened(in, s.byte()%6)
	}
	shown := make([]*Tensor, len(in))
	for i, x := range in {
		if s.one(16) {
			in[i] = nil
			continue
		}
		constant := i < len(cs.In) && cs.In[i].Tensor != nil
		if s.one(8) {
			constant = !constant
		}
		if x == nil {
			if !s.one(4) {
				continue
			}
			x = Info(Float)
		}
		in[i] = s.tensor(x, constant)
		shown[i] = in[i]
		if !constant {
			shown[i] = Info(in[i].Type, in[i].Shape...)
		}
	}
	n.Inputs = nil
	for _, x := range in {
		n.Inputs = append(n.Inputs, x != nil)
	}
	fuzzRun(t, d, n, in, shown)
}

func fuzzRun(t *testing.T, d *Def, n Node, in, shown []*Tensor) {
	o, err := d.Make(n)
	if err != nil {
		return
	}
	elements := 0
	for _, x := range shown {
		if x != nil {
			elements += len(x.F) + len(x.I)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	infos, err := o.Infer(shown)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > uint64(1<<20+1000*elements) {
		t.Fatalf("Infer allocates %d bytes for %d elements", used, elements)
	}
	if err != nil {
		return
	}
	total := 0
	for _, x := range append(slices.Clone(in), infos...) {
		if x == nil {
			continue
		}
		for _, dim := range x.Shape {
			if dim < 0 {
				t.Fatalf("shape %s", ShapeString(x.Shape))
			}
		}
		if x.Type == String {
			return
		}
		if total += fuzzSize(x.Shape); total > 8*fuzzLimit || longest(x.Shape) > fuzzLimit {
			return
		}
	}
	for _, x := range in {
		if x != nil && !x.IsConst() {
			return // too large to run
		}
	}
	out := make([]*Tensor, len(infos))
	for j, x := range infos {
		out[j] = Info(x.Type, x.Shape...)
	}
	Couplings(o, shown, out)
	if m, ok := o.(MACer); ok && m.MACs(shown, out) < 0 {
		t.Fatal("negative number of multiply-adds")
	}
	for _, last := range []bool{false, true} {
		fuzzPasses(t, o, n, in, shown, infos, last)
	}
}

// fuzzPasses runs forward and backward in one layout.
func fuzzPasses(t *testing.T, o Op, n Node, in, shown, infos []*Tensor, last bool) {
	laid, layouts := layoutsOf(o, in, last, func(i int) bool { return shown[i].IsConst() }, len(infos))
	out := make([]*Tensor, len(infos))
	for j, x := range infos {
		out[j] = &Tensor{Type: x.Type, Shape: x.Shape, Layout: layouts[j]}
		out[j].Alloc()
	}
	c := &Context{Pool: kernel.NewPool(1), Training: n.Training}
	if p, ok := o.(Preparer); ok {
		ws, err := p.Prepare(laid, out, n.Training)
		if err != nil {
			return
		}
		c.Workspace = make([]float32, ws)
	}
	if err := o.Forward(c, laid, out); err != nil {
		return
	}
	g, ok := o.(Gradient)
	if !ok || !n.Training || len(out) == 0 || !out[0].Type.IsFloat() {
		return
	}
	din, dout := make([]*Tensor, len(laid)), make([]*Tensor, len(out))
	for i, x := range laid {
		if x != nil && x.Type.IsFloat() {
			din[i] = &Tensor{Type: x.Type, Shape: x.Shape, Layout: x.Layout}
			din[i].Alloc()
		}
	}
	for j, y := range out {
		if y.Type.IsFloat() {
			dout[j] = &Tensor{Type: y.Type, Shape: y.Shape, Layout: y.Layout, F: y.F}
		}
	}
	ri, ro := g.Reads()
	if err := g.Backward(c, onlyRead(laid, ri), onlyRead(out, ro), dout, din); err != nil {
		return
	}
}
