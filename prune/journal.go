package prune

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onnxprune/onnxprune/checkpoint"
)

// Journal is the course of a run: how far it is, and all that must be saved to go on from
// there. The trainers of a run share one.
//
// A run goes on from a checkpoint by being made again: models, masks and plans are prepared
// as they were, passes over the data that were made before are left out, and where the
// checkpoint was written, every variable that a holder lists takes its saved value. What
// is computed on the way there does not count. So a method needs no second way in: it holds
// its variables (Trainer.hold) for as long as they matter, and calls epoch and epochEnd.
type Journal struct {
	// Write saves a checkpoint; nil for a run without.
	Write func(s *checkpoint.State) error
	// A checkpoint is written after Steps steps, when Every has gone by since the last, or
	// at the end of every epoch; none of them where they are zero.
	Steps  int
	Every  time.Duration
	Epochs bool
	// Stop reports whether the run is asked to end; it then writes a checkpoint and returns
	// [ErrStopped].
	Stop func() bool

	// Trace, if not nil, is filled on the way; see [NewTrace].
	Trace *Trace

	at      position
	written position // of the last checkpoint, without what a comparison does not need
	since   int      // steps since then
	clock   time.Time
	held    []*holder
	from    *checkpoint.State // where to go on, nil once it is reached
	goal    position          // of from
	good    *checkpoint.State // where the present pass began
}

// ErrStopped ends a run that was asked to.
var ErrStopped = errors.New("stopped")

// position is how far a run is.
type position struct {
	// Pass counts passes over the data from 1, those of dense training included, Step the
	// steps of it that are made.
	Pass int `json:"pass"`
	Step int `json:"step"`
	// Loss is the sum over these steps; Mean is that of the pass before, or the first loss,
	// which a loss is compared with.
	Loss exact `json:"loss_sum"`
	Mean exact `json:"mean"`
	// Goal is the loss of the mask that the ratio rises to, until a pass ends with it.
	Goal exact `json:"goal,omitempty"`
	// Scale multiplies all rates.
	Scale  exact         `json:"scale"`
	Epochs []epochRecord `json:"epochs"`
	// Ending is set within the evaluation that ends an epoch: what is known of it.
	Ending      *epochRecord       `json:"ending,omitempty"`
	Divergences []divergenceRecord `json:"divergences,omitempty"`
}

// same reports whether nothing was made in between.
func (p *position) same(o *position) bool {
	return p.Pass == o.Pass && p.Step == o.Step && len(p.Epochs) == len(o.Epochs) && (p.Ending == nil) == (o.Ending == nil)
}

// epochRecord is an [Epoch] as files keep it.
type epochRecord struct {
	Epoch     int          `json:"epoch"`
	TrainLoss exact        `json:"train_loss"`
	Changed   exact        `json:"changed"`
	Ratio     exact        `json:"ratio"`
	Val       *scoreRecord `json:"val"`
}

type scoreRecord struct {
	Loss    exact `json:"loss"`
	Top1    exact `json:"top1"`
	Top5    exact `json:"top5"`
	Samples int   `json:"samples"`
	Classes bool  `json:"classes"`
}

func (s *Score) record() *scoreRecord {
	if s == nil {
		return nil
	}
	return &scoreRecord{exact(s.Loss), exact(s.Top1), exact(s.Top5), s.Samples, s.Classes}
}

func (r *scoreRecord) score() *Score {
	if r == nil {
		return nil
	}
	return &Score{Loss: float64(r.Loss), Top1: float64(r.Top1), Top5: float64(r.Top5), Samples: r.Samples, Classes: r.Classes}
}

// holder is a part of a run whose variables are saved.
type holder struct {
	name  string
	visit func(s *slots)
	// within marks variables that change in the course of a pass: they are put back when
	// the pass is made again.
	within bool
}

// hold saves the variables that visit lists, until release is called. Where the run goes on
// from a checkpoint, they are set once that is reached.
func (j *Journal) hold(name string, within bool, visit func(s *slots)) (release func()) {
	h := &holder{name: name, visit: visit, within: within}
	j.held = append(j.held, h)
	return func() { j.held = slices.DeleteFunc(j.held, func(o *holder) bool { return o == h }) }
}

// settle is hold for what a part of the run that is over came to: where a checkpoint has
// it, that part was made before, and the variables are set at once.
func (j *Journal) settle(name string, visit func(s *slots)) (release func(), err error) {
	release = j.hold(name, false, visit)
	if j.from != nil && j.from.Has(name) {
		err = j.held[len(j.held)-1].load(j.from, "")
	}
	return release, err
}

// load sets the variables of a holder.
func (h *holder) load(from *checkpoint.State, prefix string) error {
	if !from.Has(prefix + h.name) {
		return fmt.Errorf("%q is missing", prefix+h.name)
	}
	s := &slots{prefix: prefix + h.name + "/", state: from, loading: true}
	h.visit(s)
	return s.err
}

// save enters the variables of a holder.
func (h *holder) save(to *checkpoint.State, prefix string, copied bool) {
	to.AddBits(prefix+h.name, 1, func(int) bool { return true })
	h.visit(&slots{prefix: prefix + h.name + "/", state: to, copied: copied})
}

// GoOn makes the run go on from a checkpoint, which must be one of the same run.
func (j *Journal) GoOn(s *checkpoint.State) error {
	d := json.NewDecoder(bytes.NewReader(s.Position))
	d.DisallowUnknownFields()
	var p position
	if err := d.Decode(&p); err != nil {
		return fmt.Errorf("position: %w", err)
	}
	if p.Pass < 0 || p.Step < 0 || !(p.Scale > 0 && p.Scale <= 1) {
		return fmt.Errorf("position: step %d of pass %d with scale %v", p.Step, p.Pass, p.Scale)
	}
	if p.Pass > 0 || p.Ending != nil {
		j.from, j.goal, j.written = s, p, p
	}
	return nil
}

// Reached describes the position of the checkpoint that a run goes on from.
func (j *Journal) Reached() string {
	switch n := len(j.goal.Epochs); {
	case j.goal.Pass == 0:
		return "the beginning"
	case n == 0:
		return fmt.Sprintf("step %d of dense epoch %d", j.goal.Step, j.goal.Pass)
	default:
		return fmt.Sprintf("step %d after epoch %d", j.goal.Step, j.goal.Epochs[n-1].Epoch)
	}
}

// replaying reports whether the run is still on its way to the checkpoint. What is computed
// meanwhile does not count.
func (j *Journal) replaying() bool { return j.from != nil }

// Divergences are those so far.
func (j *Journal) Divergences() []Divergence {
	var list []Divergence
	for _, d := range j.at.Divergences {
		list = append(list, d.divergence())
	}
	return list
}

// enter begins a pass over the data. It returns the number of steps that are made already,
// or skip for a pass that was made before the checkpoint.
func (j *Journal) enter(retries int) (step int, skip bool, err error) {
	j.at.Pass++
	j.at.Step, j.at.Loss = 0, 0
	if j.from != nil {
		if j.at.Pass < j.goal.Pass || j.at.Pass == j.goal.Pass && j.goal.Ending != nil {
			return 0, true, nil
		}
		if err := j.reach(retries); err != nil {
			return 0, false, err
		}
	}
	if j.at.Step == 0 && len(j.at.Divergences) < retries {
		j.remember()
	}
	return j.at.Step, false, j.save(false)
}

// reach takes the variables from the checkpoint.
func (j *Journal) reach(retries int) error {
	for _, h := range j.held {
		if err := h.load(j.from, ""); err != nil {
			return fmt.Errorf("the checkpoint is not of this run: %w", err)
		}
	}
	j.at = j.goal
	if j.at.Step > 0 && len(j.at.Divergences) < retries {
		j.good = &checkpoint.State{}
		j.from.Each(func(name string, e checkpoint.Entry) {
			if name, ok := strings.CutPrefix(name, goodPrefix); ok {
				j.good.Add(name, e.Copy())
			}
		})
	}
	j.from, j.since, j.clock = nil, 0, time.Now()
	return nil
}

// goodPrefix is before the names of what is there twice: as it is and as it was at the
// beginning of the pass.
const goodPrefix = "pass/"

// remember makes the present state the one to go back to.
func (j *Journal) remember() {
	j.good = &checkpoint.State{}
	for _, h := range j.held {
		if h.within {
			h.save(j.good, "", true)
		}
	}
}

// back goes to where the pass began.
func (j *Journal) back() error {
	for _, h := range j.held {
		if h.within {
			if err := h.load(j.good, ""); err != nil {
				return err
			}
		}
	}
	j.at.Step, j.at.Loss = 0, 0
	return nil
}

// calm makes rates and the loss to compare with those of an earlier position.
func (j *Journal) calm(p position) {
	j.at.Scale, j.at.Mean, j.at.Divergences = p.Scale, p.Mean, slices.Clip(p.Divergences)
}

// made counts a step, and writes a checkpoint where one is due.
func (j *Journal) made(loss float64) error {
	j.at.Step++
	j.at.Loss += exact(loss)
	j.since++
	return j.save(false)
}

// finish ends the training of a run.
func (j *Journal) finish() error {
	j.at.Pass++
	j.at.Step, j.at.Loss = 0, 0
	if j.from != nil {
		if j.at.Pass != j.goal.Pass {
			return fmt.Errorf("the checkpoint is not of this run: it has made %d passes over the data, the run has %d", j.goal.Pass, j.at.Pass)
		}
		return j.reach(0)
	}
	j.good = nil
	return j.save(true)
}

// stopped reports whether the run is asked to end.
func (j *Journal) stopped() bool { return j != nil && j.Stop != nil && j.Stop() }

// save writes a checkpoint if one is due or the run is asked to end, which it reports by
// [ErrStopped]. Nothing is due where one of the same position was written.
func (j *Journal) save(due bool) error {
	stop := j.stopped()
	if j.clock.IsZero() {
		j.clock = time.Now()
	}
	if j.Write != nil && !j.at.same(&j.written) {
		due = due || stop || j.Steps > 0 && j.since >= j.Steps || j.Every > 0 && time.Since(j.clock) >= j.Every || j.Epochs && j.at.Step == 0
		if due {
			if err := j.Write(j.state()); err != nil {
				return err
			}
			j.written, j.since, j.clock = j.at, 0, time.Now()
		}
	}
	if stop {
		return ErrStopped
	}
	return nil
}

// state is all that a checkpoint needs of the training.
func (j *Journal) state() *checkpoint.State {
	s := &checkpoint.State{Position: j.position()}
	for _, h := range j.held {
		h.save(s, "", false)
	}
	if j.good != nil && j.at.Step > 0 {
		j.good.Each(func(name string, entry checkpoint.Entry) { s.Add(goodPrefix+name, entry) })
	}
	return s
}

// Start is the state of a run that has made nothing.
func Start() *checkpoint.State {
	return &checkpoint.State{Position: (&Journal{}).position()}
}

func (j *Journal) position() json.RawMessage {
	at := j.at
	at.Scale = exact(j.scale())
	p, err := json.Marshal(&at)
	if err != nil {
		panic(err) // plain structs
	}
	return p
}

// scale multiplies all rates; it is below 1 after divergences.
func (j *Journal) scale() float64 {
	if j == nil || j.at.Scale == 0 {
		return 1
	}
	return float64(j.at.Scale)
}

// ending begins the end of an epoch. It returns what that came to before the checkpoint, with
// done set, or what was known of it.
func (j *Journal) ending(e Epoch) (_ Epoch, done bool, err error) {
	n := len(j.at.Epochs)
	switch {
	case j.from == nil:
	case n < len(j.goal.Epochs):
		r := j.goal.Epochs[n]
		j.at.Epochs = append(j.at.Epochs, r)
		return r.epoch(), true, nil
	case j.goal.Ending != nil && j.at.Pass == j.goal.Pass:
		if err := j.reach(0); err != nil {
			return e, false, err
		}
		e, j.at.Ending = j.at.Ending.epoch(), nil
	}
	return e, false, nil
}

// interrupted saves a run that is asked to end within an evaluation.
func (j *Journal) interrupted(e Epoch) error {
	r := e.record()
	j.at.Ending = &r
	defer func() { j.at.Ending = nil }()
	return j.save(true)
}

// ended enters an epoch.
func (j *Journal) ended(e Epoch) { j.at.Epochs = append(j.at.Epochs, e.record()) }

func (e Epoch) record() epochRecord {
	return epochRecord{e.Epoch, exact(e.TrainLoss), exact(e.Changed), exact(e.Ratio), e.Val.record()}
}

func (r epochRecord) epoch() Epoch {
	return Epoch{Epoch: r.Epoch, TrainLoss: float64(r.TrainLoss), Changed: float64(r.Changed), Ratio: float64(r.Ratio), Val: r.Val.score()}
}
