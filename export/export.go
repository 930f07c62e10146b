// Package export writes a pruned model into the file it came from, and proves from
// the bytes to be written that the masks hold.
package export

import (
	"fmt"
	"maps"
	"slices"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/onnxio"
)

// Result is what pruning left behind.
type Result struct {
	// Values are the new elements of initializers by name, row-major, without
	// masks applied. Initializers that are absent keep theirs.
	Values map[string][]float32
	// Masks are true where an element stays, by initializer name.
	Masks map[string][]bool
	// Sparse stores tensors that have a mask as sparse initializers, where these are
	// smaller.
	Sparse bool
}

// Check is what was found in the encoded model before it was saved.
type Check struct {
	// Unchanged marks a model that is written byte for byte as it was read.
	Unchanged bool
	// Tensors and Elements are under a mask, Zeros of the elements are removed by it.
	Tensors, Elements, Zeros int
	// Sparse of the tensors are sparse initializers.
	Sparse int
}

// Write puts values and masks into the file that g was read from, checks the result
// and saves it at path, which may be the file itself. g must not be used after: its
// masks are then those of the file.
//
// The encoded model is decoded again before it is saved. Every element under a zero
// of a mask must be exactly zero (graph.Fold), or be multiplied by an exact zero of a
// mask of zeros and ones (graph.AsNode); a deviation is an error and nothing is
// written. A result without values and masks leaves the bytes as they were.
func Write(g *graph.Graph, r Result, form graph.MaskForm, path string) (Check, error) {
	m := g.File
	masks := map[string][]bool{}
	for name, keep := range r.Masks {
		if form == graph.AsNode || removed(keep) > 0 || g.Value(name) != nil && g.Value(name).Mask != nil {
			masks[name] = keep
		}
	}
	for _, v := range g.Initializers() {
		values := r.Values[v.Name]
		if values == nil {
			continue
		}
		if err := m.SetTensor(v.Name, values); err != nil {
			return Check{}, err
		}
	}
	if len(masks) > 0 {
		if err := g.WriteMasks(masks, form); err != nil {
			return Check{}, err
		}
	}
	c, err := check(m, r.Masks, masks, form)
	if err != nil {
		return Check{}, fmt.Errorf("%s: the pruned model failed its check and was not written: %w", g.Name, err)
	}
	c.Unchanged = len(r.Values) == 0 && len(masks) == 0 && g.Inlined.Calls == 0
	if r.Sparse {
		for _, name := range slices.Sorted(maps.Keys(r.Masks)) {
			done, err := m.Sparsify(name)
			if err != nil {
				return Check{}, err
			}
			if done {
				c.Sparse++
				c.Unchanged = false
			}
		}
	}
	return c, m.Save(path)
}

func removed(keep []bool) int {
	n := 0
	for _, k := range keep {
		if !k {
			n++
		}
	}
	return n
}

// check decodes the edited model. Tensors outside the file are read through the
// model, all others from the bytes that will be saved.
func check(m *onnxio.Model, masks, written map[string][]bool, form graph.MaskForm) (Check, error) {
	source := m
	if !hasExternal(m) {
		var err error
		if source, err = onnxio.LoadBytes(m.Name(), m.Bytes()); err != nil {
			return Check{}, err
		}
	}
	var c Check
	for _, name := range slices.Sorted(maps.Keys(masks)) {
		keep := masks[name]
		if m.Tensor(name) == nil {
			continue
		}
		if written[name] != nil {
			zeros, err := checkTensor(source, name, keep, form)
			if err != nil {
				return Check{}, err
			}
			c.Zeros += zeros
		}
		c.Tensors++
		c.Elements += len(keep)
	}
	if want := count(masks); c.Zeros != want {
		return Check{}, fmt.Errorf("%d elements are masked in the file, the masks remove %d", c.Zeros, want)
	}
	return c, nil
}

func count(masks map[string][]bool) int {
	n := 0
	for _, keep := range masks {
		n += removed(keep)
	}
	return n
}

// checkTensor returns how many elements of an initializer its mask removes, as found
// in the model.
func checkTensor(m *onnxio.Model, name string, keep []bool, form graph.MaskForm) (zeros int, err error) {
	if form == graph.AsNode {
		name += graph.MaskSuffix
	}
	t := m.Tensor(name)
	if t == nil {
		return 0, fmt.Errorf("initializer %q is missing", name)
	}
	_, values, err := m.Float32s(t)
	if err != nil {
		return 0, err
	}
	if len(values) != len(keep) {
		return 0, fmt.Errorf("initializer %q has %d elements, its mask %d", name, len(values), len(keep))
	}
	for i, k := range keep {
		switch {
		case !k && values[i] != 0:
			return 0, fmt.Errorf("initializer %q: element %d is %g, the mask wants 0", name, i, values[i])
		case !k:
			zeros++
		case form == graph.AsNode && values[i] != 1:
			return 0, fmt.Errorf("initializer %q: element %d is %g, wants 1", name, i, values[i])
		}
	}
	return zeros, nil
}

func hasExternal(m *onnxio.Model) bool {
	for _, t := range m.Proto.Graph.Initializer {
		if onnxio.IsExternal(t) {
			return true
		}
	}
	return false
}
