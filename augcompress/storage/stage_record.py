"""`stage.json`: which files a stage has written, with their digests; and which are not its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from augcompress.component import Section, first_problem
from augcompress.errors import AugcompressError
from augcompress.evidence import ORDER, StageName
from augcompress.storage.digests import digests_of
from augcompress.storage.files import RECORD_FILE, files_of
from augcompress.untrusted import load_json

DECODING: Literal["decoding"] = "decoding"
"""Stands in a stage's place in the names of the store's entries that hold decoded images."""
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _leads_nowhere_else(name: str) -> str:
    if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(f"{name!r} is no name of a file in the folder")
    return name


InsideName = Annotated[str, AfterValidator(_leads_nowhere_else)]
"""A file's name below a folder, with `/`."""


class StageRecord(Section):
    """What stands in `stage.json`."""

    version: int
    stage: StageName | Literal["decoding"]
    key: Digest
    artifact: InsideName | None = None
    """The main file; None: there is none."""
    artifact_digest: str = ""
    """Of the main file, and of the `model.json` beside it."""
    seconds: float = Field(0.0, ge=0)
    notes: tuple[str, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)
    """Versions that it was made with."""
    files: dict[InsideName, int] = Field(default_factory=dict)
    """Bytes of each file, `stage.json` left out."""
    sha256: dict[InsideName, Digest] = Field(default_factory=dict)
    """Digest of each file."""

    @model_validator(mode="after")
    def every_file_has_a_digest(self) -> StageRecord:
        if self.files.keys() != self.sha256.keys() or self.artifact not in (None, *self.files):
            raise ValueError("files, sha256 and artifact do not name the same files")
        return self

    @property
    def entry_name(self) -> str:
        """The folder of the store that it belongs to."""
        return f"{self.stage}-{self.key[:16]}"


def read_record(folder: Path) -> StageRecord:
    """The record of a stage's folder.

    Raises OSError or ValueError when it has none, or a damaged one.
    """
    try:
        return StageRecord.model_validate(load_json(folder / RECORD_FILE))
    except ValidationError as error:
        raise ValueError(first_problem(error, RECORD_FILE)) from error


def stage_records(run: Path) -> dict[str, Path]:
    """Where the records of a run's stages are, by stage, be they damaged.  Other folders are the
    user's."""
    found = {path.parent.name: path for path in run.glob(f"*/{RECORD_FILE}")}
    return {stage: found[stage] for stage in ORDER if stage in found}


def changes(folder: Path, record: StageRecord) -> dict[str, str]:
    """What became of a stage's files, in a few words by name; nothing of those that are as they
    were written."""
    found, told = files_of(folder), dict[str, str]()
    for name, size in record.files.items():
        if name not in found:
            told[name] = "is missing"
        elif (now := found[name].stat().st_size) != size:
            told[name] = f"has {now} bytes and was written with {size}"
    same = {name: found[name] for name in record.files if name not in told}
    for name, digest in digests_of(same).items():
        if record.sha256[name] != digest:
            told[name] = "has changed since it was written"
    return told


def check_unchanged(folder: Path) -> None:
    """Raises AugcompressError when a file of a stage's folder is not as it was written."""
    for name, what in changes(folder, read_record(folder)).items():
        raise AugcompressError(f"{folder / name}: {what}; repeat the stage with --force")


def changed_files(folder: Path) -> list[str]:
    """The names of a stage's files that are there and hold something else now: all, where the
    record is what has been changed."""
    if not (folder / RECORD_FILE).is_file():
        return []
    try:
        told = changes(folder, read_record(folder))
    except (OSError, ValueError):
        return list(files_of(folder))
    return [name for name in told if (folder / name).is_file()]


def strangers(folder: Path) -> list[str]:
    """The names of what lies in a folder and no stage has put there: everything, where it has no
    record; nothing, where that is damaged and cannot tell."""
    try:
        own = {*read_record(folder).files, RECORD_FILE}
    except FileNotFoundError:
        own = set()
    except (OSError, ValueError):
        return []
    found = (path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir())
    names = [path.relative_to(folder).as_posix() for path in found]
    return [name for name in names if name not in own]


def unchanged_files(folder: Path) -> list[Path]:
    """The files of a stage's folder that are as the stage wrote them, the record last; none where
    no record tells."""
    try:
        record = read_record(folder)
        changed = changes(folder, record)
    except (OSError, ValueError, AugcompressError):
        return []
    return [*(folder / name for name in record.files if name not in changed), folder / RECORD_FILE]
