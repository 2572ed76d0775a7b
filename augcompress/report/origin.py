"""Where the numbers come from: versions, machine, every measurement, and how to get them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from augcompress.errors import AugcompressError
from augcompress.evidence import Measurement, decimal_text, value_text
from augcompress.report.content import ROLES, Run, without_folders
from augcompress.storage import digest_file

SUMS_FILE = "SHA256SUMS"
_SHOWN_ELSEWHERE = ("role", "class")


@dataclass(frozen=True)
class Number:
    """A measurement in words."""

    stage: str
    name: str
    of: str
    """Role or file, and what it was compared with."""
    split: str
    value: str
    method: str
    conditions: str


@dataclass(frozen=True)
class Command:
    """A command, and what it is for."""

    text: str
    command: str


def versions(run: Run) -> list[tuple[str, str]]:
    """Versions by library; where stages differ, each with its stage."""
    names = dict.fromkeys(name for part in run.done for name in part.environment)
    rows = []
    for name in names:
        told = {p.command: p.environment[name] for p in run.done if name in p.environment}
        versions = list(dict.fromkeys(told.values()))
        text = versions[0]
        if len(versions) > 1:
            text = "; ".join(f"{stage}: {version}" for stage, version in told.items())
        rows.append((name, text))
    return rows


def timing_conditions(run: Run) -> list[tuple[str, str]]:
    """The conditions of the latency on the page; empty: it was not measured."""
    one = run.measured("latency_ms")
    if one is None:
        return []
    conditions = {
        key: value
        for key, value in one.conditions.items()
        if key not in _SHOWN_ELSEWHERE and not key.endswith("sha256")
    }
    return [(key.replace("_", " "), _plain(value)) for key, value in conditions.items()]


def every_number(run: Run) -> list[Number]:
    """Every measurement of the run; recalls of single classes have a table of their own."""
    return [
        _number(part.command, one)
        for part in run.done
        for one in part.measurements
        if "class" not in one.conditions
    ]


def by_file(run: Run) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The roles that were measured, and a row a measure: its name, and a text a role."""
    measured = [
        one for one in run.shipped if one.baseline is None and "class" not in one.conditions
    ]
    roles = [role for role in ROLES if any(one.role == role for one in measured)]
    names = dict.fromkeys(one.name for one in measured)
    rows = []
    for name in names:
        found = [run.measured(name, role) for role in roles]
        if any(found):
            rows.append((name, [value_text(one) for one in found]))
    return roles, rows


def _number(stage: str, one: Measurement) -> Number:
    of = one.role or (one.subject or "–")
    told = {k: v for k, v in one.conditions.items() if k not in _SHOWN_ELSEWHERE}
    interval = f"{one.method}, {100 * one.level:g} %" if one.method else "–"
    return Number(
        stage=stage,
        name=one.name,
        of=without_folders(f"{of} against {one.baseline}" if one.baseline else of),
        split=one.split or "–",
        value=value_text(one),
        method=interval,
        conditions=", ".join(f"{k} {_plain(v)}" for k, v in told.items()),
    )


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return decimal_text(value)
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return without_folders(text)


def shipped_digest(run: Run) -> str:
    """SHA-256 of the shipped file; empty: there is none."""
    result = run.part("export").result
    if result is None or result.artifact is None:
        return ""
    try:
        return digest_file(result.artifact)
    except AugcompressError:
        return ""


def commands(run: Run) -> Sequence[Command]:
    """Commands that make the run again and hold the two against each other, typed beside its
    folder."""
    again = f"{run.name}-again"
    found = [
        Command(
            "Run it again beside the first; spec.json has what --set said, but not --from,"
            " --teacher and --smoke, so give those again where you did:",
            f"augcompress run --recipe {run.settings_file} --run-dir {again}",
        )
    ]
    if not run.shipped:
        return found
    found.append(
        Command(
            "Do the two files differ on the test images by more than noise?",
            f"augcompress compare {run.name} {again}",
        )
    )
    if run.spec.get("limits"):
        command = f"augcompress check {again} --recipe {run.settings_file}"
        found.append(Command("Does it keep what the recipe promises?", command))
    if (run.folder / "export" / SUMS_FILE).is_file():
        command = f"(cd {run.name}/export && sha256sum --check {SUMS_FILE})"
        found.append(Command("Are the shipped files those that were measured?", command))
    return found
