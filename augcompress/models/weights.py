"""Existing weights: read from files without running code, and put into a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from augcompress.errors import AugcompressError
from augcompress.models.head import Head
from augcompress.models.network import Classifier

State = dict[str, Tensor]

_TORCH_FILES = {".pt", ".pth", ".th"}
_WRAPPERS = ("state_dict_ema", "state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")


def read_weights(path: str | Path) -> State:
    """The tensors of a `.safetensors`, `.pt`, `.pth` or `.th` file, by name, on the CPU.

    A state dict inside `state_dict_ema`, `state_dict` or `model` (in this order) is taken out, the
    prefixes of DataParallel and torch.compile are taken off.  Raises AugcompressError for a file
    that holds anything but tensors; nothing in it is executed.
    """
    path = Path(path)
    if not path.is_file():
        raise AugcompressError(f"weights {path}: no such file; check the path")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in _TORCH_FILES:
        return without_prefixes(_tensors(_read_torch(path), path))
    raise AugcompressError(
        f"weights {path}: unknown file type {path.suffix!r}; give .safetensors, .pt, .pth or .th"
    )


def _read_safetensors(path: Path) -> State:
    try:
        return without_prefixes(load_file(path))
    except Exception as error:  # whatever the library raises on bytes from anywhere
        raise AugcompressError(
            f"weights {path}: is no whole safetensors file ({error}); fetch or write it again"
        ) from error


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch raises on bytes from anywhere
        raise AugcompressError(
            f"weights {path}: is no plain state dict, and nothing in it was run; save it with"
            " torch.save(network.state_dict(), path)"
        ) from error


def _tensors(found: Any, path: Path, wrapped: int = len(_WRAPPERS)) -> State:
    for wrapper in _WRAPPERS if wrapped else ():
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            return _tensors(found[wrapper], path, wrapped - 1)
    if not isinstance(found, dict) or not found:
        raise AugcompressError(
            f"weights {path}: holds {type(found).__name__}, not a state dict;"
            " save it with torch.save(network.state_dict(), path)"
        )
    wrong = [name for name, value in found.items() if not isinstance(value, Tensor)]
    if wrong:
        raise AugcompressError(
            f"weights {path}: {wrong[0]!r} is no tensor; give a state dict, bare or under"
            f" {', '.join(_WRAPPERS)}"
        )
    for name, value in found.items():
        if kind := _unusual_kind(value):
            raise AugcompressError(
                f"weights {path}: {name!r} is {kind}; save dense tensors of real numbers on the CPU"
            )
    return {str(name): value for name, value in found.items()}


def _unusual_kind(value: Tensor) -> str | None:
    """What keeps a tensor from being plain numbers; None: nothing."""
    if value.layout is not torch.strided:
        return "sparse"
    if value.device.type != "cpu":
        return f"on the device {value.device.type}"
    return "quantised" if value.is_quantized else "complex" if value.is_complex() else None


def without_prefixes(state: State) -> State:
    """Names without the wrappers' prefixes that all of them carry."""
    for prefix in _PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            return without_prefixes({name.removeprefix(prefix): state[name] for name in state})
    return state


def load_weights(
    network: nn.Module, state: State, *, where: str, head: Head | None = None
) -> tuple[str, ...]:
    """Put `state` into `network` and return the names that stay fresh: those of a head with another
    class count, none otherwise.

    Our own checkpoints (`normalize.*`, `body.*`) fill a whole Classifier, any other state its body.
    Counters of batch norm may be missing.  `head`: that of `receiver`, where it may stay fresh.
    Raises AugcompressError, naming `where` and the first three names, when anything does not fit or
    is NaN; the network is then as it was.
    """
    target = receiver(network, state)
    wanted = target.state_dict()
    fresh = () if head is None else _other_head(head, wanted, state)
    wrong = _mismatches({name: wanted[name] for name in wanted if name not in fresh}, state, fresh)
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise AugcompressError(
            f"{where}: the weights do not fit the network: {len(wrong)} tensors of {len(wanted)};"
            f" choose the model that they were trained with: {', '.join(wrong[:3])}{more}"
        )
    _require_numbers(target, state, where)
    # Torchvision's MNASNet loads nothing without the version that its own state dict carries.
    wanted.update({name: value for name, value in state.items() if name not in fresh})
    target.load_state_dict(wanted)
    return fresh


def _require_numbers(target: nn.Module, state: State, where: str) -> None:
    """Raises AugcompressError naming weights that are NaN or infinite, and statistics that are NaN;
    masks may be infinite."""
    learned = {name for name, _ in target.named_parameters(remove_duplicate=False)}
    spoilt = [
        name
        for name, value in state.items()
        if value.is_floating_point()
        and bool((~value.isfinite() if name in learned else value.isnan()).any())
    ]
    if spoilt:
        more = f" and {len(spoilt) - 3} more" if len(spoilt) > 3 else ""
        raise AugcompressError(
            f"{where}: the weights hold NaN or infinite numbers: {', '.join(spoilt[:3])}{more};"
            " give the file of a training that went well"
        )


def receiver(network: nn.Module, state: State) -> nn.Module:
    """What `state` fills: the network, or its body alone."""
    own = all(name.startswith(("normalize.", "body.")) for name in state)
    return network.body if isinstance(network, Classifier) and not own else network


def head_classes(head: Head, state: State) -> int | None:
    """How many classes the head has in `state`; None where `state` has no such layer."""
    counts = {
        state[n].shape[d] for n, d in head.classes.items() if n in state and state[n].ndim > d
    }
    return counts.pop() if len(counts) == 1 else None


def cut_head(head: Head, state: State, rows: Sequence[int]) -> State:
    """`state` with these classes of the head alone, in this order: weights for a network of the
    same design that answers with these logits only."""
    chosen = torch.tensor(list(rows))
    parts = {n: d for n, d in head.classes.items() if n in state}
    return {**state, **{n: state[n].index_select(d, chosen) for n, d in parts.items()}}


def _other_head(head: Head, wanted: State, state: State) -> tuple[str, ...]:
    """The head's names where `state` has it for another number of classes."""
    names = tuple(name for name in head.classes if name in state)

    def without_classes(tensor: Tensor, name: str) -> list[int]:
        return [size for place, size in enumerate(tensor.shape) if place != head.classes[name]]

    same_inputs = all(without_classes(wanted[n], n) == without_classes(state[n], n) for n in names)
    other_classes = all(wanted[n].shape != state[n].shape for n in names)
    return names if same_inputs and other_classes else ()


def _mismatches(wanted: State, state: State, fresh: tuple[str, ...]) -> list[str]:
    """What does not fit, in words: missing, unexpected, and of another shape."""
    missing = [
        f"{name} is missing"
        for name in wanted
        if name not in state and not name.endswith("num_batches_tracked")
    ]
    unexpected = [
        f"{name} is unknown here" for name in state if name not in wanted and name not in fresh
    ]
    shapes = [
        f"{name} is {tuple(state[name].shape)}, not {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in state and state[name].shape != value.shape
    ]
    return shapes + missing + unexpected
