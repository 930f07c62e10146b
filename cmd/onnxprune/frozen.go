package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/report"
)

// frozen lists what no removal of channels touches.
func frozen(gs *graph.Groups) []report.Frozen {
	all := []report.Frozen{}
	for _, f := range gs.Frozen {
		x := report.Frozen{Tensor: f.Value.Name, Axis: f.Axis, Positions: f.Positions, Length: f.Length, Reason: f.Reason}
		if f.Node != nil {
			x.Node = f.Node.Title() + " (" + f.Node.Operator() + ")"
		}
		all = append(all, x)
	}
	return all
}

// sayFrozen prints, for every node that is not understood (control flow, operators that
// are not known, and what lies behind them), which tensors keep all their channels.
func sayFrozen(con *console, gs *graph.Groups) {
	var nodes []*graph.Node
	reason, tensors := map[*graph.Node]string{}, map[*graph.Node][]string{}
	for _, f := range gs.Frozen {
		if n := f.Node; n != nil && gs.Shapes.Ops[n.Index] == nil {
			if tensors[n] == nil {
				nodes = append(nodes, n)
			}
			reason[n], tensors[n] = f.Reason, append(tensors[n], f.Value.Name)
		}
	}
	for _, n := range nodes {
		fmt.Fprintf(con.err, "frozen: %s %s: %s\n", n, reason[n], list(tensors[n]))
	}
}

// sayInside prints what control flow reads inside, which no mask is put on.
func sayInside(con *console, g *graph.Graph) {
	var nodes []*graph.Node
	tensors, params := map[*graph.Node][]string{}, map[*graph.Node]int64{}
	for _, v := range g.Initializers() {
		if !v.Init.Type.IsFloat() {
			continue
		}
		for _, u := range v.Uses {
			if u.Input >= 0 || slices.Contains(tensors[u.Node], v.Name) {
				continue
			}
			if tensors[u.Node] == nil {
				nodes = append(nodes, u.Node)
			}
			tensors[u.Node] = append(tensors[u.Node], v.Name)
			params[u.Node] += int64(v.Init.Size())
		}
	}
	for _, n := range nodes {
		fmt.Fprintf(con.err, "frozen: %s is control flow; what it reads inside stays as it is, %s parameters: %s\n", n, report.Count(params[n]), list(tensors[n]))
	}
}

// sayComputed prints which weights no mask reaches, as they are computed in the graph.
func sayComputed(con *console, g *graph.Graph) {
	for _, line := range computedLines(g) {
		fmt.Fprintln(con.err, line)
	}
}

func computedLines(g *graph.Graph) []string {
	var lines, made, whole []string
	by := map[string]bool{}
	for _, c := range g.Computed() {
		if c.Quantised() {
			whole = append(whole, c.Node.Title())
		} else {
			made = append(made, c.Node.Title())
			by[c.By.Operator()] = true
		}
	}
	if len(made) > 0 {
		lines = append(lines, fmt.Sprintf("not prunable: the weights of %s are computed in the graph (%s): %s", plural(len(made), "node"),
			strings.Join(slices.Sorted(maps.Keys(by)), ", "), list(made)))
	}
	if len(whole) > 0 {
		lines = append(lines, fmt.Sprintf("not prunable: the weights of %s are quantised: %s", plural(len(whole), "node"), list(whole)),
			"hint: prune the model in floating point, and quantise what comes out")
	}
	held := map[string][]string{}
	for _, v := range g.Initializers() {
		if v.Transform != "" && slices.ContainsFunc(v.Uses, func(u graph.Use) bool { return u.Node.Weighs(v) }) {
			held[v.Transform] = append(held[v.Transform], v.Name)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(held)) {
		lines = append(lines, fmt.Sprintf("not prunable: what was not learned (%s) stays as it is: %s", what, list(held[what])))
	}
	return lines
}

// list names the first three.
func list(names []string) string {
	if len(names) > 3 {
		return strings.Join(names[:3], ", ") + fmt.Sprintf(" and %d more", len(names)-3)
	}
	return strings.Join(names, ", ")
}
