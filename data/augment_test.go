package data

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestWindow compares with the definition y[c,i,j] = x[c,i+dy,j+dx], zeros around.
func TestWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, w := rapid.IntRange(1, 9).Draw(t, "h"), rapid.IntRange(1, 9).Draw(t, "w")
		dy, dx := rapid.IntRange(-h, h).Draw(t, "dy"), rapid.IntRange(-w, w).Draw(t, "dx")
		flip := rapid.Bool().Draw(t, "flip")
		m := Meta{Mean: []float64{1, 2}, Std: []float64{2}}
		raw := appendElements(nil, count[float32](2*h*w))
		d, err := newDecoder(Float32, 2, 2*h*w, m)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, 2*h*w)
		if err := d.window(got, raw, h, w, dy, dx, flip); err != nil {
			t.Fatal(err)
		}
		for c := range 2 {
			for i := range h {
				for j := range w {
					y, x := i+dy, j+dx
					if flip {
						x = w - 1 - j + dx
					}
					v := 0.0
					if y >= 0 && y < h && x >= 0 && x < w {
						v = float64((c*h+y)*w + x)
					}
					if want := float32((v - m.Mean[c]) / 2); got[(c*h+i)*w+j] != want {
						t.Fatalf("[%d,%d,%d] is %v, want %v", c, i, j, got[(c*h+i)*w+j], want)
					}
				}
			}
		}
	})
}

// TestFlip finds every delivered image to be the plain one or its mirror image, each
// about half of the time; and no image that CropFlip leaves as it is more often than
// chance has it.
func TestFlip(t *testing.T) {
	d := images(t, 400, 400, 8, 8)
	plain := readAll(t, d, BatchOptions{Size: 400})[0].Inputs[0]
	flipped := readAll(t, d, BatchOptions{Size: 400, Augment: AugmentFlip, Seed: 1})[0].Inputs[0]
	cropped := readAll(t, d, BatchOptions{Size: 400, Augment: AugmentCropFlip, Seed: 1})[0].Inputs[0]
	mirrored, still := 0, 0
	for i := range 400 {
		a, b := part(plain, i, 400), slices.Clone(part(flipped, i, 400))
		if slices.Equal(a, part(cropped, i, 400)) {
			still++
		}
		if slices.Equal(a, b) {
			continue
		}
		mirrored++
		for at := 0; at < len(b); at += 8 {
			slices.Reverse(b[at : at+8])
		}
		if !slices.Equal(a, b) {
			t.Fatalf("row %d is neither the image nor its mirror image", i)
		}
	}
	if mirrored < 160 || mirrored > 240 {
		t.Errorf("%d of 400 images mirrored, want about half", mirrored)
	}
	if still < 7 || still > 45 {
		t.Errorf("%d of 400 images unchanged by crop-flip, want about 1/18", still)
	}
}

func TestResolveAugment(t *testing.T) {
	for _, c := range []struct {
		name  string
		specs []InputSpec
		float bool
		want  Augment
		flip  bool
	}{
		{"color", []InputSpec{{Name: "x", Shape: []int{3, 32, 24}}}, false, AugmentCropFlip, true},
		{"color with targets", []InputSpec{{Name: "x", Shape: []int{3, 32, 24}}}, true, AugmentNone, true},
		{"small", []InputSpec{{Name: "x", Shape: []int{3, 32, 23}}}, false, AugmentNone, true},
		{"grey", []InputSpec{{Name: "x", Shape: []int{1, 28, 28}}}, false, AugmentNone, true},
		{"features", []InputSpec{{Name: "x", Shape: []int{3}}}, false, AugmentNone, false},
		{"signal", []InputSpec{{Name: "x", Shape: []int{3, 32}}}, false, AugmentNone, false},
		{"ids", []InputSpec{{Name: "x", Shape: []int{3, 32, 32}, Integer: true}}, false, AugmentNone, false},
		{"two", []InputSpec{{Name: "x", Shape: []int{3, 32, 32}}, {Name: "y", Shape: []int{2}}}, false, AugmentNone, true},
	} {
		dir := t.TempDir()
		for _, s := range c.specs {
			elems := 1
			for _, n := range s.Shape {
				elems *= n
			}
			file := s.Name
			if len(c.specs) == 1 {
				file = "input"
			}
			writeShard(t, dir, file+"-00000.npy", append([]int{1}, s.Shape...), make([]uint8, elems))
		}
		if c.float {
			writeShard(t, dir, "label-00000.npy", []int{1, 2}, make([]float32, 2))
		}
		d, err := Open(dir, c.specs, Options{NoLabels: !c.float})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if got, err := d.ResolveAugment(AugmentAuto); err != nil || got != c.want {
			t.Errorf("%s: auto is %v, %v; want %v", c.name, got, err, c.want)
		}
		if _, err := d.ResolveAugment(AugmentFlip); (err == nil) != c.flip {
			t.Errorf("%s: flip gives %v", c.name, err)
		}
	}
}

func TestParseAugment(t *testing.T) {
	for _, a := range []Augment{AugmentNone, AugmentFlip, AugmentCropFlip, AugmentAuto} {
		if got, err := ParseAugment(a.String()); err != nil || got != a {
			t.Errorf("%v reads as %v, %v", a, got, err)
		}
	}
	if _, err := ParseAugment("mirror"); err == nil {
		t.Error("mirror: no error")
	}
}
