package main

import (
	"math"
	"math/rand/v2"
)

const side = 16

type point struct{ x, y float64 }

// segment is a stroke from a to b.
type segment struct{ a, b point }

// glyphs lists the classes. A path is a polyline in the square [-1,1]²; y points down.
var glyphs = []struct {
	name  string
	paths [][]point
}{
	{"ring", [][]point{polygon(16, 0.95, 0)}},
	{"triangle", [][]point{polygon(3, 1.1, -math.Pi/2)}},
	{"square", [][]point{polygon(4, 1.15, math.Pi/4)}},
	{"plus", [][]point{{{-1, 0}, {1, 0}}, {{0, -1}, {0, 1}}}},
	{"tee", [][]point{{{-0.9, -0.9}, {0.9, -0.9}}, {{0, -0.9}, {0, 1}}}},
	{"ell", [][]point{{{-0.7, -1}, {-0.7, 0.9}, {0.8, 0.9}}}},
	{"aitch", [][]point{{{-0.8, -1}, {-0.8, 1}}, {{0.8, -1}, {0.8, 1}}, {{-0.8, 0}, {0.8, 0}}}},
	{"zed", [][]point{{{-0.8, -0.9}, {0.8, -0.9}, {-0.8, 0.9}, {0.8, 0.9}}}},
	{"arrow", [][]point{{{0, 1}, {0, -1}}, {{-0.7, -0.2}, {0, -1}, {0.7, -0.2}}}},
	{"cup", [][]point{{{-0.8, -0.9}, {-0.8, 0.9}, {0.8, 0.9}, {0.8, -0.9}}}},
}

// polygon is a closed path of n corners on a circle of radius r.
func polygon(n int, r, phase float64) []point {
	path := make([]point, n+1)
	for i := range path {
		sin, cos := math.Sincos(phase + 2*math.Pi*float64(i%n)/float64(n))
		path[i] = point{r * cos, r * sin}
	}
	return path
}

// draw renders one image of a class, [1,side,side].
func draw(rng *rand.Rand, class int) []uint8 {
	uniform := func(lo, hi float64) float64 { return lo + (hi-lo)*rng.Float64() }
	sin, cos := math.Sincos(uniform(-0.45, 0.45))
	sx, sy := uniform(3.6, 6.2), uniform(3.6, 6.2)
	shear := uniform(-0.2, 0.2)
	cx, cy := side/2-0.5+uniform(-1.6, 1.6), side/2-0.5+uniform(-1.6, 1.6)
	place := func(p point) point {
		x, y := sx*(p.x+shear*p.y), sy*p.y
		return point{cx + cos*x - sin*y, cy + sin*x + cos*y}
	}
	var strokes []segment
	for _, path := range glyphs[class].paths {
		for i := range path[1:] {
			strokes = append(strokes, segment{place(path[i]), place(path[i+1])})
		}
	}
	var stray []segment
	for range rng.IntN(3) {
		a := point{uniform(0, side-1), uniform(0, side-1)}
		sin, cos := math.Sincos(uniform(0, 2*math.Pi))
		n := uniform(1.5, 4.5)
		stray = append(stray, segment{a, point{a.x + n*cos, a.y + n*sin}})
	}
	width := uniform(0.45, 1.0)
	strayWidth, strayInk := uniform(0.4, 0.8), uniform(0.4, 1)
	contrast := uniform(64, 164)
	ground := uniform(30, 225-contrast)
	if rng.IntN(2) == 0 {
		ground, contrast = 255-ground, -contrast
	}
	slopeX, slopeY := uniform(-2, 2), uniform(-2, 2)
	sigma := uniform(8, 36)

	img := make([]uint8, side*side)
	for y := range side {
		for x := range side {
			p := point{float64(x), float64(y)}
			ink := max(cover(strokes, p, width), strayInk*cover(stray, p, strayWidth))
			v := ground + contrast*ink + slopeX*(p.x-side/2) + slopeY*(p.y-side/2) + sigma*rng.NormFloat64()
			img[y*side+x] = uint8(min(max(math.Round(v), 0), 255))
		}
	}
	return img
}

// cover is how much ink strokes of the given half-width leave on the pixel at p: 1
// inside, falling to 0 over one pixel.
func cover(strokes []segment, p point, width float64) float64 {
	best := math.Inf(1)
	for _, s := range strokes {
		best = min(best, distance(s, p))
	}
	return min(max(width+0.5-best, 0), 1)
}

func distance(s segment, p point) float64 {
	dx, dy := s.b.x-s.a.x, s.b.y-s.a.y
	t := ((p.x-s.a.x)*dx + (p.y-s.a.y)*dy) / (dx*dx + dy*dy)
	t = min(max(t, 0), 1)
	return math.Hypot(s.a.x+t*dx-p.x, s.a.y+t*dy-p.y)
}
