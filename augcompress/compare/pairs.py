"""Is the difference of two models on the same images more than chance?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from augcompress.compare.contenders import Contender, check_same_images
from augcompress.errors import AugcompressError
from augcompress.evidence import (
    Comparison,
    Measurement,
    ModelPair,
    Predictions,
    agreement,
    bounded,
    top1_difference,
    top_k,
)
from augcompress.evidence.statistics import (
    LEVEL,
    confusion,
    discordant,
    ece,
    ece_of_parts,
    ece_parts,
    holm,
    macro_f1,
    mcnemar,
    nll,
    non_inferior,
    paired_bootstrap,
    paired_bootstrap_macro_f1,
    paired_bootstrap_top1,
    student_t,
    t_test,
)

MARGIN = 0.005


def compare_models(
    contenders: Sequence[Contender],
    *,
    margin: float = MARGIN,
    level: float = LEVEL,
    all_pairs: bool = False,
) -> Comparison:
    """Every model against the first, or each against each.

    Raises AugcompressError when there are fewer than two, or when they cannot be paired.
    """
    if len(contenders) < 2:
        raise AugcompressError(
            "compare: one model alone; give two or more, the first is the baseline"
        )
    check_same_images(list(contenders))
    pairs = [(contenders[0], other) for other in contenders[1:]]
    if all_pairs:
        pairs = list(combinations(contenders, 2))
    found = [_pair(left, right, margin, level) for left, right in pairs]
    told = [pair.p_value for pair in found if pair.p_value is not None]
    adjusted = iter(holm(told)) if told else iter(())
    corrected = [
        pair.model_copy(
            update={"p_adjusted": None if pair.p_value is None else float(next(adjusted))}
        )
        for pair in found
    ]
    first = contenders[0].answers[0]
    return Comparison(split=first.split, n=len(first.labels), level=level, pairs=corrected)


def _pair(left: Contender, right: Contender, margin: float, level: float) -> ModelPair:
    if len(left.answers) != len(right.answers):
        raise AugcompressError(
            f"compare: {left.name} has {len(left.answers)} seeds and {right.name}"
            f" {len(right.answers)}; give as many on both sides, in the same order"
        )
    counts = [
        discordant(b.right, a.right) for a, b in zip(left.answers, right.answers, strict=True)
    ]
    n = len(left.answers[0].labels)
    several = len(counts) > 1
    differences = _over_seeds(left, right, level) if several else _of_one(left, right, level)
    first = differences[0]
    if several:
        not_worse = first.low is not None and first.low > -margin
    else:
        not_worse = non_inferior(*counts[0], n, margin, level)
    return ModelPair(
        baseline=left.name,
        model=right.name,
        top1=(_top1(left, level), _top1(right, level)),
        differences=differences,
        agreement=_agreement(left, right, level),
        only_model_right=sum(gained for gained, _ in counts),
        only_baseline_right=sum(lost for _, lost in counts),
        p_value=_paired_t(_net(counts)) if several else mcnemar(*counts[0]),
        p_adjusted=None,
        test="paired_t" if several else "mcnemar_exact",
        margin=margin,
        not_worse=not_worse,
    )


def _agreement(left: Contender, right: Contender, level: float) -> Measurement:
    """Share of images on which both choose the same class; over seeds like top-1."""
    rows = [
        agreement(
            ours.probabilities,
            theirs.probabilities,
            split=theirs.split or None,
            subject=right.name,
            baseline=left.name,
            level=level,
        )
        for ours, theirs in zip(right.answers, left.answers, strict=True)
    ]
    return _over(rows, level)


def _over(rows: Sequence[Measurement], level: float) -> Measurement:
    """The only one, else the mean over seeds."""
    if len(rows) == 1:
        return rows[0]
    return _mean(rows[0], np.array([row.value for row in rows]), level)


def _top1(contender: Contender, level: float) -> Measurement:
    """Top-1; the mean over seeds with Student's interval where there are several."""
    rows = [
        top_k(one.probabilities, one.labels, 1, one.split or None, contender.name, level)
        for one in contender.answers
    ]
    return _over(rows, level)


def _of_one(left: Contender, right: Contender, level: float) -> list[Measurement]:
    """Differences of two models on resampled images."""
    base, model = left.answers[0], right.answers[0]
    first = top1_difference(model, base, level=level, subject=right.name, baseline=left.name)
    b, c = discordant(model.right, base.right)
    rows = [(first.name, first.value, paired_bootstrap_top1(b, c, len(base.labels), level=level))]
    rows += [(f"{name}_difference", *found) for name, found in _others(model, base, level).items()]
    return [first, *(_bootstrapped(first, name, value, ends) for name, value, ends in rows)]


def _others(
    model: Predictions, base: Predictions, level: float
) -> dict[str, tuple[float, tuple[float, float]]]:
    """Difference and interval of the measures that are no share of the images."""
    labels, values = base.labels, {name: _value(name, model) - _value(name, base) for name in MORE}
    losses, base_losses = nll(model.probabilities, labels), nll(base.probabilities, labels)
    parts = ece_parts(model.probabilities, labels)
    base_parts = ece_parts(base.probabilities, labels)
    ends = {
        "macro_f1": paired_bootstrap_macro_f1(labels, model.chosen, base.chosen, level=level),
        "nll": paired_bootstrap(losses, base_losses, level=level),
        "ece": paired_bootstrap(parts, base_parts, ece_of_parts, level=level),
    }
    return {name: (values[name], ends[name]) for name in MORE}


MORE = ("macro_f1", "nll", "ece")


def _value(name: str, found: Predictions) -> float:
    if name == "top1":
        return float(found.right.mean())
    if name == "macro_f1":
        classes = found.probabilities.shape[1]
        return macro_f1(confusion(found.labels, found.chosen, classes))
    if name == "nll":
        return float(nll(found.probabilities, found.labels).mean())
    return ece(found.probabilities, found.labels)


def _bootstrapped(
    like: Measurement, name: str, value: float, ends: tuple[float, float]
) -> Measurement:
    lower = name.startswith(("nll", "ece"))
    told = {
        "name": name,
        "value": value,
        "low": min(ends[0], value),
        "high": max(ends[1], value),
        "method": "paired_bootstrap",
        "better": "lower" if lower else "higher",
        "unit": "nats" if name.startswith("nll") else "fraction",
        "conditions": {},
    }
    return like.model_copy(update=told)


def _over_seeds(left: Contender, right: Contender, level: float) -> list[Measurement]:
    """Mean difference over seeds, paired in their order, with Student's interval."""
    model, base = right.answers[0], left.answers[0]
    like = top1_difference(model, base, level=level, subject=right.name, baseline=left.name)
    rows = []
    for name in ("top1", *MORE):
        seeds = zip(right.answers, left.answers, strict=True)
        values = np.array([_value(name, ours) - _value(name, theirs) for ours, theirs in seeds])
        one = _bootstrapped(like, f"{name}_difference", 0.0, (0.0, 0.0))
        rows.append(_mean(one, values, level))
    return rows


def _mean(like: Measurement, values: np.ndarray, level: float) -> Measurement:
    ends = student_t(values, level) if np.ptp(values) > 0 else None  # no spread, no chance
    low, high = ends if ends is not None else (None, None)
    told = {
        "value": float(values.mean()),
        "low": low,
        "high": high,
        "n": len(values),
        "level": level,
        "method": "student_t",
        "conditions": {"over": "seeds", "values": [float(value) for value in values]},
    }
    return bounded(like.model_copy(update=told))


def _net(counts: Sequence[tuple[int, int]]) -> np.ndarray:
    """`(seeds,)` images gained minus lost."""
    return np.array([gained - lost for gained, lost in counts])


def _paired_t(differences: np.ndarray) -> float | None:
    """Two-sided p of the paired t test; None where all differences are equal."""
    error = float(differences.std(ddof=1)) / len(differences) ** 0.5
    return t_test(float(differences.mean()), error, len(differences) - 1) if error > 0 else None
