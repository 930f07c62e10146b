package data

import (
	"errors"
	"fmt"
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
// cut changes, and labels of positions would have to move with them. Any other value is returned, or is an error where no
// input is an image, or labels are of positions.
func (d *Dataset) ResolveAugment(a Augment) (Augment, error) {
	switch a {
	case AugmentNone:
		return a, nil
	case AugmentFlip, AugmentCropFlip:
		if d.labels != nil && d.labels.dtype != Float32 && len(d.labels.shape) > 0 {
			return 0, fmt.Errorf("augmentation %s moves images, and not the labels of their positions", a)
		}
		for _, s := range d.inputs {
			if s.image() {
				return a, nil
			}
		}
		return 0, fmt.Errorf("augmentation %s needs images [N,C,H,W], no input has that rank", a)
	case AugmentAuto:
		s := d.inputs[0]
		color := len(d.inputs) == 1 && s.image() && s.shape[0] == 3 && s.shape[1] >= 24 && s.shape[2] >= 24
		if color && (d.labels == nil || d.labels.dtype != Float32 && len(d.labels.shape) == 0) {
			return AugmentCropFlip, nil
		}
		return AugmentNone, nil
	}
	return 0, errors.New("unknown augmentation")
}

func (s *stream) image() bool { return len(s.shape) == 3 && !s.spec.Integer }

// augmented decodes one row under the augmentation a with the sample's own generator,
// which is passed by value: every input of a sample sees the same draws.
func (s *stream) augmented(dst []float32, raw []byte, a Augment, rng keyed) error {
	if a == AugmentNone || !s.image() {
		return s.decode.row(dst, raw)
	}
	h, w := s.shape[1], s.shape[2]
	flip := rng.below(2) == 1
	dy, dx := 0, 0
	if a == AugmentCropFlip {
		py, px := max(1, h/8), max(1, w/8)
		dy, dx = rng.below(2*py+1)-py, rng.below(2*px+1)-px
	}
	return s.decode.window(dst, raw, h, w, dy, dx, flip)
}
