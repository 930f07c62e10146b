package prune

import "math"

func init() {
	// fpgm: Σ over the other units v of ‖w_u − w_v‖: a unit near the geometric median of
	// its group can be replaced by the others. Source: He et al. 2019, "Filter Pruning via
	// Geometric Median for Deep Convolutional Neural Networks Acceleration".
	register(Importance{Name: "fpgm", Score: func(s *Scoring) ([][]float64, string) {
		out := make([][]float64, len(s.Units.Groups.Groups))
		for g := range out {
			out[g] = s.distances(g)
		}
		return out, "no parameters to measure"
	}})
}

// distances sums the distances of every unit of a group to the others, per weight
// relative to the mean.
func (s *Scoring) distances(g int) []float64 {
	members := s.slices(g)
	if len(members) == 0 {
		return nil
	}
	width := s.Units.Groups.Groups[g].Width
	total := make([]float64, width)
	for _, m := range members {
		w := s.values(m)
		rows := make([][]float32, width)
		for u := range rows {
			for lo, hi := range m.Elements(u) {
				rows[u] = append(rows[u], w[lo:hi]...)
			}
		}
		part := make([]float64, width)
		s.Pool.Run(width, func(u, _ int) {
			for v := range rows {
				part[u] += distance(rows[u], rows[v])
			}
		})
		for u, x := range relative(part) {
			total[u] += x
		}
	}
	return relative(total)
}

// distance is Euclidean; units of unequal length are compared over the shorter.
func distance(a, b []float32) float64 {
	n := min(len(a), len(b))
	a, b = a[:n], b[:n]
	sum := float32(0)
	for i, x := range a {
		d := x - b[i]
		sum += d * d
	}
	return math.Sqrt(float64(sum))
}
