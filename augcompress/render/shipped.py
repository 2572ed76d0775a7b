"""What ships against its teacher and its own float network, in words."""

from __future__ import annotations

from collections.abc import Sequence

from augcompress.evidence import (
    Measurement,
    StageResult,
    bytes_text,
    difference_text,
    size_text,
    speed_text,
    value_text,
)

_PARITY = ("agreement", "parity", "max_")


def headlines(stages: Sequence[StageResult]) -> list[str]:
    """The same, a sentence a line."""
    return [f"{name}: {text}" for name, text in shipped_rows(stages)]


def shipped_rows(stages: Sequence[StageResult]) -> list[tuple[str, str]]:
    """The deliverable against its teacher, in words; nothing where no file was shipped."""
    every = [one for stage in reversed(stages) for one in stage.measurements]
    shipped = [one for one in every if one.role == "shipped"]
    if not shipped:
        return []
    teacher = [one for one in every if one.role == "teacher"]
    rows = _accuracy_rows(shipped, teacher) + _size_rows(shipped, teacher)
    rows += _latency_rows(shipped, teacher)
    rows += _speed_rows(every) + _parity_rows(every)
    return rows


def shipped_artifact(stages: Sequence[StageResult]) -> str | None:
    """The artefact of the last stage that measured what it ships."""
    for stage in reversed(stages):
        if stage.artifact and any(one.role == "shipped" for one in stage.measurements):
            return stage.artifact
    return None


def _first(found: Sequence[Measurement], name: str, split: str | None = None) -> Measurement | None:
    fits = (one for one in found if one.name == name and one.baseline is None)
    return next((one for one in fits if split is None or one.split == split), None)


def _accuracy_rows(
    shipped: Sequence[Measurement], teacher: Sequence[Measurement]
) -> list[tuple[str, str]]:
    ours = _first(shipped, "top1", "test") or _first(shipped, "top1")
    if ours is None:
        return []
    rows = [(f"Top-1 on {ours.split}", value_text(ours))]
    theirs = _first(teacher, "top1", ours.split)
    if theirs is not None:
        told = _difference(shipped, "teacher") or _points(ours, theirs)
        rows.append(("Against the teacher", f"{told}; it has {value_text(theirs)}"))
    if change := _difference(shipped, "float"):
        rows.append(("Against float", change))
    return rows


def _difference(shipped: Sequence[Measurement], baseline: str) -> str | None:
    """The paired difference, and whether chance explains it; None: it was not taken."""
    found = (one for one in shipped if one.name == "top1_difference" and one.baseline == baseline)
    one = next(found, None)
    if one is None or one.low is None or one.high is None:
        return None
    chance = "within" if one.low <= 0 <= one.high else "beyond"
    return f"{difference_text(one)}, {chance} chance"


def _points(ours: Measurement, theirs: Measurement) -> str:
    points = round(100 * (ours.value - theirs.value), 1)
    if points == 0:
        return "as accurate"
    return f"{abs(points):.1f} points {'above' if points > 0 else 'below'} it"


def _size_rows(
    shipped: Sequence[Measurement], teacher: Sequence[Measurement]
) -> list[tuple[str, str]]:
    ours, theirs = _first(shipped, "size_bytes"), _first(teacher, "size_bytes")
    if ours is None:
        return []
    text = bytes_text(ours.value)
    if theirs is not None and min(ours.value, theirs.value) > 0:
        text += ", " + size_text(ours.value, theirs.value, "the teacher's")
    return [("Size", text)]


def _latency_rows(
    shipped: Sequence[Measurement], teacher: Sequence[Measurement]
) -> list[tuple[str, str]]:
    ours, theirs = _first(shipped, "latency_ms"), _first(teacher, "latency_ms")
    if ours is None:
        return []
    text = value_text(ours)
    if theirs is not None:
        text += f"; the teacher {value_text(theirs)}"
    return [("Latency", text)]


def _speed_rows(every: Sequence[Measurement]) -> list[tuple[str, str]]:
    others = {"teacher": "the teacher", "float": "the float network"}
    told: dict[str, str] = {}
    for one in every:
        against = _role_of(one.baseline, every)
        if one.name == "speedup" and against in others and one.role in (None, "shipped"):
            told.setdefault(against, _speed_words(one, others[against]))
    return [("Speed", "; ".join(told.values()))] if told else []


def _speed_words(one: Measurement, other: str) -> str:
    if one.conditions.get("same_graph"):
        return f"the same network as {other}"
    text = speed_text(one, other)
    return f"too noisy to say (measured: {text})" if one.conditions.get("too_noisy") else text


def _parity_rows(every: Sequence[Measurement]) -> list[tuple[str, str]]:
    """Each on test, where it was measured there; else with the images that it was measured on."""
    rows: dict[str, str] = {}
    for one in sorted(every, key=lambda one: one.split == "validation"):
        if one.name.startswith(_PARITY) and one.role in (None, "shipped"):
            against = f" with {one.baseline}" if one.baseline else ""
            split = " on validation" if one.split == "validation" else ""
            name = one.name.replace("_", " ").capitalize()
            rows.setdefault(name + against, value_text(one) + split)
    return list(rows.items())


def _role_of(baseline: str | None, every: Sequence[Measurement]) -> str | None:
    """teacher or float, where the baseline is named by that word or by its file."""
    if baseline in (None, "teacher", "float"):
        return baseline
    return next((one.role for one in every if one.subject == baseline and one.role), None)
