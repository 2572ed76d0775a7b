"""Finished runs: what there is, what they measured, and what can go."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augcompress.errors import AugcompressError, first_line
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
    leftovers,
    remove_files,
    storage_errors,
)
from augcompress.storage.run_directory import PENDING_FILE, pending_stages
from augcompress.storage.stage_record import DECODING, read_record, stage_records, unchanged_files
from augcompress.storage.store import Store
from augcompress.untrusted import load_json

PREVIEWS = ("contact_sheet.png", "before_after.png")
RUN_FILES = (
    "recipe.yaml",
    "typed.json",
    "spec.json",
    PENDING_FILE,
    "report.html",
    "search.json",
    *PREVIEWS,
)
"""What a run directory holds beside its stages' folders; previews are pictures of `augment`."""
TRIALS_FOLDER = "trials"
"""Where a study has a run directory for each trial."""
SPEC_KEYS = {"version", "name", "data", "export", "evaluate", "limits"}
"""Of a resolved recipe, among others."""
_ENTRY = re.compile(rf"(?:\.work-|\.old-)?((?:{'|'.join((*ORDER, DECODING))})-[0-9a-f]{{16}})")
"""Names of the store's folders."""


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
    problem: str = ""
    """Why it cannot be read; empty: it can."""


def runs(root: str | Path) -> list[RunSummary]:
    """The runs below `root`, by name; none where there is no such folder."""
    return [_summary(folder) for folder in _folders(Path(root)) if _is_run(folder)]


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
        told = load_json(run / "spec.json")["pipeline"]
    except (OSError, ValueError, KeyError, TypeError):
        return ORDER
    return tuple(map(str, told)) if isinstance(told, list) and told else ORDER


def planned_stages(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The stages of `run` by a resolved recipe: those that it names, else those with a section."""
    told = spec.get("pipeline")
    if isinstance(told, list) and told:
        return tuple(map(str, told))
    return tuple(name for name in ORDER if name != "evaluate" and spec.get(name) is not None)


def unfinished(run: Path) -> list[str]:
    """The stages of the run's recipe that are not done, in order; none where nobody knows them."""
    try:
        planned = planned_stages(load_json(run / "spec.json"))
    except (OSError, ValueError, AttributeError):
        return []
    return undone(run, planned)


def undone(run: Path, stages: Iterable[str]) -> list[str]:
    """Those of a recipe's stages that are not there, or there from before its last work on them."""
    pending = pending_stages(run)
    return [s for s in stages if s in pending or not (run / s / RECORD_FILE).is_file()]


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
        record = read_record(folder)
    except (OSError, ValueError) as error:
        raise AugcompressError(
            f"{folder / RECORD_FILE}: is damaged; repeat the stage with --force"
        ) from error
    return StageResult(
        name=folder.name,
        status="cached",
        seconds=record.seconds,
        artifact=str(folder / record.artifact) if record.artifact else None,
        measurements=read_measurements(folder / MEASUREMENTS_FILE),
        notes=list(record.notes),
    )


def clean(root: str | Path, names: Iterable[str] = (), *, dry_run: bool = False) -> int:
    """Remove the named runs, then what no run links in the store.  Returns the bytes freed.

    Unfinished work goes too, unless a process is at it.  Files that are not the tool's, or not as
    it wrote them, stay; so does everything in a store that is reached by a symbolic link, as other
    runs may use it.

    Raises AugcompressError when a name is no run below `root`.
    """
    root = Path(root)
    known = [folder for folder in _folders(root) if _is_ours(folder) and not folder.is_symlink()]
    for name in names:
        if root / name not in known:
            told = ", ".join(folder.name for folder in known) or "none"
            raise AugcompressError(f"{root / name}: is no run; choose among: {told}")
    gone = [root / name for name in dict.fromkeys(names)]
    doomed = {place: files for run in gone for place, files in _tool_files(run).items()}
    with storage_errors(root), contextlib.ExitStack() as locks:
        doomed |= _unreferenced(Store(root / STORE_FOLDER), root, doomed, locks)
        freed = _freed([file for files in doomed.values() for file in files])
        if not dry_run:
            for place, files in doomed.items():
                remove_files(files, place)
            _remove_empty([f for run in gone for f in (*_folders_of_trials(run), run)])
    return freed


def _folders(root: Path) -> list[Path]:
    return [path for path in sorted(root.iterdir()) if path.is_dir()] if root.is_dir() else []


def _summary(folder: Path) -> RunSummary:
    try:
        return _read_summary(folder)
    except (OSError, ValueError, OverflowError, AugcompressError) as error:
        return RunSummary(folder.name, [], None, 0, 0.0, problem=first_line(error))


def _read_summary(folder: Path) -> RunSummary:
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
    found = stage_records(folder).values()
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
    """Is it a run, be it a damaged one?"""
    if folder.name.startswith("."):
        return False
    try:
        return (folder / "spec.json").is_file() or bool(_records(folder)) or bool(_trials(folder))
    except OSError:
        return True  # what cannot be read is not passed over


def _is_ours(folder: Path) -> bool:
    """Has augcompress written it, for sure?  Other tools have a spec.json, too."""
    known = _is_spec(folder / "spec.json") or any(_entry_name(r.parent) for r in _records(folder))
    return _is_run(folder) and (known or bool(_trials(folder)))


def _is_spec(path: Path) -> bool:
    try:
        told = load_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.keys() >= SPEC_KEYS


def _tool_files(run: Path) -> dict[Path, list[Path]]:
    """What clean may take of a run, by the folder that it leaves empty."""
    written = [run / name for name in RUN_FILES]
    written += [left for name in RUN_FILES for left in leftovers(run / name)]
    found = {run: [path for path in written if path.is_file()]}
    for stage in ORDER:
        found[run / stage] = unchanged_files(run / stage)
        for working in (run / f".new-{stage}", run / f".old-{stage}"):
            found[working] = list(files_of(working).values())
    for trial in _trials(run):
        found |= _tool_files(trial)
    return found


def _unreferenced(
    store: Store, root: Path, doomed: Mapping[Path, list[Path]], locks: contextlib.ExitStack
) -> dict[Path, list[Path]]:
    """The store's own files that no run will link, and unlocked unfinished work, by folder;
    `locks` holds their locks."""
    if store.root.is_symlink():
        return {}
    dying = Counter(_inode(file) for files in doomed.values() for file in files)
    kept, found, held = _entries_in_use(root, doomed), {}, set[str]()
    for folder in _folders(store.root):
        name = _ENTRY.fullmatch(folder.name)
        if name is None or folder.is_symlink() or folder.name in kept:
            continue
        if _is_linked(folder, dying):
            continue
        if name[1] in held or _try_lock(store, name[1], locks):
            held.add(name[1])
            found[folder] = _written_by_us(folder)
    return found


def _written_by_us(folder: Path) -> list[Path]:
    """The files of an entry that its record names, the record last; all of a working folder, and
    of an entry whose record is damaged."""
    record, files = folder / RECORD_FILE, files_of(folder)
    if folder.name.startswith("."):
        return list(files.values())
    try:
        own = read_record(folder).files
    except (OSError, ValueError):
        return list(files.values()) if record.is_file() else []
    return [*(files[name] for name in own if name in files), record]


def _entries_in_use(root: Path, doomed: Mapping[Path, list[Path]]) -> set[str]:
    """Names of the entries that the folders below `root` tell of, by links or not, hidden or not;
    those that will be removed do not count."""
    places = [folder for folder in _folders(root) if folder.name != STORE_FOLDER]
    places += [trial for folder in places for trial in _folders(folder / TRIALS_FOLDER)]
    records = [path.parent for folder in places for path in folder.glob(f"*/{RECORD_FILE}")]
    return {name for folder in records if folder not in doomed and (name := _entry_name(folder))}


def _entry_name(folder: Path) -> str | None:
    try:
        return read_record(folder).entry_name
    except (OSError, ValueError):
        return None


def _is_linked(folder: Path, dying: Counter[tuple[int, int]]) -> bool:
    """Whether a file of the entry has a further name, other than those that will be removed."""
    files = files_of(folder).values()
    return any(path.stat().st_nlink - dying[_inode(path)] > 1 for path in files)


def _try_lock(store: Store, name: str, locks: contextlib.ExitStack) -> bool:
    try:
        locks.enter_context(store.lock(name, busy=name))
    except AugcompressError:  # somebody is at work there, or it is not ours to touch
        return False
    return True


def _freed(doomed: list[Path]) -> int:
    """Bytes that come free: a hard-linked file counts once, when its last name goes."""
    names = Counter(_inode(path) for path in doomed)
    files = {_inode(path): path.stat() for path in doomed}
    return sum(file.st_size for inode, file in files.items() if names[inode] >= file.st_nlink)


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
