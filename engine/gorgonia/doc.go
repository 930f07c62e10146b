// Package gorgonia runs plans on Gorgonia, an independent engine with automatic differentiation,
// so that gradients can be compared with those of this project, and speeds. It is
// built with the tag gorgonia only.
//
// [Lower] takes what Gorgonia computes correctly, with Gorgonia's own kernels and differentiation:
// convolution, batch normalisation, max pooling, matrix products, sums and means, element-wise
// functions. Of what Gorgonia v0.9.18 gets wrong, or lacks, it uses nothing:
//
//   - AveragePool: its gradient is wrong. A window over the whole image is lowered to a sum over
//     one axis, any other is refused.
//   - GlobalAveragePool has no gradient. It is lowered to a sum.
//   - Mean over two axes gives wrong values in some graphs. ReduceMean over the image is lowered to
//     a sum, other axes are refused.
//   - SoftMax and LogSoftMax of one value become one node, whichever is asked for first, as do
//     two BatchNorms. SoftMax is lowered to the exponential of LogSoftMax, a second BatchNorm
//     refused in training.
//   - Conv has no groups, Conv and MaxPool have no padding that differs between the two sides of
//     an axis, MaxPool has no dilation. Nodes that need one are refused.
package gorgonia
