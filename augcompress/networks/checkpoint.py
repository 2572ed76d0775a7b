"""Networks of ours on disk: weights, and the description that rebuilds the network around them."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from augcompress.component import Plugin, key_of
from augcompress.compressions import Compression, NetworkCompression, Notes, Prepared, resolve
from augcompress.errors import AugcompressError
from augcompress.models import Model, ModelFacts, build_classifier, load_weights
from augcompress.storage import digest_json, write_aside

WEIGHTS, DESCRIPTION, GRAPH = "model.safetensors", "model.json", "model.onnx"
VERSION = 2


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
    where = path.with_name(DESCRIPTION)
    try:
        description = json.loads(where.read_text(encoding="utf-8"))
        if description["version"] != VERSION:
            raise ValueError("another version")
        model: Any = TypeAdapter(Model).validate_python(description["model"])
        facts = TypeAdapter(ModelFacts).validate_python(description["facts"])
        steps = [
            Applied(TypeAdapter(Compression).validate_python(item["settings"]), item["history"])
            for item in description["compressions"]
        ]
        state = load_file(path)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise AugcompressError(
            f"{path}: is no checkpoint of augcompress ({type(error).__name__}); give a"
            f" {WEIGHTS} with its {DESCRIPTION} beside it"
        ) from error
    settings = [step.settings for step in steps]
    plugged = any(isinstance(each, Plugin) for each in (model, *settings))
    if plugged and description.get("identity") != design_digest(model, settings):
        raise AugcompressError(
            f"{path}: its plug-ins' code has changed since it was written; run its stage again"
        )
    if getattr(model, "pretrained", False):
        model = model.model_copy(update={"pretrained": False})  # its own weights come next
    module = rebuilt(model, facts, steps, state, str(path))
    return Network(
        module, model, facts, tuple(description["classes"]), description["resizing"], tuple(steps)
    )


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
        return tuple(json.loads(path.with_name(DESCRIPTION).read_text(encoding="utf-8"))["classes"])
    except (OSError, KeyError, TypeError, ValueError):
        return None


def is_own(path: Path) -> bool:
    """Is it a checkpoint of augcompress?"""
    return path.name == WEIGHTS and path.with_name(DESCRIPTION).exists()
