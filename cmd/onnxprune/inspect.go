package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/report"
)

type inspectCmd struct {
	Model string `arg:"" help:"ONNX file."`
	All   bool   `help:"List every node, not only those with parameters or multiply-adds."`
	// Groups replaces all else.
	Groups bool           `help:"List the channel groups that structured pruning may remove, and what is frozen and why."`
	Dim    map[string]int `help:"Size of a symbolic dimension, repeatable." placeholder:"NAME=SIZE"`
	JSON   bool           `help:"Print JSON."`
}

// Validate is called by kong.
func (c *inspectCmd) Validate() error { return checkDims(c.Dim) }

// inspection is the JSON of inspect. Shapes are lists of sizes: a number, "N" for the
// batch, "2N" for what scales with it, "?" for what is not known; null for no shape.
type inspection struct {
	Model     string      `json:"model"`
	IRVersion int64       `json:"ir_version"`
	Opsets    []opset     `json:"opsets"`
	Inputs    []valueInfo `json:"inputs"`
	Outputs   []valueInfo `json:"outputs"`
	// FixedBatch is the batch size that the file declares, 0 if it leaves that of an input open, and 1 where
	// an input is one sample without an axis for the batch; Unbatched names such inputs.
	// BatchAxes has the inputs whose batch is another axis than 0.
	FixedBatch int            `json:"fixed_batch"`
	Unbatched  []string       `json:"unbatched_inputs,omitempty"`
	BatchAxes  map[string]int `json:"batch_axes,omitempty"`
	batch      []string
	Assumed    map[string]int `json:"assumed_sizes,omitempty"`
	report.Size
	Prunable report.Size `json:"prunable"`
	// Subnormal counts prunable weights that are not zero and below 2⁻¹²⁶.
	Subnormal    int64         `json:"subnormal"`
	Nodes        []nodeInfo    `json:"nodes"`
	Initializers []tensorInfo  `json:"initializers"`
	Unknown      []unknownInfo `json:"unknown_operators"`
	Problems     []string      `json:"problems,omitempty"`
	// NotPrunable says which nodes have weights that no mask reaches, and why.
	NotPrunable []string `json:"not_prunable,omitempty"`
}

type opset struct {
	Domain  string `json:"domain"`
	Version int    `json:"version"`
}

type valueInfo struct {
	Name  string   `json:"name"`
	Type  string   `json:"type"`
	Shape []string `json:"shape"`
}

type nodeInfo struct {
	Name     string   `json:"name"`
	Op       string   `json:"op"`
	Known    bool     `json:"known"`
	Shape    []string `json:"shape"`
	Params   int64    `json:"params"`
	Nonzero  int64    `json:"nonzero"`
	Sparsity float64  `json:"sparsity"`
	MACs     *int64   `json:"macs"`
	// Prunable is set where an input is a weight that pruning masks.
	Prunable bool `json:"prunable"`
}

type tensorInfo struct {
	Name     string  `json:"name"`
	Type     string  `json:"type"`
	Shape    []int   `json:"shape"`
	Params   int64   `json:"params"`
	Nonzero  int64   `json:"nonzero"`
	Sparsity float64 `json:"sparsity"`
	Prunable bool    `json:"prunable"`
	Masked   bool    `json:"masked"`
}

type unknownInfo struct {
	Operator string   `json:"operator"`
	Count    int      `json:"count"`
	Nodes    []string `json:"nodes"`
}

// Run implements the command.
func (c *inspectCmd) Run(con *console) error {
	read := outline
	if c.Groups {
		frugal()
		read = loadUntied
	}
	g, err := read(c.Model)
	if err != nil {
		return err
	}
	if err := declared(g, c.Dim); err != nil {
		return err
	}
	sayInlined(con, g)
	if c.Groups {
		groups, err := groupsOf(g, c.Dim)
		if err != nil {
			return err
		}
		if c.JSON {
			return report.WriteJSON(con.out, groups)
		}
		return groups.print(con)
	}
	i, err := inspect(g, c.Dim)
	if err != nil {
		return err
	}
	if c.JSON {
		return report.WriteJSON(con.out, i)
	}
	return i.print(con, c.All)
}

func inspect(g *graph.Graph, dims map[string]int) (*inspection, error) {
	s := shapesOf(g, dims)
	i := &inspection{Model: g.Name, IRVersion: g.File.Proto.GetIrVersion(), FixedBatch: g.FixedBatch(), batch: batchRemarks(g), Assumed: s.assumed, Unknown: []unknownInfo{}}
	for _, o := range g.File.Proto.OpsetImport {
		i.Opsets = append(i.Opsets, opset{o.GetDomain(), int(o.GetVersion())})
	}
	for _, v := range g.Inputs {
		i.Inputs = append(i.Inputs, s.info(v))
		switch {
		case v.BatchAxis < 0 && len(v.Dims) > 0:
			i.Unbatched = append(i.Unbatched, v.Name)
		case v.BatchAxis > 0:
			if i.BatchAxes == nil {
				i.BatchAxes = map[string]int{}
			}
			i.BatchAxes[v.Name] = v.BatchAxis
		}
	}
	for _, v := range g.Outputs {
		i.Outputs = append(i.Outputs, s.info(v))
	}
	weights, weighted := map[*graph.Value]bool{}, map[*graph.Node]bool{}
	for _, w := range g.Weights() {
		weights[w.Value] = true
		for _, n := range w.Nodes {
			weighted[n] = true
		}
	}
	i.NotPrunable = computedLines(g)
	nonzero := map[*graph.Value]int64{}
	params, kept, prunable, prunableKept := int64(0), int64(0), int64(0), int64(0)
	for _, v := range g.Initializers() {
		if !v.Init.Type.IsFloat() {
			continue
		}
		n, subnormal, err := sizesOf(g, v)
		if err != nil {
			return nil, err
		}
		size := int64(v.Init.Size())
		nonzero[v] = n
		params, kept = params+size, kept+n
		if weights[v] {
			prunable, prunableKept = prunable+size, prunableKept+n
			i.Subnormal += subnormal
		}
		i.Initializers = append(i.Initializers, tensorInfo{Name: v.Name, Type: v.Type.String(), Shape: append([]int{}, v.Init.Shape...), Params: size,
			Nonzero: n, Sparsity: report.Sparsity(size, n), Prunable: weights[v], Masked: v.Mask != nil})
	}
	var total *int64
	if s.base != nil {
		total = new(int64)
		for _, p := range s.base.Problems {
			i.Problems = append(i.Problems, p.Error())
		}
	}
	weightMACs := new(int64)
	for _, n := range g.Nodes {
		info := nodeInfo{Name: n.Title(), Op: n.Operator(), Known: n.Def != nil, Prunable: weighted[n]}
		if len(n.Out) > 0 {
			info.Shape, _ = s.of(n.Out[0])
		}
		seen := map[*graph.Value]bool{}
		for _, in := range n.In {
			if moves(n) {
				break // counted where the result is used
			}
			if v := in.Source(true); v != nil && v.Init.Type.IsFloat() && !seen[v] {
				seen[v] = true
				info.Params += int64(v.Init.Size())
				info.Nonzero += nonzero[v]
				info.Prunable = info.Prunable || weights[v]
			}
		}
		info.Sparsity = report.Sparsity(info.Params, info.Nonzero)
		if m, ok := s.macs(n); ok {
			info.MACs = &m
			if total != nil {
				*total += m
			}
			if weighted[n] && weightMACs != nil {
				*weightMACs += m
			}
		} else {
			total = nil
			if weighted[n] {
				weightMACs = nil
			}
		}
		i.Nodes = append(i.Nodes, info)
		if n.Def == nil {
			i.unknown(n)
		}
	}
	i.Size = report.NewSize(params, kept, total)
	i.Prunable = report.NewSize(prunable, prunableKept, weightMACs)
	return i, nil
}

// moves reports whether a node only hands its input on.
func moves(n *graph.Node) bool {
	return n.Domain == "" && (n.Type == "Identity" || n.Type == "Transpose")
}

func (s *symbolic) info(v *graph.Value) valueInfo {
	dims, _ := s.of(v)
	return valueInfo{Name: v.Name, Type: v.Type.String(), Shape: dims}
}

// unknown counts a node whose operator is not supported.
func (i *inspection) unknown(n *graph.Node) {
	for k := range i.Unknown {
		if u := &i.Unknown[k]; u.Operator == n.Operator() {
			u.Count++
			u.Nodes = append(u.Nodes, n.Title())
			return
		}
	}
	i.Unknown = append(i.Unknown, unknownInfo{Operator: n.Operator(), Count: 1, Nodes: []string{n.Title()}})
}

func (i *inspection) print(con *console, all bool) error {
	var sets []string
	for _, o := range i.Opsets {
		name := o.Domain
		if name == "" {
			name = "ai.onnx"
		}
		sets = append(sets, fmt.Sprintf("%s %d", name, o.Version))
	}
	fmt.Fprintf(con.out, "%s: ir version %d, opset %s, %s\n", i.Model, i.IRVersion, strings.Join(sets, ", "), plural(len(i.Nodes), "node"))
	for _, list := range []struct {
		name   string
		values []valueInfo
	}{{"input", i.Inputs}, {"output", i.Outputs}} {
		for _, v := range list.values {
			fmt.Fprintf(con.out, "%s %s %s %s\n", list.name, v.Name, v.Type, shapeText(v.Shape, v.Shape != nil))
		}
	}
	fmt.Fprintln(con.out)
	if err := i.nodeTable(all).Write(con.out); err != nil {
		return err
	}
	fmt.Fprintln(con.out)
	if err := i.tensorTable().Write(con.out); err != nil {
		return err
	}
	fmt.Fprintln(con.out)
	t := report.NewTable("", ">params", ">nonzero", ">sparsity", ">MACs per sample")
	for _, row := range []struct {
		name string
		s    report.Size
	}{{"model", i.Size}, {"prunable weights", i.Prunable}} {
		t.Row(row.name, report.Count(row.s.Params), report.Count(row.s.Nonzero), report.Percent(row.s.Sparsity), report.MACs(row.s.MACs))
	}
	if err := t.Write(con.out); err != nil {
		return err
	}
	return i.remarks(con)
}

func (i *inspection) nodeTable(all bool) *report.Table {
	t := report.NewTable("node", "op", "output", ">params", ">MACs", ">sparsity", "prunable")
	for _, n := range i.Nodes {
		counts := n.MACs != nil && *n.MACs > 0
		if !all && n.Params < 2 && !counts && n.Known {
			continue
		}
		params, macs, sparsity, prunable := "", "", "", ""
		if n.Params > 0 {
			params, sparsity = report.Count(n.Params), report.Percent(n.Sparsity)
		}
		if counts || n.MACs == nil {
			macs = report.MACs(n.MACs)
		}
		if n.Prunable {
			prunable = "yes"
		}
		operator := n.Op
		if !n.Known {
			operator += " (unknown)"
		}
		t.Row(n.Name, operator, shapeText(n.Shape, n.Shape != nil), params, macs, sparsity, prunable)
	}
	return t
}

func (i *inspection) tensorTable() *report.Table {
	t := report.NewTable("initializer", "type", "shape", ">params", ">nonzero", ">sparsity", "prunable")
	for _, v := range i.Initializers {
		var dims []string
		for _, d := range v.Shape {
			dims = append(dims, strconv.Itoa(d))
		}
		prunable := ""
		if v.Prunable {
			prunable = "yes"
		}
		if v.Masked {
			prunable += ", masked"
		}
		t.Row(v.Name, v.Type, shapeText(dims, true), report.Count(v.Params), report.Count(v.Nonzero), report.Percent(v.Sparsity), prunable)
	}
	return t
}

// remarks say what is not known and what was assumed.
func (i *inspection) remarks(con *console) error {
	var lines []string
	for _, u := range i.Unknown {
		lines = append(lines, fmt.Sprintf("unknown operator %s: %s, %s", u.Operator, plural(u.Count, "node"), some(u.Nodes, 5)))
	}
	lines = append(append(lines, i.Problems...), i.NotPrunable...)
	lines = append(lines, i.batch...)
	if i.FixedBatch > 1 {
		lines = append(lines, fmt.Sprintf("the file declares a batch of %d: multiply-adds are those of one sample in it", i.FixedBatch))
	}
	if s := (&symbolic{assumed: i.Assumed}).notes(); len(s) > 0 {
		lines = append(lines, fmt.Sprintf("multiply-adds are those at %s, sizes that the file leaves open (--dim sets them)", strings.Join(s, ", ")))
	}
	if i.Subnormal > 0 {
		lines = append(lines, fmt.Sprintf("%s of the prunable weights are not zero, but below 1.2e-38 (subnormal): they do next to nothing, slowly",
			report.Count(i.Subnormal)))
		dead := i.Prunable.Params - i.Prunable.Nonzero + i.Subnormal
		if percent := 100 * dead / i.Prunable.Params; percent > 0 {
			lines = append(lines, fmt.Sprintf("hint: --ratio %.2f or more makes zeros of them first", float64(percent)/100))
		}
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(con.out, l); err != nil {
			return err
		}
	}
	return nil
}

// some lists the first names.
func some(names []string, most int) string {
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}
