//go:build gorgonia

package main

import "github.com/onnxprune/onnxprune/engine/gorgonia"

func init() { engines["gorgonia"] = gorgonia.Lower }
