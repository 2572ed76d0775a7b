"""A plain stack of convolutions, for digits and quick trials."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from augcompress.models.base import ModelFacts, ModelSettings


class SmallCNN(ModelSettings):
    """3x3 convolutions with batch norm and ReLU, global average pooling, one dense layer.

    The first convolution keeps the resolution, every further one halves it: the default takes
    8x8 digits down to 2x2.
    """

    kind: Literal["small_cnn"] = "small_cnn"
    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field((16, 32, 64), min_length=1)
    """Output channels of each convolution."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the pooled features that is dropped in training."""

    def build(self, facts: ModelFacts) -> nn.Module:
        return PlainNetwork(self.widths, self.dropout, facts.input.channels, facts.classes)


class ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(features)))


class PlainNetwork(nn.Module):
    """The network: `blocks pool dropout linear`; He initialisation."""

    def __init__(
        self, widths: tuple[int, ...], dropout: float, channels: int, classes: int
    ) -> None:
        super().__init__()
        inputs = (channels, *widths[:-1])
        self.blocks = nn.Sequential(
            *(
                ConvBlock(before, after, stride=1 if place == 0 else 2)
                for place, (before, after) in enumerate(zip(inputs, widths, strict=True))
            )
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(widths[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        features = self.pool(self.blocks(images)).flatten(1)
        return self.linear(self.dropout(features))
