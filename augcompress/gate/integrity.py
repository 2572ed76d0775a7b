"""Whether the files of a run are still those that were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from augcompress.errors import AugcompressError
from augcompress.evidence import Verdict
from augcompress.storage import (
    StageRecord,
    changes,
    digest_file,
    read_record,
    shipping_stage,
    stage_records,
    undone,
)

CHECKSUMS_FILE = "SHA256SUMS"
DESCRIPTION_FILE = "model.json"
"""Stands beside a checkpoint, and is part of its digest."""
_DIGITS = 64  # of a SHA-256

Records = Mapping[str, StageRecord]


def integrity(run: Path) -> list[Verdict]:
    """Are all files as they were written, and is what ships what was measured?

    Digests stand in each `stage.json`; those that ship also in the `SHA256SUMS` of their folder,
    if there is one.
    """
    records, damaged = _read(run)
    shipping = _shipping(run, records)
    verdicts = [_verdict("every file is as it was written", damaged + _changes(run, records))]
    if shipping is not None:
        name = f"{shipping}/{records[shipping].artifact}"
        changed = _changed(run / shipping, records[shipping])
        verdicts.append(_verdict(f"{name} is the file that was measured", changed))
        if (run / shipping / CHECKSUMS_FILE).is_file():
            words = f"the files in {shipping} are those of {CHECKSUMS_FILE}"
            verdicts.append(_verdict(words, _unlike_sums(run / shipping)))
    return verdicts


def completeness(run: Path, stages: Sequence[str], differ: Sequence[str] | None) -> list[Verdict]:
    """Is every stage of a recipe done, and with the recipe's settings?

    `differ` are the sections in which the run was made with other settings; None: not asked.
    """
    absent = undone(run, stages)
    words = "every stage of the recipe is done"
    note = f"{', '.join(absent)} not done; run: augcompress run" if absent else ""
    verdicts = [_answer(words, note, "unfinished", "done")]
    if differ is not None:
        words = "the run was made with the recipe's settings"
        note = f"other settings in {', '.join(differ)}; run it again, or --allow-other-settings"
        verdicts.append(_answer(words, note if differ else "", "others", "the recipe's"))
    return verdicts


def shipped_file(run: Path) -> Path:
    """The file that ships: what `export` wrote, else the artefact of the last stage.

    Raises AugcompressError when there is none.
    """
    records, _ = _read(run)
    stage = _shipping(run, records)
    artifact = records[stage].artifact if stage is not None else None
    if stage is None or artifact is None:
        raise AugcompressError(f"{run}: ships no file; run: augcompress export")
    return run / stage / artifact


def _shipping(run: Path, records: Records) -> str | None:
    """The stage whose artefact ships, by its record."""
    return shipping_stage(run, [name for name, one in records.items() if one.artifact])


def _read(run: Path) -> tuple[Records, list[str]]:
    """The stages' records, and a sentence for each that is damaged."""
    records, damaged = {}, []
    for stage, path in stage_records(run).items():
        try:
            records[stage] = read_record(path.parent)
        except (OSError, ValueError):
            damaged.append(f"{stage}/{path.name} is damaged")
    return records, damaged


def _verdict(words: str, problems: Sequence[str]) -> Verdict:
    note = f"{'; '.join(problems)}; repeat the stage with --force" if problems else ""
    return _answer(words, note, "changed", "unchanged")


def _answer(words: str, note: str, wrong: str, right: str) -> Verdict:
    """To a question of yes or no; a `note` says what is wrong."""
    return Verdict(
        limit=words,
        reached=not note,
        kind="integrity",
        unit="",
        note=note,
        found=wrong if note else right,
        asked=right,
    )


def _changes(run: Path, records: Records) -> list[str]:
    return [
        f"{stage}/{name} {what}"
        for stage, record in records.items()
        for name, what in changes(run / stage, record).items()
    ]


def _changed(folder: Path, record: StageRecord) -> list[str]:
    """Which of the files in the artefact's digest are not what they were."""
    told = record.artifact_digest
    expected = [told[:_DIGITS], *([told[_DIGITS:]] if len(told) > _DIGITS else [])]
    problems = []
    for name, digest in zip((record.artifact or "", DESCRIPTION_FILE), expected, strict=False):
        problems += _unlike(folder, name, digest)
    if len(expected) == 1 and (folder / DESCRIPTION_FILE).exists():
        problems.append(f"{folder.name}/{DESCRIPTION_FILE} was not there")
    return problems


def _unlike_sums(folder: Path) -> list[str]:
    problems = []
    for line in (
        (folder / CHECKSUMS_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    ):
        digest, _, name = line.partition(" ")
        name = name.lstrip(" *")
        inside = name and not PurePosixPath(name).is_absolute() and ".." not in name.split("/")
        if inside and len(digest) == _DIGITS:
            problems += _unlike(folder, name, digest.lower())
        elif line.strip():
            problems.append(f"{folder.name}/{CHECKSUMS_FILE}: {line[:80]!r} is no checksum")
    return problems


def _unlike(folder: Path, name: str, digest: str) -> list[str]:
    if not (folder / name).is_file():
        return [f"{folder.name}/{name} is missing"]
    same = digest_file(folder / name) == digest
    return [] if same else [f"{folder.name}/{name} has changed since it was measured"]
