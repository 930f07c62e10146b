package main

import (
	"errors"
	"fmt"

	"github.com/onnxprune/onnxprune/data"
)

// holdOutFlag says what is kept back of --data to choose an epoch by.
type holdOutFlag struct {
	HoldOut *float64 `help:"Part of --data that is not trained on, but measures each epoch where there is no --val; the best is written. 0: none, the last epoch is written (default: 0.2 of fewer than 2,000 samples, else 0)." placeholder:"PART"`
}

// Few samples can make a model worse than pruning alone does. From this number on all are
// trained on, if not asked otherwise.
const (
	manySamples = 2000
	fewHeldOut  = 0.2
)

func (f *holdOutFlag) check(data, val string) error {
	switch {
	case f.HoldOut == nil:
		return nil
	case !(*f.HoldOut >= 0 && *f.HoldOut <= 0.5):
		return fmt.Errorf("--hold-out is %v, wants 0 to 0.5", *f.HoldOut)
	case data == "":
		return errors.New("--hold-out needs --data")
	case val != "" && *f.HoldOut > 0:
		return errors.New("--hold-out is for runs without --val")
	}
	return nil
}

// heldOut is the number of samples that are not trained on; train may be nil.
func (c *pruneCmd) heldOut(train *data.Dataset) (int, error) {
	if train == nil || c.Data == "" || c.Val != "" {
		return 0, nil
	}
	rows := train.Len()
	part := c.heldPart(rows)
	switch {
	case part == 0:
		return 0, nil
	case rows == 1:
		return 0, fmt.Errorf("%s: --hold-out %v of one sample leaves none to train on", c.Data, part)
	}
	return max(1, int(part*float64(rows))), nil
}

// heldPart is the part of so many samples that is held out, one at least.
func (c *pruneCmd) heldPart(rows int) float64 {
	switch {
	case c.HoldOut != nil:
		return *c.HoldOut
	case rows > 1 && rows < manySamples:
		return fewHeldOut
	}
	return 0
}
