package op

import "strings"

// refRecurrent runs RNN, GRU or LSTM, of 1, 3 or 4 gates, one sequence and element at a
// time.
func refRecurrent(n Node, in []*Array, gates int) []*Array {
	r := &reader{n: n}
	x, w, rec := in[0], in[1], in[2]
	first := r.Int("layout", 0) == 1
	T, B := x.Shape[0], x.Shape[1]
	if first {
		T, B = B, T
	}
	D, H, I := w.Shape[0], rec.Shape[2], w.Shape[2]
	has := func(i int) bool { return i < len(in) && in[i] != nil }
	y, hn, cn := NewArray(T, D, B, H), NewArray(D, B, H), NewArray(D, B, H)
	if first {
		y, hn, cn = NewArray(B, T, D, H), NewArray(B, D, H), NewArray(B, D, H)
	}
	state := func(a *Array, d, b, e int) *float64 {
		if first {
			return &a.V[a.At(b, d, e)]
		}
		return &a.V[a.At(d, b, e)]
	}
	defaults := map[int][]string{1: {"tanh"}, 3: {"sigmoid", "tanh"}, 4: {"sigmoid", "tanh", "tanh"}}[gates]
	names := n.Attrs["activations"].Strings
	for len(names) < D*len(defaults) {
		names = append(names, defaults...)
	}
	for d := range D {
		act := func(k int, v float64) float64 { return activations[strings.ToLower(names[d*len(defaults)+k])].r(v) }
		for b := range B {
			length := T
			if has(4) {
				length = int(in[4].V[b])
			}
			h, c := make([]float64, H), make([]float64, H)
			for e := range H {
				if has(5) {
					h[e] = *state(in[5], d, b, e)
				}
				if has(6) {
					c[e] = *state(in[6], d, b, e)
				}
			}
			for s := range length {
				t := s
				if dir := r.String("direction", "forward"); dir == "reverse" || d == 1 {
					t = length - 1 - s
				}
				fromX := func(g, e int) float64 {
					sum := 0.0
					for i := range I {
						v := x.V[x.At(min(t, x.Shape[0]-1), min(b, x.Shape[1]-1), i)]
						if first {
							v = x.V[x.At(b, t, i)]
						}
						sum += v * w.V[w.At(d, g*H+e, i)]
					}
					if has(3) {
						sum += in[3].V[in[3].At(d, g*H+e)]
					}
					return sum
				}
				fromH := func(g, e int, h []float64) float64 {
					sum := 0.0
					for i := range H {
						sum += h[i] * rec.V[rec.At(d, g*H+e, i)]
					}
					if has(3) {
						sum += in[3].V[in[3].At(d, (gates+g)*H+e)]
					}
					return sum
				}
				peep := func(k, e int, c float64) float64 {
					if has(7) {
						return in[7].V[in[7].At(d, k*H+e)] * c
					}
					return 0
				}
				next := make([]float64, H)
				reset := make([]float64, H)
				for e := range H {
					if gates == 3 {
						reset[e] = act(0, fromX(1, e)+fromH(1, e, h)) * h[e]
					}
				}
				for e := range H {
					switch gates {
					case 1:
						next[e] = act(0, fromX(0, e)+fromH(0, e, h))
					case 3:
						z := act(0, fromX(0, e)+fromH(0, e, h))
						m := fromX(2, e) + fromH(2, e, reset)
						if r.Int("linear_before_reset", 0) != 0 {
							m = fromX(2, e) + act(0, fromX(1, e)+fromH(1, e, h))*fromH(2, e, h)
						}
						next[e] = (1-z)*act(1, m) + z*h[e]
					case 4:
						i := act(0, fromX(0, e)+fromH(0, e, h)+peep(0, e, c[e]))
						f := act(0, fromX(2, e)+fromH(2, e, h)+peep(2, e, c[e]))
						c[e] = f*c[e] + i*act(1, fromX(3, e)+fromH(3, e, h))
						next[e] = act(0, fromX(1, e)+fromH(1, e, h)+peep(1, e, c[e])) * act(2, c[e])
					}
				}
				h = next
				for e := range H {
					if first {
						y.V[y.At(b, t, d, e)] = h[e]
					} else {
						y.V[y.At(t, d, b, e)] = h[e]
					}
				}
			}
			for e := range H {
				*state(hn, d, b, e), *state(cn, d, b, e) = h[e], c[e]
			}
		}
	}
	return []*Array{y, hn, cn}[:max(1, n.Outputs)]
}
