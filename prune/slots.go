package prune

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/onnxprune/onnxprune/checkpoint"
)

// slots goes through the variables of a run by name, to save them or to set them from what
// was saved: one function lists them for both.
type slots struct {
	prefix  string
	state   *checkpoint.State
	loading bool
	// copied makes what is saved independent of the variables.
	copied bool
	err    error
}

func (s *slots) fail(err error) {
	if s.err == nil && err != nil {
		s.err = err
	}
}

// floats is a vector whose length is known.
func (s *slots) floats(name string, v []float32) {
	switch name = s.prefix + name; {
	case s.loading:
		s.fail(s.state.Floats(name, v))
	case s.copied:
		s.state.AddFloats(name, append(make([]float32, 0, len(v)), v...))
	default:
		s.state.AddFloats(name, v)
	}
}

func (s *slots) doubles(name string, v []float64) {
	switch name = s.prefix + name; {
	case s.loading:
		s.fail(s.state.Doubles(name, v))
	case s.copied:
		s.state.AddDoubles(name, append(make([]float64, 0, len(v)), v...))
	default:
		s.state.AddDoubles(name, v)
	}
}

// mask is a vector of zeros and ones.
func (s *slots) mask(name string, v []float32) {
	name = s.prefix + name
	if !s.loading {
		s.state.AddBits(name, len(v), func(i int) bool { return v[i] != 0 })
		return
	}
	s.fail(s.state.Bits(name, len(v), func(i int, one bool) {
		v[i] = 0
		if one {
			v[i] = 1
		}
	}))
}

// flags is a list of truth values, which set changes.
func (s *slots) flags(name string, v []bool, set func(i int, v bool)) {
	name = s.prefix + name
	if !s.loading {
		s.state.AddBits(name, len(v), func(i int) bool { return v[i] })
		return
	}
	s.fail(s.state.Bits(name, len(v), set))
}

func (s *slots) number(name string, v *float64) {
	x := []float64{*v}
	if s.doubles(name, x); s.loading {
		*v = x[0]
		return
	}
	s.state.AddDoubles(s.prefix+name, x)
}

// count is an integer below 2⁵³.
func (s *slots) count(name string, v *int) {
	x := float64(*v)
	s.number(name, &x)
	if s.loading && s.err == nil {
		if x != math.Trunc(x) || math.Abs(x) > 1<<53 {
			s.fail(fmt.Errorf("%q is %v, wants an integer", s.prefix+name, x))
			return
		}
		*v = int(x)
	}
}

func (s *slots) flag(name string, v *bool) {
	s.flags(name, []bool{*v}, func(_ int, x bool) { *v = x })
}

// exact is a float64 that JSON keeps to the bit, also where it is not finite.
type exact float64

// MarshalJSON implements [json.Marshaler].
func (x exact) MarshalJSON() ([]byte, error) {
	return json.Marshal(strconv.FormatFloat(float64(x), 'g', -1, 64))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (x *exact) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	v, err := strconv.ParseFloat(text, 64)
	*x = exact(v)
	return err
}

// named is the slot of an initializer.
func named(kind, name string) string { return kind + "/" + name }
