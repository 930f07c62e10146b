package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"onnxprune": main,
		"truncate":  helper(truncate),
		"npy":       helper(npy),
		"mutate":    helper(mutate),
		"field":     helper(field),
		"timeless":  helper(timeless),
		"measure":   helper(measure),
		"unclocked": helper(unclocked),
		"await":     helper(await),
		"spoil":     helper(spoil),
		"tear":      helper(tear),
		"same":      helper(sameNumber),
	})
}

func TestScripts(t *testing.T) {
	root, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("MODELS", filepath.Join(root, "models"))
			e.Setenv("GLYPHS", filepath.Join(root, "data", "glyphs"))
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name == "tmpfs" {
				return exec.Command("unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt").Run() == nil, nil
			}
			if name == "gorgonia" {
				_, built := engines[name]
				return built, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		RequireExplicitExec: true,
	})
}

// helper makes a script command of a function.
func helper(f func(args []string) error) func() {
	return func() {
		if err := f(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// truncate cuts a file: truncate FILE BYTES.
func truncate(args []string) error {
	n, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	return os.Truncate(args[0], n)
}

// npy writes an NPY file: npy FILE TYPE DIMS VALUE, TYPE one of f4, i8, u1 and DIMS as in
// 8,1,16,16. VALUE is one number, "ramp" for a slowly moving wave, or "mod:K" for i mod K.
func npy(args []string) error {
	n := 1
	for _, d := range strings.Split(args[2], ",") {
		k, err := strconv.Atoi(d)
		if err != nil {
			return err
		}
		n *= k
	}
	value := func(i int) float64 { return math.Sin(float64(i)) }
	if k, ok := strings.CutPrefix(args[3], "mod:"); ok {
		mod, err := strconv.Atoi(k)
		if err != nil {
			return err
		}
		value = func(i int) float64 { return float64(i % mod) }
	} else if args[3] != "ramp" {
		v, err := strconv.ParseFloat(args[3], 64)
		if err != nil {
			return err
		}
		value = func(int) float64 { return v }
	}
	order := map[string]string{"f4": "<", "i8": "<", "u1": "|"}[args[1]]
	head := fmt.Sprintf("{'descr': '%s%s', 'fortran_order': False, 'shape': (%s,), }", order, args[1], args[2])
	head += strings.Repeat(" ", 63-(10+len(head))%64) + "\n"
	b := bytes.NewBufferString("\x93NUMPY\x01\x00")
	binary.Write(b, binary.LittleEndian, uint16(len(head)))
	b.WriteString(head)
	for i := range n {
		switch args[1] {
		case "f4":
			binary.Write(b, binary.LittleEndian, float32(value(i)))
		case "i8":
			binary.Write(b, binary.LittleEndian, int64(value(i)))
		default:
			b.WriteByte(byte(value(i)))
		}
	}
	return os.WriteFile(args[0], b.Bytes(), 0o666)
}

// mutate writes a changed model: mutate IN OUT WHAT, WHAT one of opset, ir, open, which takes
// the sizes of the first input behind the batch out, batch:N, which gives its first axis a size, quantise,
// which makes whole numbers of the first initializer, to be dequantised, and external:LOCATION:LENGTH,
// which moves it to that file without writing it.
func mutate(args []string) error {
	m, err := onnxio.Load(args[0])
	if err != nil {
		return err
	}
	large := int64(99)
	switch what := strings.Split(args[2], ":"); what[0] {
	case "opset":
		m.Proto.OpsetImport[0].Version = &large
	case "ir":
		m.Proto.IrVersion = &large
	case "open":
		for i, d := range m.Proto.Graph.Input[0].Type.GetTensorType().Shape.Dim[2:] {
			d.Value = &onnxio.TensorShapeProto_Dimension_DimParam{DimParam: fmt.Sprint("size", i)}
		}
	case "batch":
		n, err := strconv.ParseInt(what[1], 10, 64)
		if err != nil {
			return err
		}
		m.Proto.Graph.Input[0].Type.GetTensorType().Shape.Dim[0].Value = &onnxio.TensorShapeProto_Dimension_DimValue{DimValue: n}
	case "quantise":
		g := m.Proto.Graph
		t := g.Initializer[0]
		name, stored := t.GetName(), t.GetName()+".quantised"
		size := 1
		for _, d := range t.Dims {
			size *= int(d)
		}
		kind := int32(op.Int8)
		t.Name, t.DataType, t.FloatData, t.RawData = &stored, &kind, nil, bytes.Repeat([]byte{1, 255}, size)[:size]
		g.Initializer = append(g.Initializer, onnxio.NewFloatTensor("step", nil, []float32{0.01}))
		g.Node = append([]*onnxio.NodeProto{onnxio.NewNode("DequantizeLinear", "", []string{stored, "step"}, []string{name})}, g.Node...)
	case "external":
		t := m.Proto.Graph.Initializer[0]
		location := onnxio.TensorProto_EXTERNAL
		t.DataLocation, t.RawData, t.FloatData = &location, nil, nil
		for i, key := range []string{"location", "length"} {
			t.ExternalData = append(t.ExternalData, &onnxio.StringStringEntryProto{Key: &key, Value: &what[i+1]})
		}
	default:
		return fmt.Errorf("mutate: %q", args[2])
	}
	b, err := m.Proto.Marshal()
	if err != nil {
		return err
	}
	return os.WriteFile(args[1], b, 0o666)
}

// field compares a number in a JSON file: field FILE PATH MIN MAX, PATH as in epochs.0.val.
func field(args []string) error {
	got, err := number(args[0], args[1])
	if err != nil {
		return err
	}
	low, err := strconv.ParseFloat(args[2], 64)
	if err != nil {
		return err
	}
	high, err := strconv.ParseFloat(args[3], 64)
	if err != nil {
		return err
	}
	if !(got >= low && got <= high) {
		return fmt.Errorf("%s is %v, wants %v to %v", args[1], got, low, high)
	}
	return nil
}

// sameNumber compares a number in one JSON file with one in another: same FILE PATH FILE PATH
// [DIFFERENCE].
func sameNumber(args []string) error {
	a, err := number(args[0], args[1])
	if err != nil {
		return err
	}
	b, err := number(args[2], args[3])
	accepted := 0.0
	if err == nil && len(args) > 4 {
		accepted, err = strconv.ParseFloat(args[4], 64)
	}
	if err == nil && !(math.Abs(a-b) <= accepted) {
		err = fmt.Errorf("%s is %v, %s is %v", args[1], a, args[3], b)
	}
	return err
}

// number reads one in a JSON file.
func number(file, path string) (float64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return 0, err
	}
	for _, key := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(x) {
				return 0, fmt.Errorf("%s: no element %s", path, key)
			}
			v = x[i]
		}
	}
	got, ok := v.(float64)
	if !ok {
		return 0, fmt.Errorf("%s is %v, not a number", path, v)
	}
	return got, nil
}

// timeless takes seconds and the output's name out of a report: timeless FILE.
func timeless(args []string) error {
	b, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var kept []string
	for _, line := range strings.Split(string(b), "\n") {
		if !strings.HasPrefix(line, `  "seconds":`) && !strings.HasPrefix(line, `  "output":`) {
			kept = append(kept, line)
		}
	}
	return os.WriteFile(args[0], []byte(strings.Join(kept, "\n")), 0o666)
}

// unclocked takes all times out of a sweep's results: unclocked FILE, JSON,
// CSV or HTML.
func unclocked(args []string) error {
	b, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	if strings.HasSuffix(args[0], ".csv") {
		lines := strings.Split(string(b), "\n")
		for i, line := range lines {
			lines[i] = line[:max(0, strings.LastIndexByte(line, ','))]
		}
		return os.WriteFile(args[0], []byte(strings.Join(lines, "\n")), 0o666)
	}
	if strings.HasSuffix(args[0], ".html") {
		b = regexp.MustCompile(`(?s)<h3>Time</h3>.*?</figure>`).ReplaceAll(b, nil)
		b = regexp.MustCompile(`<td>[0-9.]+</td>(<td>([0-9.]+ ×)?</td>)?</tr>`).ReplaceAll(b, nil)
		return os.WriteFile(args[0], b, 0o666)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	var clean func(v any)
	clean = func(v any) {
		switch x := v.(type) {
		case map[string]any:
			delete(x, "seconds")
			delete(x, "times_bip")
			for _, e := range x {
				clean(e)
			}
		case []any:
			for _, e := range x {
				clean(e)
			}
		}
	}
	clean(v)
	if b, err = json.MarshalIndent(v, "", " "); err != nil {
		return err
	}
	return os.WriteFile(args[0], b, 0o666)
}

// await waits until a directory has that many finished files: await DIR COUNT.
func await(args []string) error {
	want, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	for range 3000 {
		if files, _ := filepath.Glob(filepath.Join(args[0], "*.json")); len(files) >= want {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("%s: no %d files after a minute", args[0], want)
}

// spoil changes the last byte of a file: spoil FILE.
func spoil(args []string) error {
	b, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	b[len(b)-1] ^= 1
	return os.WriteFile(args[0], b, 0o666)
}

// tear cuts files in half: tear PATTERN.
func tear(args []string) error {
	files, err := filepath.Glob(args[0])
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s: no file", args[0])
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return err
		}
		if err := os.Truncate(f, info.Size()/2); err != nil {
			return err
		}
	}
	return err
}
