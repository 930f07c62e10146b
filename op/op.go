package op

import (
	"fmt"
	"sort"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Op is an operator with its attributes read. An Op belongs to one node of one
// compiled plan and may keep tables that depend on shapes.
type Op interface {
	// Infer returns type and shape of every output. in[i] is nil for an omitted
	// optional input and carries elements where the value is a constant. An
	// input whose value is needed and absent gives a [NeedConst] error.
	Infer(in []*Tensor) ([]*Tensor, error)
	// Forward computes the outputs into the allocated out tensors. It never
	// changes an input, except state (see Def.State) in training.
	Forward(c *Context, in, out []*Tensor) error
}

// Gradient is an operator that can be trained through.
type Gradient interface {
	Op
	// Reads tells which inputs and outputs of the forward pass Backward reads
	// (bit i for index i). All others come without elements.
	Reads() (in, out uint32)
	// Backward computes the gradients of the inputs. dout[j] is nil where output j
	// has no influence on the loss; din[i] is nil where no gradient is wanted, has
	// the layout of in[i], and is overwritten (or added to, if Acc is set).
	Backward(c *Context, in, out, dout, din []*Tensor) error
}

// Preparer is an operator that computes tables or allocates state of its own
// once shapes and layouts are fixed. The result is the workspace in float32
// elements that Forward and Backward will find in Context.Workspace.
type Preparer interface {
	Prepare(in, out []*Tensor, training bool) (workspace int, err error)
}

// Keeper is an operator that can keep what it makes of its parameters. Keep, called after
// Prepare in plans whose initializers do not change, asks it to do so for those of its
// inputs that have their elements already, and returns how many float32 elements that takes.
// The next Forward is then the last that reads them.
type Keeper interface {
	Keep(in []*Tensor) int
}

// Layouter is an operator that accepts or produces other layouts than
// row-major. in carries types, shapes and present layouts (constants are
// row-major); the result is the layout wanted per input and given per output.
type Layouter interface {
	Layouts(in []*Tensor) (want, out []Layout)
}

// Viewer is an operator whose output 0 has the elements of input 0 in the
// same order in memory, so that a plan lets both share a buffer. Forward and
// Backward copy.
type Viewer interface {
	View()
}

// Elementwise is an operator of which every output element depends on the element of
// input 0 at its place, and on constants.
type Elementwise interface {
	Elementwise()
}

// ShapeReader is an operator that reads no elements of its inputs, so that its
// result is known as soon as their shapes are.
type ShapeReader interface {
	ReadsShape()
}

// Accumulator is an operator whose Backward honours Tensor.Acc for every input.
type Accumulator interface {
	Accumulates()
}

// MACer counts multiply-adds: 1 MAC is one multiplication with its addition.
// Only Conv, Gemm, MatMul and their kin count.
type MACer interface {
	MACs(in, out []*Tensor) int64
}

// AxisRef names an axis of a tensor at a node: input Tensor if it is zero or
// positive, output ^Tensor otherwise.
type AxisRef struct{ Tensor, Axis int }

// Link is a set of axes of equal length whose slices stand or fall together:
// with slice i zeroed in every input of the set, deleting slice i everywhere
// leaves the remaining outputs as they were. Where the set has an output, that is so
// whatever the slices hold. Where it has none, the axis is summed over, and slice i
// must be zero in at least one of the inputs.
type Link []AxisRef

// Linker declares the channel rule. An operator that is neither a Linker nor a
// [Coupler] freezes the channels that touch it.
type Linker interface {
	Links(in, out []*Tensor) []Link
}

// Context is what the passes compute with.
type Context struct {
	Pool      *kernel.Pool
	Workspace []float32
	// Training makes normalisation use and update batch statistics.
	Training bool
	// FreezeNorm keeps normalisation on its running statistics while training.
	FreezeNorm bool
}

// NeedConst is the error of an Infer that needs the value of an input that is
// no constant.
type NeedConst struct{ Input int }

// Error names the input.
func (e NeedConst) Error() string {
	return fmt.Sprintf("input %d must be a constant", e.Input)
}

// Def is the registered description of an operator.
type Def struct {
	// Name and Domain as in the file; the default domain is "".
	Name, Domain string
	// Since is the first opset version whose form is understood.
	Since int
	// New reads the attributes.
	New func(n Node) (Op, error)
	// Weights are the inputs that pruning masks when they are initializers.
	Weights []int
	// Params are the inputs that training changes when they are float initializers,
	// Weights included.
	Params []int
	// State are the inputs that training changes without a gradient (running
	// statistics).
	State []int
	// Kept are the outputs that only Backward reads. No gradient flows into them.
	Kept []int
	// Reference computes the operator naively in float64, with sums in a fixed order.
	// Tests compare with it, and engine.Interpreter runs whole models by it.
	Reference func(n Node, in []*Array) []*Array
	// Cases are the inputs that the driver test runs.
	Cases []Case
}

type key struct{ domain, name string }

var registry = map[key]*Def{}

// Register adds an operator; it panics on a second one of the same name.
func Register(d Def) {
	k := key{d.Domain, d.Name}
	if registry[k] != nil {
		panic("op: registered twice: " + d.Name)
	}
	registry[k] = &d
}

// Lookup returns the operator, or nil. The domain "ai.onnx" is "".
func Lookup(domain, name string) *Def {
	if domain == "ai.onnx" {
		domain = ""
	}
	return registry[key{domain, name}]
}

// All returns every registered operator, by domain and name.
func All() []*Def {
	var ds []*Def
	for _, d := range registry {
		ds = append(ds, d)
	}
	sort.Slice(ds, func(i, j int) bool {
		if ds[i].Domain != ds[j].Domain {
			return ds[i].Domain < ds[j].Domain
		}
		return ds[i].Name < ds[j].Name
	})
	return ds
}

// Make reads the attributes of a node and returns its operator.
func (d *Def) Make(n Node) (Op, error) {
	if n.Opset < d.Since {
		return nil, fmt.Errorf("opset %d, supported from opset %d", n.Opset, d.Since)
	}
	return d.New(n)
}

func lastLayouts(n int, l Layout) []Layout {
	s := make([]Layout, n)
	for i := range s {
		s[i] = l
	}
	return s
}
