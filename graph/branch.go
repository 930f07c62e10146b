package graph

import (
	"fmt"
	"slices"

	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// TakeBranches returns a graph in which every If whose condition is a constant, of the
// same value under all bindings, has become the nodes of the branch taken. g is not
// changed; without such an If it is returned as it is. Only graphs in memory change:
// what the branches hold is constant there.
func (g *Graph) TakeBranches(bindings ...Binding) (*Graph, error) {
	if !slices.ContainsFunc(g.Nodes, (*Node).isIf) {
		return g, nil
	}
	c := g.clone()
	t := &branches{g: c, of: map[*Node]branchSource{}}
	for _, n := range c.Nodes {
		if n.isIf() && n.proto >= 0 {
			t.of[n] = branchSource{proto: g.File.Proto.Graph.Node[n.proto]}
		}
	}
	for round := 0; ; round++ {
		known, err := t.known(bindings)
		if err != nil {
			return nil, err
		}
		for _, k := range known {
			if err := t.take(k.node, k.yes); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", g.Name, k.node, err)
			}
		}
		switch {
		case len(known) > 0: // branches may hold further ones, or decide them
		case round == 0:
			return g, nil
		default:
			return c, nil
		}
	}
}

func (n *Node) isIf() bool { return n.Domain == "" && n.Type == "If" }

// branches replaces If nodes of a graph.
type branches struct {
	g  *Graph
	of map[*Node]branchSource
}

// branchSource is where an If comes from: its message, and the names it sees that the
// graph does not have, or has for something else.
type branchSource struct {
	proto *onnxio.NodeProto
	names map[string]*Value
}

// decision is an If and the value of its condition.
type decision struct {
	node *Node
	yes  bool
}

// known lists the If nodes whose condition is known.
func (t *branches) known(bindings []Binding) ([]decision, error) {
	var shapes []*Shapes
	for _, b := range bindings {
		s, err := t.g.Infer(b)
		if err != nil {
			return nil, err
		}
		shapes = append(shapes, s)
	}
	var all []decision
	for _, n := range t.g.Nodes {
		if _, ok := t.of[n]; !ok || len(n.In) != 1 || n.In[0] == nil {
			continue
		}
		yes := 0
		for _, s := range shapes {
			c := s.Of[n.In[0].Index]
			if !c.IsConst() || c.Type != op.Bool || len(c.I) != 1 {
				yes = -len(shapes)
			} else if c.I[0] != 0 {
				yes++
			}
		}
		if yes == 0 || yes == len(shapes) {
			all = append(all, decision{n, yes > 0})
		}
	}
	return all, nil
}

// take puts the nodes of a branch in the place of an If.
func (t *branches) take(n *Node, yes bool) error {
	src := t.of[n]
	name := "else_branch"
	if yes {
		name = "then_branch"
	}
	var body *onnxio.GraphProto
	for _, a := range src.proto.Attribute {
		if a.GetName() == name {
			body = a.GetG()
		}
	}
	if body == nil || len(body.Output) < len(n.Out) {
		return fmt.Errorf("attribute %q: is no graph with %d outputs", name, len(n.Out))
	}
	s := &scope{t: t, at: n, names: map[string]*Value{}, outer: src.names}
	if err := s.read(body); err != nil {
		return fmt.Errorf("attribute %q: %w", name, err)
	}
	for k, v := range n.Out {
		if v == nil {
			continue
		}
		from := s.find(body.Output[k].GetName())
		if from == nil {
			return fmt.Errorf("attribute %q: output %q: no node produces it", name, body.Output[k].GetName())
		}
		id := t.g.node("Identity", []*Value{from}, v, op.Attrs{})
		v.Output = 0
		s.nodes = append(s.nodes, id)
	}
	delete(t.of, n)
	at := slices.Index(t.g.Nodes, n)
	t.g.Nodes = slices.Replace(t.g.Nodes, at, at+1, s.nodes...)
	for i, n := range t.g.Nodes {
		n.Index = i
	}
	t.g.link()
	return nil
}

// scope is a branch while it is read.
type scope struct {
	t     *branches
	at    *Node
	names map[string]*Value
	outer map[string]*Value
	nodes []*Node
}

func (s *scope) find(name string) *Value {
	if v := s.names[name]; v != nil {
		return v
	}
	if v := s.outer[name]; v != nil {
		return v
	}
	return s.t.g.byName[name]
}

// define makes a value for a name of the branch; in the graph it may be called
// otherwise.
func (s *scope) define(name string) (*Value, error) {
	if name == "" || s.names[name] != nil {
		return nil, fmt.Errorf("the name %q is empty or defined twice", name)
	}
	v := s.t.g.result(s.at.Title() + "/" + name)
	s.names[name] = v
	return v, nil
}

func (s *scope) read(body *onnxio.GraphProto) error {
	file := s.t.g.File
	fix := func(name string, x *op.Tensor, err error) error {
		if err != nil {
			return err
		}
		v, err := s.define(name)
		if err != nil {
			return err
		}
		v.FromInit, v.Init, v.Type = true, x, x.Type
		return nil
	}
	for _, p := range body.GetInitializer() {
		x, err := decode(file, p)
		if err := fix(p.GetName(), x, err); err != nil {
			return fmt.Errorf("initializer %q: %w", p.GetName(), err)
		}
	}
	for _, p := range body.GetSparseInitializer() {
		x, err := decodeSparse(file, p)
		if err := fix(p.GetValues().GetName(), x, err); err != nil {
			return fmt.Errorf("sparse initializer %q: %w", p.GetValues().GetName(), err)
		}
	}
	for _, p := range body.GetNode() {
		if err := s.node(p); err != nil {
			return fmt.Errorf("node %q (%s): %w", p.GetName(), p.GetOpType(), err)
		}
	}
	return nil
}

func (s *scope) node(p *onnxio.NodeProto) error {
	g := s.t.g
	n := &Node{Name: p.GetName(), Type: p.GetOpType(), Domain: domain(p.GetDomain()), proto: -1}
	if n.Name != "" {
		n.Name = s.at.Title() + "/" + n.Name
	}
	n.Opset = g.Opsets[n.Domain]
	if n.Domain != "onnxprune" {
		n.Def = op.Lookup(n.Domain, n.Type)
	}
	for i, name := range p.Input {
		if name == "" {
			n.In = append(n.In, nil)
			continue
		}
		v := s.find(name)
		if v == nil {
			return fmt.Errorf("input %d %q is produced by no earlier node", i, name)
		}
		n.In = append(n.In, v)
	}
	var err error
	if n.Attrs, n.Subgraphs, err = attributes(g.File, p); err != nil {
		return err
	}
	for k, name := range p.Output {
		if name == "" {
			n.Out = append(n.Out, nil)
			continue
		}
		v, err := s.define(name)
		if err != nil {
			return err
		}
		v.Producer, v.Output = n, k
		n.Out = append(n.Out, v)
	}
	if n.isIf() {
		names := map[string]*Value{}
		for k, v := range s.outer {
			names[k] = v
		}
		for k, v := range s.names {
			names[k] = v
		}
		s.t.of[n] = branchSource{p, names}
	}
	s.nodes = append(s.nodes, n)
	return nil
}
