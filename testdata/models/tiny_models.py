"""Writes the tiny models of testdata/models: a few KB each, random weights, fixed seeds.

    python3 testdata/models/tiny_models.py         (PyTorch 1.13, onnx 1.12; CPU)

Opset 13; tiny_mobile has 14, which knows HardSwish. The batch axis is "N" except where a model's comment says that it is fixed.
"""

import os

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from export import export

HERE = os.path.dirname(os.path.abspath(__file__))


def path(name):
    return os.path.join(HERE, name + ".onnx")


class Attention(nn.Module):
    """A pre-norm transformer block on [1,6,16] and a classifier; sizes become constants."""

    def __init__(self, width=16, heads=2, hidden=32):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        b, t, c = (int(d) for d in x.shape)
        q, k, v = self.qkv(self.norm1(x)).reshape(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) / (c // self.heads) ** 0.5).softmax(-1)
        x = x + self.proj((weights @ v).transpose(1, 2).reshape(b, t, c))
        x = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return self.head(x.mean(1))


def conv_bn(i, o, k, stride=1, groups=1):
    return [nn.Conv2d(i, o, k, stride, k // 2, groups=groups, bias=False), nn.BatchNorm2d(o)]


class Mobile(nn.Module):
    """Inverted residual with ReLU6 (Clip), then a depthwise-separable layer with HardSwish."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(3, 8, 3, 2), nn.ReLU6())
        self.block = nn.Sequential(
            *conv_bn(8, 16, 1), nn.ReLU6(), *conv_bn(16, 16, 3, groups=16), nn.ReLU6(), *conv_bn(16, 8, 1)
        )
        self.tail = nn.Sequential(*conv_bn(8, 8, 3, 2, groups=8), nn.Hardswish(), *conv_bn(8, 12, 1), nn.Hardswish())
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        x = self.stem(x)
        x = self.tail(x + self.block(x))
        return self.fc(x.mean((2, 3)))


class Shuffle(nn.Module):
    """Grouped convolutions with a channel shuffle between; fixed batch 1."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.reduce = nn.Conv2d(8, 12, 1, groups=2)
        self.expand = nn.Conv2d(12, 8, 3, padding=1, groups=2)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = F.relu(self.stem(x))
        y = F.relu(self.reduce(x))
        b, c, h, w = (int(d) for d in y.shape)
        y = y.reshape(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)
        y = torch.cat([x, F.relu(self.expand(y))], 1)
        return self.fc(F.adaptive_avg_pool2d(y, 1).flatten(1))


class Excite(nn.Module):
    """A convolution rescaled by squeeze-and-excite, with HardSigmoid and a skip."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Sequential(*conv_bn(8, 8, 3))
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = F.silu(self.stem(x))
        y = F.relu(self.conv(x))
        gate = F.hardsigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))))
        x = x + gate * y
        return self.fc(F.max_pool2d(x, 8).flatten(1))


class Shared(nn.Module):
    """One convolution applied twice, and a Linear whose weight serves two branches."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, padding=1)
        self.conv = nn.Conv2d(6, 6, 3, padding=1)
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = F.relu(self.conv(F.relu(self.conv(x))))
        mean, peak = F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)
        return self.fc(mean.flatten(1)) + torch.tanh(self.fc(peak.flatten(1)))


class TwoInputs(nn.Module):
    """An image [N,1,8,8] and a vector [N,4], joined by Concat; two outputs."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, stride=2, padding=1)
        self.embed = nn.Linear(4, 6)
        self.fc, self.value = nn.Linear(12, 5), nn.Linear(12, 1)

    def forward(self, image, vector):
        a = F.relu(self.conv(image)).mean((2, 3))
        x = torch.cat([a, torch.sigmoid(self.embed(vector))], 1)
        return self.fc(x), self.value(x)


class Custom(torch.autograd.Function):
    """x² as an operator "Square" of the domain "example.custom", which no runtime knows."""

    @staticmethod
    def forward(ctx, x):
        return x * x

    @staticmethod
    def symbolic(g, x):
        y = g.op("example.custom::Square", x)
        y.setType(x.type())
        return y


class WithCustom(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 8, 3), nn.Conv2d(8, 8, 3)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = Custom.apply(self.b(F.relu(self.a(x))))
        return self.fc(F.relu(self.c(x)).mean((2, 3)))


def write_if():
    """Gemm, then If(flag): Relu, else a Gemm that captures outer values; then Gemm."""
    rng = np.random.default_rng(7)

    def tensor(name, *shape):
        return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32) * 0.5, name)

    def info(name, *shape, kind=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, kind, shape)

    then = helper.make_graph([helper.make_node("Relu", ["h"], ["t"], "then_relu")], "then", [], [info("t", "N", 8)])
    other = helper.make_graph(
        [helper.make_node("Gemm", ["h", "w1"], ["e"], "else_gemm", transB=1)], "else", [], [info("e", "N", 8)]
    )
    nodes = [
        helper.make_node("Gemm", ["input", "w0", "b0"], ["h"], "gemm0", transB=1),
        helper.make_node("If", ["flag"], ["g"], "branch", then_branch=then, else_branch=other),
        helper.make_node("Gemm", ["g", "w2", "b2"], ["logits"], "gemm2", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "with_if",
        [info("input", "N", 4), info("flag", kind=TensorProto.BOOL)],
        [info("logits", "N", 5)],
        [tensor("w0", 8, 4), tensor("b0", 8), tensor("w1", 8, 8), tensor("w2", 5, 8), tensor("b2", 5)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], producer_name="onnxprune-testdata")
    model.ir_version = 7
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path("tiny_if"))


def write_functions():
    """Calls of functions that the file defines, one within the other: residual blocks of convolutions with an activation."""
    rng = np.random.default_rng(16)

    def tensor(name, *shape):
        return numpy_helper.from_array(rng.normal(0, 0.4, shape).astype(np.float32), name)

    def call(op, inputs, outputs, name, **attributes):
        return helper.make_node(op, inputs, outputs, name=name, domain="local", **attributes)

    opset = [helper.make_opsetid("", 13)]
    leaky = helper.make_node("LeakyRelu", ["c"], ["y"])
    leaky.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="alpha", type=onnx.AttributeProto.FLOAT))
    conv = helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1])
    conv_act = helper.make_function("local", "ConvAct", ["x", "w", "b"], ["y"], [conv, leaky], opset, ["alpha"])
    block = helper.make_function(
        "local", "Block", ["x", "w1", "b1", "w2", "b2"], ["y", "inner"],
        [
            call("ConvAct", ["x", "w1", "b1"], ["inner"], "", alpha=0.2),
            call("ConvAct", ["inner", "w2", "b2"], ["u"], ""),
            helper.make_node("Add", ["x", "u"], ["y"]),
        ],
        opset + [helper.make_opsetid("local", 1)],
    )
    graph = helper.make_graph(
        [
            call("ConvAct", ["input", "w0", "b0"], ["h0"], "stem", alpha=0.3),
            call("Block", ["h0", "w1", "b1", "w2", "b2"], ["h1", "inner1"], "block1"),
            call("Block", ["h1", "w3", "b3", "w4", ""], ["h2", "unused"], "block2"),
            helper.make_node("GlobalAveragePool", ["h2"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("Gemm", ["f", "wf", "bf"], ["logits"], name="head", transB=1),
        ],
        "functions",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1, 16, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        [
            tensor("w0", 12, 1, 3, 3), tensor("b0", 12), tensor("w1", 8, 12, 3, 3), tensor("b1", 8), tensor("w2", 12, 8, 3, 3),
            tensor("b2", 12), tensor("w3", 8, 12, 3, 3), tensor("b3", 8), tensor("w4", 12, 8, 3, 3), tensor("wf", 10, 12), tensor("bf", 10),
        ],
    )
    imports = opset + [helper.make_opsetid("local", 1)]
    model = helper.make_model(graph, opset_imports=imports, functions=[conv_act, block], producer_name="onnxprune-testdata")
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, path("tiny_functions"))


def settle(net):
    """Moves BatchNorm parameters and statistics away from 0 and 1, all different."""
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, std=0.2)
            nn.init.normal_(m.running_mean, std=0.2)
            nn.init.uniform_(m.running_var, 0.5, 1.5)
    return net.eval()


def write(seed, name, build, *shapes, inputs=("input",), outputs=("logits",), **options):
    torch.manual_seed(seed)
    net = settle(build())
    args = tuple(torch.randn(s) for s in shapes)
    export(net, args, path(name), list(inputs), list(outputs), **options)


class OptionA(nn.Module):
    """A stride-2 residual block whose shortcut is sliced and padded with zero channels, as in CIFAR ResNets."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(3, 8, 3), nn.ReLU())
        self.body = nn.Sequential(*conv_bn(8, 12, 3, 2), nn.ReLU(), *conv_bn(12, 12, 3))
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        x = self.stem(x)
        x = F.relu(self.body(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)))
        return self.fc(x.mean((2, 3)))


class UNet(nn.Module):
    """ConvTranspose, skip connections by Concat, and a Resize to the size of another value."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Sequential(*conv_bn(3, 8, 3), nn.ReLU()), nn.Sequential(*conv_bn(8, 10, 3, 2), nn.ReLU())
        self.c, self.up = nn.Sequential(*conv_bn(10, 12, 3, 2), nn.ReLU()), nn.ConvTranspose2d(12, 6, 2, 2)
        self.d, self.out = nn.Sequential(*conv_bn(16, 8, 3), nn.ReLU()), nn.Conv2d(16, 2, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(a)
        d = self.d(torch.cat([self.up(self.c(b)), b], 1))
        d = F.interpolate(d, size=a.shape[2:], mode="bilinear", align_corners=False)
        return self.out(torch.cat([d, a], 1))


class SubPixel(nn.Module):
    """Channels to pixels in the middle of a network: DepthToSpace."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 16, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.c = nn.Conv2d(6, 2, 1)

    def forward(self, x):
        return self.c(F.relu(self.b(F.relu(F.pixel_shuffle(self.a(x), 2)))))


class Cross(nn.Module):
    """Learned queries, repeated over the batch, attend to the pixels of an image; all targets are computed from shapes."""

    def __init__(self):
        super().__init__()
        self.query, self.pixels = nn.Parameter(torch.randn(3, 8)), nn.Conv2d(2, 8, 2, 2)
        self.attention, self.head = nn.MultiheadAttention(8, 2), nn.Linear(8, 5)

    def forward(self, x):
        memory = self.pixels(x).flatten(2).permute(2, 0, 1)
        query = self.query[:, None].repeat(1, memory.shape[1], 1)
        return self.head(self.attention(query, memory, memory, need_weights=False)[0].mean(0))


class Fresh(nn.Module):
    """As initialised, before any training: PyTorch merges the equal biases, scales and statistics of its layers."""

    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(*conv_bn(1, 16, 3, 2), nn.ReLU(), *conv_bn(16, 16, 3), nn.ReLU())
        self.b = nn.Sequential(*conv_bn(16, 16, 3, 2), nn.ReLU(), *conv_bn(16, 16, 3), nn.ReLU())
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        return self.fc(self.b(self.a(x)).mean((2, 3)))


class Detector(nn.Module):
    """One image [3,16,16] without a batch axis, two heads on two levels, and the selection of boxes within the graph."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.48, 0.45, 0.4]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.23, 0.22, 0.225]).view(3, 1, 1))
        self.stem, self.down = nn.Sequential(*conv_bn(3, 12, 3, 2), nn.ReLU()), nn.Sequential(*conv_bn(12, 16, 3, 2), nn.ReLU())
        self.scores = nn.ModuleList(nn.Conv2d(c, 2, 1) for c in (12, 16))
        self.boxes = nn.ModuleList(nn.Conv2d(c, 4, 3, padding=1) for c in (12, 16))

    def forward(self, x):
        fine = self.stem(((x - self.mean) / self.std)[None])
        levels = fine, self.down(fine)

        def rows(heads):
            return torch.cat([head(level).flatten(2).transpose(1, 2)[0] for head, level in zip(heads, levels)])

        scores, boxes = rows(self.scores).sigmoid(), rows(self.boxes)
        best, label = scores.max(1)
        keep = best > 0.6
        return boxes[keep], best[keep], label[keep]


class Recurrent(nn.Module):
    """Columns of an image, as a reader of text lines sees them, go through an LSTM in both directions and a GRU; states begin at zeros of a computed shape."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(1, 6, 3, 2), nn.ReLU())
        self.both, self.last, self.fc = nn.LSTM(24, 10, bidirectional=True), nn.GRU(20, 8), nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x).permute(3, 0, 1, 2).flatten(2)
        return self.fc(self.last(self.both(x)[0])[0][-1])


class Lines(nn.Module):
    """A reader of text lines, [1,1,8,20] to [5,1,7]: columns of an image go through LSTMs in both directions, and all of them at once through a layer; fixed batch 1."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(1, 6, 3, 2), nn.ReLU(), nn.Conv2d(6, 8, (4, 2), (4, 2)), nn.ReLU())
        self.first, self.second = nn.LSTM(8, 6, bidirectional=True), nn.LSTM(10, 6)
        self.between, self.fc = nn.Linear(12, 10), nn.Linear(6, 7)

    def forward(self, x):
        x = self.first(self.stem(x).squeeze(2).permute(2, 0, 1))[0]
        t, b, c = (int(d) for d in x.shape)
        x = self.between(x.view(t * b, c)).view(t, b, 10)
        return self.fc(self.second(F.relu(x))[0])


class Stream(nn.Module):
    """A step of speech recognition: a piece of a sequence [T,batch,4] and the states [2,batch,6] before it, to outputs and the states behind it."""

    def __init__(self):
        super().__init__()
        self.front, self.gru, self.fc = nn.Linear(4, 9), nn.GRU(9, 6, 2), nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 5))

    def forward(self, x, state):
        x, state = self.gru(F.relu(self.front(x)), state)
        return self.fc(x), state


class Spectrum(nn.Module):
    """Sounds [N,160] to their logarithmic mel spectrum, by a convolution with a windowed Fourier transform and a product with a bank of filters, as exported with what follows."""

    def __init__(self, n=32, filters=9):
        super().__init__()
        t, k = torch.arange(n), torch.arange(n // 2 + 1)
        angle = 2 * np.pi * k[:, None] * t / n
        self.register_buffer("basis", (torch.cat([angle.cos(), -angle.sin()]) * torch.hann_window(n))[:, None])
        mel = torch.linspace(0, 2595 * np.log10(1 + 8000 / 700), filters + 2)
        edge = 700 * (10 ** (mel / 2595) - 1)
        up = (500.0 * k[:, None] - edge[:-2]) / (edge[1:-1] - edge[:-2])
        down = (edge[2:] - 500.0 * k[:, None]) / (edge[2:] - edge[1:-1])
        self.register_buffer("bank", torch.minimum(up, down).clamp(min=0))
        self.net = nn.Sequential(nn.Conv1d(filters, 10, 3, padding=1), nn.ReLU(), nn.Conv1d(10, 12, 3), nn.ReLU())
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        re, im = F.conv1d(x[:, None], self.basis, stride=16).chunk(2, 1)
        mel = ((re * re + im * im).transpose(1, 2) @ self.bank + 1e-3).log()
        return self.fc(self.net(mel.transpose(1, 2)).mean(2))


def mlp():
    return nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 5))


def conv1d():
    return nn.Sequential(
        nn.Conv1d(2, 8, 5, padding=2), nn.LeakyReLU(0.1), nn.MaxPool1d(2),
        nn.Conv1d(8, 12, 3, stride=2, dilation=2), nn.PReLU(12), nn.AvgPool1d(3),
        nn.Flatten(), nn.Linear(24, 5),
    )


def main():
    write(1, "tiny_mlp", mlp, (2, 8))
    write(2, "tiny_attention_b1", Attention, (1, 6, 16), dynamic=False)
    write(3, "tiny_mobile", Mobile, (2, 3, 16, 16), opset=14)
    write(3, "tiny_mobile_bn", Mobile, (2, 3, 16, 16), keep_bn=True)
    write(4, "tiny_shuffle_b1", Shuffle, (1, 3, 8, 8), dynamic=False)
    write(5, "tiny_conv1d", conv1d, (2, 2, 32))
    write(6, "tiny_excite_bn", Excite, (2, 3, 8, 8), keep_bn=True)
    write(8, "tiny_shared", Shared, (2, 1, 8, 8))
    names = {"inputs": ("image", "vector"), "outputs": ("logits", "value")}
    write(9, "tiny_two_inputs", TwoInputs, (2, 1, 8, 8), (2, 4), **names)
    write(10, "tiny_custom_op", WithCustom, (2, 1, 8, 8), custom_opsets={"example.custom": 1})
    write(11, "tiny_option_a_bn", OptionA, (2, 3, 8, 8), keep_bn=True)
    write(12, "tiny_unet", UNet, (2, 3, 8, 8))
    write(13, "tiny_sub_pixel", SubPixel, (2, 2, 4, 4))
    write(14, "tiny_cross", Cross, (2, 2, 8, 8))
    for keep in (False, True):
        torch.manual_seed(15)
        name = "tiny_fresh_bn" if keep else "tiny_fresh"
        export(Fresh().eval(), (torch.randn(2, 1, 16, 16),), path(name), ["input"], ["logits"], keep_bn=keep)
    names = {"inputs": ("image",), "outputs": ("boxes", "scores", "labels")}
    write(17, "tiny_detector", Detector, (3, 16, 16), dynamic=False, **names)
    write(18, "tiny_recurrent", Recurrent, (2, 1, 8, 12))
    write(18, "tiny_recurrent_bn", Recurrent, (2, 1, 8, 12), keep_bn=True)
    write(19, "tiny_lines_b1", Lines, (1, 1, 8, 20), dynamic=False)
    write(21, "tiny_spectrum", Spectrum, (2, 160))
    names = {"inputs": ("input", "state"), "outputs": ("logits", "state_after")}
    axes = {name: {1: "batch"} for pair in names.values() for name in pair}
    write(20, "tiny_stream", Stream, (4, 2, 4), (2, 2, 6), dynamic=axes, **names)
    write_if()
    write_functions()


if __name__ == "__main__":
    main()
