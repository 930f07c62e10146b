package graph

import (
	varint "encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/onnxprune/onnxprune/op"
)

// Groups finds the channel groups of a model. dims gives sizes to open dimensions
// other than the batch; those without one are assumed, since channels seldom depend
// on them. Nodes that contradict their inputs, or that shape inference does not
// understand, freeze what they touch. The error is for inputs without a shape, and for
// groups that depend on the sizes that were assumed.
//
// The result has been tried: with a unit of every group removed, and of every second,
// every node has the shapes it should have. Nodes that cannot be adapted freeze their
// axes.
func (g *Graph) Groups(dims map[string]int) (*Groups, error) {
	for _, batch := range assumedBatch {
		at, err := g.sizes(dims, batch)
		if err != nil {
			return nil, err
		}
		if gs := g.groupsAt(at); gs != nil {
			return gs, nil
		}
	}
	return nil, fmt.Errorf("%s: which channels go together depends on dimensions that the file leaves open\nhint: give them sizes with --dim", g.Name)
}

// groupsAt finds groups that can be removed at one or two settings of open dimensions;
// nil where the two have different ones.
func (g *Graph) groupsAt(at []*Shapes) *Groups {
	stay := map[*Node]string{}
	var other *Shapes
	if len(at) > 1 {
		other = at[1]
	}
	for {
		gs := g.analyse(at[0], other, stay).groups(at[0])
		if other != nil {
			gs.other = g.analyse(other, at[0], stay).groups(other)
			if !gs.matches(gs.other) {
				return nil
			}
		}
		fresh := false
		for _, p := range gs.rehearse() {
			if _, known := stay[p.node]; !known {
				stay[p.node] = p.text
				fresh = true
			}
		}
		if !fresh {
			return gs
		}
	}
}

// unit names a unit of a group.
type unit struct{ group, unit int }

// matches finds the units of gs in another analysis, by the positions of initializers
// that go with them, and reports whether both have the same.
func (gs *Groups) matches(other *Groups) bool {
	at := map[string][]unit{}
	total := 0
	for g := range other.Groups {
		for u := range other.Groups[g].Width {
			key := other.Groups[g].key(u)
			at[key] = append(at[key], unit{g, u})
			total++
		}
	}
	gs.twin = nil
	for g := range gs.Groups {
		twins := make([]unit, gs.Groups[g].Width)
		for u := range twins {
			key := gs.Groups[g].key(u)
			if len(at[key]) == 0 {
				return false
			}
			twins[u], at[key] = at[key][0], at[key][1:]
			total--
		}
		gs.twin = append(gs.twin, twins)
	}
	return total == 0
}

// key lists the positions of initializers that go with unit u.
func (gr *Group) key(u int) string {
	var b []byte
	for i := range gr.Members {
		m := &gr.Members[i]
		b = varint.AppendUvarint(b, uint64(m.Value.Index))
		b = varint.AppendUvarint(b, uint64(m.Axis))
		b = varint.AppendUvarint(b, uint64(len(m.Index[u])))
		for _, p := range m.Index[u] {
			b = varint.AppendUvarint(b, uint64(p))
		}
	}
	return string(b)
}

// groups makes units and groups of what was found.
func (c *channels) groups(s *Shapes) *Groups {
	gs := &Groups{Batch: s.batch, Dims: s.dims, Shapes: s, graph: c.g, channels: c}
	c.classes(gs)
	c.dropEmptying(gs)
	members := c.members(gs)
	c.frozenAxes(gs)
	c.costs(gs)
	gs.assemble(members)
	return gs
}

// classes collects the axes that positions can leave. Axes whose positions go
// together are one.
func (c *channels) classes(gs *Groups) {
	gs.axisOf = make([][]int32, len(c.g.Values))
	known := map[string]int32{}
	var key []byte
	for _, v := range c.g.Values {
		for a, atoms := range c.axes[v.Index] {
			key = key[:0]
			moves := false
			for _, x := range atoms {
				set := c.resolve(x)
				moves = moves || len(set) > 0
				key = varint.AppendUvarint(key, uint64(len(set)))
				for _, u := range set {
					key = varint.AppendUvarint(key, uint64(u))
				}
			}
			if !moves {
				continue
			}
			if gs.axisOf[v.Index] == nil {
				gs.axisOf[v.Index] = slices.Repeat([]int32{-1}, len(c.axes[v.Index]))
			}
			k, ok := known[string(key)]
			if !ok {
				k = int32(len(gs.axes))
				known[string(key)] = k
				gs.axes = append(gs.axes, cutAxis{value: v, axis: a, length: len(atoms)})
			}
			gs.axisOf[v.Index][a] = k
		}
	}
}

// dropEmptying freezes atoms that would take all positions of an axis, and starts
// again until there are none.
func (c *channels) dropEmptying(gs *Groups) {
	for {
		found := false
		for _, a := range gs.axes {
			atoms := c.axes[a.value.Index][a.axis]
			all := c.resolve(atoms[0])
			for _, x := range atoms[1:] {
				if all = both(all, c.resolve(x)); len(all) == 0 {
					break
				}
			}
			for _, x := range all {
				c.bind(x, nil, &reason{a.value.Producer, "would be left without a position of " + a.value.Name})
				found = true
			}
		}
		if !found {
			return
		}
		gs.axes = nil
		c.classes(gs)
	}
}

// slot is where atoms touch an initializer.
type slot struct {
	v    *Value
	axis int
}

// members lists the axes of initializers and constants that units touch, in order.
func (c *channels) members(gs *Groups) []slot {
	var all []slot
	for _, v := range c.g.Values {
		if !v.source() {
			continue
		}
		for a, k := range gs.axisOf[v.Index] {
			if k >= 0 {
				all = append(all, slot{v, a})
			}
		}
	}
	return all
}

// assemble forms groups of units that touch the same axes, of those that touch a
// weight.
func (gs *Groups) assemble(slots []slot) {
	c := gs.channels
	type found struct {
		key     string
		touched []touched
	}
	units := map[int32]*found{}
	for k, a := range gs.axes {
		for p, x := range c.axes[a.value.Index][a.axis] {
			for _, u := range c.resolve(x) {
				w := units[u]
				if w == nil {
					w = &found{}
					units[u] = w
				}
				if n := len(w.touched); n == 0 || w.touched[n-1].axis != int32(k) {
					w.touched = append(w.touched, touched{axis: int32(k)})
					w.key = string(varint.AppendUvarint([]byte(w.key), uint64(k)))
				}
				t := &w.touched[len(w.touched)-1]
				t.index = append(t.index, int32(p))
			}
		}
	}
	byKey := map[string]int{}
	var order [][]int32
	weighs := map[int32]bool{}
	for _, s := range slots {
		if c.weight[s.v] {
			weighs[gs.axisOf[s.v.Index][s.axis]] = true
		}
	}
	for _, u := range slices.Sorted(maps.Keys(units)) {
		w := units[u]
		if !slices.ContainsFunc(w.touched, func(t touched) bool { return weighs[t.axis] }) {
			continue
		}
		k, ok := byKey[w.key]
		if !ok {
			k = len(order)
			byKey[w.key] = k
			order = append(order, nil)
		}
		order[k] = append(order[k], u)
	}
	for _, us := range order {
		gr := Group{Width: len(us)}
		first := units[us[0]]
		for _, s := range slots {
			axis := gs.axisOf[s.v.Index][s.axis]
			i := slices.IndexFunc(first.touched, func(t touched) bool { return t.axis == axis })
			if i < 0 {
				continue
			}
			m := Member{Value: s.v, Axis: s.axis, Weight: c.weight[s.v], Produces: c.produces[axisKey{s.v.Index, s.axis}], shape: gs.Shapes.Of[s.v.Index].Shape}
			for _, u := range us {
				m.Index = append(m.Index, units[u].touched[i].index)
			}
			gr.Members = append(gr.Members, m)
		}
		gr.Name = gr.title()
		gs.Groups = append(gs.Groups, gr)
		var touch [][]touched
		for _, u := range us {
			touch = append(touch, units[u].touched)
		}
		gs.touch = append(gs.touch, touch)
	}
	gs.sort()
}

// title names a group after its first producing weight.
func (gr *Group) title() string {
	rank := func(m *Member) int {
		switch {
		case m.Weight && m.Produces && len(m.shape) > 1:
			return 0
		case m.Weight && m.Produces:
			return 1
		case m.Weight:
			return 2
		}
		return 3
	}
	best := 0
	for i := range gr.Members {
		if rank(&gr.Members[i]) < rank(&gr.Members[best]) {
			best = i
		}
	}
	return gr.Members[best].Value.Name
}

// sort puts groups in the order of the first node that reads one of their members,
// and makes names unique.
func (gs *Groups) sort() {
	at := func(gr *Group) int {
		first := len(gs.graph.Nodes)
		for i := range gr.Members {
			for _, u := range gr.Members[i].Value.Uses {
				first = min(first, u.Node.Index)
			}
		}
		return first
	}
	order := make([]int, len(gs.Groups))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return at(&gs.Groups[a]) - at(&gs.Groups[b]) })
	groups, touch := gs.Groups, gs.touch
	gs.Groups, gs.touch = nil, nil
	used := map[string]int{}
	for _, i := range order {
		gr := groups[i]
		if used[gr.Name]++; used[gr.Name] > 1 {
			gr.Name = fmt.Sprintf("%s~%d", gr.Name, used[gr.Name])
		}
		gs.Groups = append(gs.Groups, gr)
		gs.touch = append(gs.touch, touch[i])
	}
}

// frozenAxes lists what of the weights stays.
func (c *channels) frozenAxes(gs *Groups) {
	for _, v := range c.g.Values {
		if w := c.whole[v]; w != nil {
			gs.Frozen = append(gs.Frozen, Frozen{Value: v, Axis: -1, Node: w.node, Reason: w.text})
			continue
		}
		if !c.weight[v] {
			continue
		}
		for a, atoms := range c.axes[v.Index] {
			f := Frozen{Value: v, Axis: a, Length: len(atoms)}
			var why *reason
			for _, x := range atoms {
				if len(c.resolve(x)) > 0 {
					continue
				}
				f.Positions++
				if why == nil {
					why = c.reason(x)
				}
			}
			if f.Positions == 0 || f.Length == 1 {
				continue
			}
			if why != nil {
				f.Node, f.Reason = why.node, why.text
			}
			gs.Frozen = append(gs.Frozen, f)
		}
	}
}

// costs prepares the counting of parameters and multiply-adds.
func (c *channels) costs(gs *Groups) {
	for _, v := range c.g.Initializers() {
		if v.Init.F != nil {
			gs.inits = append(gs.inits, v)
		}
	}
	for _, n := range c.g.Nodes {
		m, ok := gs.Shapes.Ops[n.Index].(op.MACer)
		if !ok {
			continue
		}
		node := macNode{op: m}
		add := func(vs []*Value, known []*op.Tensor) []*op.Tensor {
			ts := make([]*op.Tensor, len(known))
			for i, t := range known {
				if t == nil {
					continue
				}
				ts[i] = op.Info(t.Type, t.Shape...)
				var axes []int32
				if i < len(vs) && vs[i] != nil {
					axes = gs.axisOf[vs[i].Index]
				}
				for a := range t.Shape {
					k := int32(-1)
					if axes != nil {
						k = axes[a]
					}
					node.from = append(node.from, k)
				}
			}
			return ts
		}
		in := gs.Shapes.Args(n.In)
		node.in = add(n.In, in)
		node.out = add(n.Out, c.results(n, gs.Shapes.Ops[n.Index], in, gs.Shapes.Args(n.Out)))
		gs.costs = append(gs.costs, node)
	}
}
