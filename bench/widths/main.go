//go:build cgo

// Command widths times networks over channel widths, in ONNX Runtime and in this
// program's engine: widths [-rounds N] [-threads N] [-only REGEXP] LIBRARY [DENSE.onnx PRUNED.onnx…].
// Networks of four 3×3 convolutions at 28×28 and of four inverted residuals' parts (1×1,
// depthwise 3×3, 1×1) at 14×14 have all widths equal. In every round each network is run
// once, the dense one among them; printed is the median over rounds of the ratio to the
// dense one's time in the same round, and the least time in milliseconds. Model files are
// compared with the first of them in the same way.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/onnxprune/onnxprune/prune"
)

func main() {
	log.SetFlags(0)
	rounds := flag.Int("rounds", 15, "rounds of all networks in turn")
	threads := flag.Int("threads", 2, "threads")
	only := flag.String("only", "", "measure only what this regular expression matches, as 'onnxprune, forward, batch 8, four times'")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: widths [-rounds N] [-threads N] [-only REGEXP] LIBRARY [DENSE.onnx PRUNED.onnx…]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() < 1 || *rounds < 1 || *threads < 1 {
		flag.Usage()
		os.Exit(2)
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		log.Fatalf("widths: -only: %v", err)
	}
	if err := run(flag.Arg(0), *rounds, *threads, match, flag.Args()[1:]); err != nil {
		log.Fatalf("widths: %v", err)
	}
}

// curves are a dense width and those that pruning may leave of it.
var curves = []struct {
	dense  int
	pruned []int
}{
	{64, []int{24, 30, 31, 32, 40, 47, 48, 56, 62, 63}},
	{128, []int{80, 96, 104, 112, 120, 126, 127}},
}

func run(library string, rounds, threads int, match *regexp.Regexp, files []string) error {
	dir, err := os.MkdirTemp("", "widths")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	end, err := start(library)
	if err != nil {
		return err
	}
	defer end()
	for _, in := range []struct {
		name string
		open opener
	}{
		{"ONNX Runtime, forward, batch 1", runtime(1, threads)},
		{"ONNX Runtime, forward, batch 8", runtime(8, threads)},
		{"onnxprune, forward, batch 1", forward(1, threads)},
		{"onnxprune, forward, batch 8", forward(8, threads)},
		{"onnxprune, training step, batch 32", step(32, threads)},
	} {
		if len(files) > 0 {
			if !match.MatchString(in.name) {
				continue
			}
			if err := compare(in.name, in.open, rounds, files); err != nil {
				return err
			}
			continue
		}
		for _, net := range nets {
			for _, c := range curves {
				if !match.MatchString(in.name + ", " + net.title) {
					continue
				}
				if err := curve(dir, net, c.dense, c.pruned, in.name, in.open, rounds); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// curve prints what the widths of a network take beside the dense one.
func curve(dir string, n net, dense int, pruned []int, title string, open opener, rounds int) error {
	widths := append([]int{dense}, pruned...)
	var paths []string
	for _, w := range widths {
		data, err := n.build(w).Proto.Marshal()
		if err != nil {
			return err
		}
		path := filepath.Join(dir, fmt.Sprintf("%s-%d.onnx", n.name, w))
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
		paths = append(paths, path)
	}
	ratios, least, err := measure(paths, open, rounds)
	if err != nil {
		return err
	}
	fmt.Printf("%s, %s, dense width %d: %.3f ms\n  width", title, n.title, dense, least[0])
	for _, w := range pruned {
		mark := ""
		if w%prune.AutoRound(dense) == 0 {
			mark = "*"
		}
		fmt.Printf("%8s", fmt.Sprint(w)+mark)
	}
	fmt.Print("\n  ratio")
	for _, r := range ratios[1:] {
		fmt.Printf("%8.2f", r)
	}
	fmt.Print("\n     ms")
	for _, t := range least[1:] {
		fmt.Printf("%8.3f", t)
	}
	fmt.Print("\n  * is a width that --round auto allows\n\n")
	return nil
}

// compare prints what model files take beside the first of them.
func compare(title string, open opener, rounds int, files []string) error {
	ratios, least, err := measure(files, open, rounds)
	if err != nil {
		return err
	}
	fmt.Println(title)
	for i, f := range files {
		fmt.Printf("  %-40s %10.3f ms %8.2f of dense %8.2f times as fast\n", filepath.Base(f), least[i], ratios[i], 1/ratios[i])
	}
	fmt.Println()
	return nil
}

// opener reads a model and returns what runs it once, in seconds, and what closes it.
type opener func(path string) (run func() (float64, error), end func(), err error)

// measure runs all models once a round, after a round that does not count, and returns
// the median ratio to the first and the least time in milliseconds.
func measure(paths []string, open opener, rounds int) (ratios, least []float64, err error) {
	var runs []func() (float64, error)
	for _, p := range paths {
		r, end, err := open(p)
		if err != nil {
			return nil, nil, err
		}
		defer end()
		runs = append(runs, r)
	}
	least = make([]float64, len(paths))
	all := make([][]float64, len(paths))
	for round := -1; round < rounds; round++ {
		dense := 0.0
		for i, r := range runs {
			t, err := r()
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", paths[i], err)
			}
			if i == 0 {
				dense = t
			}
			if round < 0 {
				continue
			}
			all[i] = append(all[i], t/dense)
			if ms := t * 1e3; round == 0 || ms < least[i] {
				least[i] = ms
			}
		}
	}
	for _, a := range all {
		slices.Sort(a)
		ratios = append(ratios, (a[(len(a)-1)/2]+a[len(a)/2])/2)
	}
	return ratios, least, nil
}
