package op

// Selu: y = gamma·x for x > 0, gamma·alpha·(e^x - 1) below.
// https://onnx.ai/onnx/operators/onnx__Selu.html
func init() {
	registerUnary("Selu", 6, func(r *reader) elementFunc {
		return eluFunc(r.Float("alpha", 1.67326319217681884765625), r.Float("gamma", 1.05070102214813232421875))
	},
		Case{In: []Arg{RandIn(-3, 3, 2, 5, 3, 7)}},
		Case{Name: "given", Attrs: Attrs{"alpha": FloatAttr(2), "gamma": FloatAttr(3)}, In: []Arg{RandIn(-3, 3, 37)}},
	)
}
