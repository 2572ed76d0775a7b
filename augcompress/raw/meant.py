"""What an unknown key of a recipe may stand for."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from augcompress.raw.standing import (
    Place,
    chosen_model,
    default_list,
    kind_of_model,
    models_at,
    value_at,
)
from augcompress.wording import MOST_LISTED, are_alike, nearest

_ELSEWHERE = {
    "root": "path dir folder directory data_dir data_path dataset images",
    "size": "image_size img_size imgsz resolution input_size",
    "epochs": "num_epochs n_epochs max_epochs num_train_epochs",
    "batch_size": "batch bs train_batch_size",
    "lr": "learning_rate lr0 base_lr",
    "weight_decay": "wd",
    "warmup": "warmup_epochs",
    "gradient_clip": "grad_clip clip_grad max_grad_norm",
    "temperature": "temp tau",
    "student": "model arch architecture network",
    "model": "arch architecture network backbone",
    "objectives": "loss losses criterion",
    "samples": "calibration_samples calibration_images",
    "seed": "random_seed random_state manual_seed",
}
"""Our names, and what other tools call the same."""
_NEAR = {
    "macs": "ratio amount sparsity pruning_ratio",
    "steps": "bits dtype num_bits calibration_method",
}
"""Our names, and what other tools have in their place, with values that mean something else."""
_OURS: dict[str, list[str]] = {}
for _own, _others in (*_ELSEWHERE.items(), *_NEAR.items()):
    for _word in _others.split():
        _OURS.setdefault(_word, []).append(_own)


def our_names(word: str) -> list[str]:
    """The fields that other tools call so."""
    return _OURS.get(word.lower(), [])


def meant_by(place: Place, given: Any, raw: dict[str, Any], root: type[BaseModel]) -> str:
    """What an unknown key may stand for: the same further inside, what other tools call so, one
    spelt like it, the same in another section."""
    owner = chosen_model(models_at(place[:-1], raw, root), value_at(place[:-1], raw))
    name = str(place[-1])
    if owner is None:
        return ""
    for word in (*our_names(name), name):
        found = list(_with_key(word, owner, place[:-1], raw, root))
        if found:
            return _told(found, given, pasted=word == name or word not in _NEAR)
    if not are_alike(name, owner.model_fields):
        others = models_at(place[:-1], raw, root)
        if having := [str(kind_of_model(one)) for one in others if name in one.model_fields]:
            told = ", ".join(having[:MOST_LISTED])
            return f" of kind {kind_of_model(owner)}; kinds that have it: {told}"
        found = list(_with_key(name, root, (), raw, root))
        if found:
            return _told(found[:1] if len(found[0]) == 1 else found, given)
    return nearest(name, owner.model_fields)


def _told(found: list[Place], given: Any, *, pasted: bool = True) -> str:
    """`; did you mean …?`, and the option to paste."""
    found = sorted(found, key=lambda one: ("training" not in one, len(one)))[:3]
    paths = [".".join(map(str, one)) for one in found]
    said = f"; did you mean {' or '.join(paths)}?"
    if not pasted:
        return f"{said}  see: augcompress explain {paths[0]}"
    path = paths[0]
    while isinstance(given, dict) and len(given) == 1:
        ((key, given),) = given.items()
        path += f".{key}"
    value = given if isinstance(given, str) else json.dumps(given, default=str)
    return f"{said}  --set {shlex.quote(f'{path}={value[:60]}')}"


def _with_key(
    name: str, owner: type[BaseModel], place: Place, raw: dict[str, Any], root: type[BaseModel]
) -> Iterator[Place]:
    """Where a key of that name is, in a section and inside it."""
    if name == "kind":
        return
    if name in owner.model_fields:
        yield (*place, name)
    yield from _inside(name, owner, place, raw, root)


def _inside(
    name: str,
    owner: type[BaseModel],
    place: Place,
    raw: dict[str, Any],
    root: type[BaseModel],
    depth: int = 3,
) -> Iterator[Place]:
    """Where a key of that name is, in the sections and lists inside one that the recipe has."""
    for field, info in owner.model_fields.items():
        here: Place = (*place, field)
        value = value_at(here, raw)
        if value is None and info.get_default(call_default_factory=True) is None:
            continue  # there is no such section
        listed = value if isinstance(value, list) else default_list(here, raw, root)
        for inner in [(*here, number) for number in range(len(listed))] or [here]:
            told = value_at(inner, raw) or _at(listed, inner[-1])
            model = chosen_model(models_at(here, raw, root), told)
            if model is None or depth == 0:
                continue
            if name in model.model_fields:
                yield (*inner, name)
            yield from _inside(name, model, inner, raw, root, depth - 1)


def _at(listed: list[Any], number: Any) -> Any:
    return listed[number] if isinstance(number, int) and number < len(listed) else None
