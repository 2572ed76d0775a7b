"""Networks of ours on disk: weights, and the description that rebuilds the network around them."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from augcompress.component import Plugin, Section, first_problem, key_of
from augcompress.compressions import Compression, NetworkCompression, Notes, Prepared, resolve
from augcompress.errors import AugcompressError, first_line
from augcompress.inference import LARGEST_SIDE, check_resizing
from augcompress.models import Model, ModelFacts, build_classifier, load_weights
from augcompress.storage import digest_json, write_aside
from augcompress.untrusted import FREE_BYTES, UNFOLDS, load_json

WEIGHTS, DESCRIPTION, GRAPH = "model.safetensors", "model.json", "model.onnx"
VERSION = 2
ClassName = Annotated[str, StringConstraints(max_length=1000)]


@dataclass(frozen=True)
class Applied:
    """A compression that a network went through, with what it changed."""

    settings: Any
    """A member of the union Compression."""
    history: Any

    @property
    def compression(self) -> NetworkCompression:
        """The compression itself, also where a plug-in names it."""
        found = resolve(self.settings)
        assert isinstance(found, NetworkCompression)
        return found


class _Step(Section):
    settings: Compression
    history: Any


class Description(Section):
    """What stands in `model.json`."""

    version: Literal[2]
    model: Model
    facts: ModelFacts
    classes: tuple[ClassName, ...] = Field(min_length=1, max_length=10**6)
    resizing: Annotated[dict[str, Any], AfterValidator(check_resizing)]
    identity: str | None = None
    compressions: tuple[_Step, ...] = Field(max_length=1000)

    @model_validator(mode="after")
    def facts_are_of_images(self) -> Self:
        sides = (self.facts.input.channels, *self.facts.input.size, self.facts.classes)
        if not all(0 < side <= LARGEST_SIDE for side in sides[:3]) or sides[3] != len(self.classes):
            raise ValueError(f"facts: {sides} are no channels, sides and classes of a network")
        return self


@dataclass(frozen=True)
class Network:
    """A network with everything needed to rebuild it from its weights."""

    module: nn.Module
    model: Any
    """A member of the union Model."""
    facts: ModelFacts
    classes: tuple[str, ...]
    resizing: dict[str, Any]
    compressions: tuple[Applied, ...] = ()

    def changed(self, module: nn.Module, applied: Applied) -> Network:
        """After one more compression."""
        return replace(self, module=module, compressions=(*self.compressions, applied))

    def notes(self) -> Notes:
        """What the compressions left for graph steps, by their kind, then by named point."""
        found: Notes = {}
        for applied in self.compressions:
            left = applied.compression.notes(self.module, applied.history)
            if left:
                found.setdefault(applied.compression.kind, {}).update(left)
        return found

    def marked(self) -> Network:
        """A copy for graph steps: named points in place of what the graph's numbers will do."""
        module = copy.deepcopy(self.module)
        for applied in self.compressions:
            module = applied.compression.marked(module, applied.history)
        return replace(self, module=module)

    def standing(self) -> list[Applied]:
        """The compressions whose promise must still hold: the last round of each step, unless a
        later step took channels out of its layers."""
        found: list[Applied] = []
        for place, applied in enumerate(self.compressions):
            if applied.compression.reshapes:
                found = []
            following = self.compressions[place + 1 : place + 2]
            if not following or following[0].settings != applied.settings:
                found.append(applied)
        return found

    def mask_hooks(self) -> tuple[Prepared, ...]:
        """What keeps the promises of its compressions while it is trained."""
        found = [a.compression.mask_hooks(self.module, a.history) for a in self.compressions]
        return tuple(each for each in found if each is not None)


def save_network(network: Network, folder: Path) -> Path:
    """Write weights and description into `folder`, the description last."""
    folder.mkdir(parents=True, exist_ok=True)
    with write_aside(folder / WEIGHTS) as aside:
        save_file(_storable(network.module.state_dict()), aside)
    description = {
        "version": VERSION,
        "model": network.model.model_dump(mode="json"),
        "facts": asdict(network.facts),
        "classes": list(network.classes),
        "resizing": network.resizing,
        "identity": design_digest(network.model, [a.settings for a in network.compressions]),
        "compressions": [
            {"settings": a.settings.model_dump(mode="json"), "history": a.history}
            for a in network.compressions
        ],
    }
    with write_aside(folder / DESCRIPTION) as aside:
        aside.write_text(json.dumps(description, indent=1))
    return folder / WEIGHTS


def design_digest(model: Any, settings: list[Any]) -> str:
    """Digest of what rebuilds a network, the code of its plug-ins included."""
    return digest_json(key_of([model, *settings]))


def _storable(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies without shared memory, as safetensors wants them."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}


def load_network(path: Path) -> Network:
    """Rebuild a network from `model.safetensors` and the `model.json` beside it.

    Raises AugcompressError when either is unreadable or they do not fit.
    """
    try:
        told = description_in(path.with_name(DESCRIPTION))
        state = load_file(path)
        steps = [Applied(step.settings, step.history) for step in told.compressions]
        settings = [step.settings for step in steps]
        plugged = any(isinstance(each, Plugin) for each in (told.model, *settings))
        if plugged and told.identity != design_digest(told.model, settings):
            raise AugcompressError(
                f"{path}: its plug-ins' code has changed since it was written; run its stage again"
            )
        model = told.model
        if getattr(model, "pretrained", False):
            model = model.model_copy(update={"pretrained": False})  # its own weights come next
        check_memory(model, told.facts, path)
        module = rebuilt(model, told.facts, steps, state, str(path))
    except AugcompressError:
        raise
    except Exception as error:  # whatever a description leads to that fits no network
        raise AugcompressError(
            f"{path}: is no checkpoint of augcompress ({type(error).__name__}:"
            f" {first_line(error)}); give a {WEIGHTS} with its {DESCRIPTION} beside it"
        ) from error
    return Network(module, model, told.facts, told.classes, told.resizing, tuple(steps))


def description_in(path: Path) -> Description:
    """What a `model.json` says.

    Raises OSError or ValueError when it is none.
    """
    try:
        return Description.model_validate(load_json(path))
    except ValidationError as error:
        raise ValueError(first_problem(error, path.name)) from error


def check_memory(model: Any, facts: ModelFacts, path: Path) -> None:
    """Raises ValueError when a design has far more weights than the file beside it can hold, before
    they are made; a pruned network's file is smaller than its design."""
    if isinstance(model, Plugin):
        return
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            weights = model.build(facts).state_dict().values()
    except Exception:  # a library's network that computes while it is built
        return
    wanted = sum(value.numel() * value.element_size() for value in weights)
    if wanted > max(FREE_BYTES, UNFOLDS * path.stat().st_size):
        raise ValueError(f"its design has {wanted} bytes of weights")


def rebuilt(
    model: Any, facts: ModelFacts, steps: Sequence[Applied], state: dict[str, Tensor], where: str
) -> nn.Module:
    """The network of this design after these compressions, with these weights, in evaluation mode.

    Raises AugcompressError when they do not fit.
    """
    channels = facts.input.channels
    module: nn.Module = build_classifier(model, facts, [0.0] * channels, [1.0] * channels)
    for step in steps:
        module = step.compression.replay(module, step.history)
    load_weights(module, state, where=where)
    return module.eval()


def classes_beside(path: Path) -> tuple[str, ...] | None:
    """The classes that one of our checkpoints knows; None for weights from elsewhere."""
    if not is_own(path):
        return None
    try:
        return tuple(map(str, load_json(path.with_name(DESCRIPTION))["classes"]))
    except (OSError, KeyError, TypeError, ValueError):
        return None


def is_own(path: Path) -> bool:
    """Is it a checkpoint of augcompress?"""
    return path.name == WEIGHTS and path.with_name(DESCRIPTION).exists()
