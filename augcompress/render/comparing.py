"""What `compare` found, in tables and sentences: differences in percentage points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from augcompress.evidence import (
    Comparison,
    Differing,
    Measurement,
    ModelPair,
    TitledTable,
    decimal_text,
    difference_text,
    p_text,
    speed_text,
    value_text,
)

MOST_CONFUSED = 5

MEASURE_TITLES = {
    "top1_difference": "top-1",
    "macro_f1_difference": "macro F1",
    "nll_difference": "NLL",
    "ece_difference": "calibration error",
}
METHODS = {
    "tango": "score (Tango)",
    "paired_bootstrap": "paired bootstrap",
    "student_t": "Student's t",
}


def comparison_tables(found: Comparison) -> list[TitledTable]:
    """Title, columns and rows: accuracies of all models, then the differences of each pair."""
    tops: dict[str, Measurement] = {}
    for pair in found.pairs:
        tops |= {pair.baseline: pair.top1[0], pair.model: pair.top1[1]}
    models = [[name, value_text(one)] for name, one in tops.items()]
    tables: list[TitledTable] = [
        (f"Top-1 on {found.split}, {found.n} images", ["Model", "Top-1"], models)
    ]
    for pair in found.pairs:
        said = {one.name: one for one in reversed(pair.differences)}  # of two intervals the first
        rows = [_difference_row(one) for one in pair.differences if said[one.name] is one]
        title = f"{pair.model} minus {pair.baseline}, image by image"
        tables.append((title, ["Measure", "Difference", "Interval"], rows))
    if found.timings:
        tables.append(_latencies(found.timings))
    return tables


def _latencies(timings: Sequence[Measurement]) -> TitledTable:
    """Of each file once; and how fast each is against the first."""
    latencies = {one.subject: one for one in timings if one.name == "latency_ms"}
    told = next(iter(latencies.values())).conditions
    batch, threads = (
        f"{told[name]} {one}{'' if told[name] == 1 else 's'}"
        for name, one in (("batch", "image"), ("threads", "thread"))
    )
    title = f"Latency, {batch} a call, {threads}, {told['cpu']}"
    rows = [[one.subject, _timed(one, value_text(one))] for one in latencies.values()]
    speeds = [one for one in timings if one.name == "speedup"]
    rows += [[one.subject, _timed(one, speed_text(one, str(one.baseline)))] for one in speeds]
    return title, ["File", "Median call, or speed"], rows


def _timed(one: Measurement, text: str) -> str:
    return f"{text}: too noisy to say" if one.conditions.get("too_noisy") else text


def _difference_row(one: Measurement) -> list[str]:
    method = METHODS.get(one.method or "", one.method or "no spread")
    return [MEASURE_TITLES[one.name], difference_text(one), method]


def comparison_sentences(
    found: Comparison, apart: Sequence[Differing], images: Path | None
) -> list[str]:
    """What the numbers mean, a paragraph a pair; and on which images the first two differ."""
    lines = [f"Images of {file}: {told}." for file, told in found.prepared.items()]
    for pair in found.pairs:
        lines += [f"{pair.model} against {pair.baseline}:", *_verdicts(pair, found), ""]
    if apart:
        several = any(pair.test == "paired_t" for pair in found.pairs)
        lines += _where(
            apart, "The first two models' first seeds" if several else "The first two models"
        )
    if images is not None:
        lines.append(f"The images are in {images}")
    return lines


def _verdicts(pair: ModelPair, found: Comparison) -> list[str]:
    first, level = pair.differences[0], f"{100 * found.level:g} %"
    better = "better" if first.value > 0 else "worse"
    p = pair.p_value if pair.p_adjusted is None else pair.p_adjusted
    corrected = ", after Holm" if len(found.pairs) > 1 else ""
    test = {"mcnemar_exact": "exact McNemar", "paired_t": "paired t over seeds"}[pair.test]
    shown_p = f"p = {p_text(p)}".replace("= <", "< ")
    if p is None:
        told = "  All seeds differ by the same: no test can tell it from chance."
    elif p < 1 - found.level:
        told = f"  It is {better}: {difference_text(first)}; {test} {shown_p}{corrected}."
    else:
        told = f"  No difference beyond chance: {test} {shown_p}{corrected}."
    margin = f"{100 * pair.margin:g} points"
    low = "–" if first.low is None else f"{100 * first.low:+.2f} points"
    if pair.not_worse:
        shown = f"  It is not worse than {margin} ({level}): the interval's lower end is {low}."
    else:
        shown = f"  Not shown to be within {margin} ({level}): the interval's lower end is {low}."
    return [told, shown, f"  {_apart(pair)}"]


def _apart(pair: ModelPair) -> str:
    """On which images only one is right; of several seeds the mean, as everything is."""
    several = pair.test == "paired_t"
    seeds = (pair.agreement.n or 1) if several else 1
    ours, theirs = (
        decimal_text(count / seeds) for count in (pair.only_model_right, pair.only_baseline_right)
    )
    begin = f"Right where the other is wrong{', mean over seeds' if several else ''}:"
    agreed = f"they agree on {value_text(pair.agreement)}"
    return f"{begin} {ours} images, the other way round: {theirs}; {agreed}."


def _where(apart: Sequence[Differing], whose: str) -> list[str]:
    lost = Counter((one.label, one.model_said) for one in apart if one.right == "baseline")
    lines = [f"{whose} differ on {len(apart)} images."]
    if lost:
        pairs = [
            f"{true} as {said} ({count})" for (true, said), count in lost.most_common(MOST_CONFUSED)
        ]
        lines.append(f"Lost most often: {', '.join(pairs)}.")
    return lines
