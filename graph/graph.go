// Package graph holds a model as nodes and values: which operator each node
// is, what is constant, which initializers are weights and parameters, shapes,
// masks, and the number of parameters and multiply-adds.
package graph

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// Graph is a model in the order of its file. Nodes are topologically sorted.
type Graph struct {
	// File is the model as read; nil for graphs made in memory.
	File *onnxio.Model
	// Name is the file name, as errors show it.
	Name string
	// Opsets maps a domain ("" is ai.onnx) to the imported version.
	Opsets  map[string]int
	Inputs  []*Value
	Outputs []*Value
	Nodes   []*Node
	// Values are all values: inputs, initializers, then results in node order.
	Values []*Value
	// Inlined is what opening functions did to File before it was read.
	Inlined onnxio.Inlined
	// Untied are the initializers that Untie made; grown is how many bytes that added to the file.
	Untied []Untied
	grown  int64
	byName map[string]*Value
}

// Value is a tensor that flows: a graph input, an initializer, or a result.
type Value struct {
	Name string
	// Index is the position in Graph.Values.
	Index int
	// Producer is nil for inputs and initializers.
	Producer *Node
	Output   int
	Uses     []Use
	// Init holds the elements of an initializer, in float32 or int64. Values of a
	// type without numbers (string) have no elements.
	Init *op.Tensor
	// FromInit marks an initializer.
	FromInit bool
	// Mask, if not nil, is the mask that the file applies to this initializer.
	Mask *Mask
	// Dims is the declared shape of an input or output.
	Dims []Dim
	Type op.Type
	// Ranked is false where the file declares no shape.
	Ranked bool
	// Transform says what a weight holds that was not learned, as a Fourier transform; see graph/transform.go. Such weights
	// are neither pruned nor trained.
	Transform string
	// BatchAxis is the axis of an input that has the batch, negative where there is none.
	BatchAxis int
}

// Row is what one sample has of the declared shape of an input: all of it but the batch axis.
func (v *Value) Row() []Dim {
	if v.BatchAxis < 0 {
		return v.Dims
	}
	return slices.Concat(v.Dims[:v.BatchAxis], v.Dims[v.BatchAxis+1:])
}

// Use is an input of a node.
type Use struct {
	Node  *Node
	Input int
}

// Dim is a declared dimension: a size, or a symbol where Size is negative.
type Dim struct {
	Size   int
	Symbol string
}

// Node is one operator call.
type Node struct {
	Index  int
	Name   string
	Type   string
	Domain string
	Opset  int
	In     []*Value
	Out    []*Value
	Attrs  op.Attrs
	// Def is nil for an operator that is not known.
	Def *op.Def
	// Subgraphs marks a node with graph attributes (If, Loop, Scan).
	Subgraphs bool
	// proto is the node's index in the file, -1 for nodes made here.
	proto int
}

// String names the node as errors do: "layer1/Conv_3" (Conv). A node without a
// name is called by its first output.
func (n *Node) String() string {
	return fmt.Sprintf("node %q (%s)", n.Title(), n.Operator())
}

// Title is the node's name, or that of its first output.
func (n *Node) Title() string {
	if n.Name == "" && len(n.Out) > 0 && n.Out[0] != nil {
		return n.Out[0].Name
	}
	return n.Name
}

// Operator is the operator's name, with its domain if that is not ONNX's own.
func (n *Node) Operator() string {
	if n.Domain != "" {
		return n.Domain + "." + n.Type
	}
	return n.Type
}

// Value returns the value of that name, or nil.
func (g *Graph) Value(name string) *Value { return g.byName[name] }

// New reads the graph of a model. Unknown operators are no error: their nodes
// have no Def. An error lists every dangling name, duplicate or cycle.
func New(m *onnxio.Model, name string) (*Graph, error) {
	return read(m, name, decode, decodeSparse)
}

// read is New with the functions that read initializers.
func read(m *onnxio.Model, name string, dense func(*onnxio.Model, *onnxio.TensorProto) (*op.Tensor, error),
	sparse func(*onnxio.Model, *onnxio.SparseTensorProto) (*op.Tensor, error)) (*Graph, error) {
	g := &Graph{File: m, Name: name, Opsets: map[string]int{}, byName: map[string]*Value{}}
	for _, o := range m.Proto.OpsetImport {
		g.Opsets[domain(o.GetDomain())] = int(o.GetVersion())
	}
	pg := m.Proto.GetGraph()
	var errs problems
	for _, t := range pg.GetInitializer() {
		v, err := g.define(t.GetName())
		if err != nil {
			errs.add("initializer %q: %v", t.GetName(), err)
			continue
		}
		v.FromInit = true
		if v.Init, err = dense(m, t); err != nil {
			errs.add("%v", err)
			continue
		}
		v.Type = v.Init.Type
	}
	if err := m.CheckDense(); err != nil {
		return nil, err
	}
	for _, t := range pg.GetSparseInitializer() {
		name := t.GetValues().GetName()
		v, err := g.define(name)
		if err != nil {
			errs.add("sparse initializer %q: %v", name, err)
			continue
		}
		v.FromInit = true
		if v.Init, err = sparse(m, t); err != nil {
			errs.add("%v", err)
			continue
		}
		v.Type = v.Init.Type
	}
	for _, in := range pg.GetInput() {
		if v := g.byName[in.GetName()]; v != nil {
			if !v.FromInit {
				errs.add("input %q: is declared twice", in.GetName())
			}
			continue
		}
		v, err := g.define(in.GetName())
		if err != nil {
			errs.add("input %q: %v", in.GetName(), err)
			continue
		}
		declare(v, in)
		g.Inputs = append(g.Inputs, v)
	}
	if err := errs.err(name); err != nil {
		return nil, err
	}
	for i, pn := range pg.GetNode() {
		g.addNode(i, pn, &errs)
	}
	for _, out := range pg.GetOutput() {
		v := g.byName[out.GetName()]
		if v == nil {
			errs.add("output %q: no node produces it", out.GetName())
			continue
		}
		if v.Producer != nil || !v.Ranked {
			declare(v, out)
		}
		g.Outputs = append(g.Outputs, v)
	}
	if len(g.Outputs) == 0 {
		errs.add("the graph has no output")
	}
	if err := errs.err(name); err != nil {
		return nil, err
	}
	g.promoteConstants()
	g.findBatchAxes()
	if err := g.recogniseMasks(); err != nil {
		return nil, err
	}
	g.findTransforms()
	return g, nil
}

// promoteConstants makes initializers of Constant nodes that hold parameters of layers
// and of BatchNormalization, as some exporters write all weights. Only the graph in memory changes; edits by name find the
// tensor in its node.
func (g *Graph) promoteConstants() {
	weights := map[*Value]bool{}
	for _, n := range g.Nodes {
		for _, i := range weightInputs(n) {
			if i < len(n.In) && n.In[i] != nil {
				found, _ := n.In[i].roots()
				for _, v := range found {
					weights[v] = true
				}
			}
		}
	}
	drop := map[*Node]bool{}
	for _, n := range g.Nodes {
		if !n.isConstant() || len(n.In) > 0 || len(n.Out) != 1 || n.Out[0] == nil {
			continue
		}
		v, t := n.Out[0], n.Attrs["value"].T
		if t == nil || t.F == nil || t.Rank() == 0 || inSubgraph(v) || g.isOutput(v) {
			continue
		}
		if weights[v] || slices.ContainsFunc(v.Uses, func(u Use) bool { return u.ofLayer(v) }) {
			v.FromInit, v.Init, v.Type, v.Producer = true, t, t.Type, nil
			drop[n] = true
		}
	}
	g.dropNodes(drop)
}

// ofLayer reports whether a use of v is that of a parameter of a node with weights or statistics, or a masked one.
func (u Use) ofLayer(v *Value) bool {
	d := u.Node.Def
	if d == nil || !slices.Contains(d.Params, u.Input) {
		return false
	}
	masked := u.Node.beside(u.Input)
	return len(d.Weights)+len(d.State) > 0 || masked != nil && masked.Name == v.Name+MaskSuffix
}

// dropNodes takes nodes out of the graph.
func (g *Graph) dropNodes(drop map[*Node]bool) {
	if len(drop) == 0 {
		return
	}
	g.Nodes = slices.DeleteFunc(g.Nodes, func(n *Node) bool { return drop[n] })
	for i, n := range g.Nodes {
		n.Index = i
	}
	g.link()
}

func (g *Graph) addNode(i int, pn *onnxio.NodeProto, errs *problems) {
	n := &Node{Index: len(g.Nodes), Name: pn.GetName(), Type: pn.GetOpType(), Domain: domain(pn.GetDomain()), proto: i}
	n.Opset = g.Opsets[n.Domain]
	n.Def = op.Lookup(n.Domain, n.Type)
	if n.Domain == "onnxprune" {
		n.Def = nil // the operators of this domain exist in compiled plans only
	}
	title := n.Name
	if title == "" && len(pn.Output) > 0 {
		title = pn.Output[0]
	}
	where := fmt.Sprintf("node %q (%s)", title, n.Operator())
	for k, name := range pn.Input {
		if name == "" {
			n.In = append(n.In, nil)
			continue
		}
		v := g.byName[name]
		if v == nil {
			errs.add("%s: input %d %q is produced by no earlier node", where, k, name)
			continue
		}
		v.Uses = append(v.Uses, Use{n, k})
		n.In = append(n.In, v)
	}
	attrs, sub, err := attributes(g.File, pn)
	if err != nil {
		errs.add("%s: %v", where, err)
	}
	n.Attrs, n.Subgraphs = attrs, sub
	for k, name := range pn.Output {
		if name == "" {
			n.Out = append(n.Out, nil)
			continue
		}
		v, err := g.define(name)
		if err != nil {
			errs.add("%s: output %q: %v", where, name, err)
			continue
		}
		v.Producer, v.Output = n, k
		n.Out = append(n.Out, v)
	}
	if sub {
		// Names used inside subgraphs count as uses, so that nothing they read
		// is taken for unused.
		for _, name := range captured(pn) {
			if v := g.byName[name]; v != nil {
				v.Uses = append(v.Uses, Use{n, -1})
			}
		}
	}
	g.Nodes = append(g.Nodes, n)
}

func (g *Graph) define(name string) (*Value, error) {
	if name == "" {
		return nil, errors.New("has no name")
	}
	if g.byName[name] != nil {
		return nil, errors.New("the name is defined twice")
	}
	v := &Value{Name: name, Index: len(g.Values)}
	g.Values = append(g.Values, v)
	g.byName[name] = v
	return v, nil
}

func declare(v *Value, info *onnxio.ValueInfoProto) {
	t := info.GetType().GetTensorType()
	if t == nil {
		return
	}
	v.Type = op.Type(t.GetElemType())
	if t.GetShape() == nil {
		return
	}
	v.Ranked = true
	v.Dims = v.Dims[:0]
	for i, d := range t.GetShape().GetDim() {
		size, symbol := -1, d.GetDimParam()
		if x, ok := d.GetValue().(*onnxio.TensorShapeProto_Dimension_DimValue); ok {
			size = int(x.DimValue)
		}
		// Exporters write 0 or -1 for a dimension they do not know.
		if size <= 0 {
			size = -1
			if symbol == "" {
				symbol = fmt.Sprintf("%s.%d", v.Name, i)
			}
		}
		v.Dims = append(v.Dims, Dim{size, symbol})
	}
}

func domain(d string) string {
	if d == "ai.onnx" {
		return ""
	}
	return d
}

// problems collects everything of a kind that is wrong with a model.
type problems []string

func (p *problems) add(format string, args ...any) {
	*p = append(*p, fmt.Sprintf(format, args...))
}

func (p problems) err(file string) error {
	if len(p) == 0 {
		return nil
	}
	const most = 20
	text := p
	if len(text) > most {
		text = append(append(problems{}, p[:most]...), fmt.Sprintf("and %d more", len(p)-most))
	}
	return errors.New(file + ": " + strings.Join(text, "\n"+file+": "))
}
