package prune

import (
	"github.com/onnxprune/onnxprune/internal/kernel"
)

func init() {
	// imp: iterative magnitude pruning. Every round removes the fifth of the remaining
	// weights with the smallest |θ|, all layers together, puts weights back to t.Rewind
	// if there is one, and trains what is left for the configured epochs; the last round
	// removes what is missing to the ratio. A weight that went does not return. Source:
	// Frankle and Carbin, ICLR 2019, "The Lottery Ticket Hypothesis: Finding Sparse,
	// Trainable Neural Networks"; rewinding: Frankle et al., ICML 2020, "Linear Mode
	// Connectivity and the Lottery Ticket Hypothesis".
	registerMethod(Method{Name: "imp", Train: imp, Epochs: func(c *Config) int { return len(impRatios(c)) * c.Epochs }})
}

// impShare is the fraction of what remains that a round removes.
const impShare = 0.2

// impRatios are the ratios after each round. N:M is reached in one.
func impRatios(c *Config) []float64 {
	var ratios []float64
	if c.Structure.Kind != KindNM {
		for kept := 1 - impShare; kept > (1-c.Ratio)*(1+1e-9); kept *= 1 - impShare {
			ratios = append(ratios, 1-kept)
		}
	}
	return append(ratios, c.Ratio)
}

func imp(t *Trainer) error {
	n := t.Config.Epochs
	// Epoch 0 is one-shot magnitude pruning, the one candidate for the result before the
	// last round: what comes between has more weights.
	OMP(t.Masks, t.Config.Structure, t.Config.Ratio, t.Pool)
	if err := t.epochEnd(0, 0, 0); err != nil {
		return err
	}
	first := t.best
	for _, l := range t.Masks.Layers {
		for i := range l.Mask {
			l.Mask[i] = 1
		}
	}
	for _, ratio := range impRatios(&t.Config) {
		impRound(t, ratio)
		t.rewind()
		t.best = first
		if err := t.phase(n); err != nil {
			return err
		}
	}
	return nil
}

// impRound masks the smallest of the remaining weights, so that ratio of all are gone.
func impRound(t *Trainer, ratio float64) {
	scores := make([][]float32, len(t.Masks.Layers))
	for i, l := range t.Masks.Layers {
		scores[i] = kernel.Floats(len(l.Theta))
		for k, theta := range l.Theta {
			scores[i][k] = max(theta, -theta)
			if l.Mask[k] == 0 {
				scores[i][k] = -1
			}
		}
	}
	t.Masks.projection(t.Config.Structure, ratio, t.Pool, value).project(scores, t.Masks.masks())
	t.Masks.Apply()
}
