package onnxgo

import (
	"fmt"
	"slices"

	"gorgonia.org/tensor"
)

// Node is a value of the graph. It implements onnx.Namer and onnx.DataCarrier of onnx-go.
type Node struct {
	id      int64
	backend *Backend
	name    string
	named   bool
	// described is set once the node was given a value.
	described bool
	value     tensor.Tensor
	operands  []*Node
	producer  *call
}

// ID implements graph.Node.
func (n *Node) ID() int64 { return n.id }

// SetName implements onnx.Namer. An empty name marks an operand, or an output, that an
// operator leaves out.
func (n *Node) SetName(name string) { n.name, n.named = name, true }

// GetName implements onnx.Namer.
func (n *Node) GetName() string { return n.name }

// left reports whether the node stands for nothing.
func (n *Node) left() bool { return n.named && n.name == "" }

// SetTensor gives an input or a parameter its value, which the next run reads. A
// parameter keeps the shape it has once the graph has run.
func (n *Node) SetTensor(t tensor.Tensor) error {
	n.described = true
	if n.producer == nil && n.backend.state != nil {
		if s := n.backend.state.Tensor(n.name); s != nil && n.parameter() {
			x, err := fromTensor(t)
			if err != nil {
				return fmt.Errorf("%q: %w", n.name, err)
			}
			if len(x.F) != len(s.F) || !slices.Equal(x.Shape, s.Shape) {
				return fmt.Errorf("%q: the value has shape %v, the parameter %v", n.name, x.Shape, s.Shape)
			}
			copy(s.F, x.F)
			return nil
		}
	}
	n.value = t
	return nil
}

// GetTensor returns the value: what SetTensor gave, what the last run computed, or, of a
// parameter of a graph that has run, its elements as training changes them.
func (n *Node) GetTensor() tensor.Tensor { return n.value }

// parameter reports whether the options name the node as one.
func (n *Node) parameter() bool { return n.backend.parameters[n.name] }
