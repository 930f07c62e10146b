package engine

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

const (
	nodeArchive  = "../../shared/onnx-node-tests.tgz"
	nodeManifest = "testdata/onnx_node_tests.txt"
)

// The opset versions of the default domain whose cases are run.
const firstOpset, lastOpset = 7, 25

// TestONNXNodes runs the operator tests of ONNX whose nodes are all registered
// operators, as models: compiled, in row-major and channels-last, on every kernel
// variant. The manifest says for every such case that it passes, or why it cannot
// be run. A wrong value is never accepted, also not with -update.
func TestONNXNodes(t *testing.T) {
	cases := nodeCases(t)
	pool := kernel.NewPool(2)
	defer pool.Close()
	active := kernel.Active()
	defer kernel.Force(active)
	var lines []string
	passed, left := 0, 0
	plans := map[entry]int{}
	for _, c := range cases {
		if err := c.parse(); err != nil {
			lines = append(lines, fmt.Sprintf("excluded %s: %s", c.name, firstLine(err)))
			continue
		}
		if !c.registered() {
			continue
		}
		left++
		t.Run(c.name, func(t *testing.T) {
			left--
			v := c.run(t, pool, plans)
			switch {
			case t.Failed():
			case v.reason != "":
				lines = append(lines, fmt.Sprintf("excluded %s: %s", c.name, v.reason))
			case v.constants != "":
				lines = append(lines, fmt.Sprintf("pass %s: constant %s", c.name, v.constants))
				passed++
			default:
				lines = append(lines, "pass "+c.name)
				passed++
			}
		})
	}
	t.Logf("plans by entry: %v", plans)
	t.Logf("judge: ONNX operator tests: %d cases run, %d passed, %d excluded; %d more are of operators that are not registered", len(lines), passed, len(lines)-passed, len(cases)-len(lines))
	if left > 0 || t.Failed() {
		t.Logf("%s is not compared: %d cases did not run, or a value is wrong", nodeManifest, left)
		return
	}
	text := strings.Join(lines, "\n") + "\n"
	for _, by := range []entry{direct, gathered, pooled} {
		if plans[by] == 0 {
			t.Errorf("no plan with %s inputs", by)
		}
	}
	if *update {
		if err := os.WriteFile(nodeManifest, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	golden, err := os.ReadFile(nodeManifest)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSuffix(string(golden), "\n"), "\n")
	for _, l := range lines {
		if !slices.Contains(want, l) {
			t.Errorf("not in %s: %s", nodeManifest, l)
		}
	}
	for _, l := range want {
		if !slices.Contains(lines, l) {
			t.Errorf("only in %s: %s", nodeManifest, l)
		}
	}
}

// nodeCase is one directory of the archive.
type nodeCase struct {
	name  string
	files map[string][]byte
	model *onnxio.ModelProto
	in    []*op.Tensor // per graph input
	raw   []*onnxio.TensorProto
	out   []*op.Tensor // per graph output
}

// nodeCases reads the archive, in order of names.
func nodeCases(t *testing.T) []*nodeCase {
	t.Helper()
	f, err := os.Open(nodeArchive)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s, the operator tests of onnx/onnx, is not there", nodeArchive)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*nodeCase{}
	var cases []*nodeCase
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.SplitN(strings.TrimPrefix(h.Name, "./"), "/", 3) // node/test_x/file
		if h.Typeflag != tar.TypeReg || len(parts) < 3 {
			continue
		}
		c := byName[parts[1]]
		if c == nil {
			c = &nodeCase{name: parts[1], files: map[string][]byte{}}
			byName[parts[1]] = c
			cases = append(cases, c)
		}
		if c.files[parts[2]], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	slices.SortFunc(cases, func(a, b *nodeCase) int { return strings.Compare(a.name, b.name) })
	return cases
}

func (c *nodeCase) parse() error {
	m, err := onnxio.LoadBytes(c.name, c.files["model.onnx"])
	if err != nil {
		return err
	}
	c.model = m.Proto
	return nil
}

// registered reports whether every node is a registered operator.
func (c *nodeCase) registered() bool {
	for _, n := range c.model.GetGraph().GetNode() {
		if op.Lookup(n.GetDomain(), n.GetOpType()) == nil && n.GetOpType() != "If" {
			return false
		}
	}
	return true
}

// tensors reads the values of the data set; the error is why there are none that
// the engine could take.
func (c *nodeCase) tensors() error {
	g := c.model.GetGraph()
	read := func(kind string, infos []*onnxio.ValueInfoProto) (raw []*onnxio.TensorProto, ts []*op.Tensor, err error) {
		for i, info := range infos {
			if info.GetType().GetTensorType() == nil {
				return nil, nil, fmt.Errorf("%s %d is no tensor", kind, i)
			}
			p := &onnxio.TensorProto{}
			data, ok := c.files[path.Join("test_data_set_0", fmt.Sprintf("%s_%d.pb", kind, i))]
			if !ok {
				return nil, nil, fmt.Errorf("%s %d has no value", kind, i)
			}
			if err := p.Unmarshal(data); err != nil {
				return nil, nil, fmt.Errorf("%s %d: %w", kind, i, err)
			}
			x, err := decodeTensor(p)
			if err != nil {
				return nil, nil, err
			}
			raw, ts = append(raw, p), append(ts, x)
		}
		return raw, ts, nil
	}
	var err error
	if c.raw, c.in, err = read("input", g.GetInput()); err != nil {
		return err
	}
	_, c.out, err = read("output", g.GetOutput())
	return err
}

func decodeTensor(p *onnxio.TensorProto) (x *op.Tensor, err error) {
	x = &op.Tensor{Type: op.Type(p.GetDataType())}
	var bools []bool
	switch t := x.Type; {
	case t.IsFloat():
		x.Shape, x.F, err = onnxio.Float32s(p, nil)
	case t == op.Bool:
		x.Shape, bools, err = onnxio.Bools(p, nil)
		x.I = make([]int64, len(bools))
		for i, b := range bools {
			if b {
				x.I[i] = 1
			}
		}
	case t >= op.Uint8 && t <= op.Int64 || t == op.Uint32 || t == op.Uint64:
		x.Shape, x.I, err = onnxio.Int64s(p, nil)
	default:
		err = fmt.Errorf("type %s", onnxio.TypeName(p.GetDataType()))
	}
	return x, err
}

// verdict is what running a case gave.
type verdict struct {
	// reason is why the case cannot be run.
	reason string
	// constants tells which inputs had to be made initializers.
	constants string
}

// entry is how values come into the graph under test. A plan gives axis 0 of
// every input one size, which operator tests know nothing of.
type entry string

const (
	// direct: as the graph inputs of the file.
	direct entry = "direct"
	// gathered: as row 0 of a batch of one, taken by Gather.
	gathered entry = "gathered"
	// pooled: gathered, and through an AveragePool of window 1, which leaves
	// channels-last values.
	pooled entry = "pooled"
)

// constantSets are choices of inputs to turn into initializers, from none to all.
var constantSets = []struct {
	name string
	is   func(i int, t *op.Tensor) bool
}{
	{"", func(int, *op.Tensor) bool { return false }},
	{"integers", func(_ int, t *op.Tensor) bool { return !t.Type.IsFloat() }},
	{"parameters", func(i int, t *op.Tensor) bool { return i > 0 }},
	{"inputs", func(int, *op.Tensor) bool { return true }},
}

func (c *nodeCase) run(t *testing.T, pool *kernel.Pool, plans map[entry]int) (v verdict) {
	for _, o := range c.model.OpsetImport {
		if d := o.GetDomain(); (d == "" || d == "ai.onnx") && (o.GetVersion() < firstOpset || o.GetVersion() > lastOpset) {
			v.reason = fmt.Sprintf("opset %d", o.GetVersion())
			return v
		}
	}
	if err := c.tensors(); err != nil {
		v.reason = firstLine(err)
		return v
	}
	accepted := false
	seen := map[string]bool{}
	for _, set := range constantSets {
		fixed := make([]bool, len(c.in))
		for i, x := range c.in {
			fixed[i] = set.is(i, x)
		}
		if key := fmt.Sprint(fixed); seen[key] {
			continue
		} else {
			seen[key] = true
		}
		reason := c.runSet(t, pool, fixed, plans)
		if t.Failed() {
			return v
		}
		switch {
		case reason != "" && !accepted:
			v.reason = reason
		case reason == "" && !accepted:
			accepted = true
			v.reason, v.constants = "", set.name
		}
	}
	return v
}

// runSet runs a case with some inputs as initializers on every variant and by
// every entry, and counts the plans. The result is why it cannot be run.
func (c *nodeCase) runSet(t *testing.T, pool *kernel.Pool, fixed []bool, plans map[entry]int) string {
	batch := c.commonBatch(fixed)
	for _, variant := range kernel.Variants() {
		if err := kernel.Force(variant); err != nil {
			t.Fatal(err)
		}
		for _, by := range []entry{gathered, pooled, direct} {
			if by == pooled && !c.poolable(fixed) || by == direct && batch == 0 {
				continue
			}
			label := fmt.Sprintf("%s, %s, initializers %v", variant, by, fixed)
			p, feed, err := c.compile(pool, fixed, by, max(batch, 1))
			switch {
			case err == nil:
			case by == direct:
				continue // the case is bound to its batch
			case by == pooled || variant != kernel.Variants()[0]:
				t.Fatalf("%s: %v", label, err)
			default:
				return "operator refuses: " + firstLine(err)
			}
			plans[by]++
			for i, x := range feed {
				copy(p.Inputs[i].F, x.F)
				copy(p.Inputs[i].I, x.I)
			}
			if err := p.Forward(); err != nil {
				t.Fatalf("%s: %v", label, err)
			}
			for j, want := range c.out {
				if err := sameValues(p.Outputs[j], want); err != nil {
					t.Errorf("%s: output %d: %v", label, j, err)
				}
			}
		}
	}
	return ""
}

// commonBatch is the size of axis 0 of every input that is fed, 0 if they differ.
func (c *nodeCase) commonBatch(fixed []bool) int {
	batch := 0
	for i, x := range c.in {
		switch {
		case fixed[i]:
		case x.Rank() == 0 || batch > 0 && x.Shape[0] != batch:
			return 0
		default:
			batch = x.Shape[0]
		}
	}
	return batch
}

// poolable reports whether any fed input can pass through an AveragePool.
func (c *nodeCase) poolable(fixed []bool) bool {
	for i, x := range c.in {
		if !fixed[i] && pools(x) {
			return true
		}
	}
	return false
}

func pools(x *op.Tensor) bool {
	return x.Type.IsFloat() && (x.Rank() == 3 || x.Rank() == 4) && x.Size() > 0
}

// compile plans the model of a case with its inputs rewritten, and returns what to
// feed the plan.
func (c *nodeCase) compile(pool *kernel.Pool, fixed []bool, by entry, batch int) (*Plan, []*op.Tensor, error) {
	m := &onnxio.ModelProto{}
	if err := m.Unmarshal(c.files["model.onnx"]); err != nil {
		return nil, nil, err
	}
	pg := m.Graph
	inputs := pg.Input
	pg.Input = nil
	var entries []*onnxio.NodeProto
	var feed []*op.Tensor
	dims := map[string]int{}
	for i, info := range inputs {
		name, x := info.GetName(), c.in[i]
		if fixed[i] {
			p := *c.raw[i]
			p.Name = new(name)
			pg.Initializer = append(pg.Initializer, &p)
			continue
		}
		feed = append(feed, x)
		in, shape := name, x.Shape
		if by != direct {
			in, shape = name+".entry", append([]int{1}, x.Shape...)
			taken := name
			if by == pooled && pools(x) {
				taken = name + ".taken"
				n := onnxio.NewNode("AveragePool", name+".pool", []string{taken}, []string{name})
				n.Attribute = []*onnxio.AttributeProto{{Name: new("kernel_shape"),
					Type: onnxio.AttributeProto_INTS.Enum(), Ints: slices.Repeat([]int64{1}, x.Rank()-2)}}
				entries = append(entries, n)
			}
			entries = slices.Insert(entries, 0, onnxio.NewNode("Gather", name+".row", []string{in, "entry.row"}, []string{taken}))
		}
		d := make([]int64, len(shape))
		for k, size := range shape {
			d[k] = int64(size)
			dims[fmt.Sprintf("%s.%d", in, k)] = size // a size of 0 reads as open
		}
		pg.Input = append(pg.Input, onnxio.NewTensorValueInfo(in, int32(x.Type), d))
	}
	if by != direct {
		batch = 1
		pg.Initializer = append(pg.Initializer, onnxio.NewInt64Tensor("entry.row", nil, []int64{0}))
	}
	pg.Node = append(entries, pg.Node...)
	data, err := m.Marshal()
	if err != nil {
		return nil, nil, err
	}
	model, err := onnxio.LoadBytes("model", data)
	if err != nil {
		return nil, nil, err
	}
	g, err := graph.New(model, "model")
	if err != nil {
		return nil, nil, err
	}
	// A plan for a batch has it on axis 0 throughout.
	opt := Options{Batch: batch, Dims: dims, Pool: pool}
	opt.Fixed = by == direct && (slices.ContainsFunc(c.out, func(y *op.Tensor) bool { return y.Rank() > 0 && y.Shape[0] != batch }) ||
		slices.ContainsFunc(g.Inputs, func(v *graph.Value) bool { return v.BatchAxis > 0 }))
	p, err := Compile(g, NewState(g), opt)
	return p, feed, err
}

// sameValues compares as ONNX does: floats by rtol 1e-3, all others exactly.
func sameValues(got, want *op.Tensor) error {
	if got.Type != want.Type || !op.EqualShape(got.Shape, want.Shape) {
		return fmt.Errorf("is %s %s, wants %s %s", got.Type, op.ShapeString(got.Shape), want.Type, op.ShapeString(want.Shape))
	}
	if got.Layout != op.RowMajor || len(got.F) != len(want.F) || len(got.I) != len(want.I) {
		return fmt.Errorf("has %d and %d elements in %s, wants %d and %d", len(got.F), len(got.I), got.Layout, len(want.F), len(want.I))
	}
	for i, w := range want.F {
		x, y := float64(got.F[i]), float64(w)
		if x != y && !(math.Abs(x-y) <= 1e-5+1e-3*math.Abs(y)) && !(math.IsNaN(x) && math.IsNaN(y)) {
			return fmt.Errorf("element %d of %s is %v, wants %v", i, op.ShapeString(want.Shape), x, y)
		}
	}
	for i, w := range want.I {
		if got.I[i] != w {
			return fmt.Errorf("element %d of %s is %d, wants %d", i, op.ShapeString(want.Shape), got.I[i], w)
		}
	}
	return nil
}

// firstLine is the first line of an error that is no heading, without the name of
// the model.
func firstLine(err error) string {
	line, rest, _ := strings.Cut(err.Error(), "\n")
	if strings.HasSuffix(line, ":") {
		line, _, _ = strings.Cut(rest, "\n")
	}
	return strings.TrimPrefix(line, "model: ")
}
