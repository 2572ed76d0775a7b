"""Any classifier of timm, fitted to the data's channels, classes and image size."""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import Field, field_validator
from torch import nn

from augcompress.errors import AugcompressError, first_line, require
from augcompress.models.base import ModelFacts, ModelSettings, PretrainedWeights, TrainedWith

_OURS = {"pretrained", "num_classes", "in_chans", "img_size"}


class TimmModel(ModelSettings):
    """A classifier of timm by name (https://huggingface.co/docs/timm); extra `timm`.

    Its head has the data's class count and its first convolution the data's channels; designs that
    are made for one image size are made for the data's.
    """

    kind: Literal["timm"] = "timm"
    name: str
    """As in `timm.list_models()`, with or without the weights' tag: convnext_tiny,
    resnet18.a1_in1k, ..."""
    pretrained: bool = False
    """Start from the weights that timm names (downloaded once), by their tag where the name has
    one, with their mean and std.  The head stays fresh where the class count differs; filters
    are summed over RGB for grey images."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of `timm.create_model`: `drop_rate` (dropout before the head),
    `drop_path_rate` (stochastic depth), ..."""

    @field_validator("options")
    @classmethod
    def options_leave_our_arguments(cls, options: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(_OURS & options.keys()):
            raise ValueError(f"{taken[0]} is set by augcompress; remove it from options")
        return options

    def trained_with(self, weights: str | None = None) -> TrainedWith | None:
        """What timm's configuration of the name says, by its tag where it has one."""
        if not self.pretrained and weights is None:
            return None
        timm = require("timm", extra="timm")
        _check_name(timm, self.name)
        told = timm.get_pretrained_cfg(self.name)
        size, stretched = tuple(told.input_size[1:]), told.crop_mode == "squash"
        resize = None if stretched else math.floor(max(size) / told.crop_pct)
        return TrainedWith((told.mean, told.std), size, resize, told.interpolation)

    def pretrained_weights(self) -> PretrainedWeights | None:
        if not self.pretrained:
            return None
        timm = require("timm", extra="timm")
        _check_name(timm, self.name)
        return PretrainedWeights(f"timm {self.name}", timm.get_pretrained_cfg(self.name).license)

    def build(self, facts: ModelFacts) -> nn.Module:
        """The network.

        Raises AugcompressError when timm is not installed, has no such model, refuses the options,
        or cannot get the weights.
        """
        timm = require("timm", extra="timm")
        _check_name(timm, self.name)
        arguments: dict[str, Any] = {"num_classes": facts.classes, "in_chans": facts.input.channels}
        if timm.get_pretrained_cfg(self.name.partition(".")[0]).fixed_input_size:
            arguments["img_size"] = facts.input.size
        try:
            return timm.create_model(
                self.name, pretrained=self.pretrained, **arguments, **self.options
            )
        except OSError as error:
            raise AugcompressError(
                f"model timm {self.name}: pretrained weights cannot be downloaded"
                f" ({first_line(error)}); set pretrained: false and give weights: a local file"
            ) from error
        except (TypeError, ValueError, RuntimeError, AssertionError) as error:
            raise AugcompressError(
                f"model timm {self.name}: {first_line(error)}; mend its options, its name or the"
                " image size"
            ) from error


def _check_name(timm: Any, name: str) -> None:
    """Raises AugcompressError naming the nearest model; names that lead elsewhere are none."""
    if ":" not in name and timm.is_model(name):
        return
    nearest = get_close_matches(name, timm.list_models(), n=1, cutoff=0)[0]
    raise AugcompressError(f"model timm: no classifier {name!r}; did you mean {nearest!r}?")
