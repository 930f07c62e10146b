package main

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/onnxprune/onnxprune/prune"
)

// structural are the flags that say what is removed together, and how far.
type structural struct {
	Structure string `help:"What is removed together: weight (single weights), filter (output channels with all that is coupled to them), channel (input channels, likewise), N:M (N weights kept of every M along the input channels, as 2:4), block:RxC (blocks of R outputs by C inputs)." default:"weight" placeholder:"weight"`

	channelFlags

	structure prune.Structure
	round     int
}

// channelFlags are those for filter and channel.
type channelFlags struct {
	Importance    string       `help:"What channels are ranked by, and where bip's scores start: ${importances} (default: ${untrained} without --data, ${trained} with it)." placeholder:"NAME"`
	Of            string       `help:"What --ratio counts, for filter and channel (${enum})." enum:"params,macs,size,latency" default:"params"`
	Round         string       `help:"Widths are multiples of this number, 1 for any; auto: 16 for groups of at least 32 channels, else 8." default:"auto" placeholder:"N|auto"`
	MinChannels   int          `help:"Channels that stay in every group (default ${default})." default:"1" placeholder:"N"`
	MaxLayerRatio float64      `help:"Largest fraction of a group's channels that goes (default ${default})." default:"0.9" placeholder:"R"`
	LayerRatio    []layerRatio `help:"Remove the fraction R of the channels of layers whose initializer or node name matches, repeatable." sep:"none" placeholder:"REGEX=R"`
	PerLayer      bool         `help:"Remove the same fraction of every group, instead of ranking all channels together."`
	BestEffort    bool         `help:"Where --ratio cannot be reached, take the largest that can."`
	KeepShapes    bool         `help:"Leave zeros in the place of removed channels, instead of cutting them out."`
	MaskedEpochs  *int         `help:"Epochs of bip under masks, before channels are cut out and the rest is trained (default: one in five, at least one)." placeholder:"N"`
}

// layerRatio is a flag of the form REGEX=R.
type layerRatio struct{ prune.LayerRatio }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (l *layerRatio) UnmarshalText(text []byte) error {
	at := strings.LastIndexByte(string(text), '=')
	if at < 0 {
		return fmt.Errorf("%q: wants REGEX=R, as conv1=0.3", text)
	}
	var err error
	if l.Ratio, err = strconv.ParseFloat(string(text[at+1:]), 64); err != nil || !(l.Ratio >= 0 && l.Ratio < 1) {
		return fmt.Errorf("%q: the ratio is %q, wants a fraction in [0,1)", text, text[at+1:])
	}
	l.Match, err = regexp.Compile(string(text[:at]))
	return err
}

// check reads the structure and the ratio that goes with it.
func (s *structural) check(ratio *float64) (float64, error) {
	var err error
	if s.structure, err = prune.ParseStructure(s.Structure); err != nil {
		return 0, err
	}
	if err := s.checkChannels(); err != nil {
		return 0, err
	}
	switch {
	case s.structure.Kind == prune.KindNM && ratio != nil:
		return 0, fmt.Errorf("--structure %s says itself how many weights go, leave --ratio out", s.structure)
	case s.structure.Kind == prune.KindNM:
		return s.structure.Share(), nil
	case ratio == nil && len(s.LayerRatio) > 0:
		return 0, nil
	case ratio == nil:
		return 0, errors.New("missing flags: --ratio=R")
	}
	return *ratio, nil
}

// checkChannels reads the flags for filter and channel, and refuses them elsewhere.
func (s *structural) checkChannels() error {
	if !s.structure.Grouped() {
		for _, f := range []struct {
			set  bool
			name string
		}{
			{s.Of != "params", "--of"}, {s.Importance != "", "--importance"}, {len(s.LayerRatio) > 0, "--layer-ratio"}, {s.PerLayer, "--per-layer"}, {s.BestEffort, "--best-effort"},
			{s.KeepShapes, "--keep-shapes"}, {s.MaskedEpochs != nil, "--masked-epochs"}, {s.Round != "auto", "--round"}, {s.MinChannels != 1, "--min-channels"},
		} {
			if f.set {
				return fmt.Errorf("%s is for --structure filter and channel", f.name)
			}
		}
		return nil
	}
	if _, err := prune.FindImportance(cmp.Or(s.Importance, prune.TrainedImportance)); err != nil {
		return err
	}
	if s.Round != "auto" {
		n, err := strconv.Atoi(s.Round)
		if err != nil || n < 1 || n > 1<<20 {
			return fmt.Errorf("--round is %q, wants auto or a number of at least 1", s.Round)
		}
		s.round = n
	}
	switch {
	case s.MinChannels < 1:
		return fmt.Errorf("--min-channels is %d, wants at least 1", s.MinChannels)
	case !(s.MaxLayerRatio > 0 && s.MaxLayerRatio <= 1):
		return fmt.Errorf("--max-layer-ratio is %g, wants a fraction in (0,1]", s.MaxLayerRatio)
	case s.MaskedEpochs != nil && *s.MaskedEpochs < 0:
		return fmt.Errorf("--masked-epochs is %d, wants at least 0", *s.MaskedEpochs)
	}
	return nil
}

// limits are those of the flags.
func (s *structural) limits(exclude []pattern) prune.Limits {
	l := prune.Limits{Round: s.round, MinChannels: s.MinChannels, MaxLayerRatio: s.MaxLayerRatio, PerLayer: s.PerLayer}
	for _, p := range exclude {
		l.Exclude = append(l.Exclude, p.Regexp)
	}
	for _, r := range s.LayerRatio {
		l.LayerRatios = append(l.LayerRatios, r.LayerRatio)
	}
	return l
}
