// Command huge writes an ONNX model of any size: a stack of square MatMuls with normal weights in external data.
//
//	go run ./bench/huge -bytes 6e9 -type float /tmp/huge.onnx
//
// bench/huge/run.sh measures how fast, and in how much memory, such a model is pruned.
package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"github.com/gogo/protobuf/proto"

	"github.com/onnxprune/onnxprune/onnxio"
)

func main() {
	bytes := flag.Float64("bytes", 6e9, "bytes of weights, at least")
	kind := flag.String("type", "float", "float, float16 or bfloat16")
	width := flag.Int("width", 4096, "rows and columns of every weight")
	flag.Parse()
	log.SetFlags(0)
	if flag.NArg() != 1 {
		log.Fatal("huge: wants the file to write")
	}
	if err := write(flag.Arg(0), *bytes, *kind, *width); err != nil {
		log.Fatal("huge: ", err)
	}
}

func write(path string, bytes float64, kind string, width int) error {
	types := map[string]int32{"float": onnxio.Float, "float16": onnxio.Float16, "bfloat16": onnxio.Bfloat16}
	dt, ok := types[kind]
	if !ok {
		return fmt.Errorf("type %q is not known", kind)
	}
	size := 4
	if dt != onnxio.Float {
		size = 2
	}
	each := width * width * size
	layers := int(math.Ceil(bytes / float64(each)))
	data, err := os.Create(path + ".data")
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(data, 1<<20)
	graph := &onnxio.GraphProto{Name: proto.String("huge")}
	external := onnxio.TensorProto_EXTERNAL
	last := "x"
	scale := 1 / math.Sqrt(float64(width))
	for i := range layers {
		name, next := fmt.Sprintf("w%03d", i), fmt.Sprintf("h%03d", i)
		t := &onnxio.TensorProto{Name: &name, DataType: &dt, Dims: []int64{int64(width), int64(width)}, DataLocation: &external}
		for _, e := range [][2]string{{"location", filepath.Base(path) + ".data"}, {"offset", strconv.Itoa(i * each)}, {"length", strconv.Itoa(each)}} {
			t.ExternalData = append(t.ExternalData, &onnxio.StringStringEntryProto{Key: &e[0], Value: &e[1]})
		}
		graph.Initializer = append(graph.Initializer, t)
		graph.Node = append(graph.Node, onnxio.NewNode("MatMul", next, []string{last, name}, []string{next}))
		last = next
		if err := normal(out, uint64(i), dt, width*width, scale*(0.5+float64(i%7)/7)); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if err := data.Close(); err != nil {
		return err
	}
	graph.Input = []*onnxio.ValueInfoProto{onnxio.NewTensorValueInfo("x", dt, []int64{1, int64(width)})}
	graph.Output = []*onnxio.ValueInfoProto{onnxio.NewTensorValueInfo(last, dt, []int64{1, int64(width)})}
	model := &onnxio.ModelProto{IrVersion: proto.Int64(8), OpsetImport: []*onnxio.OperatorSetIdProto{{Version: proto.Int64(18)}}, Graph: graph}
	b, err := model.Marshal()
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o666)
}

// normal writes n normal numbers times scale.
func normal(w io.Writer, seed uint64, dt int32, n int, scale float64) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	const most = 1 << 16
	v := make([]float32, most)
	p := make([]byte, 4*most)
	for ; n > 0; n -= most {
		k := min(n, most)
		for i := range k {
			v[i] = float32(rng.NormFloat64() * scale)
		}
		raw := p[:4*k]
		if dt == onnxio.Float {
			for i, x := range v[:k] {
				binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(x))
			}
		} else {
			t, err := onnxio.NewTensor(dt, "", []int{k}, v[:k])
			if err != nil {
				return err
			}
			raw = t.RawData
		}
		if _, err := w.Write(raw); err != nil {
			return err
		}
	}
	return nil
}
