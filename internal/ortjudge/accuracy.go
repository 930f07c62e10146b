package ortjudge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sbinet/npyio/npy"
)

// Accuracy returns how many images of a dataset the model classifies as
// labelled, and how many there are. The folder holds shards input-*.npy [N,C,...] of
// float32 or uint8 and label-*.npy [N] of int64; its optional dataset.json has
// scale, mean and std, applied as (x·scale − mean)/std per channel. The class of
// an image is the position of the largest value in its row of the model's first
// output [N,K]. Images run in batches of the given size, or of the size that the
// model fixes.
func Accuracy(modelPath, dataDir string, batch int, o Options) (correct, total int, err error) {
	norm, err := readNormalisation(dataDir)
	if err != nil {
		return 0, 0, err
	}
	shards, err := filepath.Glob(filepath.Join(dataDir, "input-*.npy"))
	if err != nil {
		return 0, 0, err
	}
	if len(shards) == 0 {
		return 0, 0, fmt.Errorf("%s: no shards input-*.npy", dataDir)
	}
	s, err := NewSession(modelPath, o)
	if err != nil {
		return 0, 0, err
	}
	defer s.Close()
	if len(s.Inputs()) != 1 {
		return 0, 0, fmt.Errorf("%s: the model has %d inputs, expected 1", modelPath, len(s.Inputs()))
	}
	if dims := s.Inputs()[0].Dims; len(dims) > 0 && dims[0] > 0 {
		batch = int(dims[0])
	}
	for _, path := range shards {
		right, n, err := shardAccuracy(s, modelPath, path, norm, max(batch, 1))
		if err != nil {
			return 0, 0, err
		}
		correct += right
		total += n
	}
	return correct, total, nil
}

func shardAccuracy(s *Session, modelPath, path string, norm normalisation, batch int) (correct, total int, err error) {
	images, err := readImages(path)
	if err != nil {
		return 0, 0, err
	}
	labelPath := filepath.Join(filepath.Dir(path), "label-"+filepath.Base(path)[len("input-"):])
	var labels []int64
	shape, err := readNPY(labelPath, func(r *npy.Reader) error { return r.Read(&labels) })
	if err != nil {
		return 0, 0, err
	}
	total = int(images.Shape[0])
	if len(shape) != 1 || len(labels) != total {
		return 0, 0, fmt.Errorf("%s: labels have shape %v, expected [%d]", labelPath, shape, total)
	}
	if err := norm.apply(images); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", path, err)
	}
	size := elements(images.Shape[1:])
	x := Tensor{Shape: append([]int64{int64(batch)}, images.Shape[1:]...), F: make([]float32, batch*size)}
	input, output := s.Inputs()[0].Name, s.Outputs()[0].Name
	for first := 0; first < total; first += batch {
		n := min(batch, total-first)
		// A short last batch keeps the size of the others; the rows in excess are not read.
		copy(x.F, images.F[first*size:(first+n)*size])
		outputs, err := s.Run(map[string]Tensor{input: x})
		if err != nil {
			return 0, 0, err
		}
		y := outputs[output]
		if len(y.Shape) != 2 || int(y.Shape[0]) != batch || len(y.F) == 0 {
			return 0, 0, fmt.Errorf("%s: output %q has shape %v, expected floats of [%d,classes]",
				modelPath, output, y.Shape, batch)
		}
		classes := int(y.Shape[1])
		for i := range n {
			if argmax(y.F[i*classes:(i+1)*classes]) == int(labels[first+i]) {
				correct++
			}
		}
	}
	return correct, total, nil
}

// argmax returns the position of the largest value, the first one of equals.
func argmax(row []float32) int {
	best := 0
	for i, v := range row {
		if v > row[best] {
			best = i
		}
	}
	return best
}

// readImages reads a shard of float32 or uint8 as float32.
func readImages(path string) (Tensor, error) {
	var x Tensor
	shape, err := readNPY(path, func(r *npy.Reader) error {
		if r.Header.Descr.Type != "|u1" {
			return r.Read(&x.F)
		}
		var pixels []uint8
		if err := r.Read(&pixels); err != nil {
			return err
		}
		x.F = make([]float32, len(pixels))
		for i, p := range pixels {
			x.F[i] = float32(p)
		}
		return nil
	})
	if err != nil {
		return Tensor{}, err
	}
	x.Shape = shape
	if len(shape) < 2 {
		return Tensor{}, fmt.Errorf("%s: inputs have shape %v, expected [N,C,...]", path, shape)
	}
	return x, nil
}

// readNPY opens an array in C order and returns its shape.
func readNPY(path string, read func(*npy.Reader) error) ([]int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := npy.NewReader(f)
	if err == nil && r.Header.Descr.Fortran {
		err = errors.New("array is in Fortran order, expected C order")
	}
	if err == nil {
		err = read(r)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	shape := make([]int64, len(r.Header.Descr.Shape))
	for i, d := range r.Header.Descr.Shape {
		shape[i] = int64(d)
	}
	return shape, nil
}

// normalisation is (x·Scale − Mean)/Std, per channel.
type normalisation struct {
	Scale float64   `json:"scale"`
	Mean  []float64 `json:"mean"`
	Std   []float64 `json:"std"`
}

func readNormalisation(dataDir string) (normalisation, error) {
	norm := normalisation{Scale: 1}
	path := filepath.Join(dataDir, "dataset.json")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return norm, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &norm)
	}
	if err != nil {
		return norm, fmt.Errorf("%s: %w", path, err)
	}
	return norm, nil
}

// apply normalises x [N,C,...] in place.
func (norm normalisation) apply(x Tensor) error {
	channels := int(x.Shape[1])
	for _, list := range [][]float64{norm.Mean, norm.Std} {
		if list != nil && len(list) != channels {
			return fmt.Errorf("inputs have %d channels, dataset.json has mean or std for %d", channels, len(list))
		}
	}
	area := elements(x.Shape[2:])
	for i := range x.F {
		c := i / area % channels
		v := float64(x.F[i]) * norm.Scale
		if norm.Mean != nil {
			v -= norm.Mean[c]
		}
		if norm.Std != nil {
			v /= norm.Std[c]
		}
		x.F[i] = float32(v)
	}
	return nil
}
