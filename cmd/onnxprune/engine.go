package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/onnxprune/onnxprune/engine"
)

// ownEngine is the engine of this program.
const ownEngine = "onnxprune"

// engines are those of this build by name; the own one is lowered to no other.
var engines = map[string]engine.Lowering{ownEngine: nil}

// engineFlag chooses what computes.
type engineFlag struct {
	Engine string `help:"Engine that computes (${enum}). Others than onnxprune are there in builds with the tag of their name, to compare with." enum:"${engines}" default:"onnxprune"`
}

func (f *engineFlag) lowering() engine.Lowering { return engines[f.Engine] }

// engineNames lists the engines of this build.
func engineNames() string { return strings.Join(slices.Sorted(maps.Keys(engines)), ",") }
