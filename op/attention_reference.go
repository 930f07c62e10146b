package op

import "math"

func attentionCases() []Case {
	heads := func(q, kv int) Attrs { return Attrs{"q_num_heads": IntAttr(q), "kv_num_heads": IntAttr(kv)} }
	with := func(a Attrs, name string, v Attr) Attrs { a[name] = v; return a }
	mask := &Tensor{Type: Bool, Shape: []int{3, 4}, I: []int64{1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 1}}
	return []Case{
		{In: []Arg{Rand(2, 3, 4, 5), Rand(2, 3, 6, 5), Rand(2, 3, 6, 7)}},
		{Name: "3d", Attrs: heads(2, 2), In: []Arg{Rand(2, 4, 6), Rand(2, 5, 6), Rand(2, 5, 8)}},
		{Name: "shared", In: []Arg{Rand(2, 4, 3, 5), Rand(2, 2, 6, 5), Rand(2, 2, 6, 3)}},
		{Name: "3d shared", Attrs: heads(4, 2), In: []Arg{Rand(1, 3, 8), Rand(1, 5, 4), Rand(1, 5, 6)}},
		{Name: "causal", Attrs: Attrs{"is_causal": IntAttr(1), "scale": FloatAttr(0.7)}, In: []Arg{Rand(1, 2, 4, 3), Rand(1, 2, 4, 3), Rand(1, 2, 4, 3)}},
		{Name: "softcap", Attrs: Attrs{"softcap": FloatAttr(0.8)}, In: []Arg{Rand(1, 2, 4, 3), Rand(1, 2, 5, 3), Rand(1, 2, 5, 3)}},
		{Name: "mask", In: []Arg{Rand(2, 2, 3, 5), Rand(2, 2, 4, 5), Rand(2, 2, 4, 3), Rand(3, 4)}},
		{Name: "mask 4d", In: []Arg{Rand(2, 2, 3, 5), Rand(2, 2, 4, 5), Rand(2, 2, 4, 3), Rand(2, 1, 3, 4)}},
		{Name: "short mask", Opset: 24, In: []Arg{Rand(2, 2, 3, 5), Rand(2, 2, 4, 5), Rand(2, 2, 4, 3), Rand(3, 2)}},
		{Name: "bool", In: []Arg{Rand(2, 2, 3, 5), Rand(2, 2, 4, 5), Rand(2, 2, 4, 3), Const(mask)}},
		{Name: "past", Outputs: 3, Attrs: Attrs{"is_causal": IntAttr(1)},
			In: []Arg{Rand(1, 2, 3, 5), Rand(1, 2, 3, 5), Rand(1, 2, 3, 4), None(), Rand(1, 2, 2, 5), Rand(1, 2, 2, 4)}},
		{Name: "scores", Outputs: 4, Attrs: with(heads(2, 1), "qk_matmul_output_mode", IntAttr(2)),
			In: []Arg{Rand(1, 3, 6), Rand(1, 4, 3), Rand(1, 4, 5), Rand(3, 4)}},
		{Name: "padded", Opset: 24, Attrs: Attrs{"is_causal": IntAttr(1)},
			In: []Arg{Rand(2, 1, 2, 3), Rand(2, 1, 4, 3), Rand(2, 1, 4, 3), None(), None(), None(), Const(Vector(4, 1))}},
	}
}

// refAttention follows the function body of the operator, one output row at a time.
func refAttention(n Node, in []*Array) []*Array {
	r := &reader{n: n}
	split := func(x *Array, heads int) *Array {
		if len(x.Shape) == 4 {
			return x
		}
		y := NewArray(x.Shape[0], heads, x.Shape[1], x.Shape[2]/heads)
		Each(y.Shape, func(i []int) { y.V[y.At(i...)] = x.V[x.At(i[0], i[2], i[1]*y.Shape[3]+i[3])] })
		return y
	}
	has := func(i int) bool { return i < len(in) && in[i] != nil }
	q, k, v := split(in[0], r.Int("q_num_heads", 0)), split(in[1], r.Int("kv_num_heads", 0)), split(in[2], r.Int("kv_num_heads", 0))
	past := 0
	if has(4) {
		past = in[4].Shape[2]
		join := func(a, b *Array) *Array {
			y := NewArray(a.Shape[0], a.Shape[1], a.Shape[2]+b.Shape[2], a.Shape[3])
			Each(y.Shape, func(i []int) {
				if i[2] < past {
					y.V[y.At(i...)] = a.V[a.At(i...)]
				} else {
					y.V[y.At(i...)] = b.V[b.At(i[0], i[1], i[2]-past, i[3])]
				}
			})
			return y
		}
		k, v = join(in[4], k), join(in[5], v)
	}
	b, h, l, keys := q.Shape[0], q.Shape[1], q.Shape[2], k.Shape[2]
	scale := float64(r.Float("scale", 0))
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(q.Shape[3]))
	}
	y, scores := NewArray(b, h, l, v.Shape[3]), NewArray(b, h, l, keys)
	Each([]int{b, h, l}, func(i []int) {
		g := i[1] / (h / k.Shape[1])
		w := make([]float64, keys)
		masked := true
		for j := range w {
			for e := range q.Shape[3] {
				w[j] += scale * q.V[q.At(i[0], i[1], i[2], e)] * k.V[k.At(i[0], g, j, e)]
			}
			stages := []float64{w[j]}
			if c := float64(r.Float("softcap", 0)); c > 0 {
				w[j] = c * math.Tanh(w[j]/c)
			}
			stages = append(stages, w[j])
			bias := 0.0
			if has(3) {
				m := in[3]
				s := append([]int{}, m.Shape...)
				switch {
				case n.Opset >= 24 && j >= s[len(s)-1]:
					bias = math.Inf(-1)
				default:
					bias = refBroadcast(m, []int{i[0], i[1], i[2], j})
				}
				if mb, ok := boolMask(m); ok && !math.IsInf(bias, -1) {
					bias = mb(bias)
				}
			}
			offset := past
			if has(6) {
				offset = int(in[6].V[i[0]]) - l
				if j >= int(in[6].V[i[0]]) {
					bias = math.Inf(-1)
				}
			}
			if r.Int("is_causal", 0) != 0 && i[2]+offset < j {
				bias = math.Inf(-1)
			}
			masked = masked && math.IsInf(bias, -1)
			w[j] += bias
			stages = append(stages, w[j])
			if mode := r.Int("qk_matmul_output_mode", 0); mode < 3 {
				scores.V[scores.At(i[0], i[1], i[2], j)] = stages[mode]
			}
		}
		total := refLogSumExp(w)
		for j := range w {
			p := math.Exp(w[j] - total)
			if masked {
				p = 0
			}
			if r.Int("qk_matmul_output_mode", 0) == 3 {
				scores.V[scores.At(i[0], i[1], i[2], j)] = p
			}
			for e := range v.Shape[3] {
				y.V[y.At(i[0], i[1], i[2], e)] += p * v.V[v.At(i[0], g, j, e)]
			}
		}
	})
	if len(in[0].Shape) == 3 {
		z := NewArray(b, l, h*v.Shape[3])
		Each(y.Shape, func(i []int) { z.V[z.At(i[0], i[2], i[1]*v.Shape[3]+i[3])] = y.V[y.At(i...)] })
		y = z
	}
	return []*Array{y, k, v, scores}[:max(1, n.Outputs)]
}

// boolMask reads a mask of zeros and ones as a boolean one. Arrays carry no types: the
// float masks of the cases are drawn, and hold other numbers.
func boolMask(m *Array) (func(v float64) float64, bool) {
	for _, v := range m.V {
		if v != 0 && v != 1 {
			return nil, false
		}
	}
	return func(v float64) float64 {
		if v == 0 {
			return math.Inf(-1)
		}
		return 0
	}, true
}
