"""The four network families in plain PyTorch, NCHW, as a user of it would write them.

Submodules bear the names of `aaa_jax.models`, so that a tree of its variables becomes a
state dict by joining names: `tests/models/test_against_torch.py` holds the two equal.
"""

# ruff: noqa: D101, D102 (each class is the PyTorch twin of one of ours)

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

STAGE_SIZES = {14: (1, 1, 1, 1), 50: (3, 4, 6, 3), 200: (3, 24, 36, 3)}


def create(name: str, num_classes: int, options: dict[str, Any]) -> nn.Module:
    """The network that `aaa_jax.models.create` makes of the same name and options."""
    if name == "wide_resnet":
        return WideResNet(num_classes, options["depth"], options["width"])
    if name == "shake_shake":
        return ShakeShake(num_classes, options["depth"], options["width"])
    if name == "pyramidnet":
        return PyramidNet(num_classes, options["depth"], options["widening"])
    sizes = STAGE_SIZES[options["depth"]]
    return ResNet(num_classes, sizes, options.get("variant", "v1.5"))


def conv(channels, features, kernel, stride=1):
    return nn.Conv2d(channels, features, kernel, stride, kernel // 2, bias=False)


def places(sizes):
    """Name, stage and stride of every block, in order; `sizes` are blocks a stage."""
    for stage, size in enumerate(sizes):
        for index in range(size):
            name = f"stage{stage + 1}_block{index + 1}"
            yield name, stage, 2 if stage and not index else 1


class Classifier(nn.Module):
    def __init__(self, channels, num_classes):
        super().__init__()
        self.dense = nn.Linear(channels, num_classes)

    def forward(self, x):
        return self.dense(x.mean((2, 3)))


class WideBlock(nn.Module):
    def __init__(self, channels, features, stride):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = conv(channels, features, 3, stride)
        self.norm2 = nn.BatchNorm2d(features)
        self.conv2 = conv(features, features, 3)
        self.shortcut = conv(channels, features, 1, stride)
        if channels == features:
            self.shortcut = None

    def forward(self, x):
        y = F.relu(self.norm1(x))
        if self.shortcut is not None:
            x = self.shortcut(y)
        return x + self.conv2(F.relu(self.norm2(self.conv1(y))))


class WideResNet(nn.Module):
    def __init__(self, num_classes, depth, width):
        super().__init__()
        self.stem = conv(3, 16, 3)
        self.blocks, channels = [], 16
        for name, stage, stride in places(3 * [(depth - 4) // 6]):
            features = 16 * width * 2**stage
            self.add_module(name, WideBlock(channels, features, stride))
            self.blocks.append(name)
            channels = features
        self.norm = nn.BatchNorm2d(channels)
        self.classifier = Classifier(channels, num_classes)

    def forward(self, x, noise):
        x = self.stem(x)
        for name in self.blocks:
            x = self.get_submodule(name)(x)
        return self.classifier(F.relu(self.norm(x)))


def mixed(x, forward, backward):
    """One factor for the values and another for the gradients, by detaching."""
    forward, backward = (z[:, None, None, None] for z in (forward, backward))
    return x * backward + (x * (forward - backward)).detach()


class ShakeBlock(nn.Module):
    def __init__(self, channels, features, stride):
        super().__init__()
        for name in ("branch1", "branch2"):
            self.add_module(f"{name}_conv1", conv(channels, features, 3, stride))
            self.add_module(f"{name}_norm1", nn.BatchNorm2d(features))
            self.add_module(f"{name}_conv2", conv(features, features, 3))
            self.add_module(f"{name}_norm2", nn.BatchNorm2d(features))
        self.same, self.stride = channels == features, stride
        if not self.same:
            self.shortcut_conv1 = conv(channels, features // 2, 1)
            self.shortcut_conv2 = conv(channels, features // 2, 1)
            self.shortcut_norm = nn.BatchNorm2d(features)

    def branch(self, name, x):
        for number in (1, 2):
            x = self.get_submodule(f"{name}_conv{number}")(F.relu(x))
            x = self.get_submodule(f"{name}_norm{number}")(x)
        return x

    def forward(self, x, noise):
        y1, y2 = self.branch("branch1", x), self.branch("branch2", x)
        if not self.same:
            h = F.relu(x)
            moved = F.pad(h, (1, -1, 1, -1))
            h1 = self.shortcut_conv1(F.avg_pool2d(h, 1, self.stride))
            h2 = self.shortcut_conv2(F.avg_pool2d(moved, 1, self.stride))
            x = self.shortcut_norm(torch.cat((h1, h2), 1))
        if not self.training:
            return x + (y1 + y2) / 2
        a, b = noise[:, 0], noise[:, 1]
        return x + mixed(y1, a, b) + mixed(y2, 1 - a, 1 - b)


class ShakeShake(nn.Module):
    def __init__(self, num_classes, depth, width):
        super().__init__()
        self.stem, self.norm = conv(3, 16, 3), nn.BatchNorm2d(16)
        self.blocks, channels = [], 16
        for name, stage, stride in places(3 * [(depth - 2) // 6]):
            features = width * 2**stage
            self.add_module(name, ShakeBlock(channels, features, stride))
            self.blocks.append(name)
            channels = features
        self.classifier = Classifier(channels, num_classes)

    def forward(self, x, noise):
        x = self.norm(self.stem(x))
        for layer, name in enumerate(self.blocks):
            x = self.get_submodule(name)(x, noise[:, layer])
        return self.classifier(F.relu(x))


class PyramidBlock(nn.Module):
    def __init__(self, channels, narrow, stride, gate):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = conv(channels, narrow, 1)
        self.norm2 = nn.BatchNorm2d(narrow)
        self.conv2 = conv(narrow, narrow, 3, stride)
        self.norm3 = nn.BatchNorm2d(narrow)
        self.conv3 = conv(narrow, 4 * narrow, 1)
        self.norm4 = nn.BatchNorm2d(4 * narrow)
        self.stride, self.gate = stride, gate

    def forward(self, x, noise):
        y = self.conv2(F.relu(self.norm2(self.conv1(self.norm1(x)))))
        y = self.norm4(self.conv3(F.relu(self.norm3(y))))
        if self.training:
            kept = noise[:, 0] < self.gate
            one = torch.ones_like(noise[:, 0])
            forward = torch.where(kept, one, 2 * noise[:, 1] - 1)
            y = mixed(y, forward, torch.where(kept, one, noise[:, 2]))
        else:
            y = self.gate * y
        if self.stride == 2:
            x = F.avg_pool2d(x, 2)
        zeros = x.new_zeros(len(x), y.shape[1] - x.shape[1], *x.shape[2:])
        return y + torch.cat((x, zeros), 1)


class PyramidNet(nn.Module):
    def __init__(self, num_classes, depth, widening):
        super().__init__()
        self.stem, self.norm1 = conv(3, 16, 3), nn.BatchNorm2d(16)
        self.blocks, channels, count = [], 16, (depth - 2) // 3
        for layer, (name, _, stride) in enumerate(places(3 * [count // 3]), start=1):
            narrow = round(16 + layer * widening / count)
            gate = 1 - 0.5 * layer / count
            self.add_module(name, PyramidBlock(channels, narrow, stride, gate))
            self.blocks.append(name)
            channels = 4 * narrow
        self.norm2 = nn.BatchNorm2d(channels)
        self.classifier = Classifier(channels, num_classes)

    def forward(self, x, noise):
        x = self.norm1(self.stem(x))
        for layer, name in enumerate(self.blocks):
            x = self.get_submodule(name)(x, noise[:, layer])
        return self.classifier(F.relu(self.norm2(x)))


class Bottleneck(nn.Module):
    def __init__(self, channels, narrow, stride, pooled):
        super().__init__()
        self.conv1 = conv(channels, narrow, 1)
        self.norm1 = nn.BatchNorm2d(narrow)
        self.conv2 = conv(narrow, narrow, 3, stride)
        self.norm2 = nn.BatchNorm2d(narrow)
        self.conv3 = conv(narrow, 4 * narrow, 1)
        self.norm3 = nn.BatchNorm2d(4 * narrow)
        self.pool = nn.AvgPool2d(2) if pooled and stride == 2 else nn.Identity()
        self.shortcut = stride != 1 or channels != 4 * narrow
        if self.shortcut:
            stride = 1 if pooled else stride
            self.shortcut_conv = conv(channels, 4 * narrow, 1, stride)
            self.shortcut_norm = nn.BatchNorm2d(4 * narrow)

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        if self.shortcut:
            x = self.shortcut_norm(self.shortcut_conv(self.pool(x)))
        return F.relu(x + y)


class ResNet(nn.Module):
    def __init__(self, num_classes, sizes, variant):
        super().__init__()
        stem = [(3, 64, 7, 2)]
        if variant == "d":
            stem = [(3, 32, 3, 2), (32, 32, 3, 1), (32, 64, 3, 1)]
        self.stems = len(stem)
        for number, (channels, features, kernel, stride) in enumerate(stem, start=1):
            layer = conv(channels, features, kernel, stride)
            self.add_module(f"stem_conv{number}", layer)
            self.add_module(f"stem_norm{number}", nn.BatchNorm2d(features))
        self.blocks, channels = [], 64
        for name, stage, stride in places(sizes):
            narrow = 64 * 2**stage
            block = Bottleneck(channels, narrow, stride, variant == "d")
            self.add_module(name, block)
            self.blocks.append(name)
            channels = 4 * narrow
        self.classifier = Classifier(channels, num_classes)

    def forward(self, x, noise):
        for number in range(1, self.stems + 1):
            x = self.get_submodule(f"stem_conv{number}")(x)
            x = F.relu(self.get_submodule(f"stem_norm{number}")(x))
        x = F.max_pool2d(x, 3, 2, 1)
        for name in self.blocks:
            x = self.get_submodule(name)(x)
        return self.classifier(x)
