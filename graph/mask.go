package graph

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// MaskSuffix is what the mask of an initializer W is called after: W.mask.
const MaskSuffix = ".mask"

// productSuffix is what the result of Mul(W, W.mask) is called after.
const productSuffix = ".masked"

// Mask is a 0/1 initializer that a Mul node applies to a weight.
type Mask struct {
	// Name of the mask initializer, and of the Mul node's result.
	Name, Product string
	Keep          []bool
}

// recogniseMasks finds Mul(W, W.mask) of two initializers with a mask of zeros
// and ones, as WriteMasks makes them. The node is taken out of the graph: what
// read the product reads W, and W carries the mask.
func (g *Graph) recogniseMasks() error {
	drop := map[*Node]bool{}
	for _, n := range g.Nodes {
		if n.Domain != "" || n.Type != "Mul" || len(n.In) != 2 || len(n.Out) != 1 || n.In[0] == nil || n.In[1] == nil || n.Out[0] == nil {
			continue
		}
		w, m := n.In[0], n.In[1]
		if !w.FromInit || !m.FromInit || m.Name != w.Name+MaskSuffix || !w.Init.Type.IsFloat() || m.Init.F == nil || w.Mask != nil {
			continue
		}
		if !op.EqualShape(w.Init.Shape, m.Init.Shape) || len(w.Uses) != 1 || g.isOutput(w) || g.isOutput(n.Out[0]) || inSubgraph(n.Out[0]) {
			continue
		}
		keep, ok := binary(m.Init.F)
		if !ok {
			continue
		}
		w.Mask = &Mask{Name: m.Name, Product: n.Out[0].Name, Keep: keep}
		w.Uses = nil
		for _, u := range n.Out[0].Uses {
			u.Node.In[u.Input] = w
		}
		drop[n] = true
	}
	if len(drop) == 0 {
		return nil
	}
	gone := map[*Value]bool{}
	for n := range drop {
		gone[n.In[1]], gone[n.Out[0]] = true, true
	}
	g.dropNodes(drop)
	var values []*Value
	for _, v := range g.Values {
		if gone[v] {
			delete(g.byName, v.Name)
			continue
		}
		v.Index = len(values)
		values = append(values, v)
	}
	g.Values = values
	g.link()
	return nil
}

func (g *Graph) isOutput(v *Value) bool {
	for _, o := range g.Outputs {
		if o == v {
			return true
		}
	}
	return false
}

// inSubgraph reports whether a node's subgraph reads v.
func inSubgraph(v *Value) bool {
	return slices.ContainsFunc(v.Uses, func(u Use) bool { return u.Input < 0 })
}

// CheckMaskNodes reports every weight whose mask cannot be written as a node.
func (g *Graph) CheckMaskNodes() error {
	var errs []error
	for _, w := range g.Weights() {
		if w.Value.Mask == nil {
			errs = append(errs, g.maskable(w.Value))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w\nhint: --masks fold puts the zeros into the weights", err)
	}
	return nil
}

// maskable says why a node cannot mask v.
func (g *Graph) maskable(v *Value) error {
	for _, s := range []string{v.Name + MaskSuffix, v.Name + productSuffix} {
		if g.byName[s] != nil {
			return fmt.Errorf("%s: initializer %q: the name %q for its mask is taken", g.Name, v.Name, s)
		}
	}
	if inSubgraph(v) {
		return fmt.Errorf("%s: initializer %q is read inside a subgraph too, where a mask node does not reach", g.Name, v.Name)
	}
	if g.isOutput(v) {
		return fmt.Errorf("%s: initializer %q is an output too, which a mask node does not reach", g.Name, v.Name)
	}
	return nil
}

func binary(v []float32) (keep []bool, ok bool) {
	keep = make([]bool, len(v))
	for i, x := range v {
		switch x {
		case 0:
		case 1:
			keep[i] = true
		default:
			return nil, false
		}
	}
	return keep, true
}

// MaskForm is how masks are written.
type MaskForm string

const (
	// Fold writes masked weights as exact zeros and adds no node.
	Fold MaskForm = "fold"
	// AsNode keeps weights and writes Mul(W, W.mask) with the mask as an
	// initializer of W's type.
	AsNode MaskForm = "node"
)

// WriteMasks puts masks, one bool per element of each named initializer, into
// the file that g was read from. Masks that the file had already are replaced,
// or folded away. Elements under a zero of a folded mask become exact zeros;
// all other bits stay.
func (g *Graph) WriteMasks(masks map[string][]bool, form MaskForm) error {
	m := g.File
	for _, w := range g.Weights() {
		v := w.Value
		keep := masks[v.Name]
		if keep == nil {
			if v.Mask == nil {
				continue
			}
			keep = v.Mask.Keep
		}
		if len(keep) != v.Init.Size() {
			return fmt.Errorf("%s: initializer %q: mask has %d elements, shape %s wants %d", g.Name, v.Name, len(keep), op.ShapeString(v.Init.Shape), v.Init.Size())
		}
		if v.Mask != nil {
			if err := g.dropMask(v); err != nil {
				return err
			}
		}
		if form == Fold {
			if err := m.MaskTensor(v.Name, keep); err != nil {
				return err
			}
			continue
		}
		if err := g.addMask(v, keep); err != nil {
			return err
		}
	}
	return nil
}

// dropMask takes the mask node of v out of the file.
func (g *Graph) dropMask(v *Value) error {
	m := g.File
	for i, n := range m.Proto.Graph.Node {
		if len(n.Output) == 1 && n.Output[0] == v.Mask.Product {
			if err := m.RemoveNode(i); err != nil {
				return err
			}
			break
		}
	}
	if err := g.redirect(v.Mask.Product, v.Name); err != nil {
		return err
	}
	name := v.Mask.Name
	v.Mask = nil
	return m.RemoveInitializer(name)
}

// addMask inserts Mul(v, v.mask) before the first node that reads v.
func (g *Graph) addMask(v *Value, keep []bool) error {
	if err := g.maskable(v); err != nil {
		return err
	}
	m := g.File
	name, product := v.Name+MaskSuffix, v.Name+productSuffix
	ones := make([]float32, len(keep))
	for i, k := range keep {
		if k {
			ones[i] = 1
		}
	}
	t, err := onnxio.NewTensor(int32(v.Init.Type), name, v.Init.Shape, ones)
	if err != nil {
		return err
	}
	if err := m.AddInitializer(t); err != nil {
		return err
	}
	first := -1
	for i, n := range m.Proto.Graph.Node {
		for _, in := range n.Input {
			if in == v.Name && first < 0 {
				first = i
			}
		}
	}
	if first < 0 {
		return fmt.Errorf("%s: initializer %q is read by no node", g.Name, v.Name)
	}
	if err := g.redirect(v.Name, product); err != nil {
		return err
	}
	v.Mask = &Mask{Name: name, Product: product, Keep: keep}
	return m.InsertNode(first, onnxio.NewNode("Mul", product, []string{v.Name, name}, []string{product}))
}

// redirect makes every node that reads one name read another.
func (g *Graph) redirect(from, to string) error {
	for i, n := range g.File.Proto.Graph.Node {
		for k, in := range n.Input {
			if in == from {
				if err := g.File.ReplaceNodeInput(i, k, to); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
