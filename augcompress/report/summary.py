"""What ships, in plain words and four figures, against the teacher and the float network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from augcompress.evidence import (
    Limit,
    Measurement,
    Verdict,
    bytes_text,
    decimal_text,
    difference_text,
    gained_nothing,
    only_guesses,
    percent,
    score_text,
    size_text,
    speed_text,
    value_text,
)
from augcompress.report.content import ROLES, Run, without_folders

NOUNS = {"teacher": "the teacher", "float": "the float network"}


@dataclass(frozen=True)
class Bar:
    """One file's line in a figure."""

    role: str
    text: str
    left: str
    """Where its bar begins, in percent of the width, as CSS; likewise `width` and `dot`."""
    width: str
    dot: str
    """Where its value lies on an interval; empty: the bar ends there."""


@dataclass(frozen=True)
class Figure:
    """A number that matters, against those of the other files."""

    title: str
    value: str
    facts: str
    """Interval and n."""
    bars: Sequence[Bar]


@dataclass(frozen=True)
class LimitRow:
    """A promise of the recipe."""

    limit: str
    state: str
    """reached, missed or not judged."""
    found: str
    note: str


@dataclass(frozen=True)
class Summary:
    """The opening of a run's report."""

    title: str
    verdict: tuple[str, str]
    """passed, missed, unfinished or not judged; and why, in a sentence."""
    lead: str
    facts: Sequence[tuple[str, str]]
    """A label and a sentence each."""
    figures: Sequence[Figure]
    limits: Sequence[LimitRow]
    command: str
    """What to do next in an unfinished run; empty: it is finished."""


def summarize(run: Run) -> Summary:
    """The opening, be the run finished or not."""
    top1 = run.measured("top1")
    if top1 is None:
        return _unfinished(run)
    told = {
        "Teacher": _against(run, top1, "teacher"),
        "Float network": _against(run, top1, "float"),
        "Agreement": _agreement(run),
        "Size": _size(run),
        "Speed": _speed(run),
    }
    return Summary(
        title=_title(run, top1),
        verdict=_verdict(run),
        lead=_lead(run, top1),
        facts=[(label, sentence) for label, sentence in told.items() if sentence],
        figures=[figure for figure in _figures(run) if figure is not None],
        limits=limit_rows(run),
        command="",
    )


def _unfinished(run: Run) -> Summary:
    facts = []
    scored = [part for part in run.done if part.score is not None]
    if scored:
        reached = score_text(scored[-1].score)
        facts.append(("So far", f"{scored[-1].command} reached {reached}."))
    return Summary(
        title=f"{run.name}: {len(run.done)} of {len(run.parts)} stages done",
        verdict=_verdict(run),
        lead="Nothing ships yet: there is no exported file with an accuracy on test.",
        facts=facts,
        figures=[],
        limits=limit_rows(run),
        command=f"augcompress run --recipe {run.settings_file} --run-dir {run.name}",
    )


def _lead(run: Run, top1: Measurement) -> str:
    """The first line: what the file does, after what should keep it from being shipped."""
    right = f"The shipped file labels {value_text(top1)} of the test images correctly."
    warning = only_guesses(top1) or gained_nothing(run.shipped)
    return f"{warning[0].upper()}{warning[1:]}. {right}" if warning else right


def _verdict(run: Run) -> tuple[str, str]:
    """The first thing on the page: may it be shipped?"""
    missing = [part.command for part in run.parts if part.result is None]
    if missing:
        return "unfinished", f"{', '.join(missing)} not done yet"
    if not run.verdicts:
        return "not judged", "nobody has judged limits, or whether the files are still the same"
    missed = [one for one in run.verdicts if not one.reached]
    if missed:
        more = f", and {len(missed) - 1} more" if len(missed) > 1 else ""
        return "missed", f"{missed[0].limit}: found {_found(missed[0])}{more}"
    limits = sum(one.kind == "limit" for one in run.verdicts)
    promised = {0: "the recipe has no limits", 1: "its limit is reached"}
    words = promised.get(limits, f"all {limits} limits are reached")
    return "passed", f"{words}, and the files are those that were measured"


def _title(run: Run, top1: Measurement) -> str:
    if only_guesses(top1):
        return f"{run.name}: no better than guessing"
    text = f"{run.name}: {percent(top1.value)} % right"
    size, speed = run.measured("size_bytes"), _speedup(run, "teacher")
    if size is not None:
        text += f" in {bytes_text(size.value)}"
    told, other = [], "its teacher"
    if (theirs := run.measured("top1", "teacher")) is not None:
        change = run.measured("top1_difference", baseline="teacher")
        told, other = [_points(top1, theirs) + _chance(change)], "it"
    if speed is not None and not {"too_noisy", "same_graph"} & speed.conditions.keys():
        told.append(speed_text(speed, other).partition(" (")[0])
    return "; ".join([text, " and ".join(told)] if told else [text])


def _points(ours: Measurement, theirs: Measurement) -> str:
    points = round(100 * (ours.value - theirs.value), 1)
    way = (
        f"{abs(points):.1f} points {'above' if points > 0 else 'below'}" if points else "level with"
    )
    return f"{way} its teacher"


def _chance(change: Measurement | None) -> str:
    """Whether chance explains a paired difference; nothing where it was not taken."""
    if change is None or change.low is None or change.high is None:
        return ""
    return ", within chance," if change.low <= 0 <= change.high else ""


def _against(run: Run, ours: Measurement, role: str) -> str:
    """How accuracy compares, with the paired interval where it was measured."""
    theirs, change = run.measured("top1", role), run.measured("top1_difference", baseline=role)
    if theirs is None:
        return ""
    if change is None:
        points = round(100 * (ours.value - theirs.value), 1)
        way = f"{abs(points):.1f} points {'above' if points > 0 else 'below'}"
        return f"{way if points else 'Within 0.05 points of'} its {value_text(theirs)}."
    chance = _chance(change).rstrip(",") or ", beyond chance"
    return f"{difference_text(change)} on the same images{chance}; it has {value_text(theirs)}."


def _size(run: Run) -> str:
    ours = run.measured("size_bytes")
    if ours is None or not ours.value:
        return ""
    told = [
        size_text(ours.value, theirs.value, f"{noun}'s")
        for role, noun in NOUNS.items()
        if (theirs := run.measured("size_bytes", role)) is not None and theirs.value
    ]
    return f"{bytes_text(ours.value)}: {', '.join(told)}." if told else f"{bytes_text(ours.value)}."


def _speed(run: Run) -> str:
    ours = run.measured("latency_ms")
    if ours is None:
        return ""
    told = [
        _speed_text(speed, noun)
        for role, noun in NOUNS.items()
        if (speed := _speedup(run, role)) is not None
    ]
    text = f"{value_text(ours)} an image{_machine(ours)}"
    return f"{text}: {', '.join(told)}." if told else f"{text}."


def _machine(one: Measurement) -> str:
    threads, cpu = one.conditions.get("threads"), one.conditions.get("cpu")
    words = [f"{threads} thread{'s' if threads != 1 else ''}"] if threads else []
    words += [str(cpu)] if cpu else []
    return f" on {' of '.join(words)}" if words else ""


def _speed_text(speed: Measurement, noun: str) -> str:
    if speed.conditions.get("same_graph"):
        return f"it is the same network as {noun}"
    text = speed_text(speed, noun)
    return f"too noisy to say, measured {text}" if speed.conditions.get("too_noisy") else text


def _speedup(run: Run, role: str) -> Measurement | None:
    """Against a baseline that is named by its role or by its file."""
    files = {one.subject for one in run.shipped if one.role == role}
    names = (role, *sorted(name for name in files if name))
    found = (run.measured("speedup", baseline=name) for name in names)
    return next((one for one in found if one is not None), None)


def _agreement(run: Run) -> str:
    told = [
        f"with {noun} on {value_text(one)}"
        for role, noun in NOUNS.items()
        if (one := run.measured("agreement", baseline=role)) is not None
    ]
    return f"{' and '.join(told).capitalize()} of the test images." if told else ""


def _figures(run: Run) -> list[Figure | None]:
    return [
        _figure(run, "Top-1 accuracy on test", "top1"),
        _figure(run, "Size of the file", "size_bytes"),
        _figure(run, "Latency of one image", "latency_ms"),
        _figure(run, "Multiply-adds for one image", "macs"),
    ]


def _figure(run: Run, title: str, name: str) -> Figure | None:
    found = {role: one for role in ROLES if (one := run.measured(name, role)) is not None}
    if name == "macs" and "shipped" not in found and "float" in found:
        return _figure_of(title, {"shipped": found["float"], **found}, "as in the float network")
    return _figure_of(title, found, "exact") if "shipped" in found else None


def _figure_of(title: str, found: Mapping[str, Measurement], exact: str) -> Figure:
    """`exact` stands in the place of the interval of what was counted, not sampled."""
    value, _, facts = value_text(found["shipped"]).partition(" (")
    scale = _share_scale(found) if found["shipped"].name == "top1" else _cost_scale(found)
    facts = facts.rstrip(")") or exact
    if found["shipped"].conditions.get("too_noisy"):
        facts += "; too noisy to say"
    return Figure(
        title=title,
        value=value,
        facts=facts,
        bars=[_bar(role, one, scale) for role, one in found.items()],
    )


def _share_scale(found: Mapping[str, Measurement]) -> Callable[[float], float]:
    """Shares lie close together: the axis is as long as their intervals."""
    ends = [end for one in found.values() for end in (one.low, one.value, one.high) if end]
    low, high = min(ends), max(ends)
    span = max(high - low, 1e-9)
    return lambda value: 0.04 + 0.92 * (value - low) / span


def _cost_scale(found: Mapping[str, Measurement]) -> Callable[[float], float]:
    """Costs begin at zero."""
    largest = max(one.value for one in found.values()) or 1.0
    return lambda value: value / largest


def _bar(role: str, one: Measurement, scale: Callable[[float], float]) -> Bar:
    text = value_text(one).partition(" (")[0]
    if one.name != "top1":
        return Bar(role, text, "0%", _css(scale(one.value)), "")
    low, high = (scale(one.value if end is None else end) for end in (one.low, one.high))
    return Bar(role, text, _css(low), _css(high - low), _css(scale(one.value)))


def _css(share: float) -> str:
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def limit_rows(run: Run) -> list[LimitRow]:
    """The recipe's limits, judged or not; then whether the files are those that were measured."""
    judged = [_row(one) for one in run.verdicts or () if one.kind == "limit"]
    files = [_row(one) for one in run.verdicts or () if one.kind == "integrity"]
    limits = () if judged else run.spec.get("limits") or ()
    return [*judged, *(LimitRow(_in_words(each), "not judged", "–", "") for each in limits), *files]


def _row(one: Verdict) -> LimitRow:
    return LimitRow(one.limit, _state(one), _found(one), without_folders(one.note))


def _state(verdict: Verdict) -> str:
    """A limit on what was not measured is neither reached nor missed; files always are."""
    if verdict.kind == "limit" and verdict.actual is None:
        return "not judged"
    return "reached" if verdict.reached else "missed"


def _found(verdict: Verdict) -> str:
    return verdict.found or ("–" if verdict.actual is None else decimal_text(verdict.actual))


def _in_words(limit: Mapping[str, object]) -> str:
    """As the gate says it; a limit that cannot be read by its measure."""
    try:
        return Limit.model_validate(limit).in_words()
    except ValueError:
        return str(limit.get("measure", "a limit that cannot be read"))
