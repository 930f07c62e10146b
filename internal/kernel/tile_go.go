package kernel

import "unsafe"

func tileGo(a *tileArgs) {
	width, lanes := a.width, a.lanes
	var acc [4][32]float32
	var rows [4][]float32
	for p0 := 0; p0 < a.n; p0 += 4 {
		np := min(4, a.n-p0)
		tileStart(a, &acc)
		for t := range a.taps {
			for i := range 4 {
				row := a.zero
				if i < np {
					if o := *atInt32(a.in, t*a.pitch+p0+i); o >= 0 {
						row = at(a.x, int(o))
					}
				}
				rows[i] = unsafe.Slice(row, a.cin)
			}
			w := unsafe.Slice(at(a.w, int(*atInt32(a.rows, t))*width), a.cin*width)
			r0, r1, r2, r3 := rows[0], rows[1], rows[2], rows[3]
			r1, r2, r3 = r1[:len(r0)], r2[:len(r0)], r3[:len(r0)]
			a0, a1, a2, a3 := acc[0][:lanes], acc[1][:lanes], acc[2][:lanes], acc[3][:lanes]
			a1, a2, a3 = a1[:len(a0)], a2[:len(a0)], a3[:len(a0)]
			for k, x0 := range r0 {
				x1, x2, x3 := r1[k], r2[k], r3[k]
				wk := w[k*width:][:len(a0)]
				for l, wv := range wk {
					a0[l] += x0 * wv
					a1[l] += x1 * wv
					a2[l] += x2 * wv
					a3[l] += x3 * wv
				}
			}
		}
		tileStore(a, &acc, p0, np)
	}
}

func depthTileGo(a *tileArgs) {
	lanes := a.lanes
	var acc [4][32]float32
	for p0 := 0; p0 < a.n; p0 += 4 {
		np := min(4, a.n-p0)
		tileStart(a, &acc)
		for t := range a.taps {
			w := unsafe.Slice(at(a.w, int(*atInt32(a.rows, t))*a.width), lanes)
			for i := range np {
				row := a.zero
				if o := *atInt32(a.in, t*a.pitch+p0+i); o >= 0 {
					row = at(a.x, int(o))
				}
				s := acc[i][:lanes]
				x := unsafe.Slice(row, lanes)
				for l, wv := range w {
					s[l] += x[l] * wv
				}
			}
		}
		tileStore(a, &acc, p0, np)
	}
}

func tileStart(a *tileArgs, acc *[4][32]float32) {
	*acc = [4][32]float32{}
	if a.bias == nil {
		return
	}
	for i := range acc {
		copy(acc[i][:], unsafe.Slice(a.bias, a.lanes))
	}
}

func tileStore(a *tileArgs, acc *[4][32]float32, p0, np int) {
	for i := range np {
		o := *atInt32(a.out, p0+i)
		if o < 0 {
			continue
		}
		y := unsafe.Slice(at(a.y, int(o)), a.lanes)
		v := acc[i][:a.lanes]
		if a.res != nil {
			for l, r := range unsafe.Slice(at(a.res, int(o)), a.lanes) {
				v[l] += r
			}
		}
		for l, s := range v {
			if a.lo > s {
				s = a.lo
			}
			if a.hi < s {
				s = a.hi
			}
			y[l] = s
		}
	}
}

func gradGo(a *gradArgs) {
	for r := 0; r < gradRows(a.width); r += 4 {
		a0 := unsafe.Slice(at(a.acc, r*a.width), a.lanes)
		a1 := unsafe.Slice(at(a.acc, (r+1)*a.width), a.lanes)
		a2 := unsafe.Slice(at(a.acc, (r+2)*a.width), a.lanes)
		a3 := unsafe.Slice(at(a.acc, (r+3)*a.width), a.lanes)
		a1, a2, a3 = a1[:len(a0)], a2[:len(a0)], a3[:len(a0)]
		for i := range a.n {
			x := unsafe.Slice(at(a.x, int(*atInt32(a.pairs, 2*i))+r), 4)
			x0, x1, x2, x3 := x[0], x[1], x[2], x[3]
			dy := unsafe.Slice(at(a.dy, int(*atInt32(a.pairs, 2*i+1))), len(a0))
			for l, d := range dy {
				a0[l] += x0 * d
				a1[l] += x1 * d
				a2[l] += x2 * d
				a3[l] += x3 * d
			}
		}
	}
}

func depthGradGo(a *depthGradArgs) {
	for p := range a.n {
		dy := unsafe.Slice(at(a.dy, int(*atInt32(a.out, p))), a.lanes)
		for t := range depthTaps {
			o := *atInt32(a.in, p*depthTaps+t)
			if o < 0 {
				continue
			}
			x := unsafe.Slice(at(a.x, int(o)), len(dy))
			acc := unsafe.Slice(at(a.acc, t*a.width), len(dy))
			for l, d := range dy {
				acc[l] += x[l] * d
			}
		}
	}
}
