package op

// Scatter is the older name of ScatterElements, in opsets 9 and 10.
// https://onnx.ai/onnx/operators/onnx__Scatter.html
func init() { registerScatterElements("Scatter", 9) }
