package main

import (
	"errors"
	"fmt"

	"github.com/onnxprune/onnxprune/prune"
)

// structural are the flags that say what is removed together.
type structural struct {
	Structure string `help:"What is removed together: weight (single weights), N:M (N weights kept of every M along the input channels, as 2:4), block:RxC (blocks of R outputs by C inputs)." default:"weight" placeholder:"weight"`

	structure prune.Structure
}

// check reads the structure and the ratio that goes with it.
func (s *structural) check(ratio *float64) (float64, error) {
	var err error
	if s.structure, err = prune.ParseStructure(s.Structure); err != nil {
		return 0, err
	}
	if s.structure.Kind == prune.KindNM {
		if ratio != nil {
			return 0, fmt.Errorf("--ratio is for other structures, --structure %s has its own", s.structure)
		}
		return s.structure.Share(), nil
	}
	if ratio == nil {
		return 0, errors.New("missing flags: --ratio=R")
	}
	return *ratio, nil
}
