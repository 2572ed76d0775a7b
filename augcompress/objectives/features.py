"""Features of hidden layers, collected by forward hooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from augcompress.batch import Inputs
from augcompress.errors import AugcompressError


class FeatureTaps:
    """Collects the outputs of named layers, one forward pass after the other.

        with FeatureTaps(network, ["layer2"]) as taps:
            logits = network(images)
            features = taps.take()

    A name counts from the network or from its `body`.  Features keep their gradient; where a layer
    runs twice in a pass, its last output counts; an in-place operation after the layer shows.
    Compiled networks (torch.compile) skip hooks and are refused.
    """

    def __init__(self, network: nn.Module, names: Iterable[str]) -> None:
        if hasattr(network, "_orig_mod"):
            raise AugcompressError(
                "taps: a compiled network hides its layers; switch torch.compile off"
            )
        self._layers = {name: tapped_layer(network, name) for name in names}
        self._features: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> FeatureTaps:
        for name, layer in self._layers.items():
            self._handles.append(layer.register_forward_hook(self._collector(name)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._features = {}

    def _collector(self, name: str) -> Any:
        def collect(layer: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise AugcompressError(
                    f"taps: layer {name} gives {type(output).__name__}, not a tensor;"
                    " name another layer"
                )
            self._features[name] = output

        return collect

    def take(self) -> dict[str, Tensor]:
        """The features of the pass that has just run, by the names asked for."""
        missing = [name for name in self._layers if name not in self._features]
        if missing:
            raise AugcompressError(f"taps: layer {missing[0]} did not run; name another layer")
        features, self._features = self._features, {}
        return features


def forward_with_features(
    network: nn.Module, inputs: Inputs, layers: Sequence[str]
) -> tuple[Tensor, dict[str, Tensor]]:
    """What the network gives, in its own precision, and the outputs of the named layers."""
    with FeatureTaps(network, layers) as taps:
        return network(inputs), taps.take()


def tapped_layer(network: nn.Module, name: str) -> nn.Module:
    """The layer called `name`, or `body.name`.  Raises AugcompressError with the nearest name."""
    layers = {key: layer for key, layer in network.named_modules() if key}
    for key in (name, f"body.{name}"):
        if key in layers:
            return layers[key]
    known = [key.removeprefix("body.") for key in layers if key != "body"]
    nearest = get_close_matches(name, known, n=1, cutoff=0)
    hint = f"did you mean {nearest[0]}?" if nearest else "the network has no layers"
    raise AugcompressError(f"taps: the network has no layer {name}; {hint}")


def stage_ends(network: nn.Module, inputs: Inputs) -> dict[str, tuple[int, ...]]:
    """The layers at which the spatial size of feature maps is about to change, in the order of the
    forward pass, with the shapes of their outputs without the batch, `(C,H,W)`.

    Of the layers whose outputs have the same size the outermost count, and of these the last.  A
    size at which no layer has weights (that of normalization, that behind the last pooling) is left
    out; a network without feature maps, as one of tokens, has none.
    """
    layers = {n.removeprefix("body."): layer for n, layer in network.named_modules() if n}
    found: list[tuple[str, tuple[int, ...]]] = []

    def recorder(name: str) -> Any:
        def record(layer: nn.Module, _: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                found.append((name, tuple(output.shape[1:])))

        return record

    handles = [layer.register_forward_hook(recorder(n)) for n, layer in layers.items()]
    try:
        network(inputs)
    finally:
        for handle in handles:
            handle.remove()
    ends: dict[tuple[int, ...], tuple[str, tuple[int, ...]]] = {}
    for name, shape in found:
        size = shape[1:]
        if size not in ends or name.count(".") <= ends[size][0].count("."):
            ends[size] = (name, shape)
    weighted = {shape[1:] for name, shape in found if any(True for _ in layers[name].parameters())}
    return {
        name: shape
        for size, (name, shape) in ends.items()
        if size in weighted and max(size) > 1 and _is_scaled(size, inputs)
    }


def _is_scaled(size: tuple[int, ...], inputs: Inputs) -> bool:
    """Whether a map is as much smaller than the images in height and in width; channels that come
    last, as some designs have them, are no width."""
    if not isinstance(inputs, Tensor):
        return True
    height, width = inputs.shape[-2:]
    return abs(size[0] - height * size[1] / width) <= 1.5
