package op

// ArgMin: y is the position of the smallest element along an axis; it has no gradient.
// https://onnx.ai/onnx/operators/onnx__ArgMin.html
func init() { registerArg("ArgMin", -1) }
