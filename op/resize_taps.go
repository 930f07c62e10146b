package op

import "math"

// position returns the place of output position o in the input.
func (f *resize) position(p resizedAxis, o int) float64 {
	x, s := float32(o), float32(p.scale)
	switch f.coordinate {
	case "half_pixel_symmetric":
		offset := float64(p.in) / 2 * (1 - float64(p.out)/p.width)
		return offset + (float64(o)+0.5)/p.scale - 0.5
	case "pytorch_half_pixel":
		if p.out == 1 {
			return 0
		}
		return float64((x+0.5)/s - 0.5)
	case "align_corners":
		if p.out == 1 {
			return 0
		}
		return float64(o) * float64(p.in-1) / (p.width - 1)
	case "asymmetric":
		return float64(x / s)
	case "tf_half_pixel_for_nn":
		return float64((x + 0.5) / s)
	case "tf_crop_and_resize":
		last := float64(p.in - 1)
		if p.out == 1 {
			return (p.start + p.end) * last / 2
		}
		return p.start*last + float64(o)*(p.end-p.start)*last/float64(p.out-1)
	default:
		return float64((x+0.5)/s - 0.5)
	}
}

// taps returns the table of an axis, and which positions lie outside the input
// where these get the extrapolation value.
func (f *resize) taps(p resizedAxis) (axisTaps, []bool) {
	table := make(axisTaps, p.out)
	var outside []bool
	for o := range table {
		x := f.position(p, o)
		if f.coordinate == "tf_crop_and_resize" && !(x >= 0 && x <= float64(p.in-1)) {
			if outside == nil {
				outside = make([]bool, p.out)
			}
			outside[o] = true
			continue
		}
		switch f.mode {
		case "nearest":
			at := f.nearestTo(x, p.scale < 1)
			table[o] = []tap{{max(0, min(p.in-1, at)), 1}}
		case "linear":
			table[o] = f.spread(x, p, 1, func(d float64) float64 { return max(0, 1-d) })
		default:
			table[o] = f.spread(x, p, 2, f.cubicAt)
		}
	}
	return table, outside
}

// nearestTo rounds a place to an element.
func (f *resize) nearestTo(x float64, smaller bool) int {
	switch f.nearest {
	case "round_prefer_floor":
		return int(math.Ceil(x - 0.5))
	case "round_prefer_ceil":
		return int(math.Floor(x + 0.5))
	case "ceil":
		return int(math.Ceil(x))
	case "simple":
		if smaller {
			return int(math.Ceil(x))
		}
	}
	return int(math.Floor(x))
}

// cubicAt is the cubic convolution kernel at distance d.
func (f *resize) cubicAt(d float64) float64 {
	a := f.cubic
	switch {
	case d <= 1:
		return (a+2)*d*d*d - (a+3)*d*d + 1
	case d < 2:
		return a*d*d*d - 5*a*d*d + 8*a*d - 4*a
	}
	return 0
}

// spread returns the taps around x of a kernel that reaches radius elements far,
// or radius/scale with antialias. Taps outside the input count for the element at
// the edge, or not at all with exclude_outside; the weights then sum to 1 again.
func (f *resize) spread(x float64, p resizedAxis, radius int, weight func(d float64) float64) []tap {
	shrink := 1.0
	if f.antialias {
		shrink = min(1, p.scale)
	}
	n := float64(p.in)
	x = max(-n-4, min(2*n+4, x)) // further outside nothing changes
	first, last := int(math.Floor(x)), int(math.Floor(x))+1
	if float64(first) == x {
		first, last = first-1, last-1 // the element on the left comes first
	}
	more := int(min(4*n+4, -math.Floor(-float64(radius)/shrink)-1))
	first, last = first-more, last+more
	sum := 0.0
	var taps []tap
	var weights []float64
	for at := first; at <= last; at++ {
		w := weight(math.Abs(float64(at)-x) * shrink)
		inside := at >= 0 && at < p.in
		if f.excludeOutside && !inside || w == 0 {
			continue
		}
		sum += w
		edge := max(0, min(p.in-1, at))
		if k := len(taps) - 1; k >= 0 && taps[k].at == edge {
			weights[k] += w
			continue
		}
		taps, weights = append(taps, tap{at: edge}), append(weights, w)
	}
	if !f.antialias && !f.excludeOutside {
		sum = 1
	}
	for k := range taps {
		taps[k].weight = float32(weights[k] / sum)
	}
	return taps
}
