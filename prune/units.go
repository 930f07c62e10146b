package prune

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
)

// Limits say how far groups of channels may shrink.
type Limits struct {
	// Exclude leaves groups whole that hold a layer of a matching name.
	Exclude []*regexp.Regexp
	// Round keeps widths at multiples of itself; 1 allows any, 0 chooses by [AutoRound].
	Round int
	// MinChannels is the least number of units that stay in a group.
	MinChannels int
	// MaxLayerRatio is the largest fraction of a group's units that goes.
	MaxLayerRatio float64
	// LayerRatios fix the fraction that goes of groups with matching layers; the last
	// match counts. Round does not apply to them.
	LayerRatios []LayerRatio
	// PerLayer takes the same fraction of every group, instead of ranking the units
	// of all groups together.
	PerLayer bool
}

// LayerRatio is the fraction of units to remove where an expression matches.
type LayerRatio struct {
	Match *regexp.Regexp
	Ratio float64
}

// Units are the channels of a model that can go, with the masks that take them out.
// The layers of Masks are all parameters that units reach into: weights, biases, scales
// and shifts.
//
// While a model is trained under masks, only the slices that read a channel are
// multiplied by the mask (Layer.Gate): the function is that of the model without the
// channel, whatever stands between, and the channel itself stays computed, so that its
// slices have the gradient θ⊙g also where the mask is 0. Where nothing reads a channel
// through a weight, the slices that compute it are multiplied. Under Layer.Mask is the
// whole unit: nothing of it is trained, and nothing of it is written.
type Units struct {
	Groups *graph.Groups
	Masks  *Masks
	Limits Limits
	// Structure is KindFilter or KindChannel: whether layers are called by the filters
	// that compute a channel or by those that read it.
	Structure Structure
	// Left are the names of groups that stay whole, with the reason.
	Left []LeftGroup

	name    string
	costs   *graph.Groups // what removal counts
	whole   bool          // gates are masks: see checkGates
	removal *graph.Removal
	shape   []widths
	layerOf map[string]int
	base    [][]float32 // masks of the file, by layer; nil where it has none
}

// LeftGroup is a group that settings keep whole.
type LeftGroup struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// widths is what limits allow for one group.
type widths struct {
	most  int // units that may go
	step  int // that go together, once the first step is made
	first int // units of the first step
	fixed int // number that goes in any case, −1 where it is searched
	alone bool
}

// NewUnits prepares the groups of g for removal under limits. Theta starts at the
// state's values and every mask at all ones. An error names every expression that
// matches nothing.
func NewUnits(g *graph.Graph, groups *graph.Groups, state *engine.State, s Structure, limits Limits) (*Units, error) {
	u := &Units{name: g.Name, Groups: groups, costs: groups, Structure: s, Limits: limits, removal: groups.NewRemoval(), layerOf: map[string]int{}}
	if err := u.collect(g, state); err != nil {
		return nil, err
	}
	if err := u.limit(g); err != nil {
		return nil, err
	}
	return u, nil
}

// CountBy lets goals count parameters and multiply-adds of another graph with the same
// units: that of the file, where another one is trained.
func (u *Units) CountBy(groups *graph.Groups) { u.costs, u.removal = groups, groups.NewRemoval() }

// Cost is the number of parameters, and of multiply-adds per sample, as goals count them.
func (u *Units) Cost() (params, macs int64) { return u.removal.Params(), u.removal.MACs() }

// collect makes a layer of every parameter that units reach into, in file order.
func (u *Units) collect(g *graph.Graph, state *engine.State) error {
	u.Masks = &Masks{}
	members := map[string]bool{}
	for i := range u.Groups.Groups {
		for _, m := range u.Groups.Groups[i].Members {
			if m.Weight && state.Tensor(m.Value.Name) != nil {
				members[m.Value.Name] = true
			}
		}
	}
	users := usersOf(g)
	for _, v := range g.Initializers() {
		t := state.Tensor(v.Name)
		if t == nil || !members[v.Name] && v.Mask == nil {
			continue
		}
		l := Layer{Name: v.Name, Shape: v.Init.Shape, Out: -1, In: -1, Z: t.F, Nodes: users[v.Name]}
		l.Theta = slices.Clone(t.F)
		for i, x := range l.Theta {
			if math.IsNaN(float64(x)) {
				return fmt.Errorf("%s: initializer %q: element %d is NaN", g.Name, l.Name, i)
			}
		}
		var base []float32
		l.Mask = ones(len(l.Z))
		if v.Mask != nil {
			for i, keep := range v.Mask.Keep {
				if !keep {
					l.Mask[i] = 0
				}
			}
			base = slices.Clone(l.Mask)
		}
		if !members[v.Name] {
			u.Masks.Fixed = append(u.Masks.Fixed, l)
			continue
		}
		l.Gate = slices.Clone(l.Mask)
		u.layerOf[l.Name] = len(u.Masks.Layers)
		u.Masks.Layers = append(u.Masks.Layers, l)
		u.Masks.total += len(l.Z)
		u.base = append(u.base, base)
	}
	return nil
}

func ones(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = 1
	}
	return v
}

// usersOf lists, per initializer, the titles of the nodes that read it, also in parts: see
// [graph.Value.Stored].
func usersOf(g *graph.Graph) map[string][]string {
	users := map[string][]string{}
	for _, n := range g.Nodes {
		for _, in := range n.In {
			for _, v := range in.Stored() {
				if !slices.Contains(users[v.Name], n.Title()) {
					users[v.Name] = append(users[v.Name], n.Title())
				}
			}
		}
	}
	return users
}

// limit works out how many units of every group may go.
func (u *Units) limit(g *graph.Graph) error {
	l := &u.Limits
	used := make([]bool, len(l.Exclude)+len(l.LayerRatios))
	users := usersOf(g)
	shared := u.sharedAxes()
	for i := range u.Groups.Groups {
		grp := &u.Groups.Groups[i]
		names := u.names(grp, users)
		matches := func(re *regexp.Regexp) bool { return slices.ContainsFunc(names, re.MatchString) }
		w := widths{fixed: -1, step: 1, alone: !shared[i]}
		out := false
		for k, re := range l.Exclude {
			if matches(re) {
				used[k], out = true, true
			}
		}
		for k, r := range l.LayerRatios {
			if matches(r.Match) {
				used[len(l.Exclude)+k] = true
				w.fixed = max(0, min(int(math.Round(r.Ratio*float64(grp.Width))), grp.Width-max(l.MinChannels, 1)))
			}
		}
		least := max(l.MinChannels, 1)
		w.most = max(0, min(grp.Width-least, int(math.Floor(l.MaxLayerRatio*float64(grp.Width)+1e-9))))
		if round := cmp.Or(l.Round, AutoRound(grp.Width)); w.fixed < 0 && round > 1 {
			w.round(grp, round)
		}
		w.first = min(max(w.first, 1), w.most)
		if out {
			w.most, w.fixed = 0, -1
			u.Left = append(u.Left, LeftGroup{grp.Name, "--exclude"})
		}
		u.shape = append(u.shape, w)
	}
	var errs []error
	for k, ok := range used {
		if ok {
			continue
		}
		if k < len(l.Exclude) {
			errs = append(errs, fmt.Errorf("%s: --exclude %s matches no layer with channels to remove", g.Name, l.Exclude[k]))
			continue
		}
		r := l.LayerRatios[k-len(l.Exclude)]
		errs = append(errs, fmt.Errorf("%s: --layer-ratio %s=%g matches no layer with channels to remove", g.Name, r.Match, r.Ratio))
	}
	if len(errs) > 0 {
		errs = append(errs, errors.New("hint: onnxprune inspect --groups lists the layers by group"))
	}
	return errors.Join(errs...)
}

// AutoRound is the multiple that widths are kept at without a request: 16 from 32
// channels on, since ONNX Runtime computes convolutions in blocks of 16 channels and
// fills up what is missing, else 8.
func AutoRound(width int) int {
	if width >= 32 {
		return 16
	}
	return 8
}

// round restricts widths to multiples of n positions.
func (w *widths) round(grp *graph.Group, n int) {
	per := 1
	for _, m := range grp.Members {
		if m.Weight && len(m.Index) > 0 && len(m.Index[0]) > 0 {
			per = len(m.Index[0])
			break
		}
	}
	w.step = n / gcd(n, per)
	w.first = grp.Width % w.step
	if w.first == 0 {
		w.first = w.step
	}
	if w.first > w.most {
		w.most = 0
		return
	}
	w.most = w.first + (w.most-w.first)/w.step*w.step
	if w.most == grp.Width {
		w.most = max(0, w.most-w.step)
	}
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// names are what expressions are matched with: the layers of a group and their nodes.
func (u *Units) names(grp *graph.Group, users map[string][]string) []string {
	names := []string{grp.Name}
	for _, m := range grp.Members {
		if m.Produces == (u.Structure.Kind == KindFilter) {
			names = append(append(names, m.Value.Name), users[m.Value.Name]...)
		}
	}
	return names
}

// sharedAxes tells which groups touch an axis that another touches too.
func (u *Units) sharedAxes() []bool {
	type axis struct {
		v *graph.Value
		a int
	}
	at := map[axis][]int{}
	for i := range u.Groups.Groups {
		for _, m := range u.Groups.Groups[i].Members {
			k := axis{m.Value, m.Axis}
			at[k] = append(at[k], i)
		}
	}
	shared := make([]bool, len(u.Groups.Groups))
	for _, list := range at {
		if len(list) > 1 {
			for _, i := range list {
				shared[i] = true
			}
		}
	}
	return shared
}

// Removed is the present choice.
func (u *Units) Removed() [][]bool { return u.removal.Removed() }

// set makes the removed units those given, in masks too.
func (u *Units) set(removed [][]bool) {
	for g := range removed {
		for i, gone := range removed[g] {
			u.removal.Set(g, i, gone)
		}
	}
	u.Refresh()
}

// Untrained says that nothing will be trained under these masks: what is removed may be zero
// at both ends, and gates are the masks themselves, which saves a copy of the model.
func (u *Units) Untrained() {
	for i := range u.Masks.Layers {
		u.Masks.Layers[i].Gate = u.Masks.Layers[i].Mask
	}
}

// Release gives up all copies of values. What was removed, and from what, is still known.
func (u *Units) Release() { u.Masks, u.base, u.layerOf = &Masks{}, nil, nil }

// Refresh brings masks, gates and Z in line with the removed units.
func (u *Units) Refresh() {
	for i := range u.Masks.Layers {
		l := &u.Masks.Layers[i]
		for _, m := range [][]float32{l.Mask, l.Gate} {
			if u.base[i] != nil {
				copy(m, u.base[i])
				continue
			}
			for k := range m {
				m[k] = 1
			}
		}
	}
	for g, removed := range u.Removed() {
		grp := &u.Groups.Groups[g]
		gated := u.gated(grp)
		for i := range grp.Members {
			m := &grp.Members[i]
			at, ok := u.layerOf[m.Value.Name]
			if !ok || !m.Weight {
				continue
			}
			l := &u.Masks.Layers[at]
			for unit, gone := range removed {
				if !gone {
					continue
				}
				for lo, hi := range m.Elements(unit) {
					clear(l.Mask[lo:hi])
					if !m.Produces || !gated {
						clear(l.Gate[lo:hi])
					}
				}
			}
		}
	}
	for i := range u.Masks.Layers {
		l := &u.Masks.Layers[i]
		for k, gate := range l.Gate {
			if gate == 0 {
				l.Z[k] = 0
			} else {
				l.Z[k] = l.Theta[k]
			}
		}
	}
}

// gated reports whether zeros in the slices that read a group's channels take them out.
func (u *Units) gated(grp *graph.Group) bool {
	if u.whole {
		return false
	}
	reads := false
	for _, m := range grp.Members {
		if m.Produces || !m.Weight {
			continue
		}
		if _, ok := u.layerOf[m.Value.Name]; !ok {
			return false
		}
		reads = true
	}
	return reads
}

// Widths lists the kept and all units of every group.
func (u *Units) Widths() (kept, all []int) {
	for g, removed := range u.Removed() {
		n := 0
		for _, gone := range removed {
			if !gone {
				n++
			}
		}
		kept, all = append(kept, n), append(all, u.Groups.Groups[g].Width)
	}
	return kept, all
}

// Values are the present elements of an initializer, masks not applied.
func (u *Units) Values(name string, state *engine.State) []float32 {
	if at, ok := u.layerOf[name]; ok {
		return u.Masks.Layers[at].Theta
	}
	return state.Tensor(name).F
}
