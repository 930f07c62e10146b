package data

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// Batch is some rows of a dataset.
type Batch struct {
	Rows    int
	Inputs  [][]float32 // per model input, [Rows, shape…] row-major
	Labels  []int64     // [Rows, shape…] class numbers, or nil; Ignored where one does not count
	Targets []float32   // [Rows, shape…] float labels, or nil
	Index   []int       // [Rows] the rows' numbers in the dataset; nil for made-up data

	memory *memory
}

// memory is what batches are made in, one after another.
type memory struct {
	inputs  [][]float32
	labels  []int64
	targets []float32
	index   []int
	free    chan *memory
}

// Release hands the batch's memory back for reuse and empties the batch; the slices
// taken from it must not be used after. A second call does nothing.
func (b *Batch) Release() {
	if m := b.memory; m != nil {
		*b = Batch{}
		select {
		case m.free <- m:
		default:
		}
	}
}

// BatchOptions says how a dataset is cut into batches.
type BatchOptions struct {
	Size     int     // rows of a batch
	Shuffle  bool    // random order over all shards by Seed and Epoch; else file order
	DropLast bool    // leave out the last batch where it would be smaller
	Augment  Augment // AugmentAuto is resolved
	Seed     uint64
	Epoch    int
	First    int // batch to begin with, as if those before it had been delivered
	Workers  int // goroutines that decode; 0: 2
	Ahead    int // finished batches that may wait for Next; 0: 4
}

// Batches delivers one epoch of batches in order, prepared ahead by goroutines. It is
// for one consumer.
type Batches struct {
	d     *Dataset
	opts  BatchOptions
	order []int32 // nil for file order
	count int
	queue chan chan result
	free  chan *memory
	done  chan struct{}
	wait  sync.WaitGroup
	once  sync.Once
	err   error // what Next returns from now on
}

type result struct {
	batch *Batch
	err   error
}

type job struct {
	index int
	to    chan result
}

// Batches begins an epoch.
func (d *Dataset) Batches(o BatchOptions) (*Batches, error) {
	if o.Size < 1 {
		return nil, fmt.Errorf("batch size %d, want at least 1", o.Size)
	}
	rows := d.Len()
	if o.DropLast && o.Size > rows {
		return nil, fmt.Errorf("%s: batch size %d, the dataset has only %d rows", d.dir, o.Size, rows)
	}
	o.Size = min(o.Size, rows)
	var err error
	if o.Augment, err = d.ResolveAugment(o.Augment); err != nil {
		return nil, err
	}
	if o.Workers < 1 {
		o.Workers = 2
	}
	if o.Ahead < 1 {
		o.Ahead = 4
	}
	b := &Batches{d: d, opts: o, count: rows / o.Size}
	if !o.DropLast && rows%o.Size != 0 {
		b.count++
	}
	if o.First < 0 || o.First > b.count {
		return nil, fmt.Errorf("%s: batch %d to begin with, the epoch has %d", d.dir, o.First, b.count)
	}
	if o.Shuffle {
		b.order = permutation(rows, o.Seed, o.Epoch)
	}
	b.queue = make(chan chan result, o.Ahead)
	b.free = make(chan *memory, o.Ahead+o.Workers+1)
	b.done = make(chan struct{})
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, fmt.Errorf("%s: the dataset is closed", d.dir)
	}
	d.live[b] = struct{}{}
	b.start()
	return b, nil
}

func (b *Batches) start() {
	jobs := make(chan job)
	b.wait.Add(1 + b.opts.Workers)
	go func() {
		defer b.wait.Done()
		defer close(jobs)
		defer close(b.queue)
		for i := b.opts.First; i < b.count; i++ {
			to := make(chan result, 1)
			select {
			case b.queue <- to:
			case <-b.done:
				return
			}
			select {
			case jobs <- job{i, to}:
			case <-b.done:
				return
			}
		}
	}()
	for range b.opts.Workers {
		go func() {
			defer b.wait.Done()
			raw := b.d.scratch()
			for j := range jobs {
				first := j.index * b.opts.Size
				batch := b.memory().batch(b.d, min(b.opts.Size, b.d.Len()-first))
				j.to <- result{batch, b.fill(batch, first, raw)}
			}
		}()
	}
}

// Count is the number of batches of the epoch.
func (b *Batches) Count() int { return b.count }

// Augment is the augmentation in use, never AugmentAuto.
func (b *Batches) Augment() Augment { return b.opts.Augment }

// Next returns the next batch, io.EOF after the last one. An error is final.
func (b *Batches) Next() (*Batch, error) {
	if b.err != nil {
		return nil, b.err
	}
	to, ok := <-b.queue
	if !ok {
		b.finish(io.EOF)
		return nil, b.err
	}
	r := <-to
	if r.err != nil {
		b.finish(r.err)
		return nil, r.err
	}
	return r.batch, nil
}

// Close ends the iterator and waits for its goroutines. It may be called at any time
// between calls of Next, and again.
func (b *Batches) Close() error {
	b.finish(errors.New("data: Next after Close"))
	return nil
}

func (b *Batches) finish(err error) {
	b.once.Do(func() {
		b.err = err
		close(b.done)
		b.wait.Wait()
		b.d.mu.Lock()
		delete(b.d.live, b)
		b.d.mu.Unlock()
	})
}

// scratch has room for one raw row of any stream.
func (d *Dataset) scratch() []byte {
	n := 0
	for _, s := range d.streams() {
		for _, sh := range s.shards {
			n = max(n, sh.rowBytes())
		}
	}
	return make([]byte, n)
}

func (b *Batches) memory() *memory {
	select {
	case m := <-b.free:
		return m
	default:
	}
	m := &memory{free: b.free, index: make([]int, b.opts.Size)}
	for _, s := range b.d.inputs {
		m.inputs = append(m.inputs, make([]float32, b.opts.Size*s.rowElems()))
	}
	switch s := b.d.labels; {
	case s == nil:
	case s.dtype == Float32:
		m.targets = make([]float32, b.opts.Size*s.rowElems())
	default:
		m.labels = make([]int64, b.opts.Size*s.rowElems())
	}
	return m
}

// batch is a batch of the given number of rows in m.
func (m *memory) batch(d *Dataset, rows int) *Batch {
	b := &Batch{Rows: rows, Index: m.index[:rows], memory: m}
	for k, s := range d.inputs {
		b.Inputs = append(b.Inputs, m.inputs[k][:rows*s.rowElems()])
	}
	if m.labels != nil {
		b.Labels = m.labels[:rows*d.labels.rowElems()]
	}
	if m.targets != nil {
		b.Targets = m.targets[:rows*d.labels.rowElems()]
	}
	return b
}

// fill makes the batch that begins at place first of the epoch's order.
func (b *Batches) fill(batch *Batch, first int, raw []byte) error {
	for i := range batch.Rows {
		row := first + i
		if b.order != nil {
			row = int(b.order[row])
		}
		if b.d.rows != nil {
			row = int(b.d.rows[row])
		}
		batch.Index[i] = row
		shard, within := b.d.locate(row)
		rng := newKeyed(useAugment, b.opts.Seed, uint64(b.opts.Epoch), uint64(first+i))
		for k, s := range b.d.inputs {
			dst := part(batch.Inputs[k], i, batch.Rows)
			err := s.read(shard, within, raw, func(raw []byte) error {
				return s.augmented(dst, raw, b.opts.Augment, rng)
			})
			if err != nil {
				return b.d.located(s, shard, within, err)
			}
		}
		if s := b.d.labels; s != nil {
			err := s.read(shard, within, raw, func(raw []byte) error {
				if batch.Labels != nil {
					row := batch.Labels[i*s.rowElems() : (i+1)*s.rowElems()]
					size := len(raw) / len(row)
					for k := range row {
						v, counts := b.d.label(raw[k*size : (k+1)*size])
						if !counts {
							v = Ignored
						}
						row[k] = v
					}
					if b.opts.Augment != AugmentNone && b.d.dense() {
						b.opts.Augment.moved(row, s.shape[0], s.shape[1], rng)
					}
					return nil
				}
				return s.decode.row(part(batch.Targets, i, batch.Rows), raw)
			})
			if err != nil {
				return b.d.located(s, shard, within, err)
			}
		}
	}
	return nil
}

// part is row i of x, which holds the given number of rows.
func part(x []float32, i, rows int) []float32 {
	n := len(x) / rows
	return x[i*n : (i+1)*n]
}

// read passes one raw row to use.
func (s *stream) read(shard, row int, scratch []byte, use func(raw []byte) error) error {
	return catchFault(func() error {
		raw, err := s.shards[shard].row(row, scratch)
		if err != nil {
			return err
		}
		return use(raw)
	})
}

func (d *Dataset) located(s *stream, shard, row int, err error) error {
	return fmt.Errorf("%s: %s: row %d: %w", d.dir, s.shards[shard].name, row, err)
}
