"""Trains the small residual CNN of testdata/models on testdata/data/glyphs and exports it.

    python3 testdata/models/train_glyphs.py        (PyTorch 1.13, onnx 1.12; CPU)

writes glyphs_resnet_bn.onnx (BatchNormalization kept, inference form) and
glyphs_resnet.onnx (BatchNormalization folded into Conv), opset 13, input "input"
[N,1,16,16], output "logits" [N,10].
"""

import glob
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from export import export

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "data", "glyphs")
EPOCHS, BATCH, RATE = 24, 64, 0.1


def load(part):
    def read(name):
        files = sorted(glob.glob(os.path.join(DATA, part, name + "-*.npy")))
        return np.concatenate([np.load(f) for f in files])

    x = torch.from_numpy(read("input").astype(np.float32))
    return (x / 255 - 0.5) / 0.25, torch.from_numpy(read("label"))


def conv_bn(i, o, k, stride=1):
    bn = nn.BatchNorm2d(o)
    # The two branches of an Add would otherwise learn one and the same bias, which the
    # exporter would store once and share through Identity nodes.
    nn.init.normal_(bn.bias, std=0.01)
    return nn.Conv2d(i, o, k, stride, k // 2, bias=False), bn


class Block(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.bn1 = conv_bn(i, o, 3, stride)
        self.conv2, self.bn2 = conv_bn(o, o, 3)
        self.shortcut = nn.Sequential()
        if stride != 1 or i != o:
            self.shortcut = nn.Sequential(*conv_bn(i, o, 1, stride))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = conv_bn(1, 16, 3)
        self.layer1 = Block(16, 16, 2)
        self.layer2 = Block(16, 32, 2)
        self.layer3 = Block(32, 32, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        x = F.relu(self.bn(self.conv(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.pool(x).flatten(1))


def accuracy(net, x, y):
    net.eval()
    with torch.no_grad():
        return (net(x).argmax(1) == y).float().mean().item()


def shifted(x):
    """Each image moved by up to one pixel, edges repeated."""
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    dy, dx = torch.randint(0, 3, (2, len(x)))
    return torch.stack([p[:, a : a + 16, b : b + 16] for p, a, b in zip(padded, dy, dx)])


def train(net, x, y, epochs, rate, masks=None):
    opt = torch.optim.SGD(net.parameters(), rate, momentum=0.9, weight_decay=5e-4)
    steps = epochs * (len(x) // BATCH)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, rate, total_steps=steps, pct_start=0.2)
    for _ in range(epochs):
        net.train()
        order = torch.randperm(len(x))
        for i in range(len(x) // BATCH):
            j = order[i * BATCH : (i + 1) * BATCH]
            opt.zero_grad()
            F.cross_entropy(net(shifted(x[j])), y[j]).backward()
            opt.step()
            sched.step()
            for p, m in (masks or {}).items():
                p.data.mul_(m)


def magnitude_masks(net, ratio):
    """Zeroes the smallest weights of all Conv and Gemm layers together."""
    weights = [m.weight for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    flat = torch.cat([w.detach().abs().flatten() for w in weights])
    limit = flat.kthvalue(round(ratio * len(flat))).values
    masks = {w: (w.detach().abs() > limit).float() for w in weights}
    for w, m in masks.items():
        w.data.mul_(m)
    return masks


def main():
    torch.manual_seed(1)
    x, y = load("train")
    tx, ty = load("test")
    net = Net()
    train(net, x, y, EPOCHS, RATE)
    print("parameters %d" % sum(p.numel() for p in net.parameters()))
    print("train top-1 %.4f, test top-1 %.4f" % (accuracy(net, x, y), accuracy(net, tx, ty)))
    sample = torch.randn(2, 1, 16, 16)
    for name, keep in (("glyphs_resnet_bn", True), ("glyphs_resnet", False)):
        export(net.eval(), (sample,), os.path.join(HERE, name + ".onnx"), ["input"], ["logits"], keep_bn=keep)

    if "--prune" in sys.argv:
        masks = magnitude_masks(net, 0.8)
        print("magnitude 0.8 without training: test top-1 %.4f" % accuracy(net, tx, ty))
        train(net, x, y, 5, 0.05, masks)
        print("after 5 epochs: test top-1 %.4f" % accuracy(net, tx, ty))


if __name__ == "__main__":
    main()
