// Package report describes a pruning run: plain result structs, their JSON form, and
// the table for people. Two runs with the same inputs, settings and seed give the same
// JSON but for the field "seconds".
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
)

// Number is a float64 that JSON shows as null where it is not finite.
type Number float64

// MarshalJSON implements [json.Marshaler].
func (n Number) MarshalJSON() ([]byte, error) {
	if f := float64(n); math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON implements [json.Unmarshaler]: null is NaN.
func (n *Number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}

// Run is everything that is known about one pruning run.
type Run struct {
	// Format is the version of this layout.
	Format int `json:"format"`
	// Input and Output are file names without directories.
	Input  string `json:"input"`
	Output string `json:"output"`

	Settings Settings `json:"settings"`
	Ratio    Ratio    `json:"ratio"`

	// Dense is the model as read, Magnitude the same under the mask of its largest
	// weights and before any training (absent where nothing was trained), Final what
	// was written.
	Dense     Stage  `json:"dense"`
	Magnitude *Stage `json:"magnitude,omitempty"`
	Final     Stage  `json:"final"`

	// Epochs has epoch 0, the state before any step, first; empty without training.
	Epochs []Epoch `json:"epochs,omitempty"`
	// BestEpoch has the best score; without validation data it is the last.
	BestEpoch int `json:"best_epoch"`
	// ExportedEpoch is the one whose weights were written.
	ExportedEpoch int `json:"exported_epoch"`

	// Divergences are the times that the loss became NaN or exploded and the run went back
	// to the beginning of the epoch with smaller rates.
	Divergences []Divergence `json:"divergences,omitempty"`

	Layers []Layer `json:"layers"`
	// Groups are those of channels, where channels are removed, and Corrected the tensors
	// that make up, without training, for what the removed ones contributed.
	Groups    []Group  `json:"groups,omitempty"`
	Corrected []string `json:"corrected,omitempty"`
	// Frozen are the axes of weights that keep channels whatever the settings, with the
	// reason, where channels are removed.
	Frozen []Frozen `json:"frozen,omitempty"`
	// Excluded are prunable weights that the settings left out.
	Excluded []string `json:"excluded,omitempty"`
	Facts    []Fact   `json:"facts"`
	Seconds  float64  `json:"seconds"`
}

// Settings are the choices of a run, defaults included. Those of training are zero
// where nothing was trained.
type Settings struct {
	Method       string `json:"method"`
	Structure    string `json:"structure"`
	Masks        string `json:"masks"`
	Seed         uint64 `json:"seed"`
	TrainSamples int    `json:"train_samples,omitempty"`
	ValSamples   int    `json:"val_samples,omitempty"`
	// HeldOut is the number of samples of --data that are not trained on, and make up ValSamples.
	HeldOut     int     `json:"held_out,omitempty"`
	Loss        string  `json:"loss,omitempty"`
	Augment     string  `json:"augment,omitempty"`
	Epochs      int     `json:"epochs,omitempty"`
	Steps       int     `json:"steps_per_epoch,omitempty"`
	Batch       int     `json:"batch,omitempty"`
	LR          float64 `json:"lr,omitempty"`
	MaskLR      float64 `json:"mask_lr,omitempty"`
	Gamma       float64 `json:"gamma,omitempty"`
	Clip        float64 `json:"clip,omitempty"`
	WeightDecay float64 `json:"weight_decay,omitempty"`
	Anchor      float64 `json:"anchor,omitempty"`
	Momentum    float64 `json:"momentum,omitempty"`
	// Distill is the share of the unpruned model's outputs in what was learned from.
	Distill     float64 `json:"distill,omitempty"`
	Temperature float64 `json:"temperature,omitempty"`
	LabelWeight float64 `json:"label_weight,omitempty"`
	FreezeNorm  bool    `json:"freeze_norm,omitempty"`
	// Ranking is what single weights were ranked by before training; empty for magnitude.
	Ranking string `json:"ranking,omitempty"`
	// Retrain are epochs with fixed masks at the end. Rewind is the epoch of dense training
	// that weights were put back to, RewindFrom the file with those it began from, where
	// it is not the input.
	Retrain    int    `json:"retrain,omitempty"`
	Rewind     *int   `json:"rewind,omitempty"`
	RewindFrom string `json:"rewind_from,omitempty"`
	// Renormed is the number of convolutions that had BatchNormalization put behind them
	// while training.
	Renormed int `json:"renormed,omitempty"`
	// Untied is the number of vectors that the exporter had merged with equal ones, and that layers got back.
	Untied int `json:"untied,omitempty"`
	// The rest is for channels.
	Importance    string  `json:"importance,omitempty"`
	Round         string  `json:"round,omitempty"`
	MinChannels   int     `json:"min_channels,omitempty"`
	MaxLayerRatio float64 `json:"max_layer_ratio,omitempty"`
	PerLayer      bool    `json:"per_layer,omitempty"`
	KeepShapes    bool    `json:"keep_shapes,omitempty"`
	MaskedEpochs  int     `json:"masked_epochs,omitempty"`
	BothBatches   bool    `json:"both_batches,omitempty"`
	// Ramp is the part of the run in which the ratio rises.
	Ramp float64 `json:"ramp,omitempty"`
	// Flags are those of a training run, defaults and automatic choices included.
	Flags string `json:"flags,omitempty"`
}

// Ratio is the fraction of the masked weights that is removed; where channels are, that
// of what Unit names in the whole model.
type Ratio struct {
	Requested float64 `json:"requested"`
	Achieved  float64 `json:"achieved"`
	// Unit is what the fraction is of.
	Unit string `json:"unit"`
	// Elements are under masks, Removed of them are masked: weights, or channels.
	Elements int `json:"elements"`
	Removed  int `json:"removed"`
	// Before and After are the quantity, where channels are removed: parameters,
	// multiply-adds of a sample, bytes, or seconds of a forward pass.
	Before Number `json:"before,omitempty"`
	After  Number `json:"after,omitempty"`
	// Largest is set where less than requested could be reached and was taken.
	Largest bool `json:"largest_reachable,omitempty"`
}

// Size counts a model. Params are the elements of all float initializers, Nonzero
// those that are not zero or masked, Sparsity 1 − Nonzero/Params.
type Size struct {
	Params   int64   `json:"params"`
	Nonzero  int64   `json:"nonzero"`
	Sparsity float64 `json:"sparsity"`
	// MACs are multiply-adds of one sample; nil where shapes are not known.
	MACs *int64 `json:"macs"`
}

// NewSize returns the size with its sparsity.
func NewSize(params, nonzero int64, macs *int64) Size {
	return Size{Params: params, Nonzero: nonzero, Sparsity: Sparsity(params, nonzero), MACs: macs}
}

// Sparsity is 1 − nonzero/params, 0 for no params.
func Sparsity(params, nonzero int64) float64 {
	if params == 0 {
		return 0
	}
	return float64(params-nonzero) / float64(params)
}

// Stage is a model in the course of a run; Score is absent without validation data.
type Stage struct {
	Size
	Score *Score `json:"score,omitempty"`
}

// Score is an evaluation. Top1 and Top5 are fractions, absent where the labels are no
// classes.
type Score struct {
	Loss    Number   `json:"loss"`
	Top1    *float64 `json:"top1,omitempty"`
	Top5    *float64 `json:"top5,omitempty"`
	Samples int      `json:"samples"`
}

// Epoch is one pass over the training data.
type Epoch struct {
	Epoch int `json:"epoch"`
	// TrainLoss is the mean over the steps, absent for epoch 0.
	TrainLoss *Number `json:"train_loss,omitempty"`
	// MaskChanged is the fraction of mask elements that moved.
	MaskChanged float64 `json:"mask_changed"`
	// Ratio is the fraction removed so far, while it still rises.
	Ratio float64 `json:"ratio,omitempty"`
	Val   *Score  `json:"val,omitempty"`
}

// Divergence is where the loss was lost, and the learning rates from there on.
type Divergence struct {
	Epoch  int     `json:"epoch"`
	Step   int     `json:"step"`
	Loss   Number  `json:"loss"`
	LR     float64 `json:"lr"`
	MaskLR float64 `json:"mask_lr"`
}

// Layer is a masked weight.
type Layer struct {
	Name     string   `json:"name"`
	Nodes    []string `json:"nodes"`
	Shape    []int    `json:"shape"`
	Params   int64    `json:"params"`
	Nonzero  int64    `json:"nonzero"`
	Sparsity float64  `json:"sparsity"`
	// NewShape is the shape after channels were cut out or masked, NewParams its elements.
	// MACs are those of the nodes that use the weight, per sample, before and after.
	NewShape  []int  `json:"new_shape,omitempty"`
	NewParams int64  `json:"new_params,omitempty"`
	MACs      *int64 `json:"macs,omitempty"`
	NewMACs   *int64 `json:"new_macs,omitempty"`
}

// Group is a set of channels that go one by one, each with all that is coupled to it.
type Group struct {
	Name string `json:"name"`
	// Width is the number of channels before, NewWidth after.
	Width    int `json:"width"`
	NewWidth int `json:"new_width"`
	// Kept says why a group stays whole.
	Kept string `json:"kept,omitempty"`
}

// Frozen is an axis of a tensor of which nothing, or not everything, can go.
type Frozen struct {
	Tensor string `json:"tensor"`
	// Axis is −1 where the whole tensor stays.
	Axis int `json:"axis"`
	// Positions is how many of the axis are frozen, of Length.
	Positions int `json:"positions"`
	Length    int `json:"length"`
	// Node is where that was found.
	Node   string `json:"node,omitempty"`
	Reason string `json:"reason"`
}

// Fact is something that was checked on the written bytes.
type Fact struct {
	Name   string `json:"name"`
	Holds  bool   `json:"holds"`
	Detail string `json:"detail"`
}

// WriteJSON writes v indented, with a final newline.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return nil
}
