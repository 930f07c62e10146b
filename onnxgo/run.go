package onnxgo

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"gorgonia.org/tensor"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// compiled is a plan with what it was made for.
type compiled struct {
	plan *engine.Plan
	// inputs and outputs are the nodes of the plan's.
	inputs, outputs []*Node
	// fixed are the values that the plan holds as constants, shapes those of all sources.
	fixed  map[*Node]*op.Tensor
	shapes map[*Node]*op.Tensor
	loss   engine.Loss
}

// constantSets are choices of inputs that a plan holds as constants: none if it can be,
// since some operators want a shape or an axis to be known.
var constantSets = []func(i int, x *op.Tensor) bool{
	func(int, *op.Tensor) bool { return false },
	func(_ int, x *op.Tensor) bool { return !x.Type.IsFloat() },
	func(i int, _ *op.Tensor) bool { return i > 0 },
	func(int, *op.Tensor) bool { return true },
}

// Run computes the outputs from the values of the other nodes, and implements
// backend.ComputationBackend. The graph is compiled for the shapes at hand, and again when they
// change, or when a value changes that an operator needs at that time (a target shape, say).
func (b *Backend) Run() error {
	c, err := b.ready(&b.forward, nil)
	if err != nil {
		return err
	}
	if err := c.plan.Forward(); err != nil {
		return err
	}
	return c.read()
}

// ready returns a compilation that fits the present values, with its inputs filled.
func (b *Backend) ready(c *compiled, loss engine.Loss) (*compiled, error) {
	sources, values, err := b.sources()
	if err != nil {
		return nil, err
	}
	if !c.fits(values, loss) {
		if err := b.compile(c, sources, values, loss); err != nil {
			return nil, err
		}
	}
	for k, n := range c.inputs {
		copy(c.plan.Inputs[k].F, values[n].F)
		copy(c.plan.Inputs[k].I, values[n].I)
	}
	return c, nil
}

// sources are the nodes without a producer that operators read, in the order of their
// creation, with the values of those that are no parameters of a graph that has run.
func (b *Backend) sources() ([]*Node, map[*Node]*op.Tensor, error) {
	values := map[*Node]*op.Tensor{}
	var errs []error
	for _, c := range b.calls {
		for _, n := range c.in {
			if n == nil || n.producer != nil || values[n] != nil {
				continue
			}
			x, err := n.current()
			if err != nil {
				errs = append(errs, fmt.Errorf("%q, which %s reads: %w", n.name, c.Name, err))
				x = &op.Tensor{}
			}
			values[n] = x
		}
	}
	sources := slices.SortedFunc(maps.Keys(values), func(a, b *Node) int { return int(a.id - b.id) })
	return sources, values, errors.Join(errs...)
}

// current is the value of a source.
func (n *Node) current() (*op.Tensor, error) {
	if s := n.backend.state; s != nil && n.parameter() {
		if x := s.Tensor(n.name); x != nil {
			return x, nil
		}
	}
	return fromTensor(n.value)
}

// fits reports whether the plan can take the values.
func (c *compiled) fits(values map[*Node]*op.Tensor, loss engine.Loss) bool {
	if c.plan == nil || c.loss != loss || len(c.shapes) != len(values) {
		return false
	}
	for n, x := range values {
		was := c.shapes[n]
		if was == nil || was.Type != x.Type || !slices.Equal(was.Shape, x.Shape) {
			return false
		}
		if f := c.fixed[n]; f != nil && !(slices.Equal(f.F, x.F) && slices.Equal(f.I, x.I)) {
			return false
		}
	}
	return true
}

// compile makes a plan with as few constants as can be. The error is that of a plan
// whose integers are constants, or the only one.
func (b *Backend) compile(c *compiled, sources []*Node, values map[*Node]*op.Tensor, loss engine.Loss) error {
	var first error
	for k, constant := range constantSets {
		fresh, err := b.compileWith(sources, values, loss, constant)
		if err == nil {
			*c = *fresh
			return nil
		}
		if k <= 1 {
			first = err
		}
		if b.options.Parameters != nil && k == 1 {
			break // constants in the place of floats would leave nothing to compute
		}
	}
	return first
}

func (b *Backend) compileWith(sources []*Node, values map[*Node]*op.Tensor, loss engine.Loss, constant func(int, *op.Tensor) bool) (*compiled, error) {
	c := &compiled{fixed: map[*Node]*op.Tensor{}, shapes: map[*Node]*op.Tensor{}, loss: loss}
	file, dims, err := b.file(c, sources, values, constant)
	if err != nil {
		return nil, err
	}
	data, err := file.Marshal()
	if err != nil {
		return nil, err
	}
	model, err := onnxio.LoadBytes("model", data)
	if err != nil {
		return nil, err
	}
	g, err := graph.New(model, "model")
	if err != nil {
		return nil, err
	}
	state := engine.NewState(g)
	if b.state != nil {
		state.Adopt(b.state, b.options.Parameters)
	}
	if c.plan, err = engine.Compile(g, state, engine.Options{Fixed: true, Dims: dims, Loss: loss, Pool: b.pool}); err != nil {
		return nil, err
	}
	b.state = state
	for _, n := range sources {
		if x := state.Tensor(n.name); x != nil && n.parameter() && x.Type == op.Float && x.Rank() > 0 {
			n.value = tensor.New(tensor.WithShape(x.Shape...), tensor.WithBacking(x.F))
		}
	}
	return c, nil
}

// file writes the graph as an ONNX model. dims has the dimensions of size 0, which read as open.
func (b *Backend) file(c *compiled, sources []*Node, values map[*Node]*op.Tensor, constant func(int, *op.Tensor) bool) (m *onnxio.ModelProto, dims map[string]int, err error) {
	names := b.names(sources)
	pg := &onnxio.GraphProto{Name: new("onnx-go")}
	m = &onnxio.ModelProto{IrVersion: new(int64(8)), Graph: pg,
		OpsetImport: []*onnxio.OperatorSetIdProto{{Domain: new(""), Version: new(int64(b.options.Opset))}}}
	dims = map[string]int{}
	inputs := 0
	for _, n := range sources {
		x := values[n]
		c.shapes[n] = op.Info(x.Type, x.Shape...)
		parameter := n.parameter()
		if parameter || constant(inputs, x) {
			p, err := toProto(names[n], x)
			if err != nil {
				return nil, nil, err
			}
			pg.Initializer = append(pg.Initializer, p)
			if !parameter || x.F == nil {
				c.fixed[n] = x
			}
		} else {
			shape := make([]int64, len(x.Shape))
			for i, d := range x.Shape {
				shape[i] = int64(d)
				dims[fmt.Sprintf("%s.%d", names[n], i)] = d
			}
			pg.Input = append(pg.Input, onnxio.NewTensorValueInfo(names[n], int32(x.Type), shape))
			c.inputs = append(c.inputs, n)
		}
		if !parameter {
			inputs++
		}
	}
	name := func(ns []*Node) []string {
		list := make([]string, len(ns))
		for i, n := range ns {
			if n != nil {
				list[i] = names[n]
			}
		}
		return list
	}
	for k, call := range b.calls {
		pn := onnxio.NewNode(call.Name, fmt.Sprintf("%s_%d", call.Name, k), name(call.in), name(call.out))
		for _, key := range slices.Sorted(maps.Keys(call.Attributes)) {
			a, err := attribute(key, call.Attributes[key])
			if err != nil {
				return nil, nil, fmt.Errorf("operator %s: attribute %q: %w", call.Name, key, err)
			}
			pn.Attribute = append(pn.Attribute, a)
		}
		pg.Node = append(pg.Node, pn)
	}
	if c.outputs, err = b.outputs(); err != nil {
		return nil, nil, err
	}
	for _, n := range c.outputs {
		pg.Output = append(pg.Output, &onnxio.ValueInfoProto{Name: new(names[n])})
	}
	return m, dims, nil
}

// names gives every value in the graph a name of its own; parameters keep theirs.
func (b *Backend) names(sources []*Node) map[*Node]string {
	names, taken := map[*Node]string{}, map[string]bool{}
	give := func(n *Node) {
		if n == nil || names[n] != "" {
			return
		}
		name := n.name
		for name == "" || taken[name] {
			name = fmt.Sprintf("%s#%d", name, n.id)
		}
		names[n], taken[name] = name, true
	}
	for _, n := range sources {
		if n.parameter() {
			give(n)
		}
	}
	for _, n := range b.nodes {
		if n.producer != nil || slices.Contains(sources, n) {
			give(n)
		}
	}
	return names
}

// attribute converts what onnx-go makes of an attribute.
func attribute(name string, v any) (*onnxio.AttributeProto, error) {
	a := &onnxio.AttributeProto{Name: new(name)}
	switch v := v.(type) {
	case float32:
		a.Type, a.F = onnxio.AttributeProto_FLOAT.Enum(), new(v)
	case int64:
		a.Type, a.I = onnxio.AttributeProto_INT.Enum(), new(v)
	case string:
		a.Type, a.S = onnxio.AttributeProto_STRING.Enum(), []byte(v)
	case []float32:
		a.Type, a.Floats = onnxio.AttributeProto_FLOATS.Enum(), v
	case []int64:
		a.Type, a.Ints = onnxio.AttributeProto_INTS.Enum(), v
	case []string:
		a.Type = onnxio.AttributeProto_STRINGS.Enum()
		for _, s := range v {
			a.Strings = append(a.Strings, []byte(s))
		}
	case tensor.Tensor:
		x, err := fromTensor(v)
		if err != nil {
			return nil, err
		}
		a.Type = onnxio.AttributeProto_TENSOR.Enum()
		if a.T, err = toProto("", x); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("is a %T, wants a number, a string, a list of them, or a tensor", v)
	}
	return a, nil
}

// read copies the plan's outputs into their nodes.
func (c *compiled) read() error {
	for k, n := range c.outputs {
		t, err := toTensor(c.plan.Outputs[k])
		if err != nil {
			return fmt.Errorf("%q: %w", n.name, err)
		}
		n.value = t
	}
	return nil
}
