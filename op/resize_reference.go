package op

import (
	"cmp"
	"math"
	"slices"
)

func resizeCases() []Case {
	f := func(v ...float32) Arg { return Const(Floats(v, len(v))) }
	vec := func(v ...int) Arg { return Const(Vector(v...)) }
	x := Rand(2, 3, 4, 5)
	mode := func(kv ...string) Attrs {
		a := Attrs{}
		names := []string{"mode", "coordinate_transformation_mode", "nearest_mode"}
		for i, v := range kv {
			a[names[i]] = StringAttr(v)
		}
		return a
	}
	with := func(a Attrs, name string, v Attr) Attrs {
		a[name] = v
		return a
	}
	cases := []Case{
		{Name: "opset 10", Opset: 10, Attrs: mode("nearest"), In: []Arg{x, f(1, 1, 2, 3)}},
		{Name: "opset 10 smaller", Opset: 10, Attrs: mode("nearest"), In: []Arg{x, f(1, 1, 0.6, 0.7)}},
		{Name: "opset 10 linear", Opset: 10, Attrs: mode("linear"), In: []Arg{x, f(1, 1, 2, 1.5)}},
		{Name: "opset 11", Opset: 11, Attrs: mode("linear", "half_pixel"), In: []Arg{x, f(), f(1, 1, 2, 0.7)}},
		{Name: "channels", Attrs: mode("linear", "align_corners"), In: []Arg{x, None(), None(), vec(2, 5, 3, 5)}},
		{Name: "sizes", Attrs: mode("nearest", "half_pixel"), In: []Arg{x, None(), None(), vec(2, 3, 7, 3)}},
		{Name: "axes", Opset: 18, Attrs: with(mode("linear", "asymmetric"), "axes", IntsAttr(-1, 2)), In: []Arg{x, None(), f(1.5, 2)}},
		{Name: "not larger", Opset: 18, Attrs: with(with(mode("linear"), "keep_aspect_ratio_policy", StringAttr("not_larger")), "axes", IntsAttr(2, 3)),
			In: []Arg{x, None(), None(), vec(7, 7)}},
		{Name: "not smaller", Opset: 19, Attrs: with(with(mode("cubic"), "keep_aspect_ratio_policy", StringAttr("not_smaller")), "axes", IntsAttr(2, 3)),
			In: []Arg{x, None(), None(), vec(6, 6)}},
		{Name: "exclude outside", Attrs: with(mode("cubic", "half_pixel"), "exclude_outside", IntAttr(1)), In: []Arg{x, None(), f(1, 1, 2, 1.7)}},
		{Name: "cubic a", Attrs: with(mode("cubic", "half_pixel"), "cubic_coeff_a", FloatAttr(-0.5)), In: []Arg{x, None(), f(1, 1, 0.7, 2)}},
		{Name: "antialias linear", Opset: 18, Attrs: with(mode("linear"), "antialias", IntAttr(1)), In: []Arg{Rand(1, 2, 9, 8), None(), f(1, 1, 0.4, 0.6)}},
		{Name: "antialias cubic", Opset: 18, Attrs: with(mode("cubic"), "antialias", IntAttr(1)), In: []Arg{Rand(1, 2, 9, 8), None(), None(), vec(1, 2, 4, 1)}},
		{Name: "symmetric", Opset: 19, Attrs: mode("linear", "half_pixel_symmetric"), In: []Arg{x, None(), f(1, 1, 1.3, 0.7)}},
		{Name: "crop", Attrs: with(mode("linear", "tf_crop_and_resize"), "extrapolation_value", FloatAttr(7)),
			In: []Arg{x, f(0, 0, 0.3, -0.2, 1, 1, 0.7, 1.3), None(), vec(2, 3, 3, 6)}},
		{Name: "crop to one", Attrs: mode("nearest", "tf_crop_and_resize"), In: []Arg{x, f(0, 0, 0.2, 0.1, 1, 1, 0.7, 0.9), None(), vec(2, 3, 1, 2)}},
		{Name: "vector", Attrs: mode("linear"), In: []Arg{Rand(7), None(), f(1.6)}},
		{Name: "batch", Attrs: mode("linear"), In: []Arg{Rand(3, 4), None(), f(1.7, 1)}},
		{Name: "3d", Attrs: mode("linear"), In: []Arg{Rand(1, 2, 3, 2, 4), None(), f(1, 1, 1.5, 2, 0.5)}},
		{Name: "same", Attrs: mode("linear"), In: []Arg{x, None(), f(1, 1, 1, 1)}},
		{Name: "int64", Attrs: mode("nearest", "asymmetric", "floor"), In: []Arg{Const(Ints([]int64{1, 2, 3, 4}, 1, 1, 2, 2)), None(), f(1, 1, 2, 1.5)}},
	}
	for _, c := range []string{"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn"} {
		for _, m := range []string{"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"} {
			cases = append(cases, Case{Name: c + " " + m, Attrs: mode("nearest", c, m), In: []Arg{Rand(1, 2, 5, 6), None(), f(1, 1, 1.7, 0.55)}})
		}
		cases = append(cases,
			Case{Name: c + " linear", Attrs: mode("linear", c), In: []Arg{x, None(), f(1, 1, 2, 0.6)}},
			Case{Name: c + " cubic", Attrs: mode("cubic", c), In: []Arg{x, None(), None(), vec(2, 3, 7, 1)}})
	}
	return cases
}

// refResize resizes one axis after the other.
func refResize(n Node, in []*Array) []*Array {
	r := &reader{n: n}
	rank := len(in[0].Shape)
	axes := r.Ints("axes")
	for a := 0; r.Ints("axes") == nil && a < rank; a++ {
		axes = append(axes, a)
	}
	given := func(i int) []float64 {
		if i < len(in) && in[i] != nil && len(in[i].V) > 0 {
			return in[i].V
		}
		return nil
	}
	var roi, sizes []float64
	scales := given(1)
	if n.Opset >= 11 {
		roi, scales, sizes = given(1), given(2), given(3)
	}
	if scales == nil && n.Type == "Upsample" {
		for _, s := range n.Attrs["scales"].Floats {
			scales = append(scales, float64(s))
		}
	}
	ratio := make([]float64, len(axes))
	length := make([]int, len(axes))
	for k, a := range axes {
		d := float64(in[0].Shape[(a+rank)%rank])
		if scales != nil {
			ratio[k], length[k] = scales[k], int(math.Floor(d*scales[k]))
		} else {
			ratio[k], length[k] = sizes[k]/d, int(sizes[k])
		}
	}
	if p := r.String("keep_aspect_ratio_policy", "stretch"); p != "stretch" {
		s := slices.Min(ratio)
		if p == "not_smaller" {
			s = slices.Max(ratio)
		}
		for k, a := range axes {
			ratio[k], length[k] = s, int(math.Floor(s*float64(in[0].Shape[(a+rank)%rank])+0.5))
		}
	}
	y := in[0]
	for k, a := range axes {
		start, end := 0.0, 1.0
		if roi != nil {
			start, end = roi[k], roi[len(axes)+k]
		}
		y = refResizeAxis(n, y, (a+rank)%rank, length[k], ratio[k], start, end)
	}
	return []*Array{y}
}

// refResizeAxis interpolates along one axis, with the formulas of the page.
func refResizeAxis(n Node, x *Array, axis, length int, scale, start, end float64) *Array {
	r := &reader{n: n}
	crop := n.Attrs["coordinate_transformation_mode"].S == "tf_crop_and_resize"
	if length == x.Shape[axis] && scale == 1 && !crop {
		return x
	}
	shape := append([]int{}, x.Shape...)
	shape[axis] = length
	y := NewArray(shape...)
	last := x.Shape[axis] - 1
	Each(shape, func(idx []int) {
		at := refResizePlace(n, idx[axis], x.Shape[axis], length, scale, start, end)
		if crop && (at < 0 || at > float64(last)) {
			y.V[y.At(idx...)] = float64(r.Float("extrapolation_value", 0))
			return
		}
		sum := 0.0
		from := append([]int{}, idx...)
		for p, w := range refResizeWeights(n, at, scale, last) {
			from[axis] = max(0, min(last, p))
			sum += w * x.V[x.At(from...)]
		}
		y.V[y.At(idx...)] = sum
	})
	return y
}

func refResizePlace(n Node, o, in, out int, scale, start, end float64) float64 {
	def := "half_pixel"
	if n.Opset < 11 {
		def = "asymmetric"
	}
	x, width := float64(o), scale*float64(in)
	switch (&reader{n: n}).String("coordinate_transformation_mode", def) {
	case "asymmetric":
		return x / scale
	case "tf_half_pixel_for_nn":
		return (x + 0.5) / scale
	case "align_corners":
		if out == 1 {
			return 0
		}
		return x * float64(in-1) / (width - 1)
	case "pytorch_half_pixel":
		if out == 1 {
			return 0
		}
	case "half_pixel_symmetric":
		adjustment := float64(out) / width
		center := float64(in) / 2
		return center*(1-adjustment) + (x+0.5)/scale - 0.5
	case "tf_crop_and_resize":
		if out == 1 {
			return 0.5 * (start + end) * float64(in-1)
		}
		return start*float64(in-1) + x*(end-start)*float64(in-1)/float64(out-1)
	}
	return (x+0.5)/scale - 0.5
}

// refResizeWeights weighs the elements around a place; those outside stand for
// the element at the edge.
func refResizeWeights(n Node, at, scale float64, last int) map[int]float64 {
	r := &reader{n: n}
	mode := r.String("mode", "nearest")
	if mode == "nearest" {
		def := "round_prefer_floor"
		if n.Opset < 11 {
			def = "floor"
			if scale < 1 {
				def = "ceil"
			}
		}
		down, up := math.Floor(at), math.Ceil(at)
		pick := down
		switch r.String("nearest_mode", def) {
		case "ceil":
			pick = up
		case "round_prefer_floor":
			if up-at < at-down {
				pick = up
			}
		case "round_prefer_ceil":
			if up-at <= at-down {
				pick = up
			}
		}
		return map[int]float64{int(pick): 1}
	}
	reach, stretch := 1.0, 1.0
	if mode == "cubic" {
		reach = 2
	}
	if r.Int("antialias", 0) != 0 {
		stretch = min(1, scale)
	}
	// The places nearest to at, as many as the kernel covers.
	var around []int
	for p := int(at) - 4*last - 8; p <= int(at)+4*last+8; p++ {
		around = append(around, p)
	}
	slices.SortStableFunc(around, func(p, q int) int {
		return cmp.Compare(math.Abs(float64(p)-at), math.Abs(float64(q)-at))
	})
	around = around[:2*int(math.Ceil(reach/stretch))]
	weights, sum := map[int]float64{}, 0.0
	for _, p := range around {
		if r.Int("exclude_outside", 0) != 0 && (p < 0 || p > last) {
			continue
		}
		d := math.Abs(float64(p)-at) * stretch
		w := max(0, 1-d)
		if mode == "cubic" {
			a := float64(r.Float("cubic_coeff_a", -0.75))
			w = 0
			if d <= 1 {
				w = ((a+2)*d-(a+3))*d*d + 1
			} else if d < 2 {
				w = ((a*d-5*a)*d+8*a)*d - 4*a
			}
		}
		weights[p] = w
		sum += w
	}
	for p := range weights {
		if r.Int("exclude_outside", 0) != 0 || r.Int("antialias", 0) != 0 {
			weights[p] /= sum
		}
	}
	return weights
}
