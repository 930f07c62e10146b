package engine

import (
	"fmt"
	"sort"

	"github.com/onnxprune/onnxprune/op"
)

// storage is a piece of the arena, alive from call first to call last.
type storage struct {
	size        int
	first, last int
	offset      int
	tensors     []*op.Tensor
}

// touch extends the life of a storage.
func (s *storage) touch(t int) {
	if s != nil {
		s.first, s.last = min(s.first, t), max(s.last, t)
	}
}

// align is the alignment of buffers, in elements: one cache line.
const align = 16

// place gives every storage an offset such that storages that live at the same
// time do not overlap, largest first, each at the lowest free place. It returns
// the size of the arena in elements.
func place(all []*storage) int {
	order := append([]*storage(nil), all...)
	sort.SliceStable(order, func(i, j int) bool { return order[i].size > order[j].size })
	var placed []*storage // by offset
	total := 0
	for _, s := range order {
		need := (s.size + align - 1) / align * align
		at := 0
		for _, p := range placed {
			if p.last < s.first || s.last < p.first {
				continue
			}
			if at+need <= p.offset {
				break
			}
			at = max(at, p.offset+(p.size+align-1)/align*align)
		}
		s.offset = at
		k := sort.Search(len(placed), func(i int) bool { return placed[i].offset > at })
		placed = append(placed, nil)
		copy(placed[k+1:], placed[k:])
		placed[k] = s
		total = max(total, at+need)
	}
	return total
}

// gibibytes writes a number of bytes for people.
func gibibytes(n int) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }

// bind gives the tensors of every storage their elements.
func bind(all []*storage, arena []float32) {
	for _, s := range all {
		for _, t := range s.tensors {
			t.F = arena[s.offset : s.offset+s.size : s.offset+s.size]
		}
	}
}
