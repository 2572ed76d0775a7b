"""The number that a limit judges, with its interval: a value, a loss, a gain or a ratio.

`loss` and its kin take two measurements' intervals as independent (Newcombe 1998, method 10,
doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I).  On the same images they
rarely are, and then the interval errs on the wide, safe side; a paired one is preferred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from augcompress.evidence import Limit, Measurement
from augcompress.gate.missing import Unjudged

INDEPENDENT = "interval of two independent samples (Newcombe), wider than a paired one"


@dataclass(frozen=True)
class Estimate:
    """A number and what is known of its uncertainty."""

    value: float
    low: float | None
    """None: no interval."""
    high: float | None
    unit: str
    method: str = ""
    """How the interval of a comparison was made; empty: it is the measurement's own, or none."""
    too_noisy: bool = False
    """A timing whose repeats say little."""

    def end(self, limit: Limit) -> float:
        """The end of the interval that is unfavourable to the limit.

        Raises Unjudged where there is no interval.
        """
        end = self.low if limit.is_floor else self.high
        if end is None:
            raise Unjudged(
                f"{limit.measure} has no interval; use bound: value, or measure on more samples"
            )
        return end


def of(one: Measurement) -> Estimate:
    """A measurement as it is; where nothing was sampled (bytes, parameters) its ends are it."""
    low, high = (one.value, one.value) if is_exact(one) else (one.low, one.high)
    return Estimate(one.value, low, high, one.unit, too_noisy=is_noisy(one))


def of_text(one: Measurement, limit: Limit) -> Estimate:
    """1 where the limit allows what was found, or nothing was found; else 0."""
    allowed = float(one.value == 0 or limit.allows(one.text))
    return Estimate(allowed, allowed, allowed, "")


def is_exact(one: Measurement) -> bool:
    """Whether nothing was sampled, so that no interval is due."""
    return one.n is None and one.low is None


def is_noisy(one: Measurement) -> bool:
    """Whether a timing said of itself that it cannot be told from noise."""
    return bool(one.conditions.get("too_noisy"))


def loss(ours: Measurement, theirs: Measurement) -> Estimate:
    """How much worse `ours` is than `theirs`, in the measure's unit; negative: better.

    Without a stated direction, more is taken as better.
    """
    value = _sign(ours) * (theirs.value - ours.value)
    below = _joined(_margin(ours, worse=False), _margin(theirs, worse=True))
    above = _joined(_margin(ours, worse=True), _margin(theirs, worse=False))
    noisy = is_noisy(ours) or is_noisy(theirs)
    if below is None or above is None:
        return Estimate(value, None, None, ours.unit, too_noisy=noisy)
    method = "" if is_exact(ours) and is_exact(theirs) else INDEPENDENT
    return Estimate(value, value - below, value + above, ours.unit, method, noisy)


def loss_of_difference(difference: Measurement, ours: Measurement) -> Estimate:
    """The loss that a paired difference, ours minus theirs, tells of."""
    found = of(difference)
    found = found if _sign(ours) < 0 else negated(found)
    return replace(found, method=f"paired interval on the same images ({difference.method})")


def negated(one: Estimate) -> Estimate:
    """A gain from a loss, and the other way round."""
    low = None if one.high is None else -one.high
    high = None if one.low is None else -one.low
    return replace(one, value=-one.value, low=low, high=high)


def relative_to(one: Estimate, theirs: Measurement) -> Estimate:
    """A loss as a fraction of the baseline's value, which counts as known exactly.

    Raises Unjudged where that value is 0.
    """
    if theirs.value == 0:
        raise Unjudged(f"the baseline's {theirs.name} is 0, and nothing is a share of that")
    scale = abs(theirs.value)
    low = None if one.low is None else one.low / scale
    high = None if one.high is None else one.high / scale
    return replace(one, value=one.value / scale, low=low, high=high, unit="fraction")


def share_of_speedup(speedup: Measurement) -> Estimate:
    """The share of the baseline's latency that is lost, from a speedup: 1 / speedup - 1.

    Raises Unjudged where the speedup is not above 0.
    """
    found = times_of_speedup(speedup)
    low = None if found.high is None else 1 / found.high - 1
    high = None if found.low is None else 1 / found.low - 1
    return replace(found, value=1 / found.value - 1, low=low, high=high, unit="fraction")


def times_of_speedup(speedup: Measurement) -> Estimate:
    """How many times faster, as it was measured in turns with the baseline.

    Raises Unjudged where that is not above 0.
    """
    if min(speedup.value, speedup.value if speedup.low is None else speedup.low) <= 0:
        raise Unjudged("the speedup is not above 0; measure it again")
    method = f"paired interval of the speedup, taken in turns ({speedup.method})"
    return replace(of(speedup), unit="ratio", method=method)


def times(ours: Measurement, theirs: Measurement) -> Estimate:
    """How many times better: theirs / ours where less is better, else ours / theirs.

    The interval joins those of the two logarithms by the sum of squares.  Raises Unjudged where a
    value is not above 0.
    """
    if ours.value <= 0 or theirs.value <= 0:
        raise Unjudged(f"{ours.name} is not above 0, so there is no ratio; use at_least_better")
    value = (ours.value / theirs.value) ** _sign(ours)
    below = _joined(_log_margin(ours, worse=True), _log_margin(theirs, worse=False))
    above = _joined(_log_margin(ours, worse=False), _log_margin(theirs, worse=True))
    noisy = is_noisy(ours) or is_noisy(theirs)
    if below is None or above is None:
        return Estimate(value, None, None, "ratio", too_noisy=noisy)
    method = "" if is_exact(ours) and is_exact(theirs) else INDEPENDENT
    low, high = value * math.exp(-below), value * math.exp(above)
    return Estimate(value, low, high, "ratio", method, noisy)


def _sign(one: Measurement) -> int:
    return -1 if one.better == "lower" else 1


def _joined(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else math.hypot(first, second)


def _margin(one: Measurement, *, worse: bool) -> float | None:
    """Distance from the value to the end of its interval on the worse, or the better, side."""
    end = _end(one, worse=worse)
    return None if end is None else abs(one.value - end)


def _log_margin(one: Measurement, *, worse: bool) -> float | None:
    end = _end(one, worse=worse)
    return None if end is None or end <= 0 else abs(math.log(end / one.value))


def _end(one: Measurement, *, worse: bool) -> float | None:
    found = of(one)
    return found.low if worse == (one.better != "lower") else found.high
