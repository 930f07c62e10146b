//go:build cgo

package main

import (
	"path/filepath"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/onnxio"
)

// forward opens models in the engine.
func forward(batch, threads int) opener { return opened(batch, threads, nil) }

// step opens models in the engine for training steps.
func step(batch, threads int) opener { return opened(batch, threads, engine.CrossEntropy{}) }

func opened(batch, threads int, loss engine.Loss) opener {
	return func(path string) (func() (float64, error), func(), error) {
		m, err := onnxio.Load(path)
		if err != nil {
			return nil, nil, err
		}
		g, err := graph.New(m, filepath.Base(path))
		if err != nil {
			return nil, nil, err
		}
		pool := kernel.NewPool(threads)
		p, err := engine.Compile(g, engine.NewState(g), engine.Options{Batch: batch, Pool: pool, Loss: loss, Constant: loss == nil})
		if err != nil {
			pool.Close()
			return nil, nil, err
		}
		for _, in := range p.Inputs {
			for i := range in.F {
				in.F[i] = float32(i%251)/125 - 1
			}
		}
		once := p.Forward
		if loss != nil {
			target := &engine.Target{Labels: make([]int64, batch)}
			once = func() error {
				_, err := p.Step(target)
				return err
			}
		}
		return repeated(once), pool.Close, nil
	}
}
