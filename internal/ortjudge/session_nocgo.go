//go:build !cgo

package ortjudge

import "fmt"

// Session is a model loaded in ONNX Runtime. Without cgo there is none.
type Session struct{}

func start() error {
	return fmt.Errorf("%w: built without cgo; set CGO_ENABLED=1 and have a C compiler", ErrUnavailable)
}

// NewSession returns an error that wraps ErrUnavailable.
func NewSession(modelPath string, o Options) (*Session, error) { return nil, start() }

// Inputs returns nil.
func (s *Session) Inputs() []ValueInfo { return nil }

// Outputs returns nil.
func (s *Session) Outputs() []ValueInfo { return nil }

// Run returns an error that wraps ErrUnavailable.
func (s *Session) Run(inputs map[string]Tensor) (map[string]Tensor, error) { return nil, start() }

// Close does nothing.
func (s *Session) Close() {}
