//go:build cgo

package main

import (
	"fmt"

	"github.com/onnxprune/onnxprune/internal/onnxtest"
)

// net builds a network of one width.
type net struct {
	name, title string
	build       func(width int) *onnxtest.Builder
}

var nets = []net{
	{"plain", "four 3×3 convolutions at 28×28", plain},
	{"inverted", "four times 1×1, depthwise 3×3, 1×1 at 14×14", inverted},
}

func plain(width int) *onnxtest.Builder {
	b := onnxtest.New(13, 1)
	x := b.Input("x", -1, int64(width), 28, 28)
	for i := range 4 {
		name := fmt.Sprintf("c%d", i)
		x = b.Node("Conv", name, []string{x, b.Weight(name+".w", 0.05, width, width, 3, 3), b.Weight(name+".b", 0.1, width)}, "pads", []int64{1, 1, 1, 1})
		x = b.Node("Relu", name+".relu", []string{x})
	}
	head(b, x, width)
	return b
}

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
	head(b, x, narrow)
	return b
}

// head gives ten classes, so that there is a loss to train by.
func head(b *onnxtest.Builder, x string, width int) {
	x = b.Node("GlobalAveragePool", "pool", []string{x})
	x = b.Node("Flatten", "flat", []string{x})
	b.Node("Gemm", "y", []string{x, b.Weight("fc.w", 0.1, 10, width), b.Weight("fc.b", 0.1, 10)}, "transB", 1)
	b.Output("y", -1, 10)
}
