package page

import (
	"cmp"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxprune/onnxprune/report"
	"github.com/onnxprune/onnxprune/sweep"
)

// Sweep writes the page of a comparison.
func Sweep(w io.Writer, r *sweep.Results) error {
	v, err := newSweepView(r)
	if err != nil {
		return err
	}
	return write(w, sweepPage, v)
}

// sweepView is what the template shows.
type sweepView struct {
	Title, Lead, Missing, Dense string
	Metric, Worse               string
	Threads, DataLine, Training string
	Legend                      []legendItem
	Tickets                     []sweepRow
	Structures                  []structureView
	Cells                       []cellRow
	Failed                      []string
	About                       sweep.About
}

type legendItem struct {
	Of   int
	Name string
}

type sweepRow struct {
	Structure, Method, Ratio, Rewind, Achieved, Score, MACs, Passes, Seconds, Times string
	Seeds                                                                           int
	Ticket, WithRewind                                                              bool
}

type cellRow struct {
	Structure, Method, Ratio, Rewind, Score, Loss, Nonzero, Passes, Seconds string
	Seed                                                                    uint64
	Epochs, Best                                                            int
}

type structureView struct {
	Heading, Parts         string
	Accuracy, Time         template.HTML
	AccuracyNote, TimeNote string
	Rewinds, Layers        []figure
	LayerNames             []string
	Overlaps               []overlapView
	Chance                 string
	Rows                   []sweepRow
}

type figure struct {
	Chart template.HTML
	Note  string
}

type overlapView struct {
	Ratio string
	Names []string
	Rows  []overlapRow
}

type overlapRow struct {
	Name  string
	Cells []overlapCell
}

type overlapCell struct {
	Text  string
	Shade int
}

// sweepPainter draws the parts of a comparison.
type sweepPainter struct {
	*sweep.Results
	// base is the rewinding of what is compared: none, where the grid has that.
	base sweep.Rewind
}

func newSweepView(r *sweep.Results) (*sweepView, error) {
	a := r.About
	v := &sweepView{About: a, Title: "Pruning of " + a.Model, Metric: "top-1", Worse: "lower"}
	if !r.Classes() {
		v.Metric, v.Worse = "loss", "higher"
	}
	p := &sweepPainter{Results: r, base: sweep.NoRewind}
	var structures, names []string
	for i, q := range r.Points {
		if i == 0 || q.Rewind < p.base {
			p.base = q.Rewind
		}
		if !slices.Contains(structures, q.Structure) {
			structures = append(structures, q.Structure)
		}
		if !slices.Contains(names, q.Method) {
			names = append(names, q.Method)
			v.Legend = append(v.Legend, legendItem{colourOf(q.Method), q.Method})
		}
	}
	v.Lead = fmt.Sprintf("Compared: %s, in %s.", list(names), plural(len(r.Cells), "run"))
	if left := r.Planned - len(r.Cells); left > 0 {
		v.Missing = fmt.Sprintf("%s of %s still without a result; the same command goes on.", plural(left, "run"), report.Count(int64(r.Planned)))
	}
	if len(r.Cells) > 0 {
		v.Dense = fmt.Sprintf("The dense model has %s parameters", report.Count(r.Dense.Params))
		if r.Dense.MACs != nil {
			v.Dense += ", " + report.Count(*r.Dense.MACs) + " multiply-adds"
		}
		v.Dense += fmt.Sprintf(" and %s %s on %s.", v.Metric, p.score(r.Score()), plural(r.Dense.Samples, "sample"))
	}
	v.Threads = plural(a.Threads, "thread")
	v.DataLine = fmt.Sprintf("%s to train on (%s), %s to measure on (%s)", plural(a.TrainSamples, "sample"), a.Data, plural(a.ValSamples, "sample"), a.Val)
	v.Training = plural(a.Epochs, "epoch") + "; imp trains that many in every round, omp-equal-passes as many as give the passes that bip takes. A pass is one forward and backward over the training data."
	for _, q := range r.Tickets {
		v.Tickets = append(v.Tickets, p.row(q))
	}
	for _, name := range structures {
		s, err := p.structure(name)
		if err != nil {
			return nil, err
		}
		v.Structures = append(v.Structures, s)
	}
	for i := range r.Cells {
		c := &r.Cells[i]
		x := float64(c.Loss)
		if c.Top1 != nil {
			x = *c.Top1
		}
		v.Cells = append(v.Cells, cellRow{c.Structure, c.Method, sweep.Short(c.Ratio), c.Rewind.String(), p.score(x), number(float64(c.Loss), 4), report.Count(c.Nonzero), number(c.Passes, 1), number(c.Seconds, 1), c.Seed, c.Epochs, c.BestEpoch})
	}
	for _, f := range r.Failed {
		v.Failed = append(v.Failed, f.Cell.String()+": "+f.Error)
	}
	return v, nil
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// score writes a top-1 or a loss.
func (p *sweepPainter) score(x float64) string {
	if p.Classes() {
		return report.Percent(x)
	}
	return number(x, 4)
}

// scaled is a score as charts have it.
func (p *sweepPainter) scaled(x float64) float64 {
	if p.Classes() {
		return 100 * x
	}
	return x
}

func (p *sweepPainter) metric() string {
	if p.Classes() {
		return "top-1 in percent"
	}
	return "loss"
}

func (p *sweepPainter) isTicket(q sweep.Point) bool {
	return slices.ContainsFunc(p.Tickets, func(t sweep.Point) bool {
		return t.Structure == q.Structure && t.Method == q.Method && t.Rewind == q.Rewind && t.Ratio == q.Ratio
	})
}

func (p *sweepPainter) row(q sweep.Point) sweepRow {
	r := sweepRow{Structure: q.Structure, Method: q.Method, Ratio: sweep.Short(q.Ratio), Rewind: q.Rewind.String(), Achieved: report.Percent(q.Achieved),
		Score: p.score(q.Score.Mean), Seeds: q.Seeds, Passes: number(q.Passes, 1), Seconds: number(q.Seconds.Mean, 1), Ticket: p.isTicket(q), MACs: "?"}
	if q.Seeds > 1 {
		r.Score += " ± " + strings.TrimSuffix(p.score(q.Score.SD), " %")
	}
	if q.MACs > 0 {
		r.MACs = report.Count(int64(math.Round(q.MACs)))
	}
	if q.TimesBiP > 0 {
		r.Times = number(q.TimesBiP, 2) + " ×"
	}
	return r
}

// of are the points of a structure that f takes, by method in their order.
func (p *sweepPainter) of(structure string, f func(q sweep.Point) bool) (names []string, points map[string][]sweep.Point) {
	points = map[string][]sweep.Point{}
	for _, q := range p.Points {
		if q.Structure != structure || !f(q) {
			continue
		}
		if points[q.Method] == nil {
			names = append(names, q.Method)
		}
		points[q.Method] = append(points[q.Method], q)
	}
	return names, points
}

// what is counted by the ratios of a structure.
func what(of, structure string) string {
	switch {
	case structure != "filter" && structure != "channel":
		return "prunable weights"
	case of == "macs":
		return "multiply-adds"
	case of == "params":
		return "parameters"
	case of == "size":
		return "bytes"
	}
	return of
}

func heading(structure string) string {
	switch structure {
	case "weight":
		return "Single weights"
	case "filter":
		return "Filters"
	case "channel":
		return "Channels"
	}
	return capital(structure)
}

func (p *sweepPainter) structure(name string) (structureView, error) {
	v := structureView{Heading: heading(name), Parts: "weights"}
	if name == "filter" || name == "channel" {
		v.Parts = "channels"
	}
	var err error
	var ratios []float64
	rewound := false
	for _, q := range p.Points {
		if q.Structure != name {
			continue
		}
		rewound = rewound || q.Rewind != p.base
		if q.Rewind == p.base && !slices.Contains(ratios, q.Ratio) {
			ratios = append(ratios, q.Ratio)
		}
	}
	slices.Sort(ratios)
	if len(ratios) > 1 {
		if v.Accuracy, v.AccuracyNote, err = p.accuracy(name); err != nil {
			return v, err
		}
		if v.Time, v.TimeNote, err = p.time(name); err != nil {
			return v, err
		}
	}
	if rewound {
		if v.Rewinds, err = p.rewinds(name); err != nil {
			return v, err
		}
	}
	for _, ratio := range p.chosen(name, ratios) {
		f, names, err := p.layers(name, ratio)
		if err != nil {
			return v, err
		}
		if f.Chart != "" {
			v.Layers, v.LayerNames = append(v.Layers, f), names
		}
		if o, ok := p.overlap(name, ratio); ok {
			v.Overlaps = append(v.Overlaps, o)
		}
	}
	if v.Parts == "weights" && len(v.Overlaps) > 0 {
		v.Chance = "Two masks drawn by chance at ratio r have (1−r)/(1+r): 0.11 at 0.8, 0.05 at 0.9."
	}
	for _, q := range p.Points {
		if q.Structure == name {
			r := p.row(q)
			r.WithRewind = rewound
			v.Rows = append(v.Rows, r)
		}
	}
	return v, nil
}

// chosen are up to three ratios: of those with the most seeds the first, the middle and
// the last.
func (p *sweepPainter) chosen(structure string, ratios []float64) []float64 {
	seeds := func(ratio float64) int {
		most := 0
		for _, q := range p.Points {
			if q.Structure == structure && q.Rewind == p.base && q.Ratio == ratio {
				most = max(most, q.Seeds)
			}
		}
		return most
	}
	most := 0
	for _, r := range ratios {
		most = max(most, seeds(r))
	}
	var full []float64
	for _, r := range ratios {
		if seeds(r) == most {
			full = append(full, r)
		}
	}
	if len(full) <= 3 {
		return full
	}
	return []float64{full[0], full[len(full)/2], full[len(full)-1]}
}

// kept is where a fraction removed stands on the axis: equal steps remove equal fractions of what
// remains.
func kept(removed float64) float64 { return -math.Log2(1 - min(removed, 1-1e-9)) }

// sparsityAxis sets range and ticks for points.
func sparsityAxis(c *chart, points []sweep.Point) {
	lo, hi := math.Inf(1), math.Inf(-1)
	var at []float64
	for _, q := range points {
		lo, hi = min(lo, kept(q.Achieved)), max(hi, kept(q.Achieved))
		if !slices.Contains(at, q.Ratio) {
			at = append(at, q.Ratio)
		}
	}
	pad := 0.04 * max(hi-lo, 0.1)
	c.XMin, c.XMax = lo-pad, hi+pad
	slices.SortFunc(at, func(a, b float64) int { return cmp.Compare(b, a) })
	last := math.Inf(1)
	for _, r := range at {
		if last-kept(r) < 0.06*(c.XMax-c.XMin) {
			continue
		}
		last = kept(r)
		c.XTicks = append(c.XTicks, tick{last, strings.TrimSuffix(strings.TrimRight(number(100*r, 1), "0"), ".") + " %"})
	}
}

// deepest is how many points of top-1 below the dense model an accuracy chart shows.
const deepest = 25

// accuracy is the chart of the score against sparsity.
func (p *sweepPainter) accuracy(structure string) (template.HTML, string, error) {
	names, points := p.of(structure, func(q sweep.Point) bool { return q.Rewind == p.base })
	c := &chart{Name: "score against sparsity, " + heading(structure), Y: p.metric(), Level: p.scaled(p.Score())}
	var all []sweep.Point
	lo, hi := c.Level, c.Level
	below := 0
	for _, name := range names {
		s := series{Of: colourOf(name)}
		for _, q := range points[name] {
			x := point{kept(q.Achieved), p.scaled(q.Score.Mean), p.scaled(q.Score.Mean - q.Score.SD), p.scaled(q.Score.Mean + q.Score.SD)}
			s.Points = append(s.Points, x)
			all = append(all, q)
			if p.Classes() && x.Y < c.Level-deepest {
				below++
				continue
			}
			if !math.IsNaN(x.Y) {
				lo, hi = min(lo, x.Low), max(hi, x.High)
			}
			if p.isTicket(q) {
				c.Marks = append(c.Marks, x)
			}
		}
		c.Series = append(c.Series, s)
	}
	pad := 0.06 * max(hi-lo, 0.1)
	c.YMin, c.YMax = lo-pad, hi+pad
	sparsityAxis(c, all)
	c.X = what(all[0].Of, structure) + " removed"
	html, err := c.draw()
	note := fmt.Sprintf("Mean over seeds, bars of one standard deviation where there is more than one. Equal steps to the right remove equal fractions of the %s that remain.", what(all[0].Of, structure))
	if below > 0 {
		note += fmt.Sprintf(" %s more than %d points below the dense model, not shown.", capital(lies(below)), deepest)
	}
	return html, note, err
}

func lies(n int) string {
	if n == 1 {
		return "one result lies"
	}
	return strconv.Itoa(n) + " results lie"
}

// time is the chart of seconds against sparsity.
func (p *sweepPainter) time(structure string) (template.HTML, string, error) {
	names, points := p.of(structure, func(q sweep.Point) bool { return q.Rewind == p.base })
	c := &chart{Name: "time against sparsity, " + heading(structure), Y: "seconds", Level: math.NaN()}
	var all []sweep.Point
	var notes []string
	for _, name := range names {
		s := series{Of: colourOf(name)}
		fastest, slowest := math.Inf(1), 0.0
		var times []string
		for _, q := range points[name] {
			s.Points = append(s.Points, point{kept(q.Achieved), q.Seconds.Mean, q.Seconds.Min, q.Seconds.Max})
			c.YMax = max(c.YMax, q.Seconds.Max)
			fastest, slowest = min(fastest, q.Seconds.Mean), max(slowest, q.Seconds.Mean)
			all = append(all, q)
			if q.TimesBiP > 0 {
				times = append(times, fmt.Sprintf("%s at %s", number(q.TimesBiP, 1), sweep.Short(q.Ratio)))
			}
		}
		c.Series = append(c.Series, s)
		switch {
		case name == "bip":
			notes = append(notes, fmt.Sprintf("bip's slowest ratio takes %s %% longer than its fastest", number(100*(slowest/fastest-1), 1)))
		case name == "imp" && len(times) > 0:
			notes = append(notes, "imp takes this many times bip's time: "+strings.Join(thin(times, 5), ", "))
		}
	}
	c.YMax *= 1.06
	c.YMin = -0.02 * c.YMax
	sparsityAxis(c, all)
	c.X = what(all[0].Of, structure) + " removed"
	html, err := c.draw()
	note := "From reading the model to the end of training, measurements after every epoch included; bars from the fastest to the slowest seed. "
	if len(notes) > 0 {
		note += strings.Join(notes, "; ") + "."
	}
	return html, strings.TrimSpace(note), err
}

// thin leaves at most n of the items, the last among them.
func thin(items []string, n int) []string {
	if len(items) <= n {
		return items
	}
	var out []string
	for i := range n {
		out = append(out, items[i*(len(items)-1)/(n-1)])
	}
	return out
}

// rewinds are charts of the score against the epoch rewound to, one for each of up to three
// ratios.
func (p *sweepPainter) rewinds(structure string) ([]figure, error) {
	var ratios []float64
	var epochs []sweep.Rewind
	for _, q := range p.Points {
		if q.Structure == structure && q.Rewind != sweep.NoRewind && !slices.Contains(ratios, q.Ratio) {
			ratios = append(ratios, q.Ratio)
		}
		if q.Structure == structure && !slices.Contains(epochs, q.Rewind) {
			epochs = append(epochs, q.Rewind)
		}
	}
	slices.Sort(ratios)
	slices.Sort(epochs)
	if n := len(ratios); n > 3 {
		ratios = []float64{ratios[0], ratios[n/2], ratios[n-1]}
	}
	var out []figure
	for _, ratio := range ratios {
		names, points := p.of(structure, func(q sweep.Point) bool { return q.Ratio == ratio })
		c := &chart{Name: "score against rewinding, ratio " + sweep.Short(ratio), X: "weights rewound to epoch", Y: p.metric(), Level: p.scaled(p.Score()), Height: 230, XMin: -0.3, XMax: float64(len(epochs)) - 0.7}
		for i, e := range epochs {
			c.XTicks = append(c.XTicks, tick{float64(i), e.String()})
		}
		lo, hi := c.Level, c.Level
		for _, name := range names {
			if len(points[name]) < 2 {
				continue
			}
			s := series{Of: colourOf(name)}
			for _, q := range points[name] {
				x := point{float64(slices.Index(epochs, q.Rewind)), p.scaled(q.Score.Mean), p.scaled(q.Score.Mean - q.Score.SD), p.scaled(q.Score.Mean + q.Score.SD)}
				s.Points = append(s.Points, x)
				if !math.IsNaN(x.Y) {
					lo, hi = min(lo, x.Low), max(hi, x.High)
				}
			}
			c.Series = append(c.Series, s)
		}
		if len(c.Series) == 0 {
			continue
		}
		pad := 0.08 * max(hi-lo, 0.1)
		c.YMin, c.YMax = lo-pad, hi+pad
		html, err := c.draw()
		if err != nil {
			return nil, err
		}
		out = append(out, figure{html, fmt.Sprintf("Ratio %s.", sweep.Short(ratio))})
	}
	return out, nil
}

// layers is the chart of sparsity by layer at a ratio, of the first seed.
func (p *sweepPainter) layers(structure string, ratio float64) (figure, []string, error) {
	c := &chart{Name: "sparsity by layer, ratio " + sweep.Short(ratio), X: "layer, from input to output", Y: "percent zero or cut out", Level: math.NaN(), YMin: -3, YMax: 103, Height: 240}
	var names, done []string
	seed := uint64(0)
	for i := range p.Cells {
		r := &p.Cells[i]
		if r.Structure != structure || r.Ratio != ratio || r.Rewind != p.base || slices.Contains(done, r.Method) || len(r.Layers) < 2 {
			continue
		}
		done = append(done, r.Method)
		s := series{Of: colourOf(r.Method)}
		names, seed = nil, r.Seed
		for k, l := range r.Layers {
			names = append(names, l.Name)
			s.Points = append(s.Points, point{X: float64(k + 1), Y: 100 * l.Sparsity})
		}
		c.Series = append(c.Series, s)
	}
	if len(c.Series) == 0 {
		return figure{}, nil, nil
	}
	c.XMin, c.XMax = 0.5, float64(len(names))+0.5
	c.XTicks = layerTicks(len(names))
	html, err := c.draw()
	return figure{html, fmt.Sprintf("Ratio %s, seed %d.", sweep.Short(ratio), seed)}, names, err
}

// overlap is the table of overlaps at a ratio.
func (p *sweepPainter) overlap(structure string, ratio float64) (overlapView, bool) {
	v := overlapView{Ratio: sweep.Short(ratio)}
	iou := map[[2]string]float64{}
	for _, o := range p.Overlaps {
		if o.Structure != structure || o.Ratio != ratio {
			continue
		}
		iou[[2]string{o.A, o.B}], iou[[2]string{o.B, o.A}] = o.IoU, o.IoU
		for _, name := range []string{o.A, o.B} {
			if !slices.Contains(v.Names, name) {
				v.Names = append(v.Names, name)
			}
		}
	}
	for i, a := range v.Names {
		row := overlapRow{Name: a}
		for k, b := range v.Names {
			x, ok := iou[[2]string{a, b}]
			switch {
			case i == k:
				row.Cells = append(row.Cells, overlapCell{})
			case !ok:
				row.Cells = append(row.Cells, overlapCell{})
			default:
				row.Cells = append(row.Cells, overlapCell{number(x, 3), int(math.Round(45 * x))})
			}
		}
		v.Rows = append(v.Rows, row)
	}
	return v, len(v.Names) > 1
}
