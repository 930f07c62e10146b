package op

import (
	"fmt"
	"math"
)

// Resize: y[o] = Σ w(o,p)·x[p], the weights being products of one factor per axis:
// of the nearest element, or linear or cubic between the elements around the
// place of o in x. x and y of any rank. The lengths of y are ⌊scale·length⌋, or
// given as sizes; scales (input 2, input 1 in opset 10), sizes (input 3) and the
// region of interest (input 1) are constants.
//
// Where align_corners meets a scale that gives no whole length, lengths are as
// fractional as in the operator tests of ONNX.
// https://onnx.ai/onnx/operators/onnx__Resize.html
func init() {
	Register(Def{
		Name: "Resize", Since: 10,
		New:       newResize,
		Reference: refResize,
		Cases:     resizeCases(),
	})
}

// resize is Resize, and Upsample as a form of it.
type resize struct {
	mode, coordinate, nearest, policy string
	cubic                             float64 // the coefficient a
	extrapolation                     float32
	excludeOutside, antialias         bool
	axes                              []int // nil means all
	// scalesAt is the input that holds the scales, −1 if they are attribute scales.
	scalesAt int
	scales   []float32
	inputs   int

	forward, backward *resample
}

func newResize(n Node) (Op, error) {
	r := &reader{n: n}
	f := &resize{
		mode: r.String("mode", "nearest"), coordinate: "asymmetric", nearest: "simple", policy: "stretch",
		scalesAt: 1, inputs: 2,
	}
	modes := []string{"nearest", "linear"}
	if n.Opset >= 11 {
		modes = append(modes, "cubic")
		f.coordinate = r.String("coordinate_transformation_mode", "half_pixel")
		f.nearest = r.String("nearest_mode", "round_prefer_floor")
		f.cubic = float64(r.Float("cubic_coeff_a", -0.75))
		f.extrapolation = r.Float("extrapolation_value", 0)
		f.excludeOutside = r.Bool("exclude_outside", false)
		f.scalesAt, f.inputs = 2, 4
		oneOf(r, "coordinate_transformation_mode", f.coordinate, "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",
			"align_corners", "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize")
		oneOf(r, "nearest_mode", f.nearest, "round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
	}
	if n.Opset >= 18 {
		f.antialias = r.Bool("antialias", false)
		f.axes = r.Ints("axes")
		f.policy = r.String("keep_aspect_ratio_policy", "stretch")
		oneOf(r, "keep_aspect_ratio_policy", f.policy, "stretch", "not_larger", "not_smaller")
	}
	oneOf(r, "mode", f.mode, modes...)
	return f, r.err
}

// oneOf refuses a value that is not among those allowed.
func oneOf(r *reader, name, v string, allowed ...string) {
	text := ""
	for i, a := range allowed {
		if v == a {
			return
		}
		switch {
		case i == 0:
		case i == len(allowed)-1:
			text += " or "
		default:
			text += ", "
		}
		text += a
	}
	r.keep(fmt.Errorf("attribute %q is %q, wants %s", name, v, text))
}

// resizedAxis is how one axis changes.
type resizedAxis struct {
	in, out    int
	scale      float64 // out to in, as the coordinates use it
	width      float64 // in·scale
	start, end float64 // region of interest, normalised
}

func (a resizedAxis) identity(crop bool) bool { return a.in == a.out && a.scale == 1 && !crop }

// constFloats returns the elements of float input i, a constant; nil if it is
// omitted or has no elements.
func constFloats(in []*Tensor, i int) ([]float32, error) {
	if !hasInput(in, i) || Size(in[i].Shape) == 0 {
		return nil, nil
	}
	t := in[i]
	if !t.Type.IsFloat() || t.Rank() != 1 {
		return nil, fmt.Errorf("input %d is %s of type %s, wants one axis of floats", i, ShapeString(t.Shape), t.Type)
	}
	if !t.IsConst() {
		return nil, NeedConst{i}
	}
	return t.F, nil
}

// plan returns how every axis of x changes.
func (f *resize) plan(in []*Tensor) ([]resizedAxis, error) {
	if err := wantInputs(in, 1, f.inputs); err != nil {
		return nil, err
	}
	x := in[0].Shape
	axes, err := upTo(0, len(x)), error(nil)
	if f.axes != nil {
		if axes, err = wantAxes(f.axes, len(x)); err != nil {
			return nil, err
		}
	}
	plan := make([]resizedAxis, len(x))
	for a, d := range x {
		plan[a] = resizedAxis{in: d, out: d, scale: 1, width: float64(d), end: 1}
	}
	scales, sizes := f.scales, []int(nil)
	if f.scalesAt >= 0 {
		if scales, err = constFloats(in, f.scalesAt); err != nil {
			return nil, err
		}
	}
	if f.inputs > 3 {
		if hasInput(in, 3) && Size(in[3].Shape) > 0 {
			if sizes, err = constInts(in, 3); err != nil {
				return nil, err
			}
		}
		if err := f.region(in, axes, plan); err != nil {
			return nil, err
		}
	}
	switch {
	case (scales == nil) == (sizes == nil):
		return nil, fmt.Errorf("has %d scales and %d sizes, wants one of both", len(scales), len(sizes))
	case scales != nil && len(scales) != len(axes), sizes != nil && len(sizes) != len(axes):
		return nil, fmt.Errorf("has %d scales or sizes, wants %d", max(len(scales), len(sizes)), len(axes))
	case scales != nil:
		err = f.byScales(axes, scales, plan)
	default:
		err = f.bySizes(axes, sizes, plan)
	}
	if err != nil {
		return nil, err
	}
	for a, p := range plan {
		if p.in == 0 && p.out > 0 {
			return nil, fmt.Errorf("axis %d has no elements to make %d of", a, p.out)
		}
	}
	return plan, nil
}

func (f *resize) region(in []*Tensor, axes []int, plan []resizedAxis) error {
	if f.coordinate != "tf_crop_and_resize" {
		return nil
	}
	roi, err := constFloats(in, 1)
	if err != nil {
		return err
	}
	if len(roi) != 2*len(axes) {
		return fmt.Errorf("region of interest has %d elements, wants %d for %d axes", len(roi), 2*len(axes), len(axes))
	}
	for k, a := range axes {
		plan[a].start, plan[a].end = float64(roi[k]), float64(roi[len(axes)+k])
	}
	return nil
}

func (f *resize) byScales(axes []int, scales []float32, plan []resizedAxis) error {
	for k, a := range axes {
		s, p := scales[k], &plan[a]
		// As ONNX infers it, in float32.
		out := math.Floor(float64(float32(p.in) * s))
		if !(s > 0) || !(out <= maxSize) {
			return fmt.Errorf("scale %v of axis %d of length %d, wants a positive one that gives at most %d elements", s, a, p.in, int64(maxSize))
		}
		p.out, p.scale, p.width = int(out), float64(s), float64(p.in)*float64(s)
	}
	return nil
}

func (f *resize) bySizes(axes, sizes []int, plan []resizedAxis) error {
	common := math.Inf(1)
	if f.policy == "not_smaller" {
		common = 0
	}
	for k, a := range axes {
		p := &plan[a]
		if sizes[k] < 0 || sizes[k] > maxSize {
			return fmt.Errorf("size %d of axis %d, wants 0 to %d", sizes[k], a, int64(maxSize))
		}
		p.out = sizes[k]
		p.scale, p.width = float64(p.out)/float64(max(1, p.in)), float64(p.out)
		if f.policy == "not_smaller" {
			common = max(common, p.scale)
		} else {
			common = min(common, p.scale)
		}
	}
	if f.policy == "stretch" {
		return nil
	}
	for _, a := range axes {
		p := &plan[a]
		p.scale, p.width = common, common*float64(p.in)
		if p.width > maxSize {
			return fmt.Errorf("axis %d of length %d gets more than %d elements", a, p.in, int64(maxSize))
		}
		p.out = int(math.Floor(p.width + 0.5))
	}
	return nil
}

func (f *resize) Infer(in []*Tensor) ([]*Tensor, error) {
	plan, err := f.plan(in)
	if err != nil {
		return nil, err
	}
	if t := in[0].Type; t == String || !t.IsFloat() && f.mode != "nearest" {
		return nil, fmt.Errorf("input 0 is of type %s, wants a float type", t)
	}
	if !in[0].Type.IsFloat() && f.coordinate == "tf_crop_and_resize" {
		return nil, fmt.Errorf("input 0 is of type %s, wants a float type for tf_crop_and_resize", in[0].Type)
	}
	y := Info(in[0].Type, in[0].Shape...)
	for a, p := range plan {
		y.Shape[a] = p.out
	}
	return []*Tensor{y}, checkSize(y.Shape)
}

func (f *resize) Layouts(in []*Tensor) (want, out []Layout) { return keepLayouts(in, 1) }

// Links keeps the axes that stay as they are.
func (f *resize) Links(in, out []*Tensor) []Link {
	plan, err := f.plan(in)
	if err != nil {
		return nil
	}
	return identityLinks(in, out, func(a int) bool { return plan[a].identity(f.coordinate == "tf_crop_and_resize") })
}

// Zeros holds but for extrapolation.
func (f *resize) Zeros(zero []bool) bool {
	return zero[0] && (f.coordinate != "tf_crop_and_resize" || f.extrapolation == 0)
}

// Cut gives axes the size that they should have.
func (f *resize) Cut(c *Cut) (Change, error) {
	if f.inputs < 4 || !hasInput(c.New, 3) || c.New[3].Size() == 0 {
		return Change{}, nil
	}
	sizes, err := constInts(c.New, 3)
	if err != nil {
		return Change{}, err
	}
	axes := upTo(0, c.In[0].Rank())
	if f.axes != nil {
		if axes, err = wantAxes(f.axes, c.In[0].Rank()); err != nil {
			return Change{}, err
		}
	}
	changed := false
	for k, a := range axes {
		if (c.Lost(^0, a) || f.policy == "stretch") && sizes[k] != c.Kept(^0, a) {
			sizes[k], changed = c.Kept(^0, a), true
		}
	}
	if !changed {
		return Change{}, nil
	}
	return Change{Inputs: map[int]*Tensor{3: intsLike(c.In[3], sizes)}}, nil
}

func (f *resize) Prepare(in, out []*Tensor, training bool) (int, error) {
	plan, err := f.plan(in)
	if err != nil {
		return 0, err
	}
	f.forward = &resample{axes: make([]axisTaps, len(plan)), fill: f.extrapolation}
	for a, p := range plan {
		if p.identity(f.coordinate == "tf_crop_and_resize") {
			continue
		}
		taps, outside := f.taps(p)
		f.forward.axes[a] = taps
		if outside != nil {
			if f.forward.outside == nil {
				f.forward.outside = make([][]bool, len(plan))
			}
			f.forward.outside[a] = outside
		}
	}
	f.backward = nil
	if training {
		f.backward = f.forward.transposed(in[0].Shape)
		f.backward.prepare(out[0], in[0])
	}
	f.forward.prepare(in[0], out[0])
	return 0, nil
}

func (f *resize) Forward(c *Context, in, out []*Tensor) error {
	if f.forward == nil {
		if _, err := f.Prepare(in, out, false); err != nil {
			return err
		}
	}
	f.forward.run(c, in[0], out[0], false)
	return nil
}

// Reads: the scales are in the tables.
func (f *resize) Reads() (in, out uint32) { return 0, 0 }

// Accumulates marks the operator as an [Accumulator].
func (f *resize) Accumulates() {}

func (f *resize) Backward(c *Context, in, out, dout, din []*Tensor) error {
	for i := 1; i < len(din); i++ {
		if din[i] != nil {
			clearGrad(din[i]) // scales and region are constants
		}
	}
	if din[0] == nil {
		return nil
	}
	if f.backward == nil {
		f.backward = f.forward.transposed(din[0].Shape)
		f.backward.prepare(dout[0], din[0])
	}
	f.backward.run(c, dout[0], din[0], din[0].Acc)
	return nil
}
