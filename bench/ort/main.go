//go:build cgo

// Command ort times ONNX Runtime: ort LIBRARY MODEL BATCH RUNS THREADS. It prints the
// median of a forward pass in milliseconds and the peak of resident memory in MiB.
// The model has one input of floats whose first axis is free.
package main

import (
	"fmt"
	"log"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	ort "github.com/yalue/onnxruntime_go"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 6 {
		log.Fatal("usage: ort LIBRARY MODEL BATCH RUNS THREADS")
	}
	var n [3]int
	for i := range n {
		v, err := strconv.Atoi(os.Args[3+i])
		if err != nil || v < 1 {
			log.Fatalf("ort: argument %q, wants a number of at least 1", os.Args[3+i])
		}
		n[i] = v
	}
	if err := run(os.Args[1], os.Args[2], n[0], n[1], n[2]); err != nil {
		log.Fatalf("ort: %v", err)
	}
}

func run(library, model string, batch, runs, threads int) error {
	ort.SetSharedLibraryPath(library)
	if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
		return err
	}
	defer ort.DestroyEnvironment()
	options, err := ort.NewSessionOptions()
	if err != nil {
		return err
	}
	defer options.Destroy()
	if err := options.SetIntraOpNumThreads(threads); err != nil {
		return err
	}
	inputs, outputs, err := ort.GetInputOutputInfo(model)
	if err != nil {
		return err
	}
	s, err := ort.NewDynamicAdvancedSession(model, []string{inputs[0].Name}, []string{outputs[0].Name}, options)
	if err != nil {
		return err
	}
	defer s.Destroy()
	shape := slices.Clone(inputs[0].Dimensions)
	shape[0] = int64(batch)
	x := make([]float32, shape.FlattenedSize())
	for i := range x {
		x[i] = float32(i%251)/125 - 1
	}
	in, err := ort.NewTensor(shape, x)
	if err != nil {
		return err
	}
	defer in.Destroy()
	var times []float64
	for i := range runs + 3 {
		out := []ort.Value{nil}
		start := time.Now()
		if err := s.Run([]ort.Value{in}, out); err != nil {
			return err
		}
		if i >= 3 {
			times = append(times, time.Since(start).Seconds()*1e3)
		}
		out[0].Destroy()
	}
	slices.Sort(times)
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return err
	}
	fmt.Printf("%.3f %d\n", (times[(len(times)-1)/2]+times[len(times)/2])/2, usage.Maxrss/1024)
	return nil
}
