package prune

import (
	"fmt"
	"slices"
)

// Quantity is what a ratio counts.
type Quantity string

// The quantities: elements of all float initializers, multiply-adds of a sample, bytes
// of the written file, seconds of a forward pass.
const (
	OfParams  Quantity = "params"
	OfMACs    Quantity = "macs"
	OfSize    Quantity = "size"
	OfLatency Quantity = "latency"
)

// Goal is how much of what is to go.
type Goal struct {
	Of Quantity
	// Ratio is the fraction removed, in [0,1).
	Ratio float64
	// Measure gives the quantity after a removal, for those that are not counted.
	Measure func(removed [][]bool) (float64, error)
	// BestEffort takes the largest reachable ratio where Ratio cannot be reached.
	BestEffort bool
}

// Choice is what a search came to.
type Choice struct {
	// Before and After are the quantity, Achieved is 1 − After/Before.
	Before, After, Achieved float64
	// Step is the fraction that the next step would have taken, or the last took: as near
	// as the request can be met.
	Step float64
	// Largest is set where the request is beyond what can be reached.
	Largest bool
}

// chooser removes the least important units until a goal is reached.
type chooser struct {
	u    *Units
	goal Goal
	// gone are units that are out in any case; nil for none.
	gone    [][]bool
	before  float64
	steps   []step
	order   [][]int
	applied []step
	step    float64 // the fraction that one step more or less changes
}

// step is units that go together: order[group][lo:hi].
type step struct {
	group, lo, hi int
	key           float64
}

func (u *Units) newChooser(goal Goal) (*chooser, error) {
	c := &chooser{u: u, goal: goal}
	for g := range u.Groups.Groups {
		order := make([]int, u.Groups.Groups[g].Width)
		c.order = append(c.order, order)
	}
	u.clear()
	var err error
	c.before, err = c.measure()
	c.before -= u.added(goal.Of)
	return c, err
}

// added is how much more of a quantity there is than in the file, since vectors were untied and functions opened.
func (u *Units) added(of Quantity) float64 {
	elements, bytes := u.costs.Added()
	switch of {
	case OfParams:
		return float64(elements)
	case OfSize:
		return float64(bytes)
	}
	return 0
}

// Choose removes the units with the smallest scores until the goal is met as nearly as
// one step allows. Masks follow with [Units.Refresh].
func (u *Units) Choose(goal Goal, scores [][]float64) (Choice, error) {
	c, err := u.newChooser(goal)
	if err != nil {
		return Choice{}, err
	}
	return c.choose(scores)
}

// chooseMore is [Units.Choose] where the units that are removed stay so.
func (u *Units) chooseMore(goal Goal, scores [][]float64) (Choice, error) {
	gone := clone(u.Removed())
	c, err := u.newChooser(goal)
	if err != nil {
		return Choice{}, err
	}
	c.gone = gone
	return c.choose(scores)
}

// out reports whether a unit is out in any case.
func (c *chooser) out(group, unit int) bool { return c.gone != nil && c.gone[group][unit] }

// outs counts the units of a group that are.
func (c *chooser) outs(group int) int {
	n := 0
	if c.gone != nil {
		for _, out := range c.gone[group] {
			if out {
				n++
			}
		}
	}
	return n
}

// clear puts all units back.
func (u *Units) clear() {
	for g, removed := range u.Removed() {
		for i := range removed {
			u.removal.Set(g, i, false)
		}
	}
}

// measure is the quantity under the present removal.
func (c *chooser) measure() (float64, error) {
	switch c.goal.Of {
	case OfParams:
		return float64(c.u.removal.Params()), nil
	case OfMACs:
		return float64(c.u.removal.MACs()), nil
	}
	return c.goal.Measure(c.u.Removed())
}

// rank sorts the units of every group by score, cuts them into steps, and sorts these
// by the mean score of their units, or by the fraction of the group that is then gone.
func (c *chooser) rank(scores [][]float64) {
	c.steps = c.steps[:0]
	for g, w := range c.u.shape {
		order, s := c.order[g], scores[g]
		for i := range order {
			order[i] = i
		}
		// Units that are out come first. Of equal units those that come first stay.
		slices.SortFunc(order, func(a, b int) int {
			switch x, y := c.out(g, a), c.out(g, b); {
			case x != y && x:
				return -1
			case x != y:
				return 1
			case s[a] < s[b]:
				return -1
			case s[a] > s[b]:
				return 1
			}
			return b - a
		})
		if w.fixed >= 0 {
			continue
		}
		outs := c.outs(g)
		for lo := 0; lo < w.most; {
			hi := lo + w.step
			if lo == 0 {
				hi = w.first
			}
			st := step{group: g, lo: max(lo, outs), hi: min(hi, w.most)}
			if st.hi <= outs {
				lo = st.hi
				continue
			}
			for _, unit := range order[st.lo:st.hi] {
				st.key += s[unit]
			}
			st.key /= float64(st.hi - st.lo)
			if c.u.Limits.PerLayer {
				st.key = float64(st.hi) / float64(len(order))
			}
			c.steps = append(c.steps, st)
			lo = st.hi
		}
	}
	slices.SortStableFunc(c.steps, func(a, b step) int {
		switch {
		case a.key < b.key:
			return -1
		case a.key > b.key:
			return 1
		}
		return 0
	})
}

// set removes the units of a step, or puts them back.
func (c *chooser) set(s step, removed bool) {
	for _, unit := range c.order[s.group][s.lo:s.hi] {
		c.u.removal.Set(s.group, unit, removed)
	}
}

// fits removes the units of a step unless an axis would lose all its positions.
func (c *chooser) fits(s step) bool {
	if c.u.shape[s.group].alone {
		c.set(s, true)
		return true
	}
	for i, unit := range c.order[s.group][s.lo:s.hi] {
		if c.u.removal.Empties(s.group, unit) {
			c.set(step{group: s.group, lo: s.lo, hi: s.lo + i}, false)
			return false
		}
		c.u.removal.Set(s.group, unit, true)
	}
	return true
}

// choose removes units in the order of their scores until the goal is met as nearly as
// one step allows. It leaves the removal in place and masks as they were.
func (c *chooser) choose(scores [][]float64) (Choice, error) {
	c.rank(scores)
	c.u.clear()
	for g, units := range c.gone {
		for i, out := range units {
			c.u.removal.Set(g, i, out)
		}
	}
	for g, w := range c.u.shape {
		if outs := c.outs(g); w.fixed > outs {
			c.fits(step{group: g, lo: outs, hi: w.fixed})
		}
	}
	start, err := c.measure()
	if err != nil {
		return Choice{}, err
	}
	want := c.before * (1 - c.goal.Ratio)
	c.applied, c.step = c.applied[:0], 0
	after := start
	if c.goal.Of == OfParams || c.goal.Of == OfMACs {
		after = c.walk(start, want)
	} else if after, err = c.bisect(start, want); err != nil {
		return Choice{}, err
	}
	ch := Choice{Before: c.before, After: after}
	if c.before > 0 {
		ch.Achieved = 1 - after/c.before
	}
	// Ratios are compared up to the rounding of a double.
	if ch.Largest = len(c.applied) == len(c.steps) && ch.Achieved < c.goal.Ratio-1e-9; ch.Largest && !c.goal.BestEffort {
		return ch, c.unreachable(ch.Achieved)
	}
	ch.Step = c.step
	return ch, nil
}

// walk removes step by step; counting is cheap.
func (c *chooser) walk(start, want float64) float64 {
	const stride = 32
	after := start
	count := func() float64 { v, _ := c.measure(); return v }
	i := 0
	for ; i < len(c.steps) && after > want; i++ {
		if c.fits(c.steps[i]) {
			c.steps[len(c.applied)] = c.steps[i]
			c.applied = append(c.applied, c.steps[i])
		}
		if i%stride == stride-1 || i == len(c.steps)-1 {
			after = count()
		}
	}
	// Applied steps are now the first, those that do not fit are gone.
	c.steps = append(c.steps[:len(c.applied)], c.steps[i:]...)
	if after > want {
		return after
	}
	// Put back what was too much.
	for after <= want && len(c.applied) > 0 {
		last := c.applied[len(c.applied)-1]
		c.set(last, false)
		before := count()
		if before > want {
			c.step = (before - after) / c.before
			c.applied = c.applied[:len(c.applied)-1]
			under := len(c.applied)
			filled := c.fill(before, want)
			if want-after > filled-want {
				return filled
			}
			for len(c.applied) > under {
				c.set(c.applied[len(c.applied)-1], false)
				c.applied = c.applied[:len(c.applied)-1]
			}
			c.set(last, true)
			c.applied = append(c.applied, last)
			return after
		}
		c.applied = c.applied[:len(c.applied)-1]
		after = before
	}
	return after
}

// fill removes smaller steps in place of the next one, which overshoots, so that the
// goal is met more closely. A group whose next step does not fit is left.
func (c *chooser) fill(after, want float64) float64 {
	const most = 64
	full := map[int]bool{}
	next := len(c.applied)
	for i := next; i < min(len(c.steps), next+most) && after > want; i++ {
		s := c.steps[i]
		if full[s.group] || !c.fits(s) {
			full[s.group] = true
			continue
		}
		now, _ := c.measure()
		if want-now >= after-want {
			c.set(s, false)
			full[s.group] = true
			continue
		}
		c.applied = append(c.applied, s)
		after = now
	}
	return after
}

// bisect finds the number of steps by measuring.
func (c *chooser) bisect(start, want float64) (float64, error) {
	var fit []step
	for _, s := range c.steps {
		if c.fits(s) {
			fit = append(fit, s)
		}
	}
	c.steps = fit
	known := map[int]float64{0: start}
	at := func(k int) (float64, error) {
		if v, ok := known[k]; ok {
			return v, nil
		}
		for i, s := range fit {
			c.set(s, i < k)
		}
		v, err := c.measure()
		known[k] = v
		return v, err
	}
	lo, hi := 0, len(fit) // at(hi) ≤ want is assumed
	v, err := at(hi)
	if err != nil {
		return 0, err
	}
	if v <= want {
		for lo < hi {
			mid := (lo + hi) / 2
			v, err := at(mid)
			if err != nil {
				return 0, err
			}
			if v <= want {
				hi = mid
			} else {
				lo = mid + 1
			}
		}
		if hi > 0 {
			above, err := at(hi - 1)
			if err != nil {
				return 0, err
			}
			c.step = (above - known[hi]) / c.before
			if above-want < want-known[hi] {
				hi--
			}
		}
	}
	for i, s := range fit {
		c.set(s, i < hi)
	}
	c.applied = fit[:hi]
	return at(hi)
}

// unreachable is the error for a ratio beyond what groups and limits allow.
func (c *chooser) unreachable(most float64) error {
	if len(c.u.Groups.Groups) == 0 {
		return fmt.Errorf("%s: no channels can be removed, all are frozen\nhint: onnxprune inspect --groups says what froze them", c.u.name)
	}
	return fmt.Errorf("%s: --ratio %g of %s cannot be reached, at most %.4f can go under the limits\nhint: --best-effort takes that; --round 1, a smaller --min-channels or a larger --max-layer-ratio allow more", c.u.name, c.goal.Ratio, c.goal.Of, most)
}
