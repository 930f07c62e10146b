package data

import (
	"encoding/binary"
	"math"
)

// Generated is a dataset of made-up rows, without labels, in memory: those of
// [RandomBatch] with the same seed, as float32, or int64 for integer inputs.
func Generated(inputs []InputSpec, rows int, seed uint64) (*Dataset, error) {
	d := &Dataset{live: map[*Batches]struct{}{}, starts: []int{0, rows}}
	batch, err := RandomBatch(inputs, rows, 0, seed)
	if err != nil {
		return nil, err
	}
	for k, spec := range inputs {
		s := &stream{spec: spec, file: fileName(spec.Name), shape: append([]int(nil), spec.Shape...), dtype: Float32}
		values := batch.Inputs[k]
		var raw []byte
		if spec.Integer {
			s.dtype = Int64
			for _, v := range values {
				raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
			}
		} else {
			raw = make([]byte, 0, 4*len(values))
			for _, v := range values {
				raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
			}
		}
		s.shards = []*shard{{name: "generated", head: Header{DType: s.dtype, Shape: append([]int{rows}, spec.Shape...)}, rows: rows, rowElems: len(values) / rows, mapped: raw, inMemory: true}}
		d.inputs = append(d.inputs, s)
	}
	var bad problems
	d.prepare(&bad)
	return d, bad.err()
}

// Generated reports a dataset that is not of files.
func (d *Dataset) Generated() bool { return d.dir == "" }
