package data

import (
	"errors"
	"fmt"
	"slices"
)

// Augment is a way to vary training images at random.
type Augment int

// The ways of augmentation. CropFlip moves each image by up to max(1, H/8) rows and
// max(1, W/8) columns, filling with raw zeros, which is a random crop after padding;
// with probability 1/2 it mirrors left and right. Flip only mirrors.
const (
	AugmentNone Augment = iota
	AugmentFlip
	AugmentCropFlip
	AugmentAuto // decided by Dataset.ResolveAugment
)

var augmentNames = []string{"none", "flip", "crop-flip", "auto"}

// String is the name that ParseAugment reads.
func (a Augment) String() string { return augmentNames[a] }

// ParseAugment reads "none", "flip", "crop-flip" or "auto".
func ParseAugment(name string) (Augment, error) {
	for i, n := range augmentNames {
		if n == name {
			return Augment(i), nil
		}
	}
	return 0, fmt.Errorf("augmentation %q, want none, flip, crop-flip or auto", name)
}

// ResolveAugment replaces AugmentAuto by the choice for this dataset: CropFlip for one
// input of colour images, [3,H,W] with H and W of at least 24, with class numbers as
// labels; otherwise None, since small and grey glyphs are often signs that a mirror or a
// cut changes. Any other value is returned, or is an error where no input is an image, or labels of positions do not have
// the places of the images, to move with them.
func (d *Dataset) ResolveAugment(a Augment) (Augment, error) {
	switch a {
	case AugmentNone:
		return a, nil
	case AugmentFlip, AugmentCropFlip:
		found := false
		for _, s := range d.inputs {
			if !s.image() {
				continue
			}
			if d.dense() && !slices.Equal(d.labels.shape, s.shape[1:]) {
				return 0, fmt.Errorf("augmentation %s moves images %v, and cannot move labels %v of their positions with them", a, s.shape, d.labels.shape)
			}
			found = true
		}
		if found {
			return a, nil
		}
		return 0, fmt.Errorf("augmentation %s needs images [N,C,H,W], no input has that rank", a)
	case AugmentAuto:
		s := d.inputs[0]
		color := len(d.inputs) == 1 && s.image() && s.shape[0] == 3 && s.shape[1] >= 24 && s.shape[2] >= 24
		if color && !d.dense() && (d.labels == nil || d.labels.dtype != Float32) {
			return AugmentCropFlip, nil
		}
		return AugmentNone, nil
	}
	return 0, errors.New("unknown augmentation")
}

// dense reports whether there is a class number for every position.
func (d *Dataset) dense() bool {
	return d.labels != nil && d.labels.dtype != Float32 && len(d.labels.shape) > 0
}

func (s *stream) image() bool { return len(s.shape) == 3 && !s.spec.Integer }

// augmented decodes one row under the augmentation a with the sample's own generator,
// which is passed by value: every input of a sample sees the same draws.
func (s *stream) augmented(dst []float32, raw []byte, a Augment, rng keyed) error {
	if a == AugmentNone || !s.image() {
		return s.decode.row(dst, raw)
	}
	h, w := s.shape[1], s.shape[2]
	dy, dx, flip := a.draw(h, w, rng)
	return s.decode.window(dst, raw, h, w, dy, dx, flip)
}

// draw is how one image moves.
func (a Augment) draw(h, w int, rng keyed) (dy, dx int, flip bool) {
	flip = rng.below(2) == 1
	if a == AugmentCropFlip {
		py, px := max(1, h/8), max(1, w/8)
		dy, dx = rng.below(2*py+1)-py, rng.below(2*px+1)-px
	}
	return dy, dx, flip
}

// moved moves class numbers of the positions of an image as the image moves, [Ignored] where nothing comes in.
func (a Augment) moved(labels []int64, h, w int, rng keyed) {
	dy, dx, flip := a.draw(h, w, rng)
	from := slices.Clone(labels)
	for i := range h {
		line := labels[i*w : (i+1)*w]
		for j := range line {
			line[j] = Ignored
			if y, x := i+dy, j+dx; y >= 0 && y < h && x >= 0 && x < w {
				line[j] = from[y*w+x]
			}
		}
		if flip {
			slices.Reverse(line)
		}
	}
}
