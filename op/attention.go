package op

import (
	"fmt"
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Attention: y = softmax(c·tanh(scale·q·kᵀ/c) + bias)·v for every head, without the
// tanh where softcap c is 0; scale is 1/√D by default. q [B,H,L,D], k [B,G,S,D] and
// v [B,G,S,E], or all with the heads inside the last axis, [B,L,H·D]; H/G heads of q
// share one of k and v. past_key and past_value come before k and v; present_key and
// present_value are both together. The bias is attn_mask (added, or −∞ where a boolean
// is false), −∞ above the diagonal with is_causal, and past nonpad_kv_seqlen. A row
// that is masked as a whole gives zeros.
// https://onnx.ai/onnx/operators/onnx__Attention.html
func init() {
	Register(Def{
		Name: "Attention", Since: 23,
		New:       newAttention,
		Reference: refAttention,
		Cases:     attentionCases(),
	})
}

func newAttention(n Node) (Op, error) {
	r := &reader{n: n}
	f := &attention{
		causal: r.Bool("is_causal", false), qHeads: r.Int("q_num_heads", 0), kvHeads: r.Int("kv_num_heads", 0),
		scale: float64(r.Float("scale", 0)), softcap: r.Float("softcap", 0), mode: r.Int("qk_matmul_output_mode", 0),
		outputs: max(1, n.Outputs), padMask: n.Opset >= 24, training: n.Training,
	}
	switch {
	case f.mode < 0 || f.mode > 3:
		r.keep(fmt.Errorf("attribute %q is %d, wants 0 to 3", "qk_matmul_output_mode", f.mode))
	case f.qHeads < 0 || f.kvHeads < 0 || max(f.qHeads, f.kvHeads) > math.MaxInt32:
		r.keep(fmt.Errorf("%d and %d heads, wants positive numbers", f.qHeads, f.kvHeads))
	case !(f.softcap >= 0):
		r.keep(fmt.Errorf("attribute %q is %v, wants at least 0", "softcap", f.softcap))
	case !(f.scale >= 0):
		r.keep(fmt.Errorf("attribute %q is %v, wants a positive number", "scale", f.scale))
	case f.outputs > 4:
		r.keep(fmt.Errorf("has %d outputs, wants at most 4", f.outputs))
	}
	if r.err != nil {
		return nil, r.err
	}
	if f.outputs > 1 || n.HasInput(4) || n.HasInput(5) || n.HasInput(6) {
		return struct{ forwardOnly }{f}, nil // a cache is no matter of training
	}
	return f, nil
}

type attention struct {
	causal          bool
	qHeads, kvHeads int
	scale           float64
	softcap         float32
	mode            int
	outputs         int
	padMask         bool
	training        bool

	d attentionDims
	// Of the last forward pass of a plan that trains: the softmax, and the tanh.
	prob, cap []float32
}

// attentionDims are the lengths B, H, G, L, S (with the past), the past's part of it, D
// and E.
type attentionDims struct{ batch, heads, groups, rows, keys, past, depth, width int }

func (f *attention) dims(in []*Tensor) (attentionDims, error) {
	var d attentionDims
	if err := wantInputs(in, 3, 7); err != nil {
		return d, err
	}
	for _, i := range []int{0, 1, 2, 4, 5} {
		if hasInput(in, i) && !in[i].Type.IsFloat() {
			return d, fmt.Errorf("input %d is of type %s, wants a float type", i, in[i].Type)
		}
	}
	var shape [3][]int
	for i, heads := range []int{f.qHeads, f.kvHeads, f.kvHeads} {
		s := in[i].Shape
		switch {
		case len(s) == 4:
		case len(s) == 3 && heads > 0 && s[2]%heads == 0:
			s = []int{s[0], heads, s[1], s[2] / heads}
		default:
			return d, fmt.Errorf("input %d has shape %s, wants rank 4, or rank 3 with a last axis for %d heads", i, ShapeString(s), heads)
		}
		if len(in[i].Shape) != len(in[0].Shape) {
			return d, fmt.Errorf("inputs have shapes %s and %s, wants equal ranks", ShapeString(in[0].Shape), ShapeString(in[i].Shape))
		}
		shape[i] = s
	}
	q, k, v := shape[0], shape[1], shape[2]
	d = attentionDims{batch: q[0], heads: q[1], groups: k[1], rows: q[2], keys: k[2], depth: q[3], width: v[3]}
	if k[0] != q[0] || v[0] != q[0] || v[1] != k[1] || v[2] != k[2] || k[3] != q[3] {
		return d, fmt.Errorf("q, k and v have shapes %s, %s and %s, which do not match", ShapeString(q), ShapeString(k), ShapeString(v))
	}
	if k[1] == 0 || q[1]%k[1] != 0 {
		return d, fmt.Errorf("%d heads of q are no multiple of %d heads of k and v", q[1], k[1])
	}
	if q[3] == 0 || v[3] == 0 {
		return d, fmt.Errorf("heads of %d and %d elements, wants at least 1", q[3], v[3])
	}
	return d, f.extend(&d, in)
}

// extend adds the past, and checks what masks.
func (f *attention) extend(d *attentionDims, in []*Tensor) error {
	if hasInput(in, 4) != hasInput(in, 5) {
		return fmt.Errorf("past_key and past_value go together, one is missing")
	}
	if hasInput(in, 4) {
		k, v := in[4].Shape, in[5].Shape
		if len(k) != 4 || len(v) != 4 || !EqualShape(k, []int{d.batch, d.groups, k[2], d.depth}) || !EqualShape(v, []int{d.batch, d.groups, k[2], d.width}) {
			return fmt.Errorf("past_key and past_value have shapes %s and %s, wants [%d,%d,P,%d] and [%d,%d,P,%d]",
				ShapeString(k), ShapeString(v), d.batch, d.groups, d.depth, d.batch, d.groups, d.width)
		}
		d.past = k[2]
		d.keys += d.past
	}
	if hasInput(in, 6) {
		if err := wantIndex(6, in[6]); err != nil {
			return err
		}
		if err := wantShape(6, in[6], []int{d.batch}); err != nil {
			return err
		}
	}
	for _, s := range [][]int{{d.batch, d.heads, d.rows, d.keys}, {d.batch, d.heads, d.rows, d.depth}, {d.batch, d.groups, d.keys, d.depth}, {d.batch, d.groups, d.keys, d.width}, {d.batch, d.heads, d.rows, d.width}} {
		if err := checkSize(s); err != nil {
			return err
		}
	}
	if !hasInput(in, 3) {
		return nil
	}
	m := in[3]
	if m.Type != Bool && !m.Type.IsFloat() {
		return fmt.Errorf("attn_mask is of type %s, wants bool or a float type", m.Type)
	}
	full := []int{d.batch, d.heads, d.rows, d.keys}
	s := append([]int{}, m.Shape...)
	if f.padMask && len(s) > 0 && s[len(s)-1] <= d.keys {
		s[len(s)-1] = d.keys
	}
	if b, err := BroadcastShape(s, full); err != nil || !EqualShape(b, full) {
		return fmt.Errorf("attn_mask has shape %s, wants one that broadcasts to %s", ShapeString(m.Shape), ShapeString(full))
	}
	return nil
}

func (f *attention) Infer(in []*Tensor) ([]*Tensor, error) {
	d, err := f.dims(in)
	if err != nil {
		return nil, err
	}
	y := []int{d.batch, d.heads, d.rows, d.width}
	if in[0].Rank() == 3 {
		y = []int{d.batch, d.rows, d.heads * d.width}
	}
	return []*Tensor{
		Info(in[0].Type, y...), Info(in[1].Type, d.batch, d.groups, d.keys, d.depth),
		Info(in[2].Type, d.batch, d.groups, d.keys, d.width), Info(in[0].Type, d.batch, d.heads, d.rows, d.keys),
	}[:f.outputs], nil
}

// Links joins samples, and with heads on an axis of their own the elements of v and y.
func (f *attention) Links(in, out []*Tensor) []Link {
	for i := 3; i < len(in); i++ {
		if in[i] != nil {
			return nil
		}
	}
	batch := Link{{0, 0}, {1, 0}, {2, 0}}
	for j := range out {
		batch = append(batch, AxisRef{^j, 0})
	}
	links := []Link{batch}
	if in[0].Rank() == 4 {
		width := Link{{2, 3}, {^0, 3}}
		if len(out) > 2 {
			width = append(width, AxisRef{^2, 3})
		}
		links = append(links, width)
	}
	return links
}

// Layouts is row-major throughout.
func (f *attention) Layouts(in []*Tensor) (want, out []Layout) {
	return make([]Layout, len(in)), make([]Layout, f.outputs)
}

func (f *attention) MACs(in, out []*Tensor) int64 {
	d, err := f.dims(in)
	if err != nil {
		return 0
	}
	return int64(d.batch) * int64(d.heads) * int64(d.rows) * int64(d.keys) * int64(d.depth+d.width)
}

// room shares out the workspace.
type room struct{ ws []float32 }

func (r *room) take(n int) []float32 {
	v := r.ws[:n:n]
	r.ws = r.ws[n:]
	return v
}

func (d attentionDims) sizes() (q, k, v, s, y int) {
	return d.batch * d.heads * d.rows * d.depth, d.batch * d.groups * d.keys * d.depth, d.batch * d.groups * d.keys * d.width,
		d.batch * d.heads * d.rows * d.keys, d.batch * d.heads * d.rows * d.width
}

// shared returns how often the products are made, and the rows of each: the heads of q
// that share k and v are one matrix.
func (d attentionDims) shared() (batch, m int) {
	return d.batch * d.groups, d.heads / d.groups * d.rows
}

// gemms returns the workspace that the products need.
func (d attentionDims) gemms(training bool) int {
	b, m := d.shared()
	ws := max(kernel.GemmBatchedWorkspace(b, false, true, m, d.keys, d.depth, m*d.depth, d.keys*d.depth),
		kernel.GemmBatchedWorkspace(b, false, false, m, d.width, d.keys, m*d.keys, d.keys*d.width))
	if training {
		ws = max(ws, kernel.GemmBatchedWorkspace(b, false, true, m, d.keys, d.width, m*d.width, d.keys*d.width),
			kernel.GemmBatchedWorkspace(b, true, false, d.keys, d.width, m, m*d.keys, m*d.width),
			kernel.GemmBatchedWorkspace(b, false, false, m, d.depth, d.keys, m*d.keys, d.keys*d.depth),
			kernel.GemmBatchedWorkspace(b, true, false, d.keys, d.depth, m, m*d.keys, m*d.depth))
	}
	return ws
}

func (f *attention) Prepare(in, out []*Tensor, training bool) (int, error) {
	d, err := f.dims(in)
	if err != nil {
		return 0, err
	}
	f.d = d
	q, k, v, s, y := d.sizes()
	f.prob, f.cap = nil, nil
	if training || f.training {
		f.prob = make([]float32, s)
		if f.softcap > 0 {
			f.cap = make([]float32, s)
		}
	}
	return d.gemms(training || f.training) + 2*(q+k+v) + 2*s + 2*y, nil
}

// headed returns t as [B,heads,rows,n]: itself, or moved to a place of the workspace.
func headed(c *Context, r *room, t *Tensor, heads int) []float32 {
	if t.Rank() == 4 {
		return t.F
	}
	v := r.take(t.Size())
	shape, str := headedView(t, heads)
	move(c, shape, v, 0, Strides(shape, RowMajor), t.F, 0, str)
	return v
}

// headedView is the shape [B,heads,rows,n] of a tensor [B,rows,heads·n], with its
// strides.
func headedView(t *Tensor, heads int) (shape, str []int) {
	b, l, n := t.Shape[0], t.Shape[1], t.Shape[2]/heads
	return []int{b, heads, l, n}, []int{l * heads * n, n, heads * n, 1}
}

// cached returns the keys or values with the past before them.
func (f *attention) cached(c *Context, r *room, t, past, present *Tensor, n int) []float32 {
	v := headed(c, r, t, f.d.groups)
	if past == nil && present == nil {
		return v
	}
	var all []float32
	if present != nil {
		all = present.F
	} else {
		all = r.take(f.d.batch * f.d.groups * f.d.keys * n)
	}
	now := f.d.keys - f.d.past
	for i := range f.d.batch * f.d.groups {
		row := all[i*f.d.keys*n:]
		if past != nil {
			copy(row[:f.d.past*n], past.F[i*f.d.past*n:])
		}
		copy(row[f.d.past*n:][:now*n], v[i*now*n:])
	}
	return all
}

func input(in []*Tensor, i int) *Tensor {
	if hasInput(in, i) {
		return in[i]
	}
	return nil
}

func output(out []*Tensor, j int) *Tensor {
	if j < len(out) {
		return out[j]
	}
	return nil
}

func (f *attention) factor() float32 {
	if f.scale > 0 {
		return float32(f.scale)
	}
	return float32(1 / math.Sqrt(float64(f.d.depth)))
}

func (f *attention) Forward(c *Context, in, out []*Tensor) error {
	d := f.d
	if d.depth == 0 {
		ws, err := f.Prepare(in, out, false)
		if err != nil {
			return err
		}
		c = &Context{Pool: c.Pool, Workspace: make([]float32, ws)}
		d = f.d
	}
	_, _, _, s, _ := d.sizes()
	r := &room{c.Workspace}
	gemm := r.take(d.gemms(f.prob != nil))
	q := headed(c, r, in[0], d.heads)
	k := f.cached(c, r, in[1], input(in, 4), output(out, 1), d.depth)
	v := f.cached(c, r, in[2], input(in, 5), output(out, 2), d.width)
	p := f.prob
	if p == nil {
		p = r.take(s)
	}
	b, m := d.shared()
	kernel.GemmBatched(c.pool(), b, false, true, m, d.keys, d.depth, f.factor(), q, d.depth, m*d.depth, k, d.depth, d.keys*d.depth, 0, p, d.keys, m*d.keys, gemm)
	f.rows(c, in, p, output(out, 3))
	y := out[0].F
	if out[0].Rank() == 3 {
		y = r.take(out[0].Size())
	}
	kernel.GemmBatched(c.pool(), b, false, false, m, d.width, d.keys, 1, p, d.keys, m*d.keys, v, d.width, d.keys*d.width, 0, y, d.width, m*d.width, gemm)
	if out[0].Rank() == 3 {
		shape, str := headedView(out[0], d.heads)
		move(c, shape, out[0].F, 0, str, y, 0, Strides(shape, RowMajor))
	}
	return nil
}

// rows turns scores into probabilities, row by row.
func (f *attention) rows(c *Context, in []*Tensor, p []float32, scores *Tensor) {
	d := f.d
	inf := float32(math.Inf(-1))
	c.Parallel(d.batch*d.heads*d.rows, 8*d.keys, func(lo, hi int) {
		bias := make([]float32, d.keys)
		for i := lo; i < hi; i++ {
			row := p[i*d.keys:][:d.keys]
			keep := func(mode int) {
				if scores != nil && f.mode == mode {
					copy(scores.F[i*d.keys:], row)
				}
			}
			keep(0)
			if f.softcap > 0 {
				kernel.Scale(row, row, 1/f.softcap)
				kernel.Tanh(row, row)
				if f.cap != nil {
					copy(f.cap[i*d.keys:], row)
				}
				kernel.Scale(row, row, f.softcap)
			}
			keep(1)
			f.bias(in, i/(d.heads*d.rows), i/d.rows%d.heads, i%d.rows, bias)
			top, open := inf, false
			for j, v := range bias {
				row[j] += v
				open = open || v != inf
				if row[j] > top {
					top = row[j]
				}
			}
			keep(2)
			if !open || len(row) == 0 {
				clear(row)
			} else {
				kernel.AddScalar(row, row, -top)
				kernel.Exp(row, row)
				kernel.Scale(row, row, 1/kernel.Sum(row))
			}
			keep(3)
		}
	})
}

// bias writes what is added to the scores of a row.
func (f *attention) bias(in []*Tensor, b, h, l int, dst []float32) {
	d := f.d
	inf := float32(math.Inf(-1))
	clear(dst)
	if m := input(in, 3); m != nil {
		o, step, n := f.maskRow(m, b, h, l)
		for j := range dst {
			switch {
			case j >= n:
				dst[j] = inf
			case m.F != nil:
				dst[j] = m.F[o+j*step]
			case m.I[o+j*step] == 0:
				dst[j] = inf
			}
		}
	}
	last := len(dst)
	if f.causal {
		last = d.past + l + 1
	}
	if t := input(in, 6); t != nil {
		n := int(max(0, min(int64(d.keys), t.I[b])))
		if f.causal {
			last = min(last, n-d.rows+l+1)
			if d.past == 0 {
				last = n - d.rows + l + 1
			}
		}
		last = min(last, n)
	}
	for j := max(0, last); j < len(dst); j++ {
		dst[j] = inf
	}
}

// maskRow returns the offset and stride of the mask of a row, and how many keys it is
// for.
func (f *attention) maskRow(m *Tensor, b, h, l int) (off, step, n int) {
	str, r := m.Strides(), m.Rank()
	at := []int{b, h, l}
	for a := 0; a < r-1; a++ {
		if m.Shape[a] != 1 {
			off += at[a+4-r] * str[a]
		}
	}
	n, step = f.d.keys, 0
	switch {
	case r == 0:
	case m.Shape[r-1] == f.d.keys:
		step = 1
	case f.padMask:
		n, step = m.Shape[r-1], 1
	}
	return off, step, n
}

// Reads: the probabilities of the forward pass are kept by the operator.
func (f *attention) Reads() (in, out uint32) { return 1<<0 | 1<<1 | 1<<2 | 1<<3, 0 }

// Backward: dv = pᵀ·dy, dp = dy·vᵀ, ds = p⊙(dp − Σ p⊙dp), times 1 − tanh² under a softcap,
// dq = scale·ds·k, dk = scale·dsᵀ·q, and ds for the mask.
func (f *attention) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if f.prob == nil { // prepared for inference
		ws, err := f.Prepare(in, out, true)
		if err != nil {
			return err
		}
		c = &Context{Pool: c.Pool, Workspace: make([]float32, ws)}
		if err := f.Forward(c, in, []*Tensor{New(Float, dout[0].Shape...)}); err != nil {
			return err
		}
	}
	d := f.d
	_, ks, vs, s, _ := d.sizes()
	r := &room{c.Workspace}
	gemm := r.take(d.gemms(true))
	q, k, v := headed(c, r, in[0], d.heads), headed(c, r, in[1], d.groups), headed(c, r, in[2], d.groups)
	dy := headed(c, r, dout[0], d.heads)
	ds := r.take(s)
	b, m := d.shared()
	target := func(t *Tensor, n int) []float32 {
		if t.Rank() == 4 {
			return t.F
		}
		return r.take(n)
	}
	deliver := func(t *Tensor, v []float32, heads int) {
		if t.Rank() == 3 {
			shape, str := headedView(t, heads)
			move(c, shape, t.F, 0, str, v, 0, Strides(shape, RowMajor))
		}
	}
	if t := din[2]; t != nil {
		dv := target(t, vs)
		kernel.GemmBatched(c.pool(), b, true, false, d.keys, d.width, m, 1, f.prob, d.keys, m*d.keys, dy, d.width, m*d.width, 0, dv, d.width, d.keys*d.width, gemm)
		deliver(t, dv, d.groups)
	}
	kernel.GemmBatched(c.pool(), b, false, true, m, d.keys, d.width, 1, dy, d.width, m*d.width, v, d.width, d.keys*d.width, 0, ds, d.keys, m*d.keys, gemm)
	c.Parallel(d.batch*d.heads*d.rows, 4*d.keys, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			g, p := ds[i*d.keys:][:d.keys], f.prob[i*d.keys:][:d.keys]
			kernel.AddScalar(g, g, -kernel.Dot(g, p))
			kernel.Mul(g, g, p)
		}
	})
	if len(din) > 3 && din[3] != nil {
		f.maskGrad(din[3], ds)
	}
	for i, t := range f.cap {
		ds[i] *= 1 - t*t
	}
	if t := din[0]; t != nil {
		dq := target(t, len(q))
		kernel.GemmBatched(c.pool(), b, false, false, m, d.depth, d.keys, f.factor(), ds, d.keys, m*d.keys, k, d.depth, d.keys*d.depth, 0, dq, d.depth, m*d.depth, gemm)
		deliver(t, dq, d.heads)
	}
	if t := din[1]; t != nil {
		dk := target(t, ks)
		kernel.GemmBatched(c.pool(), b, true, false, d.keys, d.depth, m, f.factor(), ds, d.keys, m*d.keys, q, d.depth, m*d.depth, 0, dk, d.depth, d.keys*d.depth, gemm)
		deliver(t, dk, d.groups)
	}
	return nil
}

// maskGrad sums the gradients of the scores over what the mask was broadcast along.
func (f *attention) maskGrad(t *Tensor, ds []float32) {
	d := f.d
	clear(t.F)
	for i := range d.batch * d.heads * d.rows {
		o, step, n := f.maskRow(t, i/(d.heads*d.rows), i/d.rows%d.heads, i%d.rows)
		for j := range n {
			t.F[o+j*step] += ds[i*d.keys+j]
		}
	}
}
