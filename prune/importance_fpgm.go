package prune

import (
	"math"
	"slices"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

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
		all := make([]float32, 0, len(w))
		for u := range rows {
			begin := len(all)
			for lo, hi := range m.Elements(u) {
				all = append(all, w[lo:hi]...)
			}
			rows[u] = all[begin:len(all):len(all)]
		}
		for u, x := range relative(s.sums(rows, all)) {
			total[u] += x
		}
	}
	return relative(total)
}

// sums is Σ over v of ‖rows[u] − rows[v]‖ for every u. Of many rows the distances are
// √(‖u‖² + ‖v‖² − 2·u·v) from products of matrices, a block of rows at a time.
// all are the rows one after the other.
func (s *Scoring) sums(rows [][]float32, all []float32) []float64 {
	const few, block = 64, 256
	out := make([]float64, len(rows))
	length := len(rows[0])
	equal := !slices.ContainsFunc(rows, func(r []float32) bool { return len(r) != length })
	if len(rows) <= few || !equal || length == 0 {
		s.Pool.Run(len(rows), func(u, _ int) {
			for v := range rows {
				out[u] += distance(rows[u], rows[v])
			}
		})
		return out
	}
	squares := make([]float64, len(rows))
	for u, r := range rows {
		for _, x := range r {
			squares[u] += float64(x) * float64(x)
		}
	}
	products := make([]float32, block*len(rows))
	ws := make([]float32, kernel.GemmWorkspace(false, true, block, len(rows), length))
	for lo := 0; lo < len(rows); lo += block {
		n := min(block, len(rows)-lo)
		if n < block {
			ws = make([]float32, kernel.GemmWorkspace(false, true, n, len(rows), length))
		}
		kernel.Gemm(s.Pool, false, true, n, len(rows), length, 1, all[lo*length:], length, all, length, 0, products, len(rows), ws)
		s.Pool.Run(n, func(i, _ int) {
			for v, p := range products[i*len(rows) : (i+1)*len(rows)] {
				if d := squares[lo+i] + squares[v] - 2*float64(p); d > 0 && v != lo+i {
					out[lo+i] += math.Sqrt(d)
				}
			}
		})
	}
	return out
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
