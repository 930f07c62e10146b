package onnxio

import (
	"encoding/binary"
	"slices"
)

// moveOutSize is the size from which the elements of an initializer go to external data where the file gets too large.
const moveOutSize = 1 << 10

// maxFileSize is MaxFileSize, but in tests.
var maxFileSize int64 = MaxFileSize

// moveOut makes external tensors of all initializers of some size, for a model that no single file can hold. Their
// elements wait in raw_data for the data file to be written.
func (m *Model) moveOut() error {
	for k, t := range m.Proto.Graph.Initializer {
		et, n, err := elements(t)
		if err != nil || et.bits == 0 || IsExternal(t) || n < moveOutSize/et.bits*8 {
			continue
		}
		raw, err := rawOf(t, m)
		if err != nil {
			return m.named(inTensor(t, err))
		}
		entry, err := entryOf("location", marker).Marshal()
		if err != nil {
			return m.named(err)
		}
		err = m.editSite(site{t: t, num: graphInitializer, k: k}, func(msg []byte) ([]byte, error) {
			all, err := fields(msg)
			if err != nil {
				return nil, err
			}
			out := make([]byte, 0, len(raw)+256)
			for _, f := range all {
				if _, data := dataFields[f.num]; !data && f.num != tensorExternalData && f.num != tensorLocation {
					out = append(out, f.raw...)
				}
			}
			out = appendBytesField(out, tensorRawData, raw)
			out = appendBytesField(out, tensorExternalData, entry)
			return binary.AppendUvarint(append(out, tensorLocation<<3|wireVarint), uint64(TensorProto_EXTERNAL)), nil
		})
		if err != nil {
			return m.named(inTensor(t, err))
		}
		m.external = true
	}
	return nil
}

// use notes a location that the model reads from.
func (p *externalPlan) use(location string) {
	if location != marker && !slices.Contains(p.order, location) {
		p.order = append(p.order, location)
	}
}
