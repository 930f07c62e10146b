package op

import "fmt"

// maxStep bounds steps, pads and repeats, so that sums of them do not overflow.
const maxStep = 1 << 40

// hasInput reports whether input i is present.
func hasInput(in []*Tensor, i int) bool { return i < len(in) && in[i] != nil }

// constInts returns the elements of integer input i, a constant of rank 0 or 1;
// nil if the input is omitted.
func constInts(in []*Tensor, i int) ([]int, error) {
	if !hasInput(in, i) {
		return nil, nil
	}
	t := in[i]
	if t.Type.IsFloat() || t.Type == Bool || t.Type == String {
		return nil, fmt.Errorf("input %d is of type %s, wants int64", i, t.Type)
	}
	if t.Rank() > 1 {
		return nil, fmt.Errorf("input %d has shape %s, wants one axis", i, ShapeString(t.Shape))
	}
	if !t.IsConst() {
		return nil, NeedConst{i}
	}
	v := make([]int, len(t.I))
	for k, x := range t.I {
		v[k] = int(x)
	}
	return v, nil
}

// constAxes resolves the axes given by constant input i.
func constAxes(in []*Tensor, i, rank int) ([]int, error) {
	v, err := constInts(in, i)
	if err != nil || v == nil {
		return nil, err
	}
	return wantAxes(v, rank)
}

// wantAxes resolves possibly negative axes against a rank and refuses
// duplicates.
func wantAxes(axes []int, rank int) ([]int, error) {
	out := make([]int, len(axes))
	seen := make([]bool, rank)
	for k, a := range axes {
		a, err := wantAxis(a, rank)
		if err != nil {
			return nil, err
		}
		if seen[a] {
			return nil, fmt.Errorf("axis %d is named twice", a)
		}
		seen[a] = true
		out[k] = a
	}
	return out, nil
}

// wantType refuses inputs whose type differs from that of input i0.
func wantType(in []*Tensor, i0 int, others ...int) error {
	for _, i := range others {
		if hasInput(in, i) && in[i].Type != in[i0].Type {
			return fmt.Errorf("input %d is of type %s, input %d of type %s", i0, in[i0].Type, i, in[i].Type)
		}
	}
	return nil
}

// wantShape refuses input i if it has another shape.
func wantShape(i int, t *Tensor, shape []int) error {
	if !EqualShape(t.Shape, shape) {
		return fmt.Errorf("input %d has shape %s, wants %s", i, ShapeString(t.Shape), ShapeString(shape))
	}
	return nil
}
