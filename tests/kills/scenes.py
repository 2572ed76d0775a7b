"""What is disturbed: every stage of a tiny run, the run, a search; and what must come of each."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from end_to_end import TIMINGS, TINY, training
from forked import Ended, command
from PIL import Image

from augcompress.storage import changes, files_of, read_record

STAGES = (
    "augment", "pretrain", "train-teacher", "distill", "prune", "quantize", "export", "evaluate",
)  # fmt: skip
RECIPE, STUDY, PICTURES, RUN = "tiny.yaml", "study.yaml", "pictures.yaml", "runs/tiny"
ASKED = (("runs", "list"), ("runs", "show", RUN), ("check", RUN, "-r", RECIPE), ("report", RUN))
"""Commands that look at what a run has left, be it killed."""
TOLD_ANEW = {"seconds", "images_per_s", "sha256", "files", "notes", "done_now", "spec"}
"""Fields of records that tell of times, or follow from what does."""
WITH_TIMINGS = ("MODEL_CARD.md", "SHA256SUMS", "report.html")


@dataclass(frozen=True)
class Scene:
    """A command that is to be disturbed."""

    name: str
    arguments: tuple[str, ...]
    before: Path
    """A folder as it is before the command."""
    after: dict[str, str]
    """What it leaves undisturbed."""
    bytes_after: int
    """Of what it leaves."""
    ended: Ended
    """How it ends undisturbed."""


def recipe() -> dict[str, Any]:
    """The tiny recipe with all stages, copies of images in folders, and two rounds of pruning."""
    found = copy.deepcopy(TINY)
    found["augment"]["offline"] = {"copies": 1, "format": "folder"}
    found["pretrain"] = {"training": {"epochs": 3, "batch_size": 128}}
    found["prune"]["steps"] = [{"kind": "channels", "macs": 0.7, "rounds": 2}]
    found["evaluate"] = {"robustness": [{"kind": "gaussian_noise", "std": [0.1, 0.1]}]}
    return found


def study() -> dict[str, Any]:
    """A search of four trials, two of which share a teacher."""
    found = {k: copy.deepcopy(TINY[k]) for k in ("version", "data", "train_teacher", "distill")}
    found["train_teacher"]["training"] = found["distill"]["training"] = training(2)
    vary = {"mixup": {"off": {}, "on": {"distill.augment": [{"kind": "mixup"}]}}}
    return {**found, "name": "tiny", "search": {"until": "distill", "vary": vary, "seeds": [0, 3]}}


def pictures(folder: Path) -> dict[str, Any]:
    """A teacher of images in files, which are decoded once and kept in the store."""
    draw = np.random.default_rng(0)
    for number in range(60):
        file = folder / "images" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)
    data = {"kind": "image_folder", "root": "images", "size": 8}
    teacher = copy.deepcopy(TINY["train_teacher"])
    return {"version": 1, "name": "tiny", "data": data, "train_teacher": teacher}


def scenes(place: Path) -> Iterator[Scene]:
    """Every scene; in `place`, each is carried out once without being disturbed."""
    start = place / "start" / "work"
    start.mkdir(parents=True)
    for name, settings in ((RECIPE, recipe()), (STUDY, study()), (PICTURES, pictures(start))):
        (start / name).write_text(json.dumps(settings, indent=1))
    before = start
    for stage in STAGES:
        found = carried_out(stage, (stage, "-r", RECIPE), before, place / stage)
        yield found
        before = place / stage / "work"
    yield carried_out("run", ("run", "-r", RECIPE), start, place / "run")
    yield carried_out("pictures", ("train-teacher", "-r", PICTURES), start, place / "pictures")
    yield carried_out("search", ("search", "-r", STUDY), start, place / "search")


def carried_out(name: str, arguments: tuple[str, ...], before: Path, place: Path) -> Scene:
    """A scene, after it was carried out once in a copy of `before`."""
    folder = copied(before, place)
    ended = command(folder, *arguments)
    if ended.code != 0:
        raise SystemExit(f"{name} fails undisturbed: {ended.err}")
    size = sum({p.stat().st_ino: p.stat().st_size for p in files_of(folder).values()}.values())
    return Scene(name, arguments, before, outcome(folder), size, ended)


def copied(folder: Path, place: Path) -> Path:
    """A copy of a working folder, in a new place of its own; hard links stay links."""
    shutil.rmtree(place, ignore_errors=True)
    linked = dict[int, Path]()

    def copy_file(source: str, target: str) -> str:
        first = linked.setdefault(Path(source).stat().st_ino, Path(target))
        if first == Path(target):
            return shutil.copy2(source, target)
        Path(target).hardlink_to(first)
        return target

    return Path(shutil.copytree(folder, place / "work", copy_function=copy_file))


def outcome(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that a command has left, without times; what is hidden by name."""
    found = {}
    for name, path in files_of(folder / "runs").items():
        if path.name in WITH_TIMINGS or name.startswith(".store/"):
            continue
        content = timeless(path).replace(os.fsencode(folder), b"")  # recipes name where data are
        found[name] = hashlib.sha256(content).hexdigest()
    hidden = (path.name for path in (folder / "runs").glob(".store/*"))
    return found | {f".store/{name}": "" for name in hidden if not name.startswith(".lock-")}


def timeless(path: Path) -> bytes:
    """A file's content without the times in it."""
    if path.suffix not in (".json", ".jsonl") or path.name == "manifest.jsonl":
        return path.read_bytes()
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    return json.dumps([_bare(json.loads(line)) for line in lines]).encode()


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _bare(each) for name, each in value.items() if name not in TOLD_ANEW}
    if isinstance(value, list):
        return [_bare(each) for each in value if not _is_timing(each)]
    return value


def _is_timing(value: Any) -> bool:
    return isinstance(value, dict) and value.get("name") in TIMINGS


def half_written(folder: Path) -> list[str]:
    """What a reader of the folder would stumble over, whenever he looks."""
    found = []
    for path in sorted((folder / "runs").rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder / "runs").parts)
        if hidden and not _is_entry(path):
            continue
        try:
            if path.name == "stage.json":
                found += [f"{path.parent / n} {w}" for n, w in _changes(path.parent).items()]
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif _is_stage(path) and not (path / "stage.json").exists():
                found.append(f"{path} has no record")
        except (OSError, ValueError) as error:
            found.append(f"{path}: {error}")
    return found


def _changes(folder: Path) -> dict[str, str]:
    return changes(folder, read_record(folder))


def _is_stage(path: Path) -> bool:
    """Is it the folder of a stage: in a run, or as an entry of the store?"""
    name = path.name.rpartition("-")[0] if path.parent.name == ".store" else path.name
    return path.is_dir() and name in {"decoding", *(stage.replace("-", "_") for stage in STAGES)}


def _is_entry(path: Path) -> bool:
    """Is it below a finished entry of the store?"""
    _, _, rest = path.as_posix().partition("/.store/")
    return bool(rest) and not any(part.startswith(".") for part in rest.split("/"))


def left_over(folder: Path) -> list[str]:
    """Hidden files and folders that no command needs again."""
    kept = (".store", ".lock-")
    return [str(path) for path in folder.rglob(".*") if not path.name.startswith(kept)]


def complaints(folder: Path) -> list[str]:
    """What is wrong with how commands take the folder as it is now: a traceback, or other than one
    line and an exit code from 0 to 3."""
    found = []
    for arguments in ASKED:
        ended = command(folder, *arguments)
        fine = ended.code in (0, 1, 2, 3) and "Traceback" not in ended.err
        if not fine or len(ended.errors) != (ended.code != 0):
            found.append(f"{' '.join(arguments)} ends with {ended.code}: {ended.err[-2000:]}")
    return found
