package engine

import "github.com/onnxprune/onnxprune/graph"

// Need is the memory in bytes that the plan of [Compile] would take: buffers, workspace,
// gradients, parameters kept packed. What operators keep besides is small and does not count. Nothing of it
// is allocated.
func Need(g *graph.Graph, state *State, opt Options) (int64, error) {
	opt.dry = true
	p, err := Compile(g, state, opt)
	if err != nil {
		return 0, err
	}
	return p.need, nil
}
