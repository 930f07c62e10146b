package op

import (
	"testing"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// TestAllocations checks that operators of convolutional parts allocate nothing in a step,
// channels-last, after the first.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	pool := kernel.NewPool(2)
	defer pool.Close()
	for _, name := range []string{"ConvTranspose", "Resize", "Upsample", "DepthToSpace", "SpaceToDepth", "InstanceNormalization", "GroupNormalization"} {
		d := Lookup("", name)
		cs := d.Cases[0]
		cs.Training = true
		p, _, err := forward(t, d, cs, caseInputs(cs, 1), true, 1)
		if err != nil {
			t.Fatal(err)
		}
		c := &Context{Pool: pool, Training: true, Workspace: make([]float32, p.ws)}
		din := make([]*Tensor, len(p.in))
		for i, x := range p.in {
			if x != nil && x.Type.IsFloat() {
				din[i] = &Tensor{Type: x.Type, Shape: x.Shape, Layout: x.Layout}
				din[i].Alloc()
			}
		}
		step := func() {
			if err := p.op.Forward(c, p.in, p.out); err != nil {
				t.Fatal(err)
			}
			if err := p.op.(Gradient).Backward(c, p.in, p.out, p.out, din); err != nil {
				t.Fatal(err)
			}
		}
		step()
		if n := testing.AllocsPerRun(10, step); n >= 1 {
			t.Errorf("%s: %v allocations in a step", name, n)
		}
	}
}
