"""Any classifier of torchvision, fitted to the data's channels, classes and image size."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from augcompress.errors import AugcompressError, first_line
from augcompress.models.base import ModelFacts, ModelSettings, PretrainedWeights, TrainedWith
from augcompress.models.head import find_head
from augcompress.models.weights import load_weights

# Family -> the pooling right after its first convolution, which a small stem leaves out.
_SMALL_STEMS: dict[str, str | None] = {
    "resnet": "maxpool",
    "resnext": "maxpool",
    "wide_resnet": "maxpool",
    "densenet": "features.pool0",
    "squeezenet": "features.2",
    "shufflenet": "maxpool",
    "mobilenet": None,
    "mnasnet": None,
    "efficientnet": None,
    "regnet": None,
}
_OURS = {"weights", "progress", "num_classes", "aux_logits"}
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
LICENCE = "bsd-3-clause"
_LICENCES = {"https://github.com/facebookresearch/SWAG/blob/main/LICENSE": "cc-by-nc-4.0"}
"""What stands at the addresses that descriptions of weights name."""
_REGISTERED = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)", re.MULTILINE)


class TorchvisionModel(ModelSettings):
    """A classifier of torchvision by name (https://docs.pytorch.org/vision/stable/models.html).

    Its head has the data's class count.  For other than three channels the first convolution is
    replaced.  Auxiliary heads (GoogLeNet, Inception v3) are left out.
    """

    kind: Literal["torchvision"] = "torchvision"
    name: str
    """As in `torchvision.models.list_models()`: resnet18, mobilenet_v3_small, ..."""
    stem: Literal["default", "small"] = "default"
    """`small` keeps the resolution of small images: the first convolution is at most 3x3 with
    stride 1, and the pooling after it is left out.  For ResNet, ResNeXt, wide ResNet, DenseNet,
    SqueezeNet, ShuffleNet, MobileNet, MNASNet, EfficientNet and RegNet."""
    pretrained: bool = False
    """Start from torchvision's own ImageNet weights (downloaded once).  The head stays fresh where
    the class count differs, the first convolution where its kernel differs; its filters are
    averaged over RGB for other channel counts."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of torchvision's function: `width_mult`; `dropout` and
    `stochastic_depth_prob`, where the design has them; ..."""

    @field_validator("name")
    @classmethod
    def name_is_known(cls, name: str) -> str:
        known = classifiers()
        if name in known:
            return name
        nearest = get_close_matches(name, known, n=1, cutoff=0)[0]
        raise ValueError(f"torchvision has no classifier {name!r}; did you mean {nearest!r}?")

    @field_validator("options")
    @classmethod
    def options_leave_our_arguments(cls, options: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(_OURS & options.keys()):
            raise ValueError(f"{taken[0]} is set by augcompress; remove it from options")
        return options

    @model_validator(mode="after")
    def stem_fits_the_family(self) -> TorchvisionModel:
        if self.stem == "small" and family(self.name) is None:
            raise ValueError(
                f"{self.name} has no small stem; take stem: default, or one of the families"
                f" {', '.join(_SMALL_STEMS)}"
            )
        return self

    def trained_with(self, weights: str | None = None) -> TrainedWith | None:
        """What torchvision says of its weights: of those whose file has this name, else of its
        newest."""
        if not self.pretrained and weights is None:
            return None
        from torchvision.models import get_model_weights

        published = get_model_weights(self.name)
        named = [one for one in published if one.url.endswith(f"/{Path(weights or '').name}")]
        told = (named[0] if named else published["DEFAULT"]).transforms()
        (side,), (resize,) = told.crop_size, told.resize_size
        return TrainedWith((told.mean, told.std), (side, side), resize, told.interpolation.value)

    def pretrained_weights(self) -> PretrainedWeights | None:
        """Under torchvision's own licence, unless their description names another."""
        if not self.pretrained:
            return None
        from torchvision.models import get_model_weights

        other = get_model_weights(self.name)["DEFAULT"].meta.get("license", LICENCE)
        return PretrainedWeights(f"torchvision {self.name}", _LICENCES.get(other, other))

    def build(self, facts: ModelFacts) -> nn.Module:
        arguments = {**own_arguments(self.name, facts, self.pretrained), **self.options}
        network = self._create(num_classes=facts.classes, **arguments)
        fit_first_convolution(network, facts.input.channels, small=self.stem == "small")
        if self.stem == "small" and (pooling := _SMALL_STEMS[family(self.name) or ""]):
            network.set_submodule(pooling, nn.Identity())
        if self.pretrained:
            self._load_pretrained(network, arguments, facts)
        return network

    def _create(self, **arguments: Any) -> nn.Module:
        from torchvision.models import get_model

        try:
            return get_model(self.name, progress=False, **arguments)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise AugcompressError(
                f"model torchvision {self.name}: {first_line(error)};"
                " mend its options or the image size"
            ) from error

    def _load_pretrained(
        self, network: nn.Module, arguments: dict[str, Any], facts: ModelFacts
    ) -> None:
        state = self._pretrained_state(arguments)
        name, convolution = first_convolution(network)
        filters = state[f"{name}.weight"]
        state[f"{name}.weight"] = fitted_filters(filters, convolution.weight.detach())
        head = find_head(network, facts.example())
        load_weights(network, state, where=f"model torchvision {self.name}", head=head)

    def _pretrained_state(self, arguments: dict[str, Any]) -> dict[str, Tensor]:
        where = f"model torchvision {self.name}"
        kept = {k: v for k, v in arguments.items() if k not in ("aux_logits", "init_weights")}
        try:
            state = self._create(weights="DEFAULT", **kept).state_dict()
        except OSError as error:
            raise AugcompressError(
                f"{where}: pretrained weights cannot be downloaded ({error}); set pretrained: false"
                " and give weights: a local file"
            ) from error
        except RuntimeError as error:
            raise AugcompressError(
                f"{where}: pretrained weights do not fit options {self.options};"
                " remove the options or set pretrained: false"
            ) from error
        return {name: value for name, value in state.items() if not name.startswith(_AUXILIARY)}


@cache
def classifiers() -> list[str]:
    """The classifiers that torchvision has, by name: out of its source, as importing it takes
    longer than importing torch."""
    package = find_spec("torchvision")
    assert package is not None
    files = Path(str(package.origin)).with_name("models").glob("*.py")
    return sorted(name for file in files for name in _REGISTERED.findall(file.read_text("utf-8")))


def family(name: str) -> str | None:
    """The family with a small stem that a torchvision model belongs to."""
    return next((prefix for prefix in _SMALL_STEMS if name.startswith(prefix)), None)


def own_arguments(name: str, facts: ModelFacts, pretrained: bool) -> dict[str, Any]:
    """What a few designs must be told: the image size, or to leave out their auxiliary heads."""
    if name.startswith("vit_"):
        return {"image_size": facts.input.size[0]}
    if name.startswith("maxvit"):
        return {"input_size": facts.input.size}
    if name in ("googlenet", "inception_v3"):
        rgb = pretrained and facts.input.channels == 3
        return {"aux_logits": False, "init_weights": not pretrained, "transform_input": rgb}
    return {}


def first_convolution(network: nn.Module) -> tuple[str, nn.Conv2d]:
    """The convolution that reads the image, and its name."""
    return next(
        (name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)
    )


def fit_first_convolution(network: nn.Module, channels: int, *, small: bool) -> None:
    """Give the first convolution these input channels; `small`: at most 3x3, stride 1."""
    name, old = first_convolution(network)
    kernel, padding = old.kernel_size[0], old.padding[0]
    if small and (kernel > 3 or padding == 0):
        kernel, padding = 3, 1
    if small:
        old.stride = (1, 1)
    if (channels, kernel, padding) == (old.in_channels, old.kernel_size[0], old.padding[0]):
        return
    bias = old.bias is not None
    stride = old.stride[0]
    new = nn.Conv2d(channels, old.out_channels, kernel, stride, padding, bias=bias)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    network.set_submodule(name, new)


def fitted_filters(filters: Tensor, fresh: Tensor) -> Tensor:
    """Pretrained filters for other input channels: averaged over RGB, and scaled so that an image
    with equal channels gives the same response.  `fresh` stays where the kernel differs."""
    if filters.shape == fresh.shape:
        return filters
    if filters.shape[2:] != fresh.shape[2:]:
        return fresh
    channels = fresh.shape[1]
    return filters.sum(1, keepdim=True).expand_as(fresh) / channels
