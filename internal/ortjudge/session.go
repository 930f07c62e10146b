//go:build cgo

package ortjudge

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// Session is a model loaded in ONNX Runtime, ready to run any number of times.
type Session struct {
	path            string
	session         *ort.DynamicAdvancedSession
	inputs, outputs []ort.InputOutputInfo
}

// start loads the library once for the process.
var start = sync.OnceValue(func() error {
	path, err := library()
	if err != nil {
		return err
	}
	ort.SetSharedLibraryPath(path)
	if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
})

// NewSession loads the model. The caller closes the session.
func NewSession(modelPath string, o Options) (*Session, error) {
	if err := start(); err != nil {
		return nil, err
	}
	inputs, outputs, err := declared(modelPath)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", modelPath, err)
	}
	options, err := sessionOptions(o)
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	session, err := ort.NewDynamicAdvancedSession(modelPath, names(inputs), names(outputs), options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", modelPath, err)
	}
	return &Session{path: modelPath, session: session, inputs: inputs, outputs: outputs}, nil
}

// Close releases the session.
func (s *Session) Close() { s.session.Destroy() }

// Inputs returns the inputs that the model declares, in the file's order,
// without those that an initializer gives a value.
func (s *Session) Inputs() []ValueInfo { return valueInfos(s.inputs) }

// Outputs returns the outputs that the model declares, in the file's order.
func (s *Session) Outputs() []ValueInfo { return valueInfos(s.outputs) }

// Run returns the outputs of the model, by name, for the given inputs, by name.
// float16 and bfloat16 outputs need dimensions that the model declares, as do
// all outputs of a model without inputs.
func (s *Session) Run(inputs map[string]Tensor) (map[string]Tensor, error) {
	outputs, err := s.run(inputs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	return outputs, nil
}

func (s *Session) run(inputs map[string]Tensor) (map[string]Tensor, error) {
	if err := s.checkNames(inputs); err != nil {
		return nil, err
	}
	var in []ort.Value
	defer func() { destroy(in) }()
	for _, info := range s.inputs {
		v, err := newInput(info, inputs[info.Name])
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", info.Name, err)
		}
		in = append(in, v)
	}
	out, err := s.execute(in)
	defer destroy(out)
	if err != nil {
		return nil, err
	}
	results := make(map[string]Tensor, len(out))
	for i, v := range out {
		x, err := readOutput(v)
		if err != nil {
			return nil, fmt.Errorf("output %q: %w", s.outputs[i].Name, err)
		}
		results[s.outputs[i].Name] = x
	}
	return results, nil
}

// execute runs the session. ONNX Runtime allocates the outputs, except those
// that the Go binding cannot convert: half-precision floats and scalars.
func (s *Session) execute(in []ort.Value) ([]ort.Value, error) {
	out := make([]ort.Value, len(s.outputs))
	for i, info := range s.outputs {
		if len(in) == 0 || isHalf(info.DataType) {
			v, err := newOutput(info)
			if err != nil {
				return out, fmt.Errorf("output %q: %w", info.Name, err)
			}
			out[i] = v
		}
	}
	if len(in) == 0 {
		return out, s.runWithoutInputs(out)
	}
	for {
		allocated := slices.Clone(out)
		err := s.session.Run(in, allocated)
		if err == nil {
			return allocated, nil
		}
		if !errors.Is(err, ort.ZeroShapeLengthError) {
			return out, err
		}
		// The first output that was left unconverted is a scalar.
		for i, v := range allocated {
			if isNil(v) {
				scalar, err := newOutput(ort.InputOutputInfo{Name: s.outputs[i].Name, DataType: s.outputs[i].DataType})
				if err != nil {
					return out, fmt.Errorf("output %q: %w", s.outputs[i].Name, err)
				}
				out[i] = scalar
				break
			}
			if out[i] == nil {
				v.Destroy()
			}
		}
	}
}

// runWithoutInputs binds the outputs by name, since a plain run of the Go
// binding takes at least one input.
func (s *Session) runWithoutInputs(out []ort.Value) error {
	binding, err := s.session.CreateIoBinding()
	if err != nil {
		return err
	}
	defer binding.Destroy()
	for i, info := range s.outputs {
		if err := binding.BindOutput(info.Name, out[i]); err != nil {
			return fmt.Errorf("output %q: %w", info.Name, err)
		}
	}
	return s.session.RunWithBinding(binding)
}

// checkNames reports every missing and every unknown input.
func (s *Session) checkNames(inputs map[string]Tensor) error {
	want := names(s.inputs)
	var problems []string
	for _, name := range want {
		if _, ok := inputs[name]; !ok {
			problems = append(problems, fmt.Sprintf("input %q is missing", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		if !slices.Contains(want, name) {
			problems = append(problems, fmt.Sprintf("input %q is none of the model's %q", name, want))
		}
	}
	if problems != nil {
		return errors.New(strings.Join(problems, "; "))
	}
	return nil
}

// declared returns the inputs and outputs of a model, all of them tensors.
func declared(modelPath string) (inputs, outputs []ort.InputOutputInfo, err error) {
	options, err := sessionOptions(Options{Level: LevelNone})
	if err != nil {
		return nil, nil, err
	}
	defer options.Destroy()
	inputs, outputs, err = ort.GetInputOutputInfoWithOptions(modelPath, options)
	return inputs, outputs, err
}

func sessionOptions(o Options) (*ort.SessionOptions, error) {
	levels := map[Level]ort.GraphOptimizationLevel{
		LevelAll:      ort.GraphOptimizationLevelEnableAll,
		LevelExtended: ort.GraphOptimizationLevelEnableExtended,
		LevelBasic:    ort.GraphOptimizationLevelEnableBasic,
		LevelNone:     ort.GraphOptimizationLevelDisableAll,
	}
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		options.SetGraphOptimizationLevel(levels[o.Level]),
		options.SetExecutionMode(ort.ExecutionModeSequential),
		options.SetIntraOpNumThreads(max(o.Threads, 1)),
		options.SetInterOpNumThreads(1),
		options.SetLogSeverityLevel(ort.LoggingLevelError),
		// Idle threads sleep, so that they do not slow down what runs beside them.
		options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
	)
	if err != nil {
		options.Destroy()
		return nil, err
	}
	return options, nil
}

func names(infos []ort.InputOutputInfo) []string {
	list := make([]string, len(infos))
	for i, info := range infos {
		list[i] = info.Name
	}
	return list
}

func valueInfos(infos []ort.InputOutputInfo) []ValueInfo {
	list := make([]ValueInfo, len(infos))
	for i, info := range infos {
		list[i] = ValueInfo{Name: info.Name, Type: typeName(info), Dims: slices.Clone([]int64(info.Dimensions))}
	}
	return list
}

func destroy(values []ort.Value) {
	for _, v := range values {
		if !isNil(v) {
			v.Destroy()
		}
	}
}

// isNil reports whether v is nil or holds a nil pointer, as the Go binding
// leaves it where a conversion failed.
func isNil(v ort.Value) bool {
	return v == nil || reflect.ValueOf(v).IsNil()
}
