package sweep

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// Spread describes values: SD is the sample standard deviation √(Σ(x−mean)²/(n−1)), 0
// for one value.
type Spread struct {
	Mean float64 `json:"mean"`
	SD   float64 `json:"sd"`
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
}

// NewSpread of at least one value.
func NewSpread(values []float64) Spread {
	s := Spread{Min: slices.Min(values), Max: slices.Max(values)}
	for _, v := range values {
		s.Mean += v
	}
	s.Mean /= float64(len(values))
	if len(values) == 1 {
		return s
	}
	squares := 0.0
	for _, v := range values {
		squares += (v - s.Mean) * (v - s.Mean)
	}
	s.SD = math.Sqrt(squares / float64(len(values)-1))
	return s
}

// Point is what the seeds of a method at a ratio come to.
type Point struct {
	Method    string  `json:"method"`
	Structure string  `json:"structure"`
	Of        string  `json:"of"`
	Ratio     float64 `json:"ratio"`
	Rewind    Rewind  `json:"rewind"`
	Seeds     int     `json:"seeds"`
	// Achieved, Passes and MACs are means; MACs is 0 where they are not known.
	Achieved float64 `json:"achieved"`
	Passes   float64 `json:"passes"`
	MACs     float64 `json:"macs"`
	// Score is of top-1, or of the loss where labels are no classes.
	Score   Spread `json:"score"`
	Seconds Spread `json:"seconds"`
	// TimesBiP is the mean time divided by that of bip in the same place over the seeds
	// that both have, 0 where there is none.
	TimesBiP float64 `json:"times_bip,omitempty"`
}

// points joins the seeds of cells, which are in the order of the grid, by structure,
// method, rewinding and ratio.
func (g *Grid) points(cells []Result) []Point {
	type place struct {
		structure, method string
		rewind            Rewind
		ratio             float64
	}
	seeds := map[place][]*Result{}
	var order []place
	for i := range cells {
		c := &cells[i]
		p := place{c.Structure, c.Method, c.Rewind, c.Ratio}
		if seeds[p] == nil {
			order = append(order, p)
		}
		seeds[p] = append(seeds[p], c)
	}
	methods := g.methods()
	slices.SortStableFunc(order, func(a, b place) int {
		return cmp.Or(cmp.Compare(slices.Index(g.Structures, a.structure), slices.Index(g.Structures, b.structure)),
			cmp.Compare(slices.Index(methods, a.method), slices.Index(methods, b.method)),
			cmp.Compare(a.rewind, b.rewind), cmp.Compare(a.ratio, b.ratio))
	})
	var out []Point
	for _, at := range order {
		p := Point{Method: at.method, Structure: at.structure, Ratio: at.ratio, Rewind: at.rewind, Seeds: len(seeds[at])}
		var scores, seconds []float64
		n := float64(p.Seeds)
		for _, c := range seeds[at] {
			scores, seconds = append(scores, score(&c.Score)), append(seconds, c.Seconds)
			p.Of = c.Of
			p.Achieved += c.Achieved / n
			p.Passes += c.Passes / n
			if c.MACs != nil {
				p.MACs += float64(*c.MACs) / n
			}
		}
		p.Score, p.Seconds = NewSpread(scores), NewSpread(seconds)
		bip := at
		bip.method, bip.rewind = "bip", NoRewind
		p.TimesBiP = timesOf(seeds[at], seeds[bip])
		out = append(out, p)
	}
	return out
}

// timesOf is the time of own divided by that of other, over the seeds that both have.
func timesOf(own, other []*Result) float64 {
	var a, b float64
	for _, x := range own {
		for _, y := range other {
			if x.Seed == y.Seed {
				a, b = a+x.Seconds, b+y.Seconds
			}
		}
	}
	if !(b > 0) {
		return 0
	}
	return a / b
}

// tickets are the winning tickets: per structure, method and rewinding, the point with the most
// removed whose mean score is at least the dense model's.
func tickets(points []Point, dense float64, classes bool) []Point {
	var out []Point
	for _, p := range points {
		if classes && !(p.Score.Mean >= dense) || !classes && !(p.Score.Mean <= dense) {
			continue
		}
		at := slices.IndexFunc(out, func(o Point) bool {
			return o.Structure == p.Structure && o.Method == p.Method && o.Rewind == p.Rewind
		})
		switch {
		case at < 0:
			out = append(out, p)
		case p.Achieved > out[at].Achieved:
			out[at] = p
		}
	}
	return out
}

// Overlap is how far two methods keep the same: IoU = |A∩B| / |A∪B| of what stays, mean
// over the seeds that both have.
type Overlap struct {
	Structure string  `json:"structure"`
	Ratio     float64 `json:"ratio"`
	A         string  `json:"a"`
	B         string  `json:"b"`
	Seeds     int     `json:"seeds"`
	IoU       float64 `json:"iou"`
}

// IoU compares what two records keep; ok is false where they are not of the same parts.
func IoU(a, b []Kept) (iou float64, ok bool) {
	if len(a) != len(b) {
		return 0, false
	}
	both, either := 0, 0
	for i := range a {
		if a[i].Name != b[i].Name || a[i].Of != b[i].Of || len(a[i].Bits) != len(b[i].Bits) {
			return 0, false
		}
		for k, x := range a[i].Bits {
			y := b[i].Bits[k]
			both += bits.OnesCount8(x & y)
			either += bits.OnesCount8(x | y)
		}
	}
	if either == 0 {
		return 1, true
	}
	return float64(both) / float64(either), true
}
