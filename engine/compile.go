package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/op"
)

// value is a tensor in a plan under construction.
type value struct {
	t *op.Tensor
	// store is where the elements live; constants and state have none.
	store *storage
	// name is set for initializers held in the state.
	name     string
	constant bool
	// grad is where the gradient is collected, nil if none is wanted.
	grad    *storage
	wants   bool
	other   map[op.Layout]*value
	narrow  *value // its first channels, where it has more than the model says
	users   int
	product *inst
	final   bool
}

// inst is an operator call under construction.
type inst struct {
	title   string
	def     *op.Def
	op      op.Op
	attrs   op.Attrs
	opset   int
	in, out []*value
	view    bool
	plain   func(c *op.Context)
	macs    int64
	dead    bool
	// completes is the call before whose output this one computes, see op.Defer.
	completes *inst
}

// compiler turns a graph into a plan.
type compiler struct {
	g      *graph.Graph
	state  *State
	opt    Options
	shapes *graph.Shapes
	values []*value // by graph.Value.Index
	insts  []*inst
	roles  map[*graph.Value]graph.Role
	loss   *value
	others []*value // by Options.Others; nil where left out
	// scored is the value of the graph that loss is.
	scored *graph.Value
	// needs marks the nodes that outputs depend on, by graph.Node.Index.
	needs []bool
	plan  *Plan
}

// Compile plans g for a batch size. With a loss every operator between a
// trained initializer and the outputs must have a gradient; the error lists
// all that have none. Without, it lists all nodes that cannot be run.
func Compile(g *graph.Graph, state *State, opt Options) (*Plan, error) {
	c, err := newCompiler(g, state, opt)
	if err != nil {
		return nil, err
	}
	opt = c.opt
	c.plan = &Plan{Name: g.Name, Batch: opt.Batch, loss: opt.Loss, grads: map[string]*op.Tensor{}}
	c.plan.ctx = op.Context{Pool: opt.Pool, Training: opt.Loss != nil, FreezeNorm: opt.FreezeNorm}
	c.build()
	if opt.Lower != nil {
		if len(opt.Others) > 0 {
			return nil, fmt.Errorf("%s: another engine's loss reads one output, %d were asked for", g.Name, 1+len(opt.Others))
		}
		return c.plan, c.lower()
	}
	if !opt.NoFusion {
		c.fuse()
		c.widen()
	}
	if err := c.layouts(); err != nil {
		return nil, err
	}
	if opt.Fixed && c.loss.t.Rank() > 0 {
		c.plan.Batch = c.loss.t.Shape[0]
	}
	if opt.Loss != nil {
		if err := c.plan.checkRows(c.loss.t); err != nil {
			return nil, err
		}
		if err := c.needGradients(); err != nil {
			return nil, err
		}
	}
	if err := c.schedule(); err != nil {
		return nil, err
	}
	return c.plan, nil
}

// constant reports whether initializers stay what they are.
func (c *compiler) constant() bool { return c.opt.Constant && c.opt.Loss == nil }

// newCompiler infers g at a batch size and refuses what cannot be run.
func newCompiler(g *graph.Graph, state *State, opt Options) (*compiler, error) {
	own, asked := graph.Binding{Batch: max(1, g.FixedBatch()), Dims: opt.Dims}, graph.Binding{Batch: opt.Batch, Dims: opt.Dims}
	if opt.Fixed {
		own.Batch, asked.Batch = 0, 0
	} else if opt.Batch <= 0 {
		return nil, fmt.Errorf("batch size %d, wants at least 1", opt.Batch)
	}
	g, err := g.TakeBranches(own, asked)
	if err != nil {
		return nil, err
	}
	free := g
	if !opt.Fixed {
		if free, err = g.FreeBatch(opt.Dims); err != nil {
			if own := g.FixedBatch(); own > 0 && own != opt.Batch {
				return nil, err
			}
			free = g.BatchFirst()
		}
	}
	if opt.Pool == nil {
		opt.Pool = kernel.NewPool(1)
	}
	c := &compiler{g: free, state: state, opt: opt, roles: free.Roles()}
	asked.Training = opt.Loss != nil
	if c.shapes, err = free.Infer(asked); err != nil {
		return nil, err
	}
	if err := c.runnable(); err != nil {
		return nil, err
	}
	return c, nil
}

// mostShown is how many nodes that cannot be run are named.
const mostShown = 20

// runnable reports every node that has no operator or contradicts its inputs,
// as far as outputs depend on it.
func (c *compiler) runnable() error {
	var errs []error
	needed := c.needed()
	for _, n := range c.g.Nodes {
		if err := c.shapes.Failed(n); err != nil && needed[n.Index] {
			errs = append(errs, fmt.Errorf("%s: %s: %w", c.g.Name, n, err))
		}
	}
	for _, n := range c.shapes.Unknown {
		switch {
		case !needed[n.Index]:
		case n.Domain == "" && n.Type == "If" && len(n.In) == 1 && n.In[0] != nil:
			if c.shapes.Of[n.In[0].Index] == nil {
				continue // a node before it is the reason
			}
			errs = append(errs, fmt.Errorf("%s: %s: the condition depends on data, only an If with a constant one can be run", c.g.Name, n))
		case n.Def == nil:
			errs = append(errs, fmt.Errorf("%s: %s: the operator is not supported", c.g.Name, n))
		default:
			if need := c.unknownInput(n); need != "" {
				errs = append(errs, fmt.Errorf("%s: %s: %s", c.g.Name, n, need))
			}
		}
	}
	if more := len(errs) - mostShown; more > 0 {
		errs = append(errs[:mostShown], fmt.Errorf("%s: and %d more nodes", c.g.Name, more))
	}
	if len(errs) > 0 {
		return errors.Join(append(errs, errors.New("hint: onnxprune ops lists the operators that can be run; pruning without --data runs nothing"))...)
	}
	return nil
}

// unknownInput explains a node that is unknown although its operator is known;
// empty if a node before it is the reason.
func (c *compiler) unknownInput(n *graph.Node) string {
	for _, v := range n.In {
		if v != nil && c.shapes.Of[v.Index] == nil {
			return ""
		}
	}
	if v := c.shapes.Needs[n]; v != nil {
		return fmt.Sprintf("input %q must be a constant, here it depends on data", v.Name)
	}
	return "needs a value that is known at run time only"
}

// needed marks the nodes that the outputs depend on.
func (c *compiler) needed() []bool {
	need := make([]bool, len(c.g.Nodes))
	var visit []*graph.Value
	visit = append(visit, c.g.Outputs...)
	for len(visit) > 0 {
		v := visit[len(visit)-1]
		visit = visit[:len(visit)-1]
		if v == nil || v.Producer == nil || need[v.Producer.Index] {
			continue
		}
		if t := c.shapes.Of[v.Index]; t.IsConst() {
			continue
		}
		need[v.Producer.Index] = true
		visit = append(visit, v.Producer.In...)
	}
	return need
}

// build makes a call of every node that outputs depend on.
func (c *compiler) build() {
	c.values = make([]*value, len(c.g.Values))
	c.needs = c.needed()
	for _, v := range c.g.Inputs {
		t := c.shapes.Of[v.Index]
		in := &value{t: op.Info(t.Type, t.Shape...), final: true}
		c.values[v.Index] = in
		c.plan.Inputs = append(c.plan.Inputs, in.t)
		c.plan.unbatched = append(c.plan.unbatched, v.BatchAxis < 0)
	}
	for _, n := range c.g.Nodes {
		if !c.needs[n.Index] {
			continue
		}
		i := &inst{title: fmt.Sprintf("%s: %s", c.g.Name, n), def: n.Def, op: c.shapes.Ops[n.Index], attrs: n.Attrs, opset: n.Opset}
		if m, ok := c.shapes.MACs(n); ok {
			i.macs = m
		}
		_, i.view = i.op.(op.Viewer)
		for _, v := range n.In {
			i.in = append(i.in, c.value(v))
		}
		infos, err := i.op.Infer(c.shapes.Args(n.In))
		if err != nil {
			continue // reported by runnable
		}
		for k, t := range infos {
			out := &value{t: op.Info(t.Type, t.Shape...)}
			if k < len(n.Out) && n.Out[k] != nil {
				out = c.value(n.Out[k])
			}
			out.product = i
			i.out = append(i.out, out)
		}
		c.insts = append(c.insts, i)
	}
	for _, v := range c.g.Outputs {
		c.value(v).final = true
	}
	if len(c.g.Outputs) > 0 {
		c.scored = c.g.Outputs[0]
		c.loss = c.value(c.scored)
		c.plan.softmax = -1
		if i := c.loss.product; i != nil && c.skips(i) {
			c.plan.softmax = softmaxAxis(i)
			c.scored = c.scored.Producer.In[0]
			c.loss = i.in[0]
			c.loss.final = true
		}
	}
	c.count()
}

// skips reports whether a loss reads what goes into i, as i is the Softmax of its classes. A plan without a loss has both.
func (c *compiler) skips(i *inst) bool {
	axis := softmaxAxis(i)
	switch l := c.opt.Loss.(type) {
	case nil:
		return axis == 1 || axis > 1 && axis == i.in[0].t.Rank()-1
	case Classifier:
		return l.FromLogits() && axis == l.ClassAxis(i.in[0].t.Rank())
	}
	return c.opt.Loss.FromLogits() && axis == 1
}

// softmaxAxis is the axis of a Softmax, -1 where i is none.
func softmaxAxis(i *inst) int {
	if i.def.Domain != "" || i.def.Name != "Softmax" {
		return -1
	}
	axis := 1
	if i.opset >= 13 {
		axis = -1
	}
	if a, ok := i.attrs["axis"]; ok {
		axis = int(a.I)
	}
	rank := i.in[0].t.Rank()
	if axis < 0 {
		axis += rank
	}
	if i.opset < 13 && axis != rank-1 {
		return -1 // over all axes from that one on
	}
	return axis
}

func (c *compiler) value(v *graph.Value) *value {
	if v == nil {
		return nil
	}
	if c.values[v.Index] == nil {
		t := c.shapes.Of[v.Index]
		val := &value{}
		switch {
		case v.FromInit && c.state.Tensor(v.Name) != nil:
			val.t, val.name, val.constant = c.state.Tensor(v.Name), v.Name, true
			val.wants = c.roles[v] == graph.Trained
		case t.IsConst():
			val.t, val.constant = t, true
		default:
			val.t = op.Info(t.Type, t.Shape...)
		}
		c.values[v.Index] = val
	}
	return c.values[v.Index]
}

// count sets the number of reads of every value.
func (c *compiler) count() {
	for _, v := range c.values {
		if v != nil {
			v.users = 0
		}
	}
	for _, i := range c.insts {
		for _, v := range i.in {
			if v != nil {
				v.users++
			}
		}
	}
}

// layouts fixes the layout of every value and inserts copies where an operator
// wants another one.
func (c *compiler) layouts() error {
	var insts []*inst
	convert := func(v *value, l op.Layout) *value {
		if v == nil || v.t.Layout == l || op.SameOrder(v.t.Shape, v.t.Layout, l) && v.constant {
			return v
		}
		if u := v.other[l]; u != nil {
			u.users++
			return u
		}
		u := &value{t: &op.Tensor{Type: v.t.Type, Shape: v.t.Shape, Layout: l}, users: 1}
		if v.other == nil {
			v.other = map[op.Layout]*value{}
		}
		v.other[l] = u
		o := &relayout{from: v.t.Layout, to: l}
		i := &inst{title: "layout of " + v.t.Layout.String() + " " + op.ShapeString(v.t.Shape) + " to " + l.String(),
			op: o, in: []*value{v}, out: []*value{u}, view: op.SameOrder(v.t.Shape, v.t.Layout, l)}
		u.product = i
		insts = append(insts, i)
		return u
	}
	for _, i := range c.insts {
		want, given := make([]op.Layout, len(i.in)), make([]op.Layout, len(i.out))
		if l, ok := i.op.(op.Layouter); ok {
			want, given = l.Layouts(tensors(i.in))
		}
		for k, v := range i.in {
			if v != nil {
				i.in[k] = convert(v, want[k])
			}
		}
		for k, v := range i.out {
			if v != nil && k < len(given) {
				v.t.Layout = given[k]
			}
		}
		insts = append(insts, i)
	}
	c.others = make([]*value, len(c.opt.Others))
	for k, v := range c.g.Outputs {
		out := convert(c.values[v.Index], op.RowMajor)
		out.final = true
		if c.loss == c.values[v.Index] && k == 0 {
			c.loss = out
		}
		for i, o := range c.opt.Others {
			if o == k && k > 0 && c.opt.Loss != nil && out.t.Type.IsFloat() && out.t.Rank() > 0 && out.t.Shape[0] == c.opt.Batch && out.product != nil && !slices.Contains(c.others, out) {
				c.others[i] = out
			}
		}
		c.plan.Outputs = append(c.plan.Outputs, out.t)
	}
	if c.loss != nil {
		c.loss = convert(c.loss, op.RowMajor)
		c.loss.final = true
		c.plan.logits = c.loss.t
	}
	c.insts = insts
	c.count()
	return nil
}

func tensors(vs []*value) []*op.Tensor {
	ts := make([]*op.Tensor, len(vs))
	for i, v := range vs {
		if v != nil {
			ts[i] = v.t
		}
	}
	return ts
}

// relayout copies a tensor into another layout.
type relayout struct{ from, to op.Layout }

func (r *relayout) Infer(in []*op.Tensor) ([]*op.Tensor, error) {
	return []*op.Tensor{{Type: in[0].Type, Shape: in[0].Shape, Layout: r.to}}, nil
}

func (r *relayout) Forward(c *op.Context, in, out []*op.Tensor) error {
	op.Relayout(c, out[0], in[0])
	return nil
}

func (r *relayout) Reads() (in, out uint32) { return 0, 0 }

func (r *relayout) Backward(c *op.Context, in, out, dout, din []*op.Tensor) error {
	op.Relayout(c, din[0], dout[0])
	return nil
}
