package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"

	"github.com/onnxprune/onnxprune/report"
	"github.com/onnxprune/onnxprune/sweep"
)

// Run is what a page shows of one pruning run. What is not known is left out.
type Run struct {
	Report *report.Run
	// Made says where the run comes from.
	Made sweep.About
	// Before is the sparsity of weights as read, by name.
	Before map[string]float64
	Losses []Loss
	Moved  []Moved
	Scores []Scores
}

// Loss is the mean training loss of some steps around Epoch, which is 0 at the first step.
type Loss struct{ Epoch, Loss float64 }

// Moved counts, for a weight tensor, how the last mask differs from the first: of Kept
// elements Gone are removed now, Returned of Removed are not.
type Moved struct {
	Name           string
	Kept, Removed  int
	Gone, Returned int
}

// Scores counts those up to High, and above that of the bin before.
type Scores struct {
	High          float64
	Kept, Removed int
}

// Write writes the page.
func (r *Run) Write(w io.Writer) error {
	v, err := newRunView(r)
	if err != nil {
		return err
	}
	return write(w, runPage, v)
}

type runView struct {
	Title, Lead, Ratio, Threads, Seconds string
	Classes, Scored, Moved               bool
	Stages                               []stageRow
	Sections                             []section
	Layers                               []layerRow
	Facts                                []report.Fact
	Made                                 sweep.About
	Settings                             []setting
}

type stageRow struct{ Name, Params, Nonzero, Sparsity, MACs, Top1, Top5, Loss string }

type section struct {
	Heading string
	Figures []runFigure
}

type runFigure struct {
	Chart  template.HTML
	Note   string
	Legend []runLegend
	Level  bool
}

type runLegend struct {
	Of    int
	Name  string
	Block bool
}

type layerRow struct {
	No                                                 int
	Name, Shape, Params, Before, After, Gone, Returned string
}

type setting struct{ Name, Value string }

func newRunView(r *Run) (*runView, error) {
	x := r.Report
	v := &runView{Made: r.Made, Facts: x.Facts, Threads: plural(r.Made.Threads, "thread"), Seconds: number(x.Seconds, 1), Moved: len(r.Moved) > 0 && len(x.Epochs) > 0}
	v.Title = fmt.Sprintf("%s → %s", x.Input, x.Output)
	v.Lead = fmt.Sprintf("Pruned by %s, structure %s.", x.Settings.Method, x.Settings.Structure)
	if n := len(x.Epochs); n > 0 {
		v.Lead += fmt.Sprintf(" Epoch %d of %d was written.", x.ExportedEpoch, x.Epochs[n-1].Epoch)
	}
	v.Ratio = fmt.Sprintf("Asked for: %s of %s removed. Achieved: %s; %s of %s elements are removed.", report.Percent(x.Ratio.Requested), what(x.Ratio.Unit, x.Settings.Structure), report.Percent(x.Ratio.Achieved),
		report.Count(int64(x.Ratio.Removed)), report.Count(int64(x.Ratio.Elements)))
	if len(x.Groups) > 0 {
		v.Ratio = strings.Replace(v.Ratio, " elements", " channels", 1)
	}
	v.Scored = x.Dense.Score != nil
	v.Classes = v.Scored && x.Dense.Score.Top1 != nil
	v.stage("dense", &x.Dense)
	if x.Magnitude != nil {
		v.stage("first mask, untrained", x.Magnitude)
	}
	v.stage("as written", &x.Final)
	for _, add := range []func(*Run, *runView) error{training, layers, scores, moved} {
		if err := add(r, v); err != nil {
			return nil, err
		}
	}
	v.table(r)
	var err error
	v.Settings, err = settings(x)
	return v, err
}

func (v *runView) stage(name string, s *report.Stage) {
	row := stageRow{Name: name, Params: report.Count(s.Params), Nonzero: report.Count(s.Nonzero), Sparsity: report.Percent(s.Sparsity), MACs: report.MACs(s.MACs)}
	if s.Score != nil {
		row.Loss = number(float64(s.Score.Loss), 4)
		if s.Score.Top1 != nil {
			row.Top1, row.Top5 = report.Percent(*s.Score.Top1), report.Percent(*s.Score.Top5)
		}
	}
	v.Stages = append(v.Stages, row)
}

// settings lists the choices that are not empty.
func settings(x *report.Run) ([]setting, error) {
	b, err := json.Marshal(x.Settings)
	if err != nil {
		return nil, fmt.Errorf("writing settings: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	var out []setting
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		out = append(out, setting{strings.ReplaceAll(fmt.Sprint(key), "_", " "), strings.Trim(string(value), `"`)})
	}
	return out, nil
}

// span widens [lo,hi] by a value.
type span struct{ lo, hi float64 }

func newSpan() span { return span{math.Inf(1), math.Inf(-1)} }

func (s *span) add(v float64) {
	if !math.IsNaN(v) && !math.IsInf(v, 0) {
		s.lo, s.hi = min(s.lo, v), max(s.hi, v)
	}
}

// show sets the range of a chart, with some room.
func (s span) show(c *chart) {
	if s.lo > s.hi {
		return
	}
	pad := 0.06 * max(s.hi-s.lo, 1e-3*max(math.Abs(s.hi), 1e-3))
	c.YMin, c.YMax = s.lo-pad, s.hi+pad
}

// epochAxis numbers epochs.
func epochAxis(c *chart, last int) {
	c.X = "epoch"
	c.XMin, c.XMax = -0.02*float64(last), 1.02*float64(last)
	every := 1
	for last/every > 16 {
		every *= 2
		if every == 4 {
			every = 5
		}
	}
	for e := 0; e <= last; e += every {
		c.XTicks = append(c.XTicks, tick{float64(e), fmt.Sprint(e)})
	}
}

// training draws losses, top-1 and the movement of masks.
func training(r *Run, v *runView) error {
	x := r.Report
	n := len(x.Epochs)
	if n < 2 {
		return nil
	}
	last := x.Epochs[n-1].Epoch
	s := section{Heading: "Training"}
	loss := &chart{Name: "loss by step and epoch", Y: "loss", Level: math.NaN()}
	epochAxis(loss, last)
	f := runFigure{Note: "Training loss, mean over neighbouring steps"}
	room := newSpan()
	train := series{Of: 0, Line: true}
	for _, q := range r.Losses {
		train.Points = append(train.Points, point{X: q.Epoch, Y: q.Loss})
		room.add(q.Loss)
	}
	if len(train.Points) == 0 {
		train.Line = false
		f.Note = "Training loss, mean over each epoch"
		for _, e := range x.Epochs[1:] {
			train.Points = append(train.Points, point{X: float64(e.Epoch) - 0.5, Y: float64(*e.TrainLoss)})
			room.add(float64(*e.TrainLoss))
		}
	}
	f.Legend = append(f.Legend, runLegend{Of: 0, Name: "training"})
	loss.Series = append(loss.Series, train)
	scored := x.Epochs[0].Val != nil
	if scored {
		val := series{Of: 1}
		for _, e := range x.Epochs {
			val.Points = append(val.Points, point{X: float64(e.Epoch), Y: float64(e.Val.Loss)})
			if e.Epoch > 0 {
				room.add(float64(e.Val.Loss))
			}
		}
		loss.Series = append(loss.Series, val)
		f.Legend = append(f.Legend, runLegend{Of: 1, Name: "on --val"})
		f.Note += ", and loss on --val after each epoch"
		if first := float64(x.Epochs[0].Val.Loss); !(first <= 3*room.hi) {
			f.Note += fmt.Sprintf("; before training it is %s", number(first, 4))
		} else {
			room.add(first)
		}
		if d := x.Dense.Score; d != nil {
			loss.Level, f.Level = float64(d.Loss), true
			room.add(loss.Level)
		}
	}
	f.Note += "."
	room.show(loss)
	var err error
	if f.Chart, err = loss.draw(); err != nil {
		return err
	}
	s.Figures = append(s.Figures, f)
	if scored && x.Epochs[0].Val.Top1 != nil {
		f, err := accuracy(x, last)
		if err != nil {
			return err
		}
		s.Figures = append(s.Figures, f)
	}
	movement := &chart{Name: "mask elements that changed by epoch", Y: "mask changed, percent", Level: math.NaN(), Height: 200}
	epochAxis(movement, last)
	room = newSpan()
	room.add(0)
	line := series{Of: 4}
	for _, e := range x.Epochs[1:] {
		line.Points = append(line.Points, point{X: float64(e.Epoch), Y: 100 * e.MaskChanged})
		room.add(100 * e.MaskChanged)
	}
	if room.hi > 0 {
		movement.Series = append(movement.Series, line)
		room.show(movement)
		html, err := movement.draw()
		if err != nil {
			return err
		}
		s.Figures = append(s.Figures, runFigure{Chart: html, Note: "Fraction of the mask that differs from that of the epoch before."})
	}
	v.Sections = append(v.Sections, s)
	return nil
}

// accuracy is the chart of top-1 by epoch.
func accuracy(x *report.Run, last int) (runFigure, error) {
	c := &chart{Name: "top-1 by epoch", Y: "top-1 in percent", Level: math.NaN(), Height: 240}
	epochAxis(c, last)
	f := runFigure{Note: "Top-1 on --val; the ring is the epoch that was written", Legend: []runLegend{{Of: 1, Name: "on --val"}}}
	room := newSpan()
	if d := x.Dense.Score; d != nil && d.Top1 != nil {
		c.Level, f.Level = 100**d.Top1, true
		room.add(c.Level)
	}
	best := 0.0
	for _, e := range x.Epochs {
		best = max(best, 100**e.Val.Top1)
	}
	line := series{Of: 1}
	for _, e := range x.Epochs {
		q := point{X: float64(e.Epoch), Y: 100 * *e.Val.Top1}
		line.Points = append(line.Points, q)
		if q.Y >= best-deepest {
			room.add(q.Y)
		} else if e.Epoch == 0 {
			f.Note += fmt.Sprintf("; before training it is %s", report.Percent(*e.Val.Top1))
		}
		if e.Epoch == x.ExportedEpoch {
			c.Marks = append(c.Marks, q)
		}
	}
	rising := 0
	for _, e := range x.Epochs {
		if e.Ratio > 0 {
			rising = e.Epoch
		}
	}
	if rising > 0 {
		f.Note += fmt.Sprintf("; up to epoch %d the ratio still rises, and fewer weights are gone than were asked for", rising)
	}
	f.Note += "."
	c.Series = append(c.Series, line)
	room.show(c)
	var err error
	f.Chart, err = c.draw()
	return f, err
}

// layers draws the sparsity by layer before and after.
func layers(r *Run, v *runView) error {
	x := r.Report
	if len(x.Layers) < 2 {
		return nil
	}
	c := &chart{Name: "sparsity by layer before and after", X: "layer, from input to output", Y: "percent zero or cut out", Level: math.NaN(), YMin: -3, YMax: 103, Height: 240}
	c.XMin, c.XMax = 0.5, float64(len(x.Layers))+0.5
	c.XTicks = layerTicks(len(x.Layers))
	before, after := series{Of: 8}, series{Of: 0}
	for i, l := range x.Layers {
		before.Points = append(before.Points, point{X: float64(i + 1), Y: 100 * r.Before[l.Name]})
		after.Points = append(after.Points, point{X: float64(i + 1), Y: 100 * gone(l)})
	}
	c.Series = []series{before, after}
	html, err := c.draw()
	v.Sections = append(v.Sections, section{"Sparsity by layer", []runFigure{{Chart: html, Note: "The table below has the names.", Legend: []runLegend{{Of: 8, Name: "before"}, {Of: 0, Name: "after"}}}}})
	return err
}

// gone is the fraction of a layer's weights that is zero or cut out.
func gone(l report.Layer) float64 { return report.Sparsity(l.Params, l.Nonzero) }

// scores draws how many scores lie where.
func scores(r *Run, v *runView) error {
	if len(r.Scores) < 3 {
		return nil
	}
	c := &chart{Name: "distribution of scores", X: "score", Y: "elements", Level: math.NaN(), Height: 240}
	room := newSpan()
	room.add(0)
	removed, kept := make([]column, 0, len(r.Scores)), make([]column, 0, len(r.Scores))
	width := math.Log10(r.Scores[2].High / r.Scores[1].High)
	for i, b := range r.Scores {
		right := math.Log10(b.High)
		left := right - width
		if i == 0 {
			left -= width
			right -= width
			c.XTicks = append(c.XTicks, tick{(left + right) / 2, "smaller"})
		}
		removed = append(removed, column{left, right, 0, float64(b.Removed)})
		kept = append(kept, column{left, right, float64(b.Removed), float64(b.Removed + b.Kept)})
		room.add(float64(b.Removed + b.Kept))
	}
	c.XMin, c.XMax = removed[0].X-width, removed[len(removed)-1].Right+width
	for e := math.Ceil(removed[1].X + 4*width); e <= c.XMax; e++ {
		c.XTicks = append(c.XTicks, tick{e, strings.TrimSuffix(fmt.Sprintf("%g", math.Pow(10, e)), ".0")})
	}
	c.Columns = make([][]column, seriesColours)
	c.Columns[8], c.Columns[0] = removed, kept
	c.YMin, c.YMax = 0, 1.05*room.hi
	if len(c.XTicks) > 0 && room.hi == 0 {
		return nil
	}
	html, err := c.draw()
	v.Sections = append(v.Sections, section{"Scores", []runFigure{{Chart: html, Note: "Where the scores lay that chose the last mask, by equal steps of their logarithm; what is smaller than the axis shows, and negative, is in the first column.",
		Legend: []runLegend{{Of: 0, Name: "kept", Block: true}, {Of: 8, Name: "removed", Block: true}}}}})
	return err
}

// moved draws what changed between the first mask and the last.
func moved(r *Run, v *runView) error {
	if !v.Moved {
		return nil
	}
	c := &chart{Name: "what moved between the first and the last mask", X: "layer, from input to output", Y: "percent of the layer", Level: math.NaN(), Height: 220}
	c.XMin, c.XMax = 0.5, float64(len(r.Moved))+0.5
	c.XTicks = layerTicks(len(r.Moved))
	went, back := series{Of: 1}, series{Of: 2}
	var kept, lost, returned int
	room := newSpan()
	room.add(0)
	for i, m := range r.Moved {
		all := float64(max(1, m.Kept+m.Removed))
		a, b := 100*float64(m.Gone)/all, 100*float64(m.Returned)/all
		went.Points, back.Points = append(went.Points, point{X: float64(i + 1), Y: a}), append(back.Points, point{X: float64(i + 1), Y: b})
		room.add(a)
		room.add(b)
		kept, lost, returned = kept+m.Kept, lost+m.Gone, returned+m.Returned
	}
	c.Series = []series{went, back}
	room.show(c)
	note := fmt.Sprintf("Of %s weights that the first mask kept the last one removes %s (%s), and %s others came back.", report.Count(int64(kept)), report.Count(int64(lost)), report.Percent(float64(lost)/float64(max(1, kept))), report.Count(int64(returned)))
	if lost == 0 && returned == 0 {
		note = fmt.Sprintf("The last mask is the first one: all of %s weights that it kept are still there.", report.Count(int64(kept)))
		v.Sections = append(v.Sections, section{"First and last mask", []runFigure{{Note: note}}})
		return nil
	}
	if len(r.Moved) < 2 {
		v.Sections = append(v.Sections, section{"First and last mask", []runFigure{{Note: note}}})
		return nil
	}
	html, err := c.draw()
	v.Sections = append(v.Sections, section{"First and last mask", []runFigure{{Chart: html, Note: note, Legend: []runLegend{{Of: 1, Name: "kept at first, gone at last"}, {Of: 2, Name: "removed at first, back at last"}}}}})
	return err
}

// table lists the layers.
func (v *runView) table(r *Run) {
	by := map[string]Moved{}
	for _, m := range r.Moved {
		by[m.Name] = m
	}
	for i, l := range r.Report.Layers {
		row := layerRow{No: i + 1, Name: l.Name, Shape: shape(l.Shape), Params: report.Count(l.Params), Before: report.Percent(r.Before[l.Name]), After: report.Percent(gone(l))}
		if len(l.NewShape) > 0 {
			row.Shape += " → " + shape(l.NewShape)
		}
		if m, ok := by[l.Name]; ok {
			row.Gone, row.Returned = report.Count(int64(m.Gone)), report.Count(int64(m.Returned))
		}
		v.Layers = append(v.Layers, row)
	}
}

func shape(dims []int) string {
	var s []string
	for _, d := range dims {
		s = append(s, fmt.Sprint(d))
	}
	return strings.Join(s, "×")
}
