// Package kernel holds the float32 kernels that training and inference are
// made of: convolutions on channels-last activations, matrix products,
// normalisation, pooling, elementwise passes and optimiser steps.
//
// Every routine exists in portable Go; on amd64 the inner loops exist as
// AVX-512 and AVX2+FMA assembly too, written by the generator in
// internal/asmgen. The fastest variant that the processor supports is chosen
// at start-up; the environment variable ONNXPRUNE_KERNEL forces one of avx512,
// avx2 and go, and the build tag purego leaves only Go.
//
// All results are bit-identical at any number of threads. They may differ in
// the last bits between variants, because these sum in different orders.
package kernel

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

//go:generate sh -c "cd ../asmgen && go run . -dir ../kernel"

type variant uint8

const (
	variantGo variant = iota
	variantAVX2
	variantAVX512
)

var variantNames = [...]string{variantGo: "go", variantAVX2: "avx2", variantAVX512: "avx512"}

// active is read by every dispatch; it changes only in init and Force.
var active variant

// initErr holds the complaint about ONNXPRUNE_KERNEL, if there is one.
var initErr error

func init() {
	vs := Variants()
	name := os.Getenv("ONNXPRUNE_KERNEL")
	if name == "" {
		name = vs[0]
	}
	if err := Force(name); err != nil {
		initErr = fmt.Errorf("ONNXPRUNE_KERNEL: %w", err)
		Force(vs[0])
	}
}

// Err returns what was wrong with the environment variable ONNXPRUNE_KERNEL
// at start-up (the default variant is active then), or nil.
func Err() error { return initErr }

// Active returns the name of the variant in use: avx512, avx2 or go.
func Active() string { return variantNames[active] }

// Variants lists the variants that this build and processor support, fastest
// first. The last one is always go.
func Variants() []string {
	var names []string
	for v := variantAVX512; ; v-- {
		if supported(v) {
			names = append(names, variantNames[v])
		}
		if v == variantGo {
			return names
		}
	}
}

// Force makes the named variant the active one. It must not be called while
// kernels run.
func Force(name string) error {
	v := slices.Index(variantNames[:], name)
	if v < 0 {
		return fmt.Errorf("unknown kernel variant %q, want one of %s", name, strings.Join(Variants(), ", "))
	}
	if !supported(variant(v)) {
		return fmt.Errorf("kernel variant %q is not supported here, want one of %s", name, strings.Join(Variants(), ", "))
	}
	active = variant(v)
	return nil
}
