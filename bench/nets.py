"""The five networks that bench/ measures, for 32×32 colour images or 28×28 grey ones."""

import torch
import torch.nn.functional as F
from torch import nn


def conv_bn(i, o, k, stride=1, groups=1):
    return nn.Sequential(nn.Conv2d(i, o, k, stride, k // 2, groups=groups, bias=False), nn.BatchNorm2d(o))


class Residual(nn.Module):
    """Two 3×3 convolutions beside an identity or a 1×1 convolution (He et al. 2016)."""

    def __init__(self, i, o, stride):
        super().__init__()
        self.a, self.b = conv_bn(i, o, 3, stride), conv_bn(o, o, 3)
        self.short = conv_bn(i, o, 1, stride) if stride != 1 or i != o else nn.Identity()

    def forward(self, x):
        return F.relu(self.b(F.relu(self.a(x))) + self.short(x))


class ResNet(nn.Module):
    def __init__(self, widths, blocks):
        super().__init__()
        self.stem = conv_bn(3, widths[0], 3)
        layers, i = [], widths[0]
        for k, o in enumerate(widths):
            for b in range(blocks):
                layers.append(Residual(i, o, 2 if k > 0 and b == 0 else 1))
                i = o
        self.body, self.fc = nn.Sequential(*layers), nn.Linear(i, 10)

    def forward(self, x):
        x = self.body(F.relu(self.stem(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class VGG16(nn.Module):
    """The 13 convolutions of VGG-16 with BatchNorm, and one linear layer."""

    def __init__(self):
        super().__init__()
        layers, i = [], 3
        for o in [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0]:
            if o == 0:
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [*conv_bn(i, o, 3), nn.ReLU()]
                i = o
        self.body, self.fc = nn.Sequential(*layers), nn.Linear(512, 10)

    def forward(self, x):
        return self.fc(self.body(x).flatten(1))


class Inverted(nn.Module):
    """1×1 to t·i channels, depthwise 3×3, 1×1 to o channels (Sandler et al. 2018)."""

    def __init__(self, i, o, stride, t):
        super().__init__()
        wide = i * t
        layers = [*conv_bn(i, wide, 1), nn.ReLU6()] if t > 1 else []
        layers += [*conv_bn(wide, wide, 3, stride, wide), nn.ReLU6(), *conv_bn(wide, o, 1)]
        self.body, self.add = nn.Sequential(*layers), stride == 1 and i == o

    def forward(self, x):
        return x + self.body(x) if self.add else self.body(x)


class MobileNetV2(nn.Module):
    """The variant for 32×32 images: the stem and the first two stages keep the resolution."""

    def __init__(self):
        super().__init__()
        layers, i = [*conv_bn(3, 32, 3), nn.ReLU6()], 32
        for t, o, n, stride in [(1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
            for b in range(n):
                layers.append(Inverted(i, o, stride if b == 0 else 1, t))
                i = o
        layers += [*conv_bn(i, 1280, 1), nn.ReLU6()]
        self.body, self.fc = nn.Sequential(*layers), nn.Linear(1280, 10)

    def forward(self, x):
        return self.fc(F.adaptive_avg_pool2d(self.body(x), 1).flatten(1))


class Digits(nn.Module):
    """Two convolutions and two linear layers for 28×28 grey images."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.c, self.d = nn.Linear(32 * 49, 64), nn.Linear(64, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.a(x)), 2)
        x = F.max_pool2d(F.relu(self.b(x)), 2)
        return self.d(F.relu(self.c(x.flatten(1))))


NETS = {
    "resnet18": lambda: ResNet([64, 128, 256, 512], 2),
    "vgg16": VGG16,
    "resnet20": lambda: ResNet([16, 32, 64], 3),
    "mobilenetv2": MobileNetV2,
    "mnist": Digits,
}


def make(name):
    """Returns the network and the shape of one input."""
    torch.manual_seed(1)
    net = NETS[name]()
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            # The exporter stores equal tensors once.
            nn.init.uniform_(m.weight, 0.9, 1.1)
            nn.init.normal_(m.bias, std=0.01)
            nn.init.normal_(m.running_mean, std=0.01)
            nn.init.uniform_(m.running_var, 0.9, 1.1)
    return net, (1, 28, 28) if name == "mnist" else (3, 32, 32)
