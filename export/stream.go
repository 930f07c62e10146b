package export

import (
	"fmt"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/onnxio"
)

// Tensors are open elements of a model, by name.
type Tensors map[string]*onnxio.Elements

// Open opens the elements of an initializer of m, once.
func (t Tensors) Open(m *onnxio.Model, name string) (*onnxio.Elements, error) {
	if e := t[name]; e != nil {
		return e, nil
	}
	e, err := m.Elements(name)
	if err == nil {
		t[name] = e
	}
	return e, err
}

// Close closes all.
func (t Tensors) Close() {
	for _, e := range t {
		e.Close()
	}
}

// WriteStreamed saves the model that g was read from at path, which may be the file itself, with other elements in
// tensors: mask puts them, piece by piece, at most once each. check is given the model parsed from the bytes to be
// written, its external data read from the new file, and nothing is written where it fails. g must not be used after.
func WriteStreamed(g *graph.Graph, tensors []*onnxio.Elements, path string,
	mask func(put func(tensor int, p []byte, first int) error) error, check func(m *onnxio.Model) error) error {
	w, err := g.File.Rewrite(path, tensors)
	if err != nil {
		return err
	}
	defer w.Discard()
	if err := mask(func(tensor int, p []byte, first int) error { return w.Put(tensors[tensor], p, first) }); err != nil {
		return err
	}
	m, err := w.Written()
	if err != nil {
		return err
	}
	if err := check(m); err != nil {
		return fmt.Errorf("%s: the pruned model failed its check and was not written: %w", g.Name, err)
	}
	return w.Commit()
}
