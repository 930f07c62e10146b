package op

import "github.com/onnxprune/onnxprune/internal/kernel"

// depthPool is the third spatial axis of a pool: the kernels pool every frame [H,W] of x [N,D,H,W,C] in memory, and what they make is pooled
// over the frames that a window covers.
type depthPool struct {
	// axis has no taps that never meet the input, whole has all of them.
	axis, whole axisWindow
	samples     int
	// plane and size are pixels of a frame before and elements of one after pooling, each an output frame's elements.
	plane, size int
}

// taps calls f with every frame of the input that position o covers, in order.
func (d *depthPool) taps(o int, f func(frame int)) {
	for t := range d.axis.kernel {
		if at := o*d.axis.stride - d.axis.begin + t*d.axis.dil; at >= 0 && at < d.axis.in {
			f(at)
		}
	}
}

// count is the number of frames that position o covers; with padding those inside the padded input.
func (d *depthPool) count(o int, padding bool) int {
	if padding {
		return d.whole.padded(o)
	}
	n := 0
	d.taps(o, func(int) { n++ })
	return n
}

// frames is the number of elements of all frames after the pooling of each.
func (d *depthPool) frames() int { return d.samples * d.axis.in * d.size }

// each calls f for every output frame: its elements from at on, and the position and the first frame of its sample.
func (d *depthPool) each(p *kernel.Pool, f func(at, o, first int)) {
	p.Run(d.samples*d.axis.out, func(t, _ int) {
		f(t*d.size, t%d.axis.out, t/d.axis.out*d.axis.in)
	})
}

// max computes y and the places of its maxima, the first of equal ones, from those of frames; places nil for none. NaN wins.
func (d *depthPool) max(p *kernel.Pool, y []float32, places []int32, flat []float32, within []int32) {
	d.each(p, func(at, o, first int) {
		out := y[at:][:d.size]
		began := false
		d.taps(o, func(frame int) {
			from := flat[(first+frame)*d.size:][:d.size]
			if places == nil {
				if !began {
					copy(out, from)
				} else {
					for i, v := range from {
						if v > out[i] || v != v {
							out[i] = v
						}
					}
				}
				began = true
				return
			}
			place, pixel := places[at:][:d.size], within[(first+frame)*d.size:][:d.size]
			base := int32(frame * d.plane)
			for i, v := range from {
				if !began || v > out[i] || v != v && out[i] == out[i] {
					out[i], place[i] = v, base+pixel[i]
				}
			}
			began = true
		})
	})
}

// maxGrad adds every dy to the place in dx where its maximum was.
func (d *depthPool) maxGrad(p *kernel.Pool, dx, dy []float32, places []int32, channels int) {
	image, volume := d.axis.out*d.size, d.axis.in*d.plane*channels
	p.Run(d.samples, func(n, _ int) {
		to := dx[n*volume:][:volume]
		for i, place := range places[n*image:][:image] {
			to[int(place)*channels+i%channels] += dy[n*image+i]
		}
	})
}

// mean computes y from the means of frames.
func (d *depthPool) mean(p *kernel.Pool, y, flat []float32, padding bool) {
	d.each(p, func(at, o, first int) {
		out := y[at:][:d.size]
		clear(out)
		d.taps(o, func(frame int) { kernel.Add(out, out, flat[(first+frame)*d.size:][:d.size]) })
		kernel.Scale(out, out, 1/float32(d.count(o, padding)))
	})
}

// meanGrad computes the gradient of the means of frames.
func (d *depthPool) meanGrad(p *kernel.Pool, flat, dy []float32, padding bool) {
	p.Run(d.samples, func(n, _ int) {
		to := flat[n*d.axis.in*d.size:][:d.axis.in*d.size]
		clear(to)
		for o := range d.axis.out {
			share := 1 / float32(d.count(o, padding))
			from := dy[(n*d.axis.out+o)*d.size:][:d.size]
			d.taps(o, func(frame int) { kernel.Axpy(to[frame*d.size:][:d.size], from, share) })
		}
	})
}
