//go:build gorgonia

package gorgonia

import (
	"errors"
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/op"
)

// operators are the lowerings by ONNX operator. The result is output 0, in its shape or in one
// with the same elements.
var operators = map[string]func(l *lowering, n *graph.Node) (*G.Node, error){
	"Add":                add,
	"AveragePool":        averagePool,
	"BatchNormalization": batchNormalization,
	"Conv":               conv,
	"Dropout":            same,
	"Flatten":            same,
	"Gemm":               gemm,
	"GlobalAveragePool":  globalAveragePool,
	"Identity":           same,
	"MatMul":             matMul,
	"MaxPool":            maxPool,
	"ReduceMean":         reduceMean,
	"Relu":               unary(G.Rectify),
	"Reshape":            same,
	"Sigmoid":            unary(G.Sigmoid),
	"Softmax":            softmax,
	"Squeeze":            same,
	"Tanh":               unary(G.Tanh),
	"Unsqueeze":          same,
}

// same is an operator whose output has the elements of input 0.
func same(l *lowering, n *graph.Node) (*G.Node, error) { return l.in(n, 0) }

func unary(f func(*G.Node) (*G.Node, error)) func(*lowering, *graph.Node) (*G.Node, error) {
	return func(l *lowering, n *graph.Node) (*G.Node, error) {
		x, err := l.in(n, 0)
		if err != nil {
			return nil, err
		}
		return f(x)
	}
}

// scaled is x·c.
func scaled(x *G.Node, c float32) (*G.Node, error) {
	return G.HadamardProd(x, G.NewConstant(c))
}

// perChannel joins x [N,C,…] with v [C] by an operator that broadcasts.
func perChannel(f func(a, b *G.Node, left, right []byte) (*G.Node, error), x, v *G.Node) (*G.Node, error) {
	axes := []byte{0, 2, 3}[:x.Shape().Dims()-1]
	return f(x, v, nil, axes)
}

func (l *lowering) shape(n *graph.Node, i int) []int { return l.p.Shapes.Of[n.In[i].Index].Shape }

// ints reads an attribute of k numbers that are all d by default.
func ints(n *graph.Node, name string, k, d int) ([]int, error) {
	v := make([]int, k)
	for i := range v {
		v[i] = d
	}
	a, ok := n.Attrs[name]
	if !ok {
		return v, nil
	}
	if len(a.Ints) != k {
		return nil, fmt.Errorf("attribute %q has %d numbers, wants %d", name, len(a.Ints), k)
	}
	for i, x := range a.Ints {
		v[i] = int(x)
	}
	return v, nil
}

// window reads strides and pads of an operator on [N,C,H,W].
func window(n *graph.Node, rank int) (strides, pads, dilations []int, err error) {
	if rank != 4 {
		return nil, nil, nil, fmt.Errorf("the input is of rank %d, gorgonia is given [N,C,H,W]", rank)
	}
	if strides, err = ints(n, "strides", 2, 1); err != nil {
		return nil, nil, nil, err
	}
	if dilations, err = ints(n, "dilations", 2, 1); err != nil {
		return nil, nil, nil, err
	}
	all, err := ints(n, "pads", 4, 0)
	if err != nil {
		return nil, nil, nil, err
	}
	if a, ok := n.Attrs["auto_pad"]; ok && a.S != "NOTSET" && a.S != "" && a.S != "VALID" {
		return nil, nil, nil, fmt.Errorf("attribute \"auto_pad\" is %q, which is not lowered to gorgonia", a.S)
	}
	if all[0] != all[2] || all[1] != all[3] {
		return nil, nil, nil, fmt.Errorf("the padding %v differs between the sides of an axis, which gorgonia does not have", all)
	}
	return strides, all[:2], dilations, nil
}

func conv(l *lowering, n *graph.Node) (*G.Node, error) {
	x, err := l.in(n, 0)
	if err != nil {
		return nil, err
	}
	w, err := l.in(n, 1)
	if err != nil {
		return nil, err
	}
	if a, ok := n.Attrs["group"]; ok && a.I != 1 {
		return nil, fmt.Errorf("has %d groups, gorgonia has none", a.I)
	}
	strides, pads, dilations, err := window(n, x.Shape().Dims())
	if err != nil {
		return nil, err
	}
	k := w.Shape()
	y, err := G.Conv2d(x, w, tensor.Shape{k[2], k[3]}, pads, strides, dilations)
	if err != nil || !has(n, 2) {
		return y, err
	}
	b, err := l.in(n, 2)
	if err != nil {
		return nil, err
	}
	return perChannel(G.BroadcastAdd, y, b)
}

func maxPool(l *lowering, n *graph.Node) (*G.Node, error) {
	x, err := l.in(n, 0)
	if err != nil {
		return nil, err
	}
	strides, pads, dilations, err := window(n, x.Shape().Dims())
	if err != nil {
		return nil, err
	}
	if dilations[0] != 1 || dilations[1] != 1 {
		return nil, fmt.Errorf("the dilation is %v, gorgonia has none in MaxPool", dilations)
	}
	if a := n.Attrs["ceil_mode"]; a.I != 0 {
		return nil, errors.New("attribute \"ceil_mode\" is 1, which is not lowered to gorgonia")
	}
	k, err := ints(n, "kernel_shape", 2, 0)
	if err != nil {
		return nil, err
	}
	return G.MaxPool2D(x, tensor.Shape(k), pads, strides)
}

// spatialMean is the mean over all axes behind the channels: [N,C,…] to [N·C].
func spatialMean(x *G.Node) (*G.Node, error) {
	s := x.Shape()
	if s.Dims() < 3 {
		return nil, fmt.Errorf("the input has shape %v, wants axes behind the channels", s)
	}
	size := s.TotalSize() / (s[0] * s[1])
	x, err := G.Reshape(x, tensor.Shape{s[0] * s[1], size})
	if err != nil {
		return nil, err
	}
	if x, err = G.Sum(x, 1); err != nil {
		return nil, err
	}
	return scaled(x, 1/float32(size))
}

// reduceMean is lowered over the axes behind the channels.
func reduceMean(l *lowering, n *graph.Node) (*G.Node, error) {
	x, err := l.in(n, 0)
	if err != nil {
		return nil, err
	}
	axes := n.Attrs["axes"].Ints
	if has(n, 1) {
		if t := l.p.Shapes.Of[n.In[1].Index]; t != nil && t.IsConst() {
			axes = t.I
		}
	}
	rank := x.Shape().Dims()
	taken := make([]bool, rank)
	for _, a := range axes {
		if a < 0 {
			a += int64(rank)
		}
		taken[a] = true
	}
	if len(axes) != rank-2 || rank < 3 || taken[0] || taken[1] {
		return nil, fmt.Errorf("the mean is over axes %v of %d, only that of all axes behind the channels is lowered to gorgonia", axes, rank)
	}
	return spatialMean(x)
}

func globalAveragePool(l *lowering, n *graph.Node) (*G.Node, error) {
	x, err := l.in(n, 0)
	if err != nil {
		return nil, err
	}
	return spatialMean(x)
}

// averagePool is lowered where its only window is the whole image.
func averagePool(l *lowering, n *graph.Node) (*G.Node, error) {
	x, err := l.in(n, 0)
	if err != nil {
		return nil, err
	}
	_, pads, _, err := window(n, x.Shape().Dims())
	if err != nil {
		return nil, err
	}
	k, err := ints(n, "kernel_shape", 2, 0)
	if err != nil {
		return nil, err
	}
	if s := x.Shape(); pads[0] != 0 || pads[1] != 0 || k[0] != s[2] || k[1] != s[3] {
		return nil, fmt.Errorf("the window %v is not the whole image %v, and gorgonia's gradient of AveragePool is wrong", k, []int(s[2:]))
	}
	return spatialMean(x)
}

func add(l *lowering, n *graph.Node) (*G.Node, error) {
	a, err := l.in(n, 0)
	if err != nil {
		return nil, err
	}
	b, err := l.in(n, 1)
	if err != nil {
		return nil, err
	}
	return broadcastAdd(a, b)
}

// broadcastAdd adds by ONNX's rule: shapes are aligned at their last axis.
func broadcastAdd(a, b *G.Node) (*G.Node, error) {
	rank := max(a.Shape().Dims(), b.Shape().Dims())
	if rank > 4 {
		return nil, fmt.Errorf("the operands are of rank %d, gorgonia broadcasts up to 4", rank)
	}
	var err error
	for _, x := range []**G.Node{&a, &b} {
		s := (*x).Shape()
		if s.Dims() == rank {
			continue
		}
		full := make(tensor.Shape, rank)
		for i := range full {
			full[i] = 1
		}
		copy(full[rank-s.Dims():], s)
		if *x, err = G.Reshape(*x, full); err != nil {
			return nil, err
		}
	}
	var left, right []byte
	for i := range rank {
		switch p, q := a.Shape()[i], b.Shape()[i]; {
		case p == q:
		case p == 1:
			left = append(left, byte(i))
		default:
			right = append(right, byte(i))
		}
	}
	if left == nil && right == nil {
		return G.Add(a, b)
	}
	return G.BroadcastAdd(a, b, left, right)
}

func gemm(l *lowering, n *graph.Node) (*G.Node, error) {
	operand := func(i int, flag string) (*G.Node, error) {
		x, err := l.in(n, i)
		if err != nil {
			return nil, err
		}
		if n.Attrs[flag].I != 0 {
			return G.Transpose(x, 1, 0)
		}
		return x, nil
	}
	a, err := operand(0, "transA")
	if err != nil {
		return nil, err
	}
	b, err := operand(1, "transB")
	if err != nil {
		return nil, err
	}
	y, err := G.Mul(a, b)
	if err != nil {
		return nil, err
	}
	if f, ok := n.Attrs["alpha"]; ok && f.F != 1 {
		if y, err = scaled(y, f.F); err != nil {
			return nil, err
		}
	}
	if !has(n, 2) {
		return y, nil
	}
	c, err := l.in(n, 2)
	if err != nil {
		return nil, err
	}
	if f, ok := n.Attrs["beta"]; ok && f.F != 1 {
		if c, err = scaled(c, f.F); err != nil {
			return nil, err
		}
	}
	return broadcastAdd(y, c)
}

// matMul is lowered where input 1 is a matrix.
func matMul(l *lowering, n *graph.Node) (*G.Node, error) {
	a, err := l.in(n, 0)
	if err != nil {
		return nil, err
	}
	b, err := l.in(n, 1)
	if err != nil {
		return nil, err
	}
	s := a.Shape()
	if b.Shape().Dims() != 2 || s.Dims() < 2 {
		return nil, fmt.Errorf("the operands have shapes %s and %s, wants a matrix as the second", op.ShapeString(s), op.ShapeString(b.Shape()))
	}
	if s.Dims() > 2 {
		k := s[s.Dims()-1]
		if a, err = G.Reshape(a, tensor.Shape{s.TotalSize() / k, k}); err != nil {
			return nil, err
		}
	}
	return G.Mul(a, b)
}

func softmax(l *lowering, n *graph.Node) (*G.Node, error) {
	x, err := l.in(n, 0)
	if err != nil {
		return nil, err
	}
	axis := 1
	if n.Opset >= 13 {
		axis = -1
	}
	if a, ok := n.Attrs["axis"]; ok {
		axis = int(a.I)
	}
	if x.Shape().Dims() != 2 || axis != 1 && axis != -1 {
		return nil, fmt.Errorf("is over axis %d of shape %v, only the columns of a matrix are lowered to gorgonia", axis, x.Shape())
	}
	if x, err = logSoftmax(x); err != nil {
		return nil, err
	}
	return G.Exp(x)
}
