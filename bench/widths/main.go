//go:build cgo

// Command widths times ONNX Runtime over channel widths: widths LIBRARY [ROUNDS]. Models
// of four 3×3 convolutions at 28×28 and of four inverted residuals' parts (1×1,
// depthwise 3×3, 1×1) at 14×14, with all widths equal, are run in turn; printed is the
// least time in milliseconds per width, batch 1 and 8, two threads.
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/onnxprune/onnxprune/internal/onnxtest"
	ort "github.com/yalue/onnxruntime_go"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: widths LIBRARY [ROUNDS]")
	}
	rounds := 5
	if len(os.Args) > 2 {
		var err error
		if rounds, err = strconv.Atoi(os.Args[2]); err != nil || rounds < 1 {
			log.Fatalf("widths: rounds are %q, want a number of at least 1", os.Args[2])
		}
	}
	if err := run(os.Args[1], rounds); err != nil {
		log.Fatalf("widths: %v", err)
	}
}

// plain is four 3×3 convolutions of one width.
func plain(width int) *onnxtest.Builder {
	b := onnxtest.New(13, 1)
	x := b.Input("x", -1, int64(width), 28, 28)
	for i := range 4 {
		name := fmt.Sprintf("c%d", i)
		x = b.Node("Conv", name, []string{x, b.Weight(name+".w", 0.05, width, width, 3, 3), b.Weight(name+".b", 0.1, width)}, "pads", []int64{1, 1, 1, 1})
		x = b.Node("Relu", name+".relu", []string{x})
	}
	b.Output(x, -1, int64(width), 28, 28)
	return b
}

// inverted is four times 1×1 to width, depthwise 3×3, and 1×1 back, with a sum.
func inverted(width int) *onnxtest.Builder {
	b := onnxtest.New(13, 1)
	const narrow = 32
	x := b.Input("x", -1, narrow, 14, 14)
	for i := range 4 {
		n := fmt.Sprintf("b%d", i)
		y := b.Node("Conv", n+".up", []string{x, b.Weight(n+".up.w", 0.1, width, narrow, 1, 1), b.Weight(n+".up.b", 0.1, width)})
		y = b.Node("Relu", n+".r1", []string{y})
		y = b.Node("Conv", n+".dw", []string{y, b.Weight(n+".dw.w", 0.1, width, 1, 3, 3), b.Weight(n+".dw.b", 0.1, width)}, "pads", []int64{1, 1, 1, 1}, "group", width)
		y = b.Node("Relu", n+".r2", []string{y})
		y = b.Node("Conv", n+".down", []string{y, b.Weight(n+".down.w", 0.1, narrow, width, 1, 1), b.Weight(n+".down.b", 0.1, narrow)})
		x = b.Node("Add", n+".sum", []string{x, y})
	}
	b.Output(x, -1, narrow, 14, 14)
	return b
}

// runner is a model with its inputs.
type runner struct {
	s  *ort.DynamicAdvancedSession
	in *ort.Tensor[float32]
	ms []float64
}

func (r *runner) time() error {
	const repeat = 20
	start := time.Now()
	for range repeat {
		out := []ort.Value{nil}
		if err := r.s.Run([]ort.Value{r.in}, out); err != nil {
			return err
		}
		if err := out[0].Destroy(); err != nil {
			return err
		}
	}
	r.ms = append(r.ms, time.Since(start).Seconds()*1e3/repeat)
	return nil
}

func open(dir string, b *onnxtest.Builder, batch int64) (*runner, error) {
	data, err := b.Proto.Marshal()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "model.onnx")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return nil, err
	}
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	if err := options.SetIntraOpNumThreads(2); err != nil {
		return nil, err
	}
	inputs, outputs, err := ort.GetInputOutputInfo(path)
	if err != nil {
		return nil, err
	}
	s, err := ort.NewDynamicAdvancedSession(path, []string{inputs[0].Name}, []string{outputs[0].Name}, options)
	if err != nil {
		return nil, err
	}
	shape := slices.Clone(inputs[0].Dimensions)
	shape[0] = batch
	x := make([]float32, shape.FlattenedSize())
	for i := range x {
		x[i] = float32(i%251)/125 - 1
	}
	in, err := ort.NewTensor(shape, x)
	return &runner{s: s, in: in}, err
}

func run(library string, rounds int) error {
	ort.SetSharedLibraryPath(library)
	if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
		return err
	}
	defer ort.DestroyEnvironment()
	dir, err := os.MkdirTemp("", "widths")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	widths := []int{16, 20, 24, 28, 30, 31, 32, 36, 40, 44, 47, 48, 52, 56, 60, 62, 63, 64, 72, 80, 88, 96, 104, 112, 120, 126, 127, 128}
	var all [][]*runner
	for _, w := range widths {
		var row []*runner
		for _, make := range []func(int) *onnxtest.Builder{plain, inverted} {
			for _, batch := range []int64{1, 8} {
				r, err := open(dir, make(w), batch)
				if err != nil {
					return err
				}
				row = append(row, r)
			}
		}
		all = append(all, row)
	}
	for range rounds {
		for _, row := range all {
			for _, r := range row {
				if err := r.time(); err != nil {
					return err
				}
			}
		}
	}
	fmt.Println("width  3x3 batch 1  3x3 batch 8  inverted batch 1  inverted batch 8  (ms)")
	for i, row := range all {
		fmt.Printf("%5d", widths[i])
		for k, r := range row {
			slices.Sort(r.ms)
			fmt.Printf("%*.3f", []int{13, 13, 18, 18}[k], r.ms[0])
		}
		fmt.Println()
	}
	return nil
}
