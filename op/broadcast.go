package op

import "fmt"

// BroadcastShape returns the shape of a multidirectional broadcast
// (https://onnx.ai/onnx/repo-docs/Broadcasting.html).
func BroadcastShape(shapes ...[]int) ([]int, error) {
	r := 0
	for _, s := range shapes {
		r = max(r, len(s))
	}
	out := make([]int, r)
	for i := range out {
		out[i] = 1
	}
	for _, s := range shapes {
		for i, d := range s {
			k := r - len(s) + i
			switch {
			case d == 1 || d == out[k]:
			case out[k] == 1:
				out[k] = d
			default:
				text := ""
				for _, s := range shapes {
					text += " " + ShapeString(s)
				}
				return nil, fmt.Errorf("shapes%s do not broadcast: axis %d has %d and %d", text, k, out[k], d)
			}
		}
	}
	return out, nil
}

// broadcastLayouts keeps channels-last when an input of full rank has it:
// then all inputs of full rank that are not broadcast take it too.
func broadcastLayouts(in []*Tensor, outs int) (want, out []Layout) {
	r := 0
	for _, t := range in {
		if t != nil {
			r = max(r, t.Rank())
		}
	}
	best, size := RowMajor, -1
	for _, t := range in {
		if t != nil && t.Rank() == r && t.Size() > size {
			best, size = t.Layout, t.Size()
		}
	}
	want = make([]Layout, len(in))
	for i, t := range in {
		if t == nil {
			continue
		}
		want[i] = t.Layout
		if t.Rank() == r && t.Size() == size {
			want[i] = best
		}
	}
	return want, lastLayouts(outs, best)
}

// passLinks links every axis of out with the axes of the inputs that have its
// full length; a broadcast axis of length 1 passes the slices by. Axes of
// length 1 in the output are not linked.
func passLinks(in, out []*Tensor) []Link {
	var links []Link
	r := out[0].Rank()
	for a := 0; a < r; a++ {
		if out[0].Shape[a] == 1 {
			continue
		}
		l := Link{}
		for i, t := range in {
			if t == nil {
				continue
			}
			if k := a - (r - t.Rank()); k >= 0 && t.Shape[k] != 1 {
				l = append(l, AxisRef{i, k})
			}
		}
		for j := range out {
			l = append(l, AxisRef{^j, a})
		}
		links = append(links, l)
	}
	return links
}

// refBroadcast reads array a at an index of the broadcast shape.
func refBroadcast(a *Array, idx []int) float64 {
	o, d := 0, len(idx)-len(a.Shape)
	for i, n := range a.Shape {
		k := idx[i+d]
		if n == 1 {
			k = 0
		}
		o = o*n + k
	}
	return a.V[o]
}

func mustBroadcast(in []*Array) []int {
	shapes := make([][]int, len(in))
	for i, a := range in {
		shapes[i] = a.Shape
	}
	s, err := BroadcastShape(shapes...)
	if err != nil {
		panic(err)
	}
	return s
}
