// Package sweep compares pruning methods over ratios, structures and seeds: what cells
// a comparison has, which of them are there already, and what they come to together.
package sweep

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// EqualPasses is one-shot magnitude pruning with as many passes over the data as
// bi-level pruning has: a method of a grid, not of a run.
const EqualPasses = "omp-equal-passes"

// Ladder is the name of the ratios that rounds of a fifth come to:
// 1 − 0.8ⁿ for n from 1 to 14, so 0.2, 0.36, 0.488, … 0.956.
const Ladder = "paper"

const ladderLength = 14

// Ratio is a fraction to remove, with the number of seeds it is run with, 0 for that of
// the grid.
type Ratio struct {
	Value float64
	Seeds int
}

// ParseRatios reads numbers and Ladder, each with a number of seeds behind a colon if
// it has one of its own: "paper", "0.5,0.8:3". A ratio that is named twice has the
// larger number of seeds. The result is in ascending order.
func ParseRatios(items []string) ([]Ratio, error) {
	var out []Ratio
	var errs []error
	add := func(r Ratio) {
		at := slices.IndexFunc(out, func(o Ratio) bool { return o.Value == r.Value })
		if at < 0 {
			out = append(out, r)
			return
		}
		out[at].Seeds = max(out[at].Seeds, r.Seeds)
	}
	for _, item := range items {
		text, count, found := strings.Cut(strings.TrimSpace(item), ":")
		seeds := 0
		if found {
			var err error
			if seeds, err = strconv.Atoi(count); err != nil || seeds < 1 {
				errs = append(errs, fmt.Errorf("--ratios has %q: wants a number of seeds of at least 1 behind the colon, as 0.8:3", item))
				continue
			}
		}
		if text == Ladder {
			for _, v := range ladder() {
				add(Ratio{v, seeds})
			}
			continue
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || !(v >= 0 && v < 1) {
			errs = append(errs, fmt.Errorf("--ratios has %q: wants fractions removed in [0,1), or %s", item, Ladder))
			continue
		}
		add(Ratio{v, seeds})
	}
	if len(out) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("--ratios is empty, wants fractions removed in [0,1), or "+Ladder))
	}
	slices.SortFunc(out, func(a, b Ratio) int { return cmp.Compare(a.Value, b.Value) })
	return out, errors.Join(errs...)
}

// ladder computes with whole numbers, so that the ratios are the nearest to their decimals.
func ladder() []float64 {
	var out []float64
	kept, all := 1.0, 1.0
	for range ladderLength {
		kept, all = kept*8, all*10
		out = append(out, (all-kept)/all)
	}
	return out
}

// ParseRewinds reads epochs to rewind to, and "none".
func ParseRewinds(items []string) ([]Rewind, error) {
	var out []Rewind
	var errs []error
	for _, item := range items {
		r := NoRewind
		if item != "none" {
			n, err := strconv.Atoi(item)
			if err != nil || n < 0 {
				errs = append(errs, fmt.Errorf("--rewinds has %q: wants epochs from 0, or none", item))
				continue
			}
			r = Rewind(n)
		}
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	if len(out) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("--rewinds is empty, wants epochs from 0, or none"))
	}
	slices.Sort(out)
	return out, errors.Join(errs...)
}

// Rewind is the epoch of dense training that weights go back to.
type Rewind int

// NoRewind leaves weights as they are.
const NoRewind Rewind = -1

// String is what ParseRewinds reads.
func (r Rewind) String() string {
	if r == NoRewind {
		return "none"
	}
	return strconv.Itoa(int(r))
}

// MarshalText implements [encoding.TextMarshaler].
func (r Rewind) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (r *Rewind) UnmarshalText(text []byte) error {
	one, err := ParseRewinds([]string{string(text)})
	if err == nil {
		*r = one[0]
	}
	return err
}

// Cell is one run of a grid.
type Cell struct {
	Method    string  `json:"method"`
	Structure string  `json:"structure"`
	Ratio     float64 `json:"ratio"`
	Seed      uint64  `json:"seed"`
	Rewind    Rewind  `json:"rewind"`
}

// String is for people.
func (c Cell) String() string {
	s := fmt.Sprintf("%s %s %s seed %d", c.Method, c.Structure, Short(c.Ratio), c.Seed)
	if c.Rewind != NoRewind {
		s += " rewind " + c.Rewind.String()
	}
	return s
}

// Short writes a ratio with at most four decimals.
func Short(ratio float64) string {
	return strconv.FormatFloat(math.Round(ratio*1e4)/1e4, 'f', -1, 64)
}

// Grid is what to compare.
type Grid struct {
	Methods    []string
	Structures []string
	Ratios     []Ratio
	// Seeds are run from First on, where a ratio does not say how many.
	Seeds int
	First uint64
	// Rewinds are run at RewindRatios, nil for all ratios; NoRewind at all ratios.
	Rewinds      []Rewind
	RewindRatios []float64
	// Own is the ratio that a structure has by itself, 0 for none.
	Own func(structure string) float64
}

// methods are those of Methods, with omp at equal passes behind bip and omp where both are
// compared.
func (g *Grid) methods() []string {
	out := slices.DeleteFunc(slices.Clone(g.Methods), func(m string) bool { return m == EqualPasses })
	bip, omp := slices.Index(out, "bip"), slices.Index(out, "omp")
	if bip < 0 || omp < 0 {
		return out
	}
	return slices.Insert(out, max(bip, omp)+1, EqualPasses)
}

// ratios are those of the grid, or the structure's own.
func (g *Grid) ratios(structure string) []Ratio {
	if own := g.Own(structure); own > 0 {
		return []Ratio{{Value: own}}
	}
	return g.Ratios
}

// most is the largest number of seeds.
func (g *Grid) most() int {
	most := g.Seeds
	for _, r := range g.Ratios {
		most = max(most, r.Seeds)
	}
	return most
}

// Cells lists the runs, those of the first seed first, and within a seed by structure,
// method, rewinding and ratio.
func (g *Grid) Cells() []Cell {
	var cells []Cell
	for seed := range g.most() {
		for _, structure := range g.Structures {
			for _, method := range g.methods() {
				for _, rewind := range g.Rewinds {
					if rewind != NoRewind && method == EqualPasses {
						continue
					}
					for _, r := range g.ratios(structure) {
						if seed >= cmp.Or(r.Seeds, g.Seeds) {
							continue
						}
						if rewind != NoRewind && g.RewindRatios != nil && !slices.Contains(g.RewindRatios, r.Value) {
							continue
						}
						cells = append(cells, Cell{method, structure, r.Value, g.First + uint64(seed), rewind})
					}
				}
			}
		}
	}
	return cells
}
