package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"github.com/onnxprune/onnxprune/onnxio"
)

// mixed builds a chain of MatMuls with weights of all types, in raw_data, typed fields and, where external, in a file
// beside it; with ties, zeros, negative zeros and a bias that is no weight.
func mixed(t *testing.T, dir string, external bool, seed uint64) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 2))
	b := onnxtest.New(18, seed)
	b.Input("x", -1, 23)
	last := "x"
	var data []byte
	for i, dt := range []int32{onnxio.Float, onnxio.Float16, onnxio.Bfloat16, onnxio.Double, onnxio.Float, onnxio.Float16} {
		name := fmt.Sprintf("w%d", i)
		v := make([]float32, 23*23)
		for j := range v {
			switch rng.IntN(8) {
			case 0:
				v[j] = float32(math.Copysign(0, -1))
			case 1:
				v[j] = 0.5
			case 2:
				v[j] = -0.5
			default:
				v[j] = float32(rng.NormFloat64())
			}
		}
		w, err := onnxio.NewTensor(dt, name, []int{23, 23}, v)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case i >= 4 && dt == onnxio.Float:
			w.RawData, w.FloatData = nil, v
		case i >= 4:
			for j := 0; j < len(w.RawData); j += 2 {
				w.Int32Data = append(w.Int32Data, int32(binary.LittleEndian.Uint16(w.RawData[j:])))
			}
			w.RawData = nil
		case external && i != 1:
			at := onnxio.TensorProto_EXTERNAL
			w.DataLocation = &at
			pairs := []string{"location", "model.bin", "offset", strconv.Itoa(len(data)), "length", strconv.Itoa(len(w.RawData))}
			if i == 2 {
				pairs = append(pairs, "checksum", "0")
			}
			for k := 0; k < len(pairs); k += 2 {
				w.ExternalData = append(w.ExternalData, &onnxio.StringStringEntryProto{Key: &pairs[k], Value: &pairs[k+1]})
			}
			data = append(data, w.RawData...)
			w.RawData = nil
		}
		b.Proto.Graph.Initializer = append(b.Proto.Graph.Initializer, w)
		to := int(dt)
		cast := b.Node("Cast", "", []string{last}, "to", to)
		last = b.Node("MatMul", "", []string{cast, name})
		if dt == onnxio.Float {
			last = b.Node("Add", "", []string{last, b.Weight(name+".bias", 1, 23)})
		}
	}
	b.Node("Cast", "y", []string{last}, "to", 1)
	b.Output("y", -1, 23)
	path := filepath.Join(dir, "model.onnx")
	if err := os.WriteFile(path, b.Bytes(t), 0o666); err != nil {
		t.Fatal(err)
	}
	if external {
		if err := os.WriteFile(filepath.Join(dir, "model.bin"), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// TestStreamIsOMP prunes from file to file and in memory: the same bytes, whatever holds the weights, and the same
// report.
func TestStreamIsOMP(t *testing.T) {
	var models []string
	for seed := range uint64(2) {
		models = append(models, mixed(t, t.TempDir(), false, seed), mixed(t, t.TempDir(), true, seed))
	}
	models = append(models, modelFiles(t, "../../testdata/models/*.onnx", "../../../shared/zoo/tv_*.onnx")...)
	for _, path := range models {
		ratios := []string{"0.001", "0.05", "0.3", "0.8", "0.99"}
		if strings.HasSuffix(path, "/model.onnx") {
			ratios = ratios[1:] // with few zeros, data that stay as they are stay in their file when pruned in memory
		}
		for _, ratio := range ratios {
			var files [2][]byte
			var data [2][]byte
			for i, inMemory := range []bool{false, true} {
				dir := t.TempDir()
				out, rep := filepath.Join(dir, "out.onnx"), filepath.Join(dir, "r.json")
				prunesInMemory = inMemory
				command(t, path, out, "--ratio", ratio, "--report", rep, "--threads", strconv.Itoa(1+2*i), "--quiet")
				prunesInMemory = false
				report, err := os.ReadFile(rep)
				if err != nil {
					t.Fatal(err)
				}
				report = report[:bytes.LastIndex(report, []byte(`"seconds"`))]
				if files[i], err = os.ReadFile(out); err != nil {
					t.Fatal(err)
				}
				data[i], _ = os.ReadFile(out + ".data")
				data[i] = append(data[i], report...)
			}
			if !bytes.Equal(files[0], files[1]) {
				t.Errorf("%s, ratio %s: the files differ", path, ratio)
			}
			if !bytes.Equal(data[0], data[1]) {
				t.Errorf("%s, ratio %s: data or report differ", path, ratio)
			}
		}
	}
}
