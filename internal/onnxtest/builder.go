// Package onnxtest builds small ONNX models in memory for the tests of other
// packages.
package onnxtest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/onnxprune/onnxprune/onnxio"
)

// Builder collects the parts of a model. Names of results are given by the
// caller; weights are drawn from the builder's seed.
type Builder struct {
	Proto *onnxio.ModelProto
	rng   *rand.Rand
	nodes int
}

// New starts a model of the given opset.
func New(opset int64, seed uint64) *Builder {
	name := "test"
	ir := int64(8)
	return &Builder{rng: rand.New(rand.NewPCG(seed, 1)), Proto: &onnxio.ModelProto{
		IrVersion:   &ir,
		OpsetImport: []*onnxio.OperatorSetIdProto{{Version: &opset}},
		Graph:       &onnxio.GraphProto{Name: &name},
	}}
}

// Input declares a float input; a dimension of -1 is the symbol N.
func (b *Builder) Input(name string, dims ...int64) string {
	b.Proto.Graph.Input = append(b.Proto.Graph.Input, info(name, 1, dims))
	return name
}

// Output declares a float output.
func (b *Builder) Output(name string, dims ...int64) {
	b.Proto.Graph.Output = append(b.Proto.Graph.Output, info(name, 1, dims))
}

func info(name string, typ int32, dims []int64) *onnxio.ValueInfoProto {
	v := onnxio.NewTensorValueInfo(name, typ, dims)
	for _, d := range v.Type.GetTensorType().GetShape().GetDim() {
		if x, ok := d.Value.(*onnxio.TensorShapeProto_Dimension_DimValue); ok && x.DimValue < 0 {
			d.Value = &onnxio.TensorShapeProto_Dimension_DimParam{DimParam: "N"}
		}
	}
	return v
}

// Weight adds a float initializer of normal values times scale.
func (b *Builder) Weight(name string, scale float64, shape ...int) string {
	n := 1
	for _, d := range shape {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(b.rng.NormFloat64() * scale)
	}
	return b.Floats(name, v, shape...)
}

// Uniform adds a float initializer with elements in [lo,hi).
func (b *Builder) Uniform(name string, lo, hi float64, shape ...int) string {
	n := 1
	for _, d := range shape {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(lo + b.rng.Float64()*(hi-lo))
	}
	return b.Floats(name, v, shape...)
}

// Floats adds a float initializer.
func (b *Builder) Floats(name string, v []float32, shape ...int) string {
	b.Proto.Graph.Initializer = append(b.Proto.Graph.Initializer, onnxio.NewFloatTensor(name, shape, v))
	return name
}

// Ints adds a 1-D int64 initializer.
func (b *Builder) Ints(name string, v ...int64) string {
	b.Proto.Graph.Initializer = append(b.Proto.Graph.Initializer, onnxio.NewInt64Tensor(name, []int{len(v)}, v))
	return name
}

// Node adds a node with one output, whose name is the node's. Attributes are
// int, float32, string, []int64 or *onnxio.TensorProto, given as name, value,
// name, value.
func (b *Builder) Node(opType, out string, in []string, attrs ...any) string {
	if out == "" {
		b.nodes++
		out = fmt.Sprintf("%s_%d", opType, b.nodes)
	}
	n := onnxio.NewNode(opType, out, in, []string{out})
	for i := 0; i+1 < len(attrs); i += 2 {
		n.Attribute = append(n.Attribute, attribute(attrs[i].(string), attrs[i+1]))
	}
	b.Proto.Graph.Node = append(b.Proto.Graph.Node, n)
	return out
}

func attribute(name string, v any) *onnxio.AttributeProto {
	a := &onnxio.AttributeProto{Name: &name}
	var t onnxio.AttributeProto_AttributeType
	switch v := v.(type) {
	case int:
		i := int64(v)
		t, a.I = onnxio.AttributeProto_INT, &i
	case float32:
		t, a.F = onnxio.AttributeProto_FLOAT, &v
	case string:
		t, a.S = onnxio.AttributeProto_STRING, []byte(v)
	case []int64:
		t, a.Ints = onnxio.AttributeProto_INTS, v
	case *onnxio.TensorProto:
		t, a.T = onnxio.AttributeProto_TENSOR, v
	default:
		panic(fmt.Sprintf("attribute %s of type %T", name, v))
	}
	a.Type = &t
	return a
}

// Bytes serialises the model.
func (b *Builder) Bytes(t testing.TB) []byte {
	t.Helper()
	data, err := b.Proto.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Model serialises the model and loads it again.
func (b *Builder) Model(t testing.TB) *onnxio.Model {
	t.Helper()
	m, err := onnxio.LoadBytes("test.onnx", b.Bytes(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ConvBlock adds Conv, BatchNormalization and Relu with fresh weights.
func (b *Builder) ConvBlock(x, name string, in, out, k, stride int) string {
	pad := int64(k / 2)
	y := b.Node("Conv", name+".conv", []string{x, b.Weight(name+".weight", 1.5/float64(k), out, in, k, k)},
		"kernel_shape", []int64{int64(k), int64(k)}, "pads", []int64{pad, pad, pad, pad}, "strides", []int64{int64(stride), int64(stride)})
	y = b.Norm(y, name, out)
	return b.Node("Relu", name+".relu", []string{y})
}

// Norm adds a BatchNormalization with fresh parameters and statistics.
func (b *Builder) Norm(x, name string, c int) string {
	return b.Node("BatchNormalization", name+".bn", []string{x, b.Uniform(name+".bn.weight", 0.5, 1.5, c), b.Uniform(name+".bn.bias", -0.5, 0.5, c),
		b.Uniform(name+".bn.running_mean", -0.5, 0.5, c), b.Uniform(name+".bn.running_var", 0.5, 1.5, c)})
}
