// Command glyphs draws the image set in testdata/data/glyphs: ten classes of line
// glyphs, uint8 [N,1,16,16], under random rotation, scale, shear, position, stroke
// width, contrast, polarity and noise, with stray strokes as distractors.
//
// The same seed draws the same images. Run it in the repository's root:
//
//	go run ./testdata/glyphs -out testdata/data/glyphs
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/onnxprune/onnxprune/data"
)

func main() {
	out := flag.String("out", "testdata/data/glyphs", "directory to write train/ and test/ to")
	seed := flag.Uint64("seed", 1, "seed of the images")
	flag.Parse()
	for i, set := range []struct {
		name     string
		rows     int
		perShard int
	}{{"train", 4000, 1500}, {"test", 1000, 600}} {
		rng := rand.New(rand.NewPCG(*seed, uint64(i)))
		if err := write(filepath.Join(*out, set.name), rng, set.rows, set.perShard); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func write(dir string, rng *rand.Rand, rows, perShard int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	images, err := data.NewWriter[uint8](dir, "input", []int{1, side, side}, perShard)
	if err != nil {
		return err
	}
	defer images.Abort()
	labels, err := data.NewWriter[int64](dir, "label", nil, perShard)
	if err != nil {
		return err
	}
	defer labels.Abort()
	classes := make([]int, rows)
	names := make([]string, len(glyphs))
	for i := range classes {
		classes[i] = i % len(glyphs)
	}
	for i, g := range glyphs {
		names[i] = g.name
	}
	rng.Shuffle(rows, func(i, j int) { classes[i], classes[j] = classes[j], classes[i] })
	for _, class := range classes {
		if err := images.Write(draw(rng, class)); err != nil {
			return err
		}
		if err := labels.Write([]int64{int64(class)}); err != nil {
			return err
		}
	}
	if err := images.Close(); err != nil {
		return err
	}
	if err := labels.Close(); err != nil {
		return err
	}
	return data.WriteMeta(dir, data.Meta{Classes: names, Scale: 1.0 / 255, Mean: []float64{0.5}, Std: []float64{0.25}})
}
