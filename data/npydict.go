package data

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// parseHeader reads the Python dictionary of an NPY header: the keys descr,
// fortran_order and shape, each once and in any order.
func parseHeader(text string) (Header, error) {
	p := dictParser{rest: strings.TrimRight(text, " \n\x00")}
	var h Header
	seen := map[string]bool{}
	if !p.take("{") {
		return h, errors.New("no dictionary")
	}
	for !p.take("}") {
		key, err := p.str()
		if err != nil {
			return h, err
		}
		if seen[key] {
			return h, fmt.Errorf("key %q twice", key)
		}
		seen[key] = true
		if !p.take(":") {
			return h, fmt.Errorf("no colon after key %q", key)
		}
		switch key {
		case "descr":
			h.DType, err = p.dtype()
		case "fortran_order":
			h.Fortran, err = p.boolean()
		case "shape":
			h.Shape, err = p.tuple()
		default:
			err = fmt.Errorf("unknown key %q", key)
		}
		if err != nil {
			return h, err
		}
		if !p.take(",") && !p.at("}") {
			return h, fmt.Errorf("no comma after the value of %q", key)
		}
	}
	if p.rest = strings.TrimLeft(p.rest, " \n"); p.rest != "" {
		return h, fmt.Errorf("%q after the dictionary", p.rest)
	}
	for _, key := range []string{"descr", "fortran_order", "shape"} {
		if !seen[key] {
			return h, fmt.Errorf("key %q is missing", key)
		}
	}
	return h, nil
}

type dictParser struct{ rest string }

func (p *dictParser) at(token string) bool {
	p.rest = strings.TrimLeft(p.rest, " \n")
	return strings.HasPrefix(p.rest, token)
}

func (p *dictParser) take(token string) bool {
	if !p.at(token) {
		return false
	}
	p.rest = p.rest[len(token):]
	return true
}

func (p *dictParser) str() (string, error) {
	for _, quote := range []string{"'", `"`} {
		if !p.take(quote) {
			continue
		}
		s, rest, ok := strings.Cut(p.rest, quote)
		if !ok {
			return "", errors.New("string without an end")
		}
		p.rest = rest
		return s, nil
	}
	return "", errors.New("no string where one is due")
}

func (p *dictParser) dtype() (DType, error) {
	if p.at("[") {
		return 0, errors.New("structured dtypes are not supported, want one of |u1 <i4 <i8 <f4 <f8")
	}
	s, err := p.str()
	if err != nil {
		return 0, err
	}
	return parseDType(s)
}

func (p *dictParser) boolean() (bool, error) {
	switch {
	case p.take("True"):
		return true, nil
	case p.take("False"):
		return false, nil
	}
	return false, errors.New("fortran_order is neither True nor False")
}

// maxRank is NumPy's own limit on the number of axes.
const maxRank = 64

func (p *dictParser) tuple() ([]int, error) {
	if !p.take("(") {
		return nil, errors.New("shape is not a tuple")
	}
	var dims []int
	for !p.take(")") {
		p.at("")
		n := 0
		for n < len(p.rest) && p.rest[n] >= '0' && p.rest[n] <= '9' {
			n++
		}
		d, err := strconv.Atoi(p.rest[:n])
		if err != nil {
			return nil, fmt.Errorf("shape holds no dimension at %q", p.rest[:min(len(p.rest), 24)])
		}
		p.rest = p.rest[n:]
		if len(dims) == maxRank {
			return nil, fmt.Errorf("shape has more than %d dimensions", maxRank)
		}
		dims = append(dims, d)
		p.take("L")
		if !p.take(",") && !p.at(")") {
			return nil, errors.New("shape has no comma between dimensions")
		}
	}
	return dims, nil
}
