//go:build cgo

package main

import (
	"slices"
	"time"

	ort "github.com/yalue/onnxruntime_go"
)

// start loads ONNX Runtime.
func start(library string) (end func(), err error) {
	ort.SetSharedLibraryPath(library)
	if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
		return nil, err
	}
	return func() { ort.DestroyEnvironment() }, nil
}

// runtime opens models in ONNX Runtime. A time is the mean of as many runs as fit into a
// tenth of a second, so that a thread that is woken late counts little. Threads do not
// spin between runs, where others are measured.
func runtime(batch int64, threads int) opener {
	return func(path string) (func() (float64, error), func(), error) {
		options, err := ort.NewSessionOptions()
		if err != nil {
			return nil, nil, err
		}
		defer options.Destroy()
		if err := options.SetIntraOpNumThreads(threads); err != nil {
			return nil, nil, err
		}
		if err := options.AddSessionConfigEntry("session.force_spinning_stop", "1"); err != nil {
			return nil, nil, err
		}
		inputs, outputs, err := ort.GetInputOutputInfo(path)
		if err != nil {
			return nil, nil, err
		}
		var names []string
		for _, o := range outputs {
			names = append(names, o.Name)
		}
		s, err := ort.NewDynamicAdvancedSession(path, []string{inputs[0].Name}, names, options)
		if err != nil {
			return nil, nil, err
		}
		shape := slices.Clone(inputs[0].Dimensions)
		shape[0] = batch
		x := make([]float32, shape.FlattenedSize())
		for i := range x {
			x[i] = float32(i%251)/125 - 1
		}
		in, err := ort.NewTensor(shape, x)
		if err != nil {
			return nil, nil, err
		}
		once := func() error {
			out := make([]ort.Value, len(names))
			if err := s.Run([]ort.Value{in}, out); err != nil {
				return err
			}
			for _, o := range out {
				if err := o.Destroy(); err != nil {
					return err
				}
			}
			return nil
		}
		end := func() {
			in.Destroy()
			s.Destroy()
		}
		return repeated(once), end, nil
	}
}

// repeated times runs for a tenth of a second, at least three, and returns their mean.
func repeated(once func() error) func() (float64, error) {
	return func() (float64, error) {
		begin, n := time.Now(), 0
		for n < 3 || time.Since(begin) < time.Second/10 {
			if err := once(); err != nil {
				return 0, err
			}
			n++
		}
		return time.Since(begin).Seconds() / float64(n), nil
	}
}
