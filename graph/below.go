package graph

import "slices"

// Below is the number that whole numbers in an input have to be below: the shortest axis of a table in the
// file that they are places in, as the token numbers of an embedding; 0 if they are in none.
// Between the input and Gather, or OneHot, they are moved only.
func (v *Value) Below() int {
	least := 0
	seen := map[*Value]bool{}
	for next := []*Value{v}; len(next) > 0; {
		v, next = next[len(next)-1], next[:len(next)-1]
		if seen[v] {
			continue
		}
		seen[v] = true
		for _, u := range v.Uses {
			n := u.Node
			if n.Domain != "" || u.Input < 0 {
				continue
			}
			for _, x := range n.Out {
				if x != nil && (slices.Contains(x.moved(), v) || u.Input == 0 && (n.Type == "Expand" || n.Type == "Tile")) {
					next = append(next, x)
				}
			}
			places := 0
			switch {
			case n.Type == "Gather" && u.Input == 1:
				places = n.places()
			case n.Type == "OneHot" && u.Input == 0 && len(n.In) > 1:
				if t := n.In[1].constant(); t != nil && len(t.I) == 1 {
					places = int(t.I[0])
				}
			}
			if places > 0 && (least == 0 || places < least) {
				least = places
			}
		}
	}
	return least
}

// places is the length of the axis that a Gather takes elements along, 0 if that is not known.
func (n *Node) places() int {
	table := n.In[0]
	for table != nil && !table.FromInit {
		p := table.Producer
		if p == nil || p.Domain != "" || len(p.In) == 0 || !slices.Contains([]string{"Cast", "DequantizeLinear", "Identity"}, p.Type) {
			break
		}
		table = p.In[0]
	}
	var shape []int
	switch {
	case table == nil:
		return 0
	case table.FromInit:
		shape = table.Init.Shape
	case table.constant() != nil:
		shape = table.constant().Shape
	}
	axis := int(n.Attrs["axis"].I)
	if axis < 0 {
		axis += len(shape)
	}
	if axis < 0 || axis >= len(shape) {
		return 0
	}
	return shape[axis]
}
