package main

import (
	"testing"

	"github.com/onnxprune/onnxprune/sweep"
)

// TestLearningRateOfChannels: the default goes with ratio and method, but not in a sweep.
func TestLearningRateOfChannels(t *testing.T) {
	given := 0.03
	for _, c := range []struct {
		method, structure string
		ratio             float64
		given             *float64
		prune, sweep      float64
	}{
		{"bip", "filter", 0.9, nil, 0.02, 0.02}, {"bip", "filter", 0.91, nil, 0.05, 0.02}, {"bip", "channel", 0.95, nil, 0.05, 0.02},
		{"bip", "filter", 0.95, &given, 0.03, 0.03}, {"omp", "filter", 0.95, nil, 0.02, 0.02}, {"hydra", "filter", 0.95, nil, 0.02, 0.02},
		{"imp", "filter", 0.95, nil, 0.02, 0.02}, {"bip", "weight", 0.95, nil, 0.05, 0.05}, {"bip", "weight", 0.5, nil, 0.05, 0.05},
	} {
		s := &sweepCmd{Data: "train", training: training{Epochs: 1, Gamma: 1, GivenLR: c.given}, lossFlags: lossFlags{Loss: "auto", Temperature: 4}, renormFlag: renormFlag{Rebn: "auto"}, channelFlags: channelFlags{Of: "params", Round: "auto", MinChannels: 1, MaxLayerRatio: 0.9}}
		p, err := s.recipe(sweep.Cell{Method: c.method, Structure: c.structure, Ratio: c.ratio, Seed: 1, Rewind: sweep.NoRewind}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if p.LR != c.sweep {
			t.Errorf("%+v: the cell's learning rate is %g", c, p.LR)
		}
		p.Alike = false
		if err := p.Validate(); err != nil || p.LR != c.prune {
			t.Errorf("%+v: the run's learning rate is %g, error %v", c, p.LR, err)
		}
	}
}
