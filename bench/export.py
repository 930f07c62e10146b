"""Writes the networks of nets.py as ONNX files: export.py FOLDER [NAME...]

BatchNormalization stays a node, in inference form; opset 13; free batch axis "N".
"""

import os
import sys
import warnings

import torch

from nets import NETS, make

warnings.filterwarnings("ignore")
folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
for name in sys.argv[2:] or NETS:
    net, shape = make(name)
    net.eval()
    torch.onnx.export(
        net,
        torch.zeros(1, *shape),
        os.path.join(folder, name + ".onnx"),
        input_names=["input"],
        output_names=["logits"],
        opset_version=13,
        dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
    )
