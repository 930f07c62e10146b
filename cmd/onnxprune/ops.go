package main

import (
	"fmt"

	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
	"github.com/onnxprune/onnxprune/report"
)

type opsCmd struct {
	JSON bool `help:"Print JSON."`
}

// operator is a row of ops.
type operator struct {
	Name     string `json:"name"`
	Domain   string `json:"domain"`
	Since    int    `json:"since_opset"`
	Until    int    `json:"until_opset"`
	Forward  bool   `json:"forward"`
	Gradient bool   `json:"gradient"`
	Channels bool   `json:"channel_rule"`
}

// Run implements the command.
func (c *opsCmd) Run(con *console) error {
	ops := operators()
	if c.JSON {
		return report.WriteJSON(con.out, map[string][]operator{"operators": ops})
	}
	t := report.NewTable("operator", "opsets", "forward", "gradient", "channel rule")
	for _, o := range ops {
		name := o.Name
		if o.Domain != "" {
			name = o.Domain + "." + name
		}
		t.Row(name, fmt.Sprintf("%d-%d", o.Since, o.Until), yes(o.Forward), yes(o.Gradient), yes(o.Channels))
	}
	return t.Write(con.out)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "-"
}

// operators lists what a file may use. Abilities are those of an operator made from one
// of its own test cases; one without cases that can be made counts as unable.
func operators() []operator {
	var ops []operator
	for _, d := range op.All() {
		if d.Domain == "onnxprune" {
			continue // exists in compiled plans only
		}
		o := operator{Name: d.Name, Domain: d.Domain, Since: d.Since, Until: onnxio.MaxOpset, Forward: true}
		for _, c := range append([]op.Case{{Outputs: 1, In: make([]op.Arg, 3)}}, d.Cases...) {
			made, err := d.Make(node(d, c))
			if err != nil {
				continue
			}
			_, gradient := made.(op.Gradient)
			_, linker := made.(op.Linker)
			_, coupler := made.(op.Coupler)
			o.Gradient = o.Gradient || gradient
			o.Channels = o.Channels || linker || coupler
		}
		ops = append(ops, o)
	}
	return ops
}

func node(d *op.Def, c op.Case) op.Node {
	n := op.Node{Type: d.Name, Opset: max(c.Opset, d.Since), Attrs: c.Attrs, Outputs: max(1, c.Outputs), Training: c.Training}
	for _, a := range c.In {
		n.Inputs = append(n.Inputs, !a.Omitted)
	}
	return n
}
