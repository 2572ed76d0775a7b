"""The residual networks for small images of He et al. 2015, section 4.2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from augcompress.models.base import ModelFacts, ModelSettings

Widths = tuple[int, int, int]


class CifarResNet(ModelSettings):
    """ResNet-20 and its kin (He et al. 2015, https://arxiv.org/abs/1512.03385, section 4.2).

    A 3x3 convolution, three stages of `(depth - 2) / 6` basic blocks at 1, 1/2 and 1/4 resolution,
    global average pooling, one dense layer.  Parameters are named as in Yerlan Idelbayev's public
    CIFAR-10 checkpoints (https://github.com/akamaster/pytorch_resnet_cifar10), which load as they
    are.
    """

    kind: Literal["cifar_resnet"] = "cifar_resnet"
    depth: int = Field(20, ge=8)
    """Layers with weights, 6n + 2: 8, 14, 20, 32, 44, 56, 110."""
    width: float = Field(1.0, gt=0)
    """Multiplies 16, 32, 64 channels; each is rounded to the nearest multiple of 4, at least 4."""
    widths: Widths | None = None
    """Channels of the three stages, in place of `width`; None: 16, 32, 64 times `width`."""
    option: Literal["A", "B"] = "A"
    """Shortcut where the shape changes: A subsamples and pads with zero channels (no parameters),
    B is a strided 1x1 convolution with batch norm."""
    stochastic_depth: float = Field(0.0, ge=0, lt=1)
    """Probability that the last block is left out for an image in training, its shortcut alone
    remaining; that of earlier blocks falls linearly towards 0 (Huang et al. 2016,
    https://arxiv.org/abs/1603.09382, whose setting is 0.5).  What remains is scaled up in training;
    the paper scales down when it evaluates."""

    @field_validator("depth")
    @classmethod
    def depth_is_6n_plus_2(cls, depth: int) -> int:
        if depth % 6 != 2:
            raise ValueError(f"depth {depth} is not 6n + 2; take {max(8, round_depth(depth))}")
        return depth

    @model_validator(mode="after")
    def widths_fit(self) -> CifarResNet:
        if self.widths is None:
            return self
        if self.width != 1.0:
            raise ValueError("width and widths exclude each other; give one")
        if min(self.widths) < 1:
            raise ValueError("widths: 0 or less stands among them; give at least 1")
        if self.option == "A" and list(self.widths) != sorted(self.widths):
            raise ValueError("option A only adds channels; let widths grow, or take option B")
        return self

    def channels(self) -> Widths:
        """Channels of the three stages."""
        return self.widths or (
            scaled_width(16, self.width),
            scaled_width(32, self.width),
            scaled_width(64, self.width),
        )

    def build(self, facts: ModelFacts) -> nn.Module:
        drops = linear_decay((self.depth - 2) // 2, self.stochastic_depth)
        return ResNet(self.channels(), self.option, drops, facts.input.channels, facts.classes)


def round_depth(depth: int) -> int:
    """The nearest depth of the form 6n + 2."""
    return 6 * round((depth - 2) / 6) + 2


def linear_decay(blocks: int, last: float) -> list[float]:
    """Each block's probability of being left out: l / blocks of the last one's, l from 1."""
    return [last * place / blocks for place in range(1, blocks + 1)]


def scaled_width(base: int, width: float) -> int:
    """`base * width`, rounded to the nearest multiple of 4, at least 4."""
    return max(4, int(base * width / 4 + 0.5) * 4)


class PadShortcut(nn.Module):
    """Option A: every `stride`-th pixel, and zero channels on both sides; no parameters.

    A module of its own, so that structured pruning sees which channels meet in the addition:
    output channels `before : before + in` are the input's, the others are zero.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.before = (out_channels - in_channels) // 2
        self.after = out_channels - in_channels - self.before
        self.stride = stride

    def forward(self, features: Tensor) -> Tensor:
        kept = (
            F.avg_pool2d(features, 1, self.stride)  # the same pixels; gradients stay channels-last
            if self.training
            else features[:, :, :: self.stride, :: self.stride]
        )
        return F.pad(kept, (0, 0, 0, 0, self.before, self.after))

    def extra_repr(self) -> str:
        return f"before={self.before}, after={self.after}, stride={self.stride}"


def shortcut(in_channels: int, out_channels: int, stride: int, option: str) -> nn.Module:
    """The path around a block: identity where the shape stays."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if option == "A":
        return PadShortcut(in_channels, out_channels, stride)
    convolution = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels))


def left_out_at_random(share: float) -> nn.Module:
    """Zeros for a share of the images in training (Huang et al. 2016, arXiv:1603.09382)."""
    from torchvision.ops import StochasticDepth

    return StochasticDepth(share, "row")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut around them; with `drop` > 0, they are
    left out for that share of the images in training."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, option: str, drop: float = 0.0
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.drop = left_out_at_random(drop) if drop else None
        self.shortcut = shortcut(in_channels, out_channels, stride, option)
        self.relu2 = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(features)))
        out = self.bn2(self.conv2(out))
        if self.drop is not None:
            out = self.drop(out)
        return self.relu2(out + self.shortcut(features))


def stage(
    in_channels: int, out_channels: int, stride: int, option: str, drops: Sequence[float]
) -> nn.Module:
    """A basic block for each of `drops`; the first changes channels and resolution."""
    first = BasicBlock(in_channels, out_channels, stride, option, drops[0])
    rest = [BasicBlock(out_channels, out_channels, 1, option, drop) for drop in drops[1:]]
    return nn.Sequential(first, *rest)


class ResNet(nn.Module):
    """The network: `conv1 bn1 layer1 layer2 layer3 linear`; He initialisation."""

    def __init__(
        self, widths: Widths, option: str, drops: Sequence[float], channels: int, classes: int
    ) -> None:
        super().__init__()
        first, second, third = widths
        blocks = len(drops) // 3  # in each stage
        self.conv1 = nn.Conv2d(channels, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.ReLU()
        self.layer1 = stage(first, first, 1, option, drops[:blocks])
        self.layer2 = stage(first, second, 2, option, drops[blocks:-blocks])
        self.layer3 = stage(second, third, 2, option, drops[-blocks:])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(third, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        features = self.relu(self.bn1(self.conv1(images)))
        features = self.layer3(self.layer2(self.layer1(features)))
        return self.linear(self.pool(features).flatten(1))
