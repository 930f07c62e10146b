package page

import (
	"bytes"
	"context"
	"encoding/json"
	"image/color"
	"image/png"
	"math"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/onnxprune/onnxprune/report"
	"github.com/onnxprune/onnxprune/sweep"
)

// results of a made-up grid: five methods, seven ratios, three seeds at some of them.
func results(classes bool) *sweep.Results {
	r := &sweep.Results{Format: 1, Planned: 200, About: sweep.About{Program: "onnxprune v1.2.3", Go: "go1.26", Platform: "linux/amd64", Kernel: "avx2", Threads: 2,
		Command: "onnxprune sweep 'a <b>.onnx' --ratios 0.5,0.98", Model: "a <b>.onnx", Data: "train", Val: "test", TrainSamples: 4000, ValSamples: 1000, Epochs: 5}}
	macs := int64(872768)
	score := func(x float64) report.Score {
		s := report.Score{Loss: report.Number(1.5 - x), Samples: 1000}
		if classes {
			top5 := 1.0
			s.Top1, s.Top5 = &x, &top5
		}
		return s
	}
	r.Dense = sweep.Dense{Size: report.NewSize(39002, 39002, &macs), Score: score(0.92)}
	for mi, method := range []string{"bip", "imp", "omp", "omp-equal-passes", "hydra"} {
		for _, structure := range []string{"weight", "filter"} {
			for _, rewind := range []sweep.Rewind{sweep.NoRewind, 0, 2} {
				for ri, ratio := range []float64{0.5, 0.6, 0.8, 0.9, 0.95, 0.98} {
					if rewind != sweep.NoRewind && (ri != 2 || structure != "weight" || mi == 3) {
						continue
					}
					seeds := 1 + 2*(ri%2)
					mean := 0.925 - 0.01*float64(mi) - math.Pow(ratio, 20)*(0.1+0.15*float64(mi)) - 0.003*float64(rewind+1)
					seconds := 100 + 5*float64(mi)
					if method == "imp" {
						seconds *= 1 + float64(ri)
					}
					p := sweep.Point{Method: method, Structure: structure, Of: "params", Ratio: ratio, Rewind: rewind, Seeds: seeds, Achieved: ratio, Passes: 10, MACs: 872768,
						Score: sweep.Spread{Mean: mean, SD: 0.004 * float64(seeds-1), Min: mean - 0.006, Max: mean + 0.006}, Seconds: sweep.Spread{Mean: seconds, Min: seconds - 3, Max: seconds + 4}, TimesBiP: seconds / 100}
					if !classes {
						p.Score.Mean = 1.5 - mean
					}
					r.Points = append(r.Points, p)
					if ratio == 0.5 && rewind == sweep.NoRewind && mi < 2 {
						r.Tickets = append(r.Tickets, p)
					}
					for seed := range seeds {
						c := sweep.Result{Cell: sweep.Cell{Method: method, Structure: structure, Ratio: ratio, Seed: uint64(seed + 1), Rewind: rewind}, Epochs: 5, Passes: 10, Achieved: ratio, Of: "params",
							Size: report.NewSize(39002, int64(39002*(1-ratio)), &macs), Score: score(mean), BestEpoch: 5, Seconds: seconds}
						for l := range 20 {
							c.Layers = append(c.Layers, sweep.LayerResult{Name: "layer" + string(rune('a'+l)) + ".weight", Params: 100, Sparsity: ratio * (0.7 + 0.3*math.Sin(float64(l+mi)))})
						}
						r.Cells = append(r.Cells, c)
					}
				}
			}
		}
	}
	for _, structure := range []string{"weight", "filter"} {
		for _, ratio := range []float64{0.6, 0.9, 0.98} {
			r.Overlaps = append(r.Overlaps, sweep.Overlap{Structure: structure, Ratio: ratio, A: "bip", B: "imp", Seeds: 3, IoU: 0.7}, sweep.Overlap{Structure: structure, Ratio: ratio, A: "bip", B: "omp", Seeds: 3, IoU: 0.4}, sweep.Overlap{Structure: structure, Ratio: ratio, A: "imp", B: "omp", Seeds: 3, IoU: 0.25})
		}
	}
	r.Failed = []sweep.Failure{{Cell: sweep.Cell{Method: "bip", Structure: "filter", Ratio: 0.995, Seed: 1, Rewind: sweep.NoRewind}, Error: "a.onnx: --ratio 0.995 cannot be reached"}}
	return r
}

// run is a made-up pruning run, trained or not.
func run(trained bool) *Run {
	macs := int64(872768)
	x := &report.Run{Format: 1, Input: "a<b>.onnx", Output: "c.onnx", Settings: report.Settings{Method: "bip", Structure: "weight", Masks: "fold", Seed: 1}, Seconds: 12.5,
		Ratio: report.Ratio{Requested: 0.9, Achieved: 0.9, Unit: "params", Elements: 1000, Removed: 900},
		Dense: report.Stage{Size: report.NewSize(1000, 1000, &macs)}, Final: report.Stage{Size: report.NewSize(1000, 100, &macs)},
		Facts: []report.Fact{{Name: "zeros_stay_zero", Holds: true, Detail: "900 masked elements are exactly zero"}, {Name: "ratio_delivered", Detail: "not so"}}}
	r := &Run{Report: x, Before: map[string]float64{"w0": 0.1}, Made: sweep.About{Program: "onnxprune v1", Command: "onnxprune 'a<b>.onnx' c.onnx", Threads: 1}}
	for i, l := range []string{"w0", "w1", "w2"} {
		x.Layers = append(x.Layers, report.Layer{Name: l, Shape: []int{4, 3}, Params: 100, Nonzero: int64(10 + 20*i)})
	}
	if !trained {
		return r
	}
	score := func(v float64) *report.Score {
		top5 := 1.0
		return &report.Score{Loss: report.Number(2 - v), Top1: &v, Top5: &top5, Samples: 100}
	}
	x.Dense.Score, x.Final.Score, x.ExportedEpoch = score(0.9), score(0.89), 3
	x.Magnitude = &report.Stage{Size: report.NewSize(1000, 100, &macs), Score: score(0.1)}
	for e := range 5 {
		loss := report.Number(1 / float64(e+1))
		x.Epochs = append(x.Epochs, report.Epoch{Epoch: e, TrainLoss: &loss, MaskChanged: 0.1 / float64(e+1), Val: score(0.1 + 0.2*float64(e))})
	}
	for i := range 200 {
		r.Losses = append(r.Losses, Loss{float64(i) / 50, 1 / (1 + float64(i)/20)})
	}
	r.Moved = []Moved{{"w0", 10, 90, 3, 2}, {"w1", 30, 70, 5, 7}, {"w2", 50, 50, 1, 0}}
	for i := range 30 {
		r.Scores = append(r.Scores, Scores{High: math.Pow(10, float64(i-24)/8), Kept: i * i * (i / 20), Removed: 100 * (1 - i/20)})
	}
	return r
}

// pages are all that this package writes, by name.
func pages(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for name, f := range map[string]func(b *bytes.Buffer) error{
		"sweep":      func(b *bytes.Buffer) error { return Sweep(b, results(true)) },
		"sweep-loss": func(b *bytes.Buffer) error { return Sweep(b, results(false)) },
		"run":        func(b *bytes.Buffer) error { return run(true).Write(b) },
		"run-bare":   func(b *bytes.Buffer) error { return run(false).Write(b) },
		"sweep-none": func(b *bytes.Buffer) error { return Sweep(b, &sweep.Results{Planned: 3}) },
	} {
		var b bytes.Buffer
		if err := f(&b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = b.Bytes()
	}
	return out
}

// TestPagesAskForNothing: no page has an address that a browser would fetch, or a script.
func TestPagesAskForNothing(t *testing.T) {
	fetch := regexp.MustCompile(`(?i)(<script|<link|<img|<iframe|<object|@import|url\(|\bsrc\s*=|\bhref\s*=|https?://)[^>]*`)
	for name, b := range pages(t) {
		if found := fetch.FindAll(b, -1); found != nil {
			t.Errorf("%s: has %q", name, found[0])
		}
		for _, bad := range []string{"NaN", "Inf", "#0000", "ZgotmplZ", "%!"} {
			if at := bytes.Index(b, []byte(bad)); at >= 0 {
				t.Errorf("%s: has %s at %q", name, bad, b[max(0, at-60):at+20])
			}
		}
	}
	first, second := pages(t), pages(t)
	for name := range first {
		if !bytes.Equal(first[name], second[name]) {
			t.Errorf("%s: two pages of the same results differ", name)
		}
	}
}

// browser runs headless Chromium, or skips.
func browser(t *testing.T, args ...string) []byte {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("no chromium (Debian: chromium), pages are not looked at in a browser")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-default-apps", "--disable-extensions", "--host-resolver-rules=MAP * ~NOTFOUND", "--user-data-dir=" + t.TempDir(), "--window-size=920,5000", "--force-device-scale-factor=1"}, args...)
	cmd := exec.CommandContext(ctx, path, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", path, err, stderr.String())
	}
	return out
}

// TestPagesInABrowser opens every page from disk: nothing is asked for over a network, and
// the curves are drawn in their colours, in light and in dark.
func TestPagesInABrowser(t *testing.T) {
	for name, b := range pages(t) {
		if name != "sweep" && name != "run" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "page.html")
			if err := os.WriteFile(file, b, 0o666); err != nil {
				t.Fatal(err)
			}
			address := (&url.URL{Scheme: "file", Path: file}).String()
			for _, mode := range []struct {
				name, flag string
				back       color.RGBA
				series     map[string]color.RGBA
			}{
				{"light", "--blink-settings=preferredColorScheme=1", color.RGBA{255, 255, 255, 255}, map[string]color.RGBA{"bip": {0x0a, 0x5c, 0xc2, 255}, "imp": {0xc2, 0x41, 0x0c, 255}, "ink": {0x1f, 0x24, 0x30, 255}}},
				{"dark", "--blink-settings=preferredColorScheme=0", color.RGBA{0x14, 0x17, 0x1c, 255}, map[string]color.RGBA{"bip": {0x6c, 0xb6, 0xff, 255}, "imp": {0xff, 0x9a, 0x5a, 255}, "ink": {0xe6, 0xe9, 0xee, 255}}},
			} {
				shot, log := filepath.Join(dir, mode.name+".png"), filepath.Join(dir, mode.name+".json")
				browser(t, mode.flag, "--screenshot="+shot, "--log-net-log="+log, address)
				if asked := requests(t, log); asked != nil {
					t.Errorf("%s: the page asked for %q", mode.name, asked)
				}
				f, err := os.Open(shot)
				if err != nil {
					t.Fatal(err)
				}
				img, err := png.Decode(f)
				f.Close()
				if err != nil {
					t.Fatal(err)
				}
				count := map[color.RGBA]int{}
				for y := range img.Bounds().Dy() {
					for x := range img.Bounds().Dx() {
						r, g, b, a := img.At(x, y).RGBA()
						count[color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), uint8(a >> 8)}]++
					}
				}
				if count[mode.back] < img.Bounds().Dx()*img.Bounds().Dy()/2 {
					t.Errorf("%s: the background has another colour", mode.name)
				}
				for what, c := range mode.series {
					if count[c] < 300 {
						t.Errorf("%s: %d pixels have the colour of %s, wants its curves", mode.name, count[c], what)
					}
				}
			}
			dom := string(browser(t, "--dump-dom", address))
			for _, want := range []string{`class="chart"`, "stroke:var(--s0)", "stroke:var(--s1)"} {
				if !strings.Contains(dom, want) {
					t.Errorf("the page has no %s once it is loaded", want)
				}
			}
		})
	}
}

// requests are the addresses that a page asked for, by a log of the browser's network.
// The browser has business of its own, whose requests have no origin.
func requests(t *testing.T, log string) (out []string) {
	t.Helper()
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Events []struct {
			Params map[string]any `json:"params"`
		} `json:"events"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("the browser's log: %v", err)
	}
	for _, e := range v.Events {
		u, _ := e.Params["url"].(string)
		from, _ := e.Params["initiator"].(string)
		if from != "" && from != "not an origin" && !strings.HasPrefix(u, "file:") {
			out = append(out, u)
		}
	}
	return out
}

// TestRequestsAreSeen: the log has what a page asks for.
func TestRequestsAreSeen(t *testing.T) {
	dir := t.TempDir()
	file, log := filepath.Join(dir, "page.html"), filepath.Join(dir, "log.json")
	if err := os.WriteFile(file, []byte(`<!doctype html><img src="http://127.0.0.1:9/x.png">`), 0o666); err != nil {
		t.Fatal(err)
	}
	browser(t, "--log-net-log="+log, "--dump-dom", (&url.URL{Scheme: "file", Path: file}).String())
	if got := requests(t, log); len(got) != 1 || got[0] != "http://127.0.0.1:9/x.png" {
		t.Errorf("requests %q, want that of the image", got)
	}
}
