package op

import (
	"fmt"
	"math"
)

// pieces are the equally long runs of a row-major tensor that an index tensor
// names, in the order of the index.
type pieces struct {
	at []int // offset of each run
	n  int   // length of a run
}

// wantIndex refuses index tensors that hold no integers.
func wantIndex(i int, t *Tensor) error {
	if t.Type != Int64 && t.Type != Int32 {
		return fmt.Errorf("input %d is of type %s, wants int32 or int64", i, t.Type)
	}
	return nil
}

// resolve returns index v of an axis of length n, negative ones counted from the
// end.
func resolve(v int64, n int) (int, error) {
	if v < -int64(n) || v >= int64(n) {
		return 0, fmt.Errorf("index %d is out of range for an axis of length %d", v, n)
	}
	if v < 0 {
		v += int64(n)
	}
	return int(v), nil
}

// elements names one element of a tensor of the given shape per element of index:
// that at the position of the index element, with axis replaced by its value.
func (p *pieces) elements(shape []int, axis int, index *Tensor) error {
	p.reset(len(index.I), 1)
	str := Strides(shape, RowMajor)
	var err error
	k := 0
	Each(index.Shape, func(idx []int) {
		v, e := resolve(index.I[k], shape[axis])
		if e != nil {
			err = e
		}
		off := v * str[axis]
		for a, i := range idx {
			if a != axis {
				off += i * str[a]
			}
		}
		p.at[k] = off
		k++
	})
	return err
}

// slices names one slice of a tensor per tuple along the last axis of index. The
// first batch axes of both go together.
func (p *pieces) slices(shape, indexShape []int, index []int64, batch int) error {
	r := len(indexShape)
	q := indexShape[r-1]
	str := Strides(shape, RowMajor)
	tuples := Size(indexShape[:r-1])
	p.reset(tuples, Size(shape[batch+q:]))
	perBatch := Size(indexShape[batch : r-1])
	step := Size(shape[batch:])
	for k := range p.at {
		off := k / max(1, perBatch) * step
		for j, v := range index[k*q:][:q] {
			i, err := resolve(v, shape[batch+j])
			if err != nil {
				return err
			}
			off += i * str[batch+j]
		}
		p.at[k] = off
	}
	return nil
}

func (p *pieces) reset(runs, n int) {
	if cap(p.at) < runs {
		p.at = make([]int, runs)
	}
	p.at, p.n = p.at[:runs], n
}

// gather copies the runs of x next to each other into y.
func (p *pieces) gather(y, x *Tensor) {
	if y.F != nil {
		gatherRuns(p, y.F, x.F)
	} else {
		gatherRuns(p, y.I, x.I)
	}
}

func gatherRuns[T any](p *pieces, y, x []T) {
	for k, o := range p.at {
		copy(y[k*p.n:][:p.n], x[o:])
	}
}

// scatterAdd adds the rows of u to the runs of y.
func (p *pieces) scatterAdd(y, u []float32) {
	for k, o := range p.at {
		for i, v := range u[k*p.n:][:p.n] {
			y[o+i] += v
		}
	}
}

// scatter folds the rows of u into the runs of y, in order.
func (p *pieces) scatter(y, u *Tensor, f *scatterFunc) {
	if y.F != nil {
		scatterRuns(p, y.F, u.F, f.floats)
		return
	}
	scatterRuns(p, y.I, u.I, func(a, b int64) int64 { return wrap(y.Type, f.ints(a, b)) })
}

func scatterRuns[T any](p *pieces, y, u []T, f func(a, b T) T) {
	for k, o := range p.at {
		for i, v := range u[k*p.n:][:p.n] {
			y[o+i] = f(y[o+i], v)
		}
	}
}

// scatterFunc is what happens to an element and its update.
type scatterFunc struct {
	floats func(a, b float32) float32
	ints   func(a, b int64) int64
	ref    func(a, b float64) float64
}

func scatterOf[T int64 | float32 | float64](name string) func(a, b T) T {
	switch name {
	case "add":
		return func(a, b T) T { return a + b }
	case "mul":
		return func(a, b T) T { return a * b }
	case "max":
		return func(a, b T) T { return max(a, b) }
	case "min":
		return func(a, b T) T { return min(a, b) }
	}
	return func(_, b T) T { return b }
}

// scatterReduction reads the attribute reduction.
func scatterReduction(r *reader) (string, scatterFunc) {
	name := r.String("reduction", "none")
	oneOf(r, "reduction", name, "none", "add", "mul", "max", "min")
	return name, scatterFunc{scatterOf[float32](name), scatterOf[int64](name), scatterOf[float64](name)}
}

// scatterForm is what operators share that change some runs of their input: y = x,
// then y[run k] = f(y[run k], u[k]).
type scatterForm struct {
	f      scatterFunc
	locate func(p *pieces, x, index *Tensor) error
	check  func(x, index, updates *Tensor) error
	runs   pieces
}

func (s *scatterForm) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 3, 3); err != nil {
		return nil, err
	}
	if err := wantIndex(1, in[1]); err != nil {
		return nil, err
	}
	if err := wantType(in, 0, 2); err != nil {
		return nil, err
	}
	if err := s.check(in[0], in[1], in[2]); err != nil {
		return nil, err
	}
	if in[1].IsConst() {
		if err := s.locate(&s.runs, in[0], in[1]); err != nil {
			return nil, err
		}
	}
	return []*Tensor{Info(in[0].Type, in[0].Shape...)}, nil
}

func (s *scatterForm) Forward(c *Context, in, out []*Tensor) error {
	if err := s.locate(&s.runs, in[0], in[1]); err != nil {
		return err
	}
	copy(out[0].F, in[0].F)
	copy(out[0].I, in[0].I)
	s.runs.scatter(out[0], in[2], &s.f)
	return nil
}

// scatterGrad is a scatter that replaces elements or adds to them: dx = dy, without
// what was replaced, and du[k] = dy[run k], or 0 where a later run replaced it.
type scatterGrad struct {
	scatterForm
	replaces bool
}

// newScatter hides the gradient where there is none.
func newScatter(name string, s scatterForm) Op {
	if name == "none" || name == "add" {
		return &scatterGrad{s, name == "none"}
	}
	return &s
}

func (s *scatterGrad) Reads() (in, out uint32) { return 1 << 1, 0 }

func (s *scatterGrad) Prepare(in, out []*Tensor, training bool) (int, error) {
	if !training || !s.replaces {
		return 0, nil
	}
	return in[0].Size(), nil
}

func (s *scatterGrad) Backward(c *Context, in, out, dout, din []*Tensor) error {
	dy := dout[0].F
	if err := s.locate(&s.runs, dout[0], in[1]); err != nil {
		return err
	}
	left := dy
	switch {
	case din[0] != nil:
		left = din[0].F
		copy(left, dy)
	case s.replaces:
		left = c.scratch(len(dy))
		copy(left, dy)
	}
	for k := len(s.runs.at) - 1; k >= 0; k-- {
		run := left[s.runs.at[k]:][:s.runs.n]
		if len(din) > 2 && din[2] != nil {
			copy(din[2].F[k*s.runs.n:], run)
		}
		if s.replaces {
			clear(run)
		}
	}
	return nil
}

// refIndex returns an index of a reference as an int, counted from the front.
func refIndex(v float64, n int) int {
	return int(math.Mod(v+float64(n), float64(n)))
}
