"""What the probe of labels found, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from augcompress.augmenting.label_probe import VIEWS, Collision, Probe
from augcompress.evidence import percent
from augcompress.evidence.statistics import wilson

MOST = 3
"""Pairs that are named."""


def probe_note(probe: Probe, classes: Sequence[str]) -> str:
    """One paragraph on an augmentation; it begins with WARNING where answers became worse."""
    kind, hurt, alike = probe.setting.kind, probe.hurt(), probe.lookalikes()
    if not (probe.worse or hurt or alike):
        return (
            f"{kind}: {_risk(probe)}. A nearest-neighbour probe found nothing of that here."
            f" {_accuracies(probe)}"
        )
    if not (probe.worse or hurt):
        return (
            f"{kind}: {_risk(probe)}. {_passing(alike, classes)}."
            f" {_accuracies(probe)}. If these classes are not the same to you, leave it out;"
            " augment --measure tells whether it helps"
        )
    parts = [f"WARNING: {kind} hurts here: {_risk(probe)}. {_accuracies(probe)}"]
    if hurt:
        parts.append(f"Mixed up more: {_pairs(hurt, classes)}")
    if alike:
        parts.append(f"{_passing(alike, classes)}")
    named = sorted({k for one in [*hurt[:MOST], *alike[:MOST]] for k in one.classes})
    if named:
        parts.append(f"Right per class: {', '.join(_of_class(probe, classes, k) for k in named)}")
    return ". ".join([*parts, "Leave it out or lower it; augment --measure tells what it does"])


def _risk(probe: Probe) -> str:
    return f"labels may not survive it ({probe.setting.label_safety})"


def _accuracies(probe: Probe) -> str:
    """Known as they are, known as augmented."""
    before, after = (_share(each == probe.labels) for each in (probe.before, probe.after))
    return (
        f"Of {len(probe.labels)} training images {before} are answered right by their nearest"
        f" neighbour, and {after} where the neighbours are augmented ({_p(probe.p_worse)})"
    )


def _passing(found: Sequence[Collision], classes: Sequence[str]) -> str:
    return f"One of {VIEWS} augmented versions passes for the other class: {_pairs(found, classes)}"


def _pairs(found: Sequence[Collision], classes: Sequence[str]) -> str:
    named = [
        f"{classes[one.classes[0]]} and {classes[one.classes[1]]} {one.before} → {one.after} of"
        f" {one.n} ({_p(one.p)})"
        for one in found[:MOST]
    ]
    more = [f"{len(found) - MOST} more"] if len(found) > MOST else []
    return ", ".join(named + more)


def _of_class(probe: Probe, classes: Sequence[str], label: int) -> str:
    of = probe.labels == label
    shares = [_share(each[of] == label) for each in (probe.before, probe.after)]
    return f"{classes[label]} {' → '.join(shares)}"


def _share(right: np.ndarray) -> str:
    low, high = wilson(int(right.sum()), len(right))
    return f"{percent(float(right.mean()))} % ({percent(low)}–{percent(high)})"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
