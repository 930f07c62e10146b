package sweep

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Runner makes the runs of a grid.
type Runner interface {
	// Key is everything that determines the result of a cell trained for that many epochs,
	// 0 for those of the grid; equal keys have equal bytes.
	Key(c Cell, epochs int) (json.RawMessage, error)
	// Cost estimates the passes over the data of a run of the cells, of which all but the
	// last are on the way to that.
	Cost(cells []Cell, epochs int) float64
	// OnItsWay reports whether a run to the ratio of a cell has the results of lower ones too.
	OnItsWay(c Cell) bool
	// Run runs a cell, and on the way to it lower ones, whose records go to done as they are
	// finished; step hears what share of the whole is done.
	Run(c Cell, epochs int, lower []Cell, step func(share float64), done func(*Record) error) error
}

// Watch hears of what happens; all of its functions must be set.
type Watch struct {
	// Begin is called once, with the cells of the grid and how many are there already.
	Begin func(planned, present int)
	// Step is called often while a cell runs: share is that of all that there was to do.
	Step func(c Cell, finished, planned int, share float64)
	// Done is called for a finished cell, Failed for one that has no result.
	Done   func(r *Result, finished, planned int)
	Failed func(c Cell, err error)
	// Results is called whenever cells were finished.
	Results func(r *Results) error
}

// Sweep runs a grid.
type Sweep struct {
	Grid   *Grid
	Store  *Store
	Runner Runner
	Watch  Watch
	About  About

	cells   []Cell
	records map[Cell]*Record
	failed  map[Cell]error
	iou     map[[2]Cell]float64
	// begun is what there was to do, spent what of it is done.
	begun, spent float64
}

// Run runs what is missing and returns the results of all. Cells that fail do not stop
// the others; the error names them.
func (s *Sweep) Run() (*Results, error) {
	s.cells = s.Grid.Cells()
	s.records, s.failed, s.iou = map[Cell]*Record{}, map[Cell]error{}, map[[2]Cell]float64{}
	if len(s.cells) == 0 {
		return nil, errors.New("the grid has no cells")
	}
	for _, c := range s.cells {
		if epochs, err := s.epochs(c); err == nil {
			if err := s.recall(c, epochs); err != nil {
				return nil, err
			}
		}
	}
	planned := map[Cell]bool{}
	for i, c := range s.cells {
		if s.records[c] != nil || planned[c] {
			continue
		}
		all := s.together(c, s.cells[i+1:])
		for _, o := range all {
			planned[o] = true
		}
		s.begun += s.Runner.Cost(all, 0)
	}
	s.Watch.Begin(len(s.cells), len(s.records))
	for i, c := range s.cells {
		for s.records[c] == nil && s.failed[c] == nil {
			if err := s.run(c, s.cells[i+1:]); err != nil {
				return nil, err
			}
		}
	}
	r := s.results()
	if err := s.Watch.Results(r); err != nil {
		return nil, err
	}
	return r, s.failures()
}

// recall looks for the record of a cell; what it keeps is not held in memory.
func (s *Sweep) recall(c Cell, epochs int) error {
	key, err := s.Runner.Key(c, epochs)
	if err != nil {
		return err
	}
	if r := s.Store.Get(c, key); r != nil {
		r.Kept = nil
		s.records[c] = r
	}
	return nil
}

// together are the missing cells that one run has the results of, c among them, in
// ascending order of their ratios.
func (s *Sweep) together(c Cell, rest []Cell) []Cell {
	out := []Cell{c}
	for _, o := range rest {
		way := o
		way.Ratio = c.Ratio
		if s.Runner.OnItsWay(c) && way == c && s.records[o] == nil && s.failed[o] == nil {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b Cell) int { return cmp.Compare(a.Ratio, b.Ratio) })
	return out
}

// run runs c, and others that differ in ratio only with it.
func (s *Sweep) run(c Cell, rest []Cell) error {
	epochs, err := s.epochs(c)
	if err != nil {
		s.spent += s.Runner.Cost([]Cell{c}, 0)
		s.fail(c, err)
		return nil
	}
	// What its length depends on may have been finished since.
	if err := s.recall(c, epochs); err != nil || s.records[c] != nil {
		return err
	}
	all := s.together(c, rest)
	top := all[len(all)-1]
	work := s.Runner.Cost(all, epochs)
	step := func(share float64) {
		s.Watch.Step(top, len(s.records), len(s.cells), (s.spent+min(share, 1)*work)/max(s.begun, s.spent+work))
	}
	err = s.Runner.Run(top, epochs, all[:len(all)-1], step, s.put)
	s.spent += work
	var f *fatal
	if errors.As(err, &f) {
		return f.error
	}
	if err != nil && s.records[all[0]] == nil {
		all = []Cell{top} // the others may be possible without it
	}
	for _, o := range all {
		if err != nil && s.records[o] == nil {
			s.fail(o, err)
		}
	}
	return s.Watch.Results(s.results())
}

// put stores the record of a finished cell.
func (s *Sweep) put(r *Record) error {
	if err := s.Store.Put(r); err != nil {
		return &fatal{err}
	}
	done := *r
	done.Kept = nil
	s.records[r.Result.Cell] = &done
	s.Watch.Done(&done.Result, len(s.records), len(s.cells))
	return nil
}

// fatal is an error that ends the whole: a record could not be written.
type fatal struct{ error }

func (s *Sweep) fail(c Cell, err error) {
	s.failed[c] = err
	s.Watch.Failed(c, err)
}

// epochs is the training of a cell: 0, that of the grid, but for omp at equal passes,
// which has as many as bip's passes are worth.
func (s *Sweep) epochs(c Cell) (int, error) {
	if c.Method != EqualPasses {
		return 0, nil
	}
	of := func(method string) *Record {
		o := c
		o.Method = method
		return s.records[o]
	}
	bip, omp := of("bip"), of("omp")
	if bip == nil || omp == nil {
		return 0, errors.New("needs the passes of bip and omp in the same place, which have no result")
	}
	return max(1, int(math.Round(bip.Result.Passes/omp.Result.Passes*float64(omp.Result.Epochs)))), nil
}

// results are those of the cells that are finished.
func (s *Sweep) results() *Results {
	r := &Results{Format: format, About: s.About, Planned: len(s.cells), Cells: []Result{}, Points: []Point{}, Tickets: []Point{}, Overlaps: []Overlap{}}
	for _, c := range s.cells {
		if rec := s.records[c]; rec != nil {
			r.Dense = rec.Dense
			r.Cells = append(r.Cells, rec.Result)
		} else if err := s.failed[c]; err != nil {
			r.Failed = append(r.Failed, Failure{c, strings.ReplaceAll(err.Error(), "\n", "; ")})
		}
	}
	r.Points = append(r.Points, s.Grid.points(r.Cells)...)
	if len(r.Cells) > 0 {
		r.Tickets = append(r.Tickets, tickets(r.Points, r.Score(), r.Classes())...)
	}
	r.Overlaps = append(r.Overlaps, s.overlaps()...)
	return r
}

// overlaps compares the methods of a grid two by two, without rewinding.
func (s *Sweep) overlaps() []Overlap {
	var out []Overlap
	methods := s.Grid.methods()
	for _, structure := range s.Grid.Structures {
		for _, ratio := range s.Grid.ratios(structure) {
			for i, a := range methods {
				for _, b := range methods[i+1:] {
					o := Overlap{Structure: structure, Ratio: ratio.Value, A: a, B: b}
					for seed := range s.Grid.most() {
						x := Cell{a, structure, ratio.Value, s.Grid.First + uint64(seed), NoRewind}
						y := x
						y.Method = b
						if v, ok := s.pair(x, y); ok {
							o.Seeds++
							o.IoU += v
						}
					}
					if o.Seeds > 0 {
						o.IoU /= float64(o.Seeds)
						out = append(out, o)
					}
				}
			}
		}
	}
	return out
}

// pair is the IoU of two cells, read from their files once.
func (s *Sweep) pair(a, b Cell) (float64, bool) {
	if s.records[a] == nil || s.records[b] == nil {
		return 0, false
	}
	both := [2]Cell{a, b}
	if v, ok := s.iou[both]; ok {
		return v, v >= 0
	}
	x, y := s.Store.Get(a, s.records[a].Key), s.Store.Get(b, s.records[b].Key)
	if x == nil || y == nil {
		return 0, false
	}
	v, ok := IoU(x.Kept, y.Kept)
	if !ok {
		v = -1
	}
	s.iou[both] = v
	return v, ok
}

// failures joins cells that failed in the same way.
func (s *Sweep) failures() error {
	count := map[string]int{}
	first := map[string]Cell{}
	var order []string
	for _, c := range s.cells {
		err := s.failed[c]
		if err == nil {
			continue
		}
		text := err.Error()
		if count[text] == 0 {
			order, first[text] = append(order, text), c
		}
		count[text]++
	}
	var errs []error
	for _, text := range order {
		which := first[text].String()
		if n := count[text]; n > 1 {
			which += fmt.Sprintf(" and %d more", n-1)
		}
		errs = append(errs, fmt.Errorf("%s: %s", which, text))
	}
	return errors.Join(errs...)
}
