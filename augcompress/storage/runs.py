"""Finished runs: what there is, what they measured, and what can go."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from augcompress.errors import AugcompressError
from augcompress.evidence import (
    MEASUREMENTS_FILE,
    ORDER,
    Measurement,
    RunResult,
    StageResult,
    headline,
    read_measurements,
)
from augcompress.storage.files import (
    RECORD_FILE,
    STORE_FOLDER,
    files_of,
    remove_path,
    storage_errors,
)
from augcompress.storage.store import Store

PREVIEWS = ("contact_sheet.png", "before_after.png")
RUN_FILES = ("recipe.yaml", "spec.json", "report.html", "search.json", *PREVIEWS)
"""What a run directory holds beside its stages' folders; previews are pictures of `augment`."""
TRIALS_FOLDER = "trials"
"""Where a study has a run directory for each trial."""


@dataclass(frozen=True)
class RunSummary:
    """One line of `augcompress runs list`."""

    name: str
    stages: list[str]
    """Stages that are done, oldest first."""
    top1: Measurement | None
    """Accuracy of what ships, else of the newest stage that has one: on test where it can be."""
    size_bytes: int
    modified: float
    """Seconds since 1970 of the newest file."""


def runs(root: str | Path) -> list[RunSummary]:
    """The runs below `root`, by name; none where there is no such folder."""
    root = Path(root)
    folders = sorted(root.iterdir()) if root.is_dir() else []
    return [_summary(folder) for folder in folders if _is_run(folder)]


def read_run(folder: Path) -> RunResult:
    """What a run directory holds, read back.

    Raises AugcompressError when no stage has finished there, or one's record is damaged.
    """
    records = _records(folder)
    if not records:
        raise AugcompressError(f"{folder}: no stage has finished here; see: augcompress runs list")
    return RunResult(run_dir=str(folder), stages=[read_stage(record.parent) for record in records])


def pipeline_of(run: Path) -> tuple[str, ...]:
    """The order of a run's stages: its recipe's `pipeline`, else that of all stages."""
    try:
        told = json.loads((run / "spec.json").read_text(encoding="utf-8"))["pipeline"]
    except (OSError, ValueError, KeyError, TypeError):
        return ORDER
    return tuple(map(str, told)) if isinstance(told, list) and told else ORDER


def stage_order(run: Path) -> tuple[str, ...]:
    """Stages in the order of the run's pipeline, what ships last.

    `evaluate` may have measured anything, and counts least; a graph counts also where it was made
    beside a pipeline that names no `export`.
    """
    named = tuple(name for name in pipeline_of(run) if name != "evaluate")
    beside = () if "export" in named else ("quantize", "export")
    return ("evaluate", *named, *(name for name in beside if name not in named))


def shipping_stage(run: Path, made: Collection[str]) -> str | None:
    """The stage whose artefact the run ships, of those that have one: `export`, else the last;
    None: there is none."""
    known = [name for name in stage_order(run) if name in made and name != "augment"]
    return "export" if "export" in known else known[-1] if known else None


def read_stage(folder: Path) -> StageResult:
    """What a stage's folder holds.

    Raises AugcompressError when it is no stage's, or its record is damaged.
    """
    try:
        record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        return StageResult(
            name=folder.name,
            status="cached",
            seconds=record["seconds"],
            artifact=str(folder / record["artifact"]) if record["artifact"] else None,
            measurements=read_measurements(folder / MEASUREMENTS_FILE),
            notes=record["notes"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AugcompressError(
            f"{folder / RECORD_FILE}: is damaged; repeat the stage with --force"
        ) from error


def clean(root: str | Path, names: Iterable[str] = (), *, dry_run: bool = False) -> int:
    """Remove the named runs, then what no run links in the store.  Returns the bytes freed.

    Unfinished work goes too, unless a process is at it.  In a run's folder, files that are not
    the tool's stay.

    Raises AugcompressError when a name is no run below `root`.
    """
    root = Path(root)
    known = [run.name for run in runs(root)]
    for name in names:
        if name not in known:
            raise AugcompressError(
                f"{root / name}: is no run; choose among: {', '.join(known) or 'none'}"
            )
    gone = [root / name for name in dict.fromkeys(names)]
    kept = [root / name for name in known if root / name not in gone]
    doomed = [path for run in gone for path in _tool_files(run)]
    with storage_errors(root), contextlib.ExitStack() as locks:
        doomed += _unreferenced(Store(root / STORE_FOLDER), kept, doomed, locks)
        freed = _freed(doomed)
        if not dry_run:
            for path in doomed:
                remove_path(path)
            _remove_empty([f for run in gone for f in (*_folders_of_trials(run), run)])
    return freed


def _summary(folder: Path) -> RunSummary:
    stages = [path.parent.name for path in _records(folder)]
    if trials := _trials(folder):
        stages = [f"study of {len(trials)} trials"]
    files = [path.stat() for path in files_of(folder).values()]
    return RunSummary(
        name=folder.name,
        stages=stages,
        top1=next((top1 for s in _telling(stages) if (top1 := _top1(folder / s))), None),
        size_bytes=sum(file.st_size for file in files),
        modified=max((file.st_mtime for file in files), default=folder.stat().st_mtime),
    )


def _telling(stages: list[str]) -> list[str]:
    """Stages from the one whose accuracy is the run's: what ships, else the newest."""
    newest = [stage for stage in reversed(stages) if stage != "evaluate"]
    return sorted(newest, key=lambda stage: stage != "export")


def _top1(folder: Path) -> Measurement | None:
    try:
        return headline(read_measurements(folder / MEASUREMENTS_FILE))
    except AugcompressError:  # a list of runs shows what it can
        return None


def _records(folder: Path) -> list[Path]:
    """The stages' records in a run directory, in the order in which they were written."""
    found = [path for path in folder.glob(f"*/{RECORD_FILE}") if path.parent.name[0] != "."]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path))


def _trials(folder: Path) -> list[Path]:
    """The run directories of a study's trials."""
    found = folder / TRIALS_FOLDER
    return [one for one in sorted(found.iterdir()) if _is_run(one)] if found.is_dir() else []


def _folders_of_trials(run: Path) -> list[Path]:
    """Those that may be empty now, the inner ones first."""
    found = run / TRIALS_FOLDER
    return [*sorted(found.iterdir()), found] if found.is_dir() else []


def _is_run(folder: Path) -> bool:
    if folder.name.startswith(".") or folder.is_symlink() or not folder.is_dir():
        return False
    return (folder / "spec.json").is_file() or bool(_records(folder)) or bool(_trials(folder))


def _tool_files(run: Path) -> list[Path]:
    files = [run / name for name in RUN_FILES if (run / name).is_file()]
    files += [path.parent for path in _records(run)]
    return files + [file for trial in _trials(run) for file in _tool_files(trial)]


def _unreferenced(
    store: Store, kept: list[Path], doomed: list[Path], locks: contextlib.ExitStack
) -> list[Path]:
    """Entries that no run will link, and unlocked unfinished work; `locks` holds their locks."""
    records = [path for run in kept for each in (run, *_trials(run)) for path in _records(each)]
    copied = {name for path in records if (name := _entry_name(path))}
    dying = Counter(_inode(path) for top in doomed for path in _below(top))
    found = []
    for folder in sorted(store.root.iterdir()) if store.root.is_dir() else []:
        name = folder.name.removeprefix(".work-").removeprefix(".old-")
        linked = folder.name in copied or _is_linked(folder, dying)
        if folder.is_dir() and not linked and _try_lock(store, name, locks):
            found.append(folder)
    return found


def _entry_name(record: Path) -> str | None:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        return f"{content['stage']}-{content['key'][:16]}"
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_linked(folder: Path, dying: Counter[tuple[int, int]]) -> bool:
    """Whether a file of the entry has a further name, other than those that will be removed."""
    return any(path.stat().st_nlink - dying[_inode(path)] > 1 for path in _below(folder))


def _try_lock(store: Store, name: str, locks: contextlib.ExitStack) -> bool:
    try:
        locks.enter_context(store.lock(name, busy=name))
    except AugcompressError:  # somebody is at work there, or it is not ours to touch
        return False
    return True


def _freed(doomed: list[Path]) -> int:
    """Bytes that come free: a hard-linked file counts once, when its last name goes."""
    paths = [path for top in doomed for path in _below(top)]
    names = Counter(_inode(path) for path in paths)
    files = {_inode(path): path.stat() for path in paths}
    return sum(file.st_size for inode, file in files.items() if names[inode] >= file.st_nlink)


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _below(top: Path) -> list[Path]:
    return list(files_of(top).values()) if top.is_dir() else [top]


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
