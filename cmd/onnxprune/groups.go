package main

import (
	"fmt"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/report"
)

// channelGroups is the JSON of inspect --groups.
type channelGroups struct {
	Model string `json:"model"`
	// Assumed are sizes taken for dimensions that the file leaves open.
	Assumed map[string]int `json:"assumed_sizes,omitempty"`
	Params  int64          `json:"params"`
	MACs    int64          `json:"macs"`
	// Untied is the number of vectors that layers get back before anything is removed; Params has them merged, as in the file.
	Untied int             `json:"untied,omitempty"`
	Groups []groupInfo     `json:"groups"`
	Frozen []report.Frozen `json:"frozen"`
}

type groupInfo struct {
	Name  string `json:"name"`
	Units int    `json:"units"`
	// Params and MACs are what the model loses with the first unit alone; the others
	// may carry up to MaxParams and MaxMACs.
	Params    int64        `json:"params_per_unit"`
	MACs      int64        `json:"macs_per_unit"`
	MaxParams int64        `json:"max_params_per_unit"`
	MaxMACs   int64        `json:"max_macs_per_unit"`
	Members   []memberInfo `json:"members"`
}

type memberInfo struct {
	Tensor string `json:"tensor"`
	Shape  []int  `json:"shape"`
	Axis   int    `json:"axis"`
	// Slices is the number of positions of the axis that go with a unit.
	Slices int `json:"slices_per_unit"`
	// Role is "computes" for slices that compute the channel, "reads" for those that
	// read it, "constant" for what is no parameter and is only cut out.
	Role string `json:"role"`
}

// groupsOf lists the channel groups of a model.
func groupsOf(g *graph.Graph, dims map[string]int) (*channelGroups, error) {
	gs, err := g.Groups(dims)
	if err != nil {
		return nil, err
	}
	r := gs.NewRemoval()
	all := r.Params()
	copies, _ := g.UntiedElements()
	c := &channelGroups{Model: g.Name, Params: all - copies, MACs: r.MACs(), Untied: len(g.Untied), Groups: []groupInfo{}, Frozen: frozen(gs), Assumed: assumedSizes(g, gs, dims)}
	for k := range gs.Groups {
		gr := &gs.Groups[k]
		info := groupInfo{Name: gr.Name, Units: gr.Width}
		for u := range gr.Width {
			r.Set(k, u, true)
			params, macs := all-r.Params(), c.MACs-r.MACs()
			r.Set(k, u, false)
			if u == 0 {
				info.Params, info.MACs = params, macs
			}
			info.MaxParams, info.MaxMACs = max(info.MaxParams, params), max(info.MaxMACs, macs)
		}
		for i := range gr.Members {
			m := &gr.Members[i]
			role := "reads"
			switch {
			case !m.Weight:
				role = "constant"
			case m.Produces:
				role = "computes"
			}
			info.Members = append(info.Members, memberInfo{Tensor: m.Value.Name, Shape: m.Shape(), Axis: m.Axis, Slices: len(m.Index[0]), Role: role})
		}
		c.Groups = append(c.Groups, info)
	}
	return c, nil
}

// assumedSizes are the sizes that nobody gave, without the batch.
func assumedSizes(g *graph.Graph, gs *graph.Groups, dims map[string]int) map[string]int {
	assumed := map[string]int{}
	for _, in := range g.Inputs {
		for i, d := range in.Dims {
			if _, given := dims[d.Symbol]; i != in.BatchAxis && d.Size < 0 && !given {
				assumed[d.Symbol] = gs.Dims[d.Symbol]
			}
		}
	}
	for _, in := range g.Inputs {
		if d, ok := in.BatchDim(); ok {
			delete(assumed, d.Symbol)
		}
	}
	return assumed
}

func (c *channelGroups) print(con *console) error {
	fmt.Fprintf(con.out, "%s: %s parameters, %s multiply-adds per sample, %s\n\n", c.Model, report.Count(c.Params), report.Count(c.MACs), plural(len(c.Groups), "channel group"))
	span := func(first, most int64) string {
		if most > first {
			return report.Count(first) + "–" + report.Count(most)
		}
		return report.Count(first)
	}
	t := report.NewTable("group", ">units", ">params/unit", ">MACs/unit", "tensor", ">axis", ">slices/unit", "role")
	for _, g := range c.Groups {
		cells := []string{g.Name, report.Count(int64(g.Units)), span(g.Params, g.MaxParams), span(g.MACs, g.MaxMACs)}
		for _, m := range g.Members {
			t.Row(append(cells, m.Tensor, fmt.Sprint(m.Axis), report.Count(int64(m.Slices)), m.Role)...)
			cells = make([]string, 4)
		}
	}
	if len(c.Groups) > 0 {
		if err := t.Write(con.out); err != nil {
			return err
		}
		fmt.Fprintln(con.out)
	}
	t = report.NewTable("frozen tensor", ">axis", ">positions", "reason")
	for _, f := range c.Frozen {
		axis, positions := fmt.Sprint(f.Axis), fmt.Sprintf("%d of %d", f.Positions, f.Length)
		if f.Axis < 0 {
			axis, positions = "all", "all"
		}
		reason := f.Reason
		if f.Node != "" {
			reason = f.Node + " " + reason
		}
		t.Row(f.Tensor, axis, positions, reason)
	}
	if err := t.Write(con.out); err != nil {
		return err
	}
	if c.Untied > 0 {
		if _, err := fmt.Fprintf(con.out, "%s of equal numbers, which the exporter had merged, count as parameters of their layers above\n", plural(c.Untied, "vector")); err != nil {
			return err
		}
	}
	for _, s := range (&symbolic{assumed: c.Assumed}).notes() {
		if _, err := fmt.Fprintf(con.out, "multiply-adds are those at %s, a size that the file leaves open (--dim sets it)\n", s); err != nil {
			return err
		}
	}
	return nil
}
