package data

import (
	"fmt"
	"slices"
)

// HoldOut takes n of d's rows out of it, in [1,Len), random by the seed, and returns them as a dataset of
// their own; both stay in file order. That one reads d's files: it is of use until d is
// closed. Neither may have open iterators.
func (d *Dataset) HoldOut(n int, seed uint64) (*Dataset, error) {
	if rows := d.Len(); n < 1 || n >= rows {
		return nil, fmt.Errorf("%s: %d rows to hold out, want 1 to %d", d.dir, n, rows-1)
	}
	order := shuffled(d.Len(), newKeyed(useHoldOut, seed))
	if d.rows != nil {
		for i, row := range order {
			order[i] = d.rows[row]
		}
	}
	held, rest := slices.Clone(order[:n]), slices.Clone(order[n:])
	slices.Sort(held)
	slices.Sort(rest)
	d.rows = rest
	return &Dataset{dir: d.dir, meta: d.meta, inputs: d.inputs, labels: d.labels, classes: d.classes, starts: d.starts, rows: held, of: d, live: map[*Batches]struct{}{}}, nil
}
