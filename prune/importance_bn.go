package prune

import (
	"math"

	"github.com/onnxprune/onnxprune/graph"
)

func init() {
	// bn: |γ| of the BatchNormalization that scales a channel, the mean where there are
	// several. Source: Liu et al. 2017, "Learning Efficient Convolutional Networks
	// through Network Slimming".
	register(Importance{Name: "bn", Score: func(s *Scoring) ([][]float64, string) {
		scale := map[*graph.Value]bool{}
		for _, n := range s.Graph.Nodes {
			if n.Domain == "" && n.Type == "BatchNormalization" && len(n.In) > 1 {
				if v := n.In[1].Source(false); v != nil {
					scale[v] = true
				}
			}
		}
		return s.each(func(g int) []float64 {
			grp := &s.Units.Groups.Groups[g]
			v := make([]float64, grp.Width)
			found := 0
			for i := range grp.Members {
				m := &grp.Members[i]
				w := s.values(m)
				if !scale[m.Value] || w == nil {
					continue
				}
				found++
				for u := range v {
					n, sum := 0, 0.0
					for lo, hi := range m.Elements(u) {
						for _, x := range w[lo:hi] {
							sum += math.Abs(float64(x))
							n++
						}
					}
					v[u] += sum / float64(max(1, n))
				}
			}
			if found == 0 {
				return nil
			}
			for u := range v {
				v[u] /= float64(found)
			}
			return v
		}), "no BatchNormalization scales it"
	}})
}
