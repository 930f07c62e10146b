package sweep

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/report"
)

func TestParseRatios(t *testing.T) {
	got, err := ParseRatios([]string{"0.8:3", "0.5", "0.8", "0.8:2"})
	if want := []Ratio{{0.5, 0}, {0.8, 3}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	got, err = ParseRatios([]string{"paper:2", "0.2:4"})
	if err != nil || len(got) != 14 {
		t.Fatalf("%d ratios, %v, want 14", len(got), err)
	}
	for i, want := range []float64{0.2, 0.36, 0.488, 0.5904, 0.67232, 0.737856} {
		if got[i].Value != want {
			t.Errorf("ratio %d of the ladder is %v, want %v", i, got[i].Value, want)
		}
	}
	if got[0].Seeds != 4 || got[1].Seeds != 2 || got[13].Value != 0.95601953488896 {
		t.Errorf("the ladder is %v", got)
	}
	for _, bad := range []string{"1", "-0.1", "NaN", "x", "0.5:0", "0.5:x", ""} {
		if _, err := ParseRatios([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := ParseRatios(nil); err == nil {
		t.Error("no ratios are taken")
	}
}

func TestParseRewinds(t *testing.T) {
	got, err := ParseRewinds([]string{"2", "none", "0", "2"})
	if want := []Rewind{NoRewind, 0, 2}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if _, err := ParseRewinds([]string{"-1"}); err == nil {
		t.Error("-1 is taken")
	}
	b, err := json.Marshal(struct{ R []Rewind }{got})
	if err != nil || string(b) != `{"R":["none","0","2"]}` {
		t.Errorf("JSON is %s, %v", b, err)
	}
	var back struct{ R []Rewind }
	if err := json.Unmarshal(b, &back); err != nil || !slices.Equal(back.R, got) {
		t.Errorf("read back %v, %v", back.R, err)
	}
}

func testGrid() *Grid {
	return &Grid{Methods: []string{"omp", "imp", "bip"}, Structures: []string{"weight", "2:4", "filter"}, Ratios: []Ratio{{0.5, 0}, {0.8, 2}}, Seeds: 1, First: 7,
		Rewinds: []Rewind{NoRewind, 1}, RewindRatios: []float64{0.8},
		Own: func(s string) float64 {
			if s == "2:4" {
				return 0.5
			}
			return 0
		}}
}

func TestCells(t *testing.T) {
	var got []string
	for _, c := range testGrid().Cells() {
		got = append(got, c.String())
	}
	want := []string{
		"omp weight 0.5 seed 7", "omp weight 0.8 seed 7", "omp weight 0.8 seed 7 rewind 1",
		"imp weight 0.5 seed 7", "imp weight 0.8 seed 7", "imp weight 0.8 seed 7 rewind 1",
		"bip weight 0.5 seed 7", "bip weight 0.8 seed 7", "bip weight 0.8 seed 7 rewind 1",
		"omp-equal-passes weight 0.5 seed 7", "omp-equal-passes weight 0.8 seed 7",
		"omp 2:4 0.5 seed 7", "imp 2:4 0.5 seed 7", "bip 2:4 0.5 seed 7", "omp-equal-passes 2:4 0.5 seed 7",
		"omp filter 0.5 seed 7", "omp filter 0.8 seed 7", "omp filter 0.8 seed 7 rewind 1",
		"imp filter 0.5 seed 7", "imp filter 0.8 seed 7", "imp filter 0.8 seed 7 rewind 1",
		"bip filter 0.5 seed 7", "bip filter 0.8 seed 7", "bip filter 0.8 seed 7 rewind 1",
		"omp-equal-passes filter 0.5 seed 7", "omp-equal-passes filter 0.8 seed 7",
		"omp weight 0.8 seed 8", "omp weight 0.8 seed 8 rewind 1", "imp weight 0.8 seed 8", "imp weight 0.8 seed 8 rewind 1",
		"bip weight 0.8 seed 8", "bip weight 0.8 seed 8 rewind 1", "omp-equal-passes weight 0.8 seed 8",
		"omp filter 0.8 seed 8", "omp filter 0.8 seed 8 rewind 1", "imp filter 0.8 seed 8", "imp filter 0.8 seed 8 rewind 1",
		"bip filter 0.8 seed 8", "bip filter 0.8 seed 8 rewind 1", "omp-equal-passes filter 0.8 seed 8",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSpread(t *testing.T) {
	s := NewSpread([]float64{1, 2, 6})
	if s.Mean != 3 || s.Min != 1 || s.Max != 6 || math.Abs(s.SD-math.Sqrt(7)) > 1e-12 {
		t.Errorf("got %+v", s)
	}
	if s := NewSpread([]float64{4}); s != (Spread{4, 0, 4, 4}) {
		t.Errorf("of one value %+v", s)
	}
}

func TestIoU(t *testing.T) {
	a := []Kept{NewKept("a", []bool{true, true, false, false, true, false, true, false, true, true}), NewKept("b", []bool{false, true})}
	b := []Kept{NewKept("a", []bool{true, false, true, false, true, false, true, false, false, true}), NewKept("b", []bool{true, true})}
	// 0,4,6,9 and b1 in both; 0,1,2,4,6,8,9, b0, b1 in either.
	if got, ok := IoU(a, b); !ok || got != 5.0/9 {
		t.Errorf("IoU %v, %v, want 5/9", got, ok)
	}
	if got, ok := IoU(a, a); !ok || got != 1 {
		t.Errorf("IoU with itself %v, %v", got, ok)
	}
	if _, ok := IoU(a, a[:1]); ok {
		t.Error("models with different parts are compared")
	}
	if _, ok := IoU(a, []Kept{NewKept("a", make([]bool, 11)), b[1]}); ok {
		t.Error("tensors of different sizes are compared")
	}
}

// runner makes results up: the score follows from the cell. Passes are 2 an epoch for bip
// and 1 for all others.
type runner struct {
	t      *testing.T
	salt   string
	runs   []string
	refuse func(c Cell) error
	// stop ends the program, as it were, before that many records.
	stop int
}

func (r *runner) Key(c Cell, epochs int) (json.RawMessage, error) {
	return json.Marshal(map[string]any{"salt": r.salt, "cell": c, "epochs": epochs})
}

func (r *runner) Cost(run []Cell, epochs int) float64 { return float64(len(run)) }

func (r *runner) OnItsWay(c Cell) bool { return c.Method == "imp" }

var errKilled = errors.New("killed")

func (r *runner) Run(c Cell, epochs int, lower []Cell, step func(float64), done func(*Record) error) error {
	name := c.String()
	for _, o := range lower {
		name += " < " + Short(o.Ratio)
	}
	if epochs > 0 {
		name += fmt.Sprintf(" epochs %d", epochs)
	}
	r.runs = append(r.runs, name)
	step(0.5)
	for _, o := range append(slices.Clone(lower), c) {
		if r.refuse != nil {
			if err := r.refuse(o); err != nil {
				return err
			}
		}
		if r.stop--; r.stop == 0 {
			panic(errKilled)
		}
		key, _ := r.Key(o, epochs)
		top1 := 0.9 + 0.1*math.Cos(10*o.Ratio) - 0.01*float64(o.Seed)
		top5 := 1.0
		passes := 5.0
		if o.Method == "bip" {
			passes = 10
		}
		rec := &Record{Key: key, Kept: []Kept{NewKept("w", []bool{true, o.Method != "omp", o.Ratio < 0.7, false})},
			Dense:  Dense{report.NewSize(100, 100, nil), report.Score{Loss: 0.1, Top1: &top5, Top5: &top5, Samples: 10}},
			Result: Result{Cell: o, Epochs: max(5, epochs), Passes: passes, Achieved: o.Ratio, Of: "params", Size: report.NewSize(100, 50, nil), Score: report.Score{Loss: report.Number(math.NaN()), Top1: &top1, Top5: &top5, Samples: 10}, Seconds: passes}}
		if err := done(rec); err != nil {
			return err
		}
	}
	return nil
}

func testSweep(t *testing.T, dir string, r *runner) *Sweep {
	t.Helper()
	store, err := NewStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	last := 0.0
	return &Sweep{Grid: testGrid(), Store: store, Runner: r, Watch: Watch{
		Begin: func(int, int) {},
		Step: func(_ Cell, _, _ int, share float64) {
			if share < last || share > 1 {
				t.Errorf("share went from %v to %v", last, share)
			}
			last = share
		},
		Done: func(*Result, int, int) {}, Failed: func(Cell, error) {}, Results: func(*Results) error { return nil }}}
}

func TestSweepRuns(t *testing.T) {
	r := &runner{t: t}
	results, err := testSweep(t, t.TempDir(), r).Run()
	if err != nil {
		t.Fatal(err)
	}
	if len(results.Cells) != 40 || results.Planned != 40 || len(r.runs) != 38 {
		t.Errorf("%d of %d cells in %d runs, want 40 in 38: the first seed's imp is one run for two ratios", len(results.Cells), results.Planned, len(r.runs))
	}
	for _, want := range []string{"imp weight 0.8 seed 7 < 0.5", "imp filter 0.8 seed 7 < 0.5", "omp-equal-passes weight 0.8 seed 8 epochs 10"} {
		if !slices.Contains(r.runs, want) {
			t.Errorf("no run %q among\n%s", want, strings.Join(r.runs, "\n"))
		}
	}
	// What stays: omp {0} at 0.8, imp and bip {0,1}.
	for _, o := range results.Overlaps {
		want, seeds := 1.0, 1
		if o.Ratio == 0.8 {
			seeds = 2
		}
		switch {
		case o.A == "omp" && o.B != EqualPasses && o.Ratio == 0.8:
			want = 0.5
		case o.A == "omp" || o.B == EqualPasses:
			continue
		}
		if o.IoU != want || o.Seeds != seeds {
			t.Errorf("overlap %+v, want %v over %d seeds", o, want, seeds)
		}
	}
	if len(results.Overlaps) != 6*(2+1+2) {
		t.Errorf("%d overlaps, want 30", len(results.Overlaps))
	}
	for _, p := range results.Points {
		if p.Structure == "weight" && p.Method == "imp" && p.Ratio == 0.8 && p.Rewind == NoRewind {
			if p.Seeds != 2 || p.TimesBiP != 0.5 || math.Abs(p.Score.SD-0.01/math.Sqrt2) > 1e-12 {
				t.Errorf("point %+v", p)
			}
		}
	}
}

// TestSweepGoesOn ends a sweep after some numbers of records, runs the rest, and compares
// with one that was not ended.
func TestSweepGoesOn(t *testing.T) {
	want, err := testSweep(t, t.TempDir(), &runner{t: t}).Run()
	if err != nil {
		t.Fatal(err)
	}
	text := func(r *Results) string {
		var b bytes.Buffer
		if err := report.WriteJSON(&b, r); err != nil {
			t.Fatal(err)
		}
		if err := r.WriteCSV(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for stop := 1; stop <= 40; stop += 4 {
		dir := t.TempDir()
		func() {
			defer func() {
				if r := recover(); r != nil && r != errKilled {
					panic(r)
				}
			}()
			testSweep(t, dir, &runner{t: t, stop: stop}).Run()
		}()
		files, err := os.ReadDir(dir)
		if err != nil || len(files) != stop-1 {
			t.Fatalf("%d records, %v, want %d", len(files), err, stop-1)
		}
		rest := &runner{t: t}
		got, err := testSweep(t, dir, rest).Run()
		if err != nil {
			t.Fatal(err)
		}
		if text(got) != text(want) {
			t.Errorf("ended before record %d and run again, the results differ", stop)
		}
		if n := len(rest.runs); n > 40-(stop-1) {
			t.Errorf("ended before record %d: %d runs for %d cells", stop, n, 40-(stop-1))
		}
	}
}

func TestOtherKeysAreOtherCells(t *testing.T) {
	dir := t.TempDir()
	if _, err := testSweep(t, dir, &runner{t: t}).Run(); err != nil {
		t.Fatal(err)
	}
	same, other := &runner{t: t}, &runner{t: t, salt: "other"}
	if _, err := testSweep(t, dir, same).Run(); err != nil || len(same.runs) != 0 {
		t.Errorf("%d runs, %v, though all is there", len(same.runs), err)
	}
	if _, err := testSweep(t, dir, other).Run(); err != nil || len(other.runs) != 38 {
		t.Errorf("%d runs, %v, though nothing is there", len(other.runs), err)
	}
	// A record whose file has the name, and another content, is none.
	files, err := filepath.Glob(filepath.Join(dir, "bip-weight-0.5-s7-*.json"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	a, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[1], a, 0o666); err != nil {
		t.Fatal(err)
	}
	one := &runner{t: t}
	two := &runner{t: t, salt: "other"}
	testSweep(t, dir, one).Run()
	testSweep(t, dir, two).Run()
	if len(one.runs)+len(two.runs) != 1 {
		t.Errorf("runs %v and %v, want one", one.runs, two.runs)
	}
}

func TestFailuresDoNotStopOthers(t *testing.T) {
	r := &runner{t: t, refuse: func(c Cell) error {
		if c.Ratio == 0.8 && (c.Method == "bip" || c.Method == "imp") && c.Structure == "weight" {
			return errors.New("cannot")
		}
		return nil
	}}
	results, err := testSweep(t, t.TempDir(), r).Run()
	want := "imp weight 0.8 seed 7 and 7 more: cannot\nomp-equal-passes weight 0.8 seed 7 and 1 more: needs the passes of bip and omp in the same place, which have no result"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if len(results.Failed) != 10 || len(results.Cells) != 30 {
		t.Errorf("%d failed and %d finished, want 10 and 30", len(results.Failed), len(results.Cells))
	}
	if !slices.ContainsFunc(results.Cells, func(x Result) bool { return x.Method == "imp" && x.Structure == "weight" && x.Ratio == 0.5 }) {
		t.Error("imp at 0.5 went with 0.8")
	}
}

func TestTickets(t *testing.T) {
	p := func(method string, achieved, mean float64) Point {
		return Point{Method: method, Structure: "weight", Achieved: achieved, Rewind: NoRewind, Score: Spread{Mean: mean}}
	}
	points := []Point{p("bip", 0.2, 0.91), p("bip", 0.5, 0.90), p("bip", 0.8, 0.89), p("omp", 0.2, 0.88), p("imp", 0.8, 0.95), p("imp", 0.5, 0.95)}
	got := tickets(points, 0.9, true)
	if len(got) != 2 || got[0] != points[1] || got[1] != points[4] {
		t.Errorf("tickets by accuracy: %+v", got)
	}
	got = tickets(points, 0.9, false)
	if len(got) != 2 || got[0] != points[2] || got[1] != points[3] {
		t.Errorf("tickets by loss: %+v", got)
	}
}
