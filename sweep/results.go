package sweep

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"

	"github.com/onnxprune/onnxprune/report"
)

// About is where results come from.
type About struct {
	Program string `json:"program"`
	Go      string `json:"go"`
	// Platform is operating system and architecture, Kernel the instruction set in use.
	Platform string `json:"platform"`
	Kernel   string `json:"kernel"`
	Threads  int    `json:"threads"`
	Command  string `json:"command"`
	// Model, Data and Val are base names; Samples of both sets are counts.
	Model        string `json:"model"`
	Data         string `json:"data"`
	Val          string `json:"val"`
	TrainSamples int    `json:"train_samples"`
	ValSamples   int    `json:"val_samples"`
	Epochs       int    `json:"epochs"`
}

// Failure is a cell without a result.
type Failure struct {
	Cell
	Error string `json:"error"`
}

// Results are everything that is known of a grid. Two with the same cells differ in no
// byte but for seconds and what is computed from them.
type Results struct {
	Format int   `json:"format"`
	About  About `json:"about"`
	// Planned is the number of cells of the grid, of which Cells has the finished ones.
	Planned  int       `json:"planned"`
	Dense    Dense     `json:"dense"`
	Cells    []Result  `json:"cells"`
	Points   []Point   `json:"points"`
	Tickets  []Point   `json:"winning_tickets"`
	Overlaps []Overlap `json:"overlaps"`
	Failed   []Failure `json:"failed,omitempty"`
}

// Classes reports whether the score is top-1, and not a loss.
func (r *Results) Classes() bool { return r.Dense.Top1 != nil }

// score is what methods are compared by: top-1, or the loss.
func score(s *report.Score) float64 {
	if s.Top1 != nil {
		return *s.Top1
	}
	return float64(s.Loss)
}

// Score is the dense model's.
func (r *Results) Score() float64 { return score(&r.Dense.Score) }

// WriteCSV writes a line per cell.
func (r *Results) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	number := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	c.Write([]string{"method", "structure", "of", "ratio", "achieved", "seed", "rewind", "epochs", "passes", "top1", "top5", "loss", "best_epoch", "params", "nonzero", "sparsity", "macs", "seconds"})
	for i := range r.Cells {
		x := &r.Cells[i]
		top1, top5, macs := "", "", ""
		if x.Top1 != nil {
			top1, top5 = number(*x.Top1), number(*x.Top5)
		}
		if x.MACs != nil {
			macs = strconv.FormatInt(*x.MACs, 10)
		}
		c.Write([]string{x.Method, x.Structure, x.Of, number(x.Ratio), number(x.Achieved), strconv.FormatUint(x.Seed, 10), x.Rewind.String(),
			strconv.Itoa(x.Epochs), strconv.FormatFloat(x.Passes, 'f', 3, 64), top1, top5, number(float64(x.Loss)), strconv.Itoa(x.BestEpoch),
			strconv.FormatInt(x.Params, 10), strconv.FormatInt(x.Nonzero, 10), number(x.Sparsity), macs, strconv.FormatFloat(x.Seconds, 'f', 2, 64)})
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return fmt.Errorf("writing CSV: %w", err)
	}
	return nil
}

// WriteText prints a line per point.
func (r *Results) WriteText(w io.Writer) error {
	heads := []string{"structure", "method", ">ratio", ">rewind", ">seeds", ">achieved", ">loss", ">passes", ">seconds"}
	show := func(f float64) string { return strconv.FormatFloat(f, 'f', 4, 64) }
	if r.Classes() {
		heads[6] = ">top-1"
		show = report.Percent
	}
	t := report.NewTable(heads...)
	t.Row("", "dense", "", "", "", "", show(r.Score()), "", "")
	for i := range r.Points {
		p := &r.Points[i]
		spread := show(p.Score.Mean)
		if p.Seeds > 1 {
			spread += " ± " + show(p.Score.SD)
		}
		t.Row(p.Structure, p.Method, Short(p.Ratio), p.Rewind.String(), strconv.Itoa(p.Seeds), report.Percent(p.Achieved), spread,
			strconv.FormatFloat(p.Passes, 'f', 1, 64), strconv.FormatFloat(p.Seconds.Mean, 'f', 1, 64))
	}
	return t.Write(w)
}
