package op

// ArgMax: y is the position of the largest element along an axis; it has no gradient.
// https://onnx.ai/onnx/operators/onnx__ArgMax.html
func init() { registerArg("ArgMax", 1) }
