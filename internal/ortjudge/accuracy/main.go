// Command accuracy measures the top-1 accuracy of a classifier in ONNX Runtime:
//
//	go run ./internal/ortjudge/accuracy MODEL DATADIR
//
// prints a line such as
//
//	top1 0.9000 (90/100)
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"

	"github.com/onnxprune/onnxprune/internal/ortjudge"
)

func main() {
	batch := flag.Int("batch", 250, "images per run, where the model does not fix it")
	threads := flag.Int("threads", runtime.NumCPU(), "threads")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: accuracy [flags] MODEL DATADIR")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	correct, total, err := ortjudge.Accuracy(flag.Arg(0), flag.Arg(1), *batch, ortjudge.Options{Threads: *threads})
	if err != nil {
		fmt.Fprintln(os.Stderr, "accuracy:", err)
		os.Exit(1)
	}
	fmt.Printf("top1 %.4f (%d/%d)\n", float64(correct)/float64(total), correct, total)
}
