package op

import (
	"fmt"
	"math"
)

// Attr is the value of one attribute; the field that matches its ONNX type is
// set. Graph-valued attributes are only marked as present.
type Attr struct {
	I       int64
	F       float32
	S       string
	Ints    []int64
	Floats  []float32
	Strings []string
	T       *Tensor
	Kind    AttrKind
}

// AttrKind tells which field of an [Attr] is set.
type AttrKind uint8

// The kinds of attributes.
const (
	KindInt AttrKind = iota + 1
	KindFloat
	KindString
	KindInts
	KindFloats
	KindStrings
	KindTensor
	KindGraph
	KindOther
)

var kindNames = [...]string{"", "int", "float", "string", "ints", "floats", "strings", "tensor", "graph", "other"}

// String returns the ONNX word for the kind.
func (k AttrKind) String() string { return kindNames[k] }

// IntAttr returns an int attribute.
func IntAttr(v int) Attr { return Attr{Kind: KindInt, I: int64(v)} }

// FloatAttr returns a float attribute.
func FloatAttr(v float32) Attr { return Attr{Kind: KindFloat, F: v} }

// StringAttr returns a string attribute.
func StringAttr(v string) Attr { return Attr{Kind: KindString, S: v} }

// IntsAttr returns an ints attribute.
func IntsAttr(v ...int) Attr {
	a := Attr{Kind: KindInts, Ints: []int64{}}
	for _, x := range v {
		a.Ints = append(a.Ints, int64(x))
	}
	return a
}

// Attrs are the attributes of a node by name.
type Attrs map[string]Attr

// Node is what an operator is made from: the attributes, the opset version in
// force for its domain, and which inputs and outputs are present (an omitted
// optional one is false).
type Node struct {
	Type    string
	Opset   int
	Attrs   Attrs
	Inputs  []bool
	Outputs int
	// Training is set when the node is part of a plan that trains.
	Training bool
}

// HasInput reports whether input i is present.
func (n Node) HasInput(i int) bool { return i < len(n.Inputs) && n.Inputs[i] }

func (n Node) attr(name string, k AttrKind) (Attr, bool, error) {
	a, ok := n.Attrs[name]
	if !ok {
		return a, false, nil
	}
	if a.Kind != k {
		return a, false, fmt.Errorf("attribute %q is of type %s, wants %s", name, a.Kind, k)
	}
	return a, true, nil
}

// reader collects the attributes of a node; the first mismatch is kept.
type reader struct {
	n   Node
	err error
}

func (r *reader) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) Int(name string, def int) int {
	a, ok, err := r.n.attr(name, KindInt)
	r.keep(err)
	if !ok {
		return def
	}
	if a.I > math.MaxInt32 && a.I != math.MaxInt64 || a.I < math.MinInt32 && a.I != math.MinInt64 {
		r.keep(fmt.Errorf("attribute %q is %d, out of range", name, a.I))
		return def
	}
	return int(a.I)
}

func (r *reader) Bool(name string, def bool) bool {
	d := 0
	if def {
		d = 1
	}
	return r.Int(name, d) != 0
}

func (r *reader) Float(name string, def float32) float32 {
	a, ok, err := r.n.attr(name, KindFloat)
	r.keep(err)
	if !ok {
		return def
	}
	return a.F
}

func (r *reader) String(name, def string) string {
	a, ok, err := r.n.attr(name, KindString)
	r.keep(err)
	if !ok {
		return def
	}
	return a.S
}

// Ints returns the attribute, or nil when it is absent.
func (r *reader) Ints(name string) []int {
	a, ok, err := r.n.attr(name, KindInts)
	r.keep(err)
	if !ok {
		return nil
	}
	v := make([]int, len(a.Ints))
	for i, x := range a.Ints {
		if x > math.MaxInt32 && x != math.MaxInt64 || x < math.MinInt32 && x != math.MinInt64 {
			r.keep(fmt.Errorf("attribute %q has element %d, out of range", name, x))
			x = 0
		}
		v[i] = int(x)
	}
	return v
}

// Has reports whether the attribute is present at all.
func (r *reader) Has(name string) bool { _, ok := r.n.Attrs[name]; return ok }
