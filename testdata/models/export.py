"""ONNX export shared by the scripts of this folder: free batch axis "N"."""

import onnx
import torch


def export(net, args, path, inputs, outputs, keep_bn=False, dynamic=True, opset=13, **options):
    """Writes net, which is in eval mode, as path.

    dynamic: False for fixed sizes, or names of axes by input and output.

    keep_bn: leave BatchNormalization as nodes, in inference form. PyTorch folds it in
    EVAL mode and writes the training form in TRAINING mode; PRESERVE does neither.
    """
    mode = torch.onnx.TrainingMode
    axes = {name: {0: "N"} for name in inputs + outputs} if dynamic is True else dynamic or None
    torch.onnx.export(
        net,
        args,
        path,
        input_names=inputs,
        output_names=outputs,
        opset_version=opset,
        dynamic_axes=axes,
        training=mode.PRESERVE if keep_bn else mode.EVAL,
        do_constant_folding=not keep_bn,
        **options,
    )
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=not options)
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            assert keep_bn and len(node.output) == 1, path
            assert all(a.i == 0 for a in node.attribute if a.name == "training_mode"), path
    if keep_bn:
        assert any(n.op_type == "BatchNormalization" for n in model.graph.node), path
