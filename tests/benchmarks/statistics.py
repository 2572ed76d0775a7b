"""The statistics against their promises: coverage, false alarms and power for docs/benchmarks.md.

    python -m tests.benchmarks.statistics [--to FILE]

Needs no data and one minute on one core.  Binomial coverages are enumerated; the rest is simulated.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
from scipy.special import gammaln, xlogy
from scipy.stats import binom

from augcompress.evidence.statistics import (
    clopper_pearson,
    ece,
    holm,
    mcnemar,
    power_of_non_inferiority,
    student_t,
    wilson,
)
from augcompress.evidence.statistics.intervals import percentiles, resampled
from augcompress.evidence.statistics.paired import tango_ends
from tests.benchmarks.recipes import publish

CASES = 100_000
MARGINS = (0.0025, 0.005, 0.01)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def points(difference: float) -> str:
    return f"{100 * difference:g} points"


def error() -> str:
    """The standard error of a rate of 5 % over all cases, in points."""
    return f"{100 * math.sqrt(0.05 * 0.95 / CASES):.2f}"


def draw(seed: int, n: int, discordance: float, difference: float = 0.0) -> tuple:
    """(cases,) b and c of two models on the same n images."""
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    counts = np.random.default_rng(seed).multinomial(n, shares, size=CASES)
    return counts[:, 0], counts[:, 1]


def binomial_coverage(interval: Callable, n: int, shares: np.ndarray) -> np.ndarray:
    """(shares,) the exact coverage at each true share."""
    low, high = np.array([interval(count, n) for count in range(n + 1)]).T
    holds = (low <= shares[:, None]) & (shares[:, None] <= high)
    return (binom.pmf(np.arange(n + 1), n, shares[:, None]) * holds).sum(axis=1)


def shares_of_images() -> str:
    """Wilson's interval, which every accuracy has, and Clopper's and Pearson's."""
    rows = []
    for n in (10, 20, 50, 100, 359, 1000, 2000):
        everywhere, middle = np.linspace(0.0005, 0.9995, 2000), np.linspace(0.1, 0.9, 1601)
        wide = binomial_coverage(wilson, n, everywhere)
        inner = binomial_coverage(wilson, n, middle)
        exact = binomial_coverage(clopper_pearson, n, everywhere)
        means = [percent(wide.mean()), percent(inner.min()), percent(wide.min())]
        rows.append([str(n), *means, percent(exact.mean()), percent(exact.min())])
    head = ["n", "Wilson, mean", "least, shares 10 to 90 %", "least, all shares"]
    return table([*head, "Clopper-Pearson, mean", "least"], rows)


def means_of(cases: np.ndarray) -> Callable:
    """The bootstrap's statistic for many cases at once: (draws, cases) means."""

    def statistic(rows: np.ndarray) -> np.ndarray:
        n = cases.shape[1]
        flat = rows + n * np.arange(len(rows))[:, None]
        counts = np.bincount(flat.ravel(), minlength=n * len(rows)).reshape(len(rows), n)
        return counts @ cases.T / n

    return statistic


def bootstrap_coverage(n: int, draws: Callable, truth: float) -> float:
    covered = []
    for seed in range(40):
        cases = draws(np.random.default_rng([n, seed]), (500, n))
        low, high = percentiles(resampled(n, means_of(cases), seed=seed))
        covered.append((low <= truth) & (truth <= high))
    return float(np.mean(covered))


def t_coverage(n: int, draws: Callable, truth: float) -> float:
    cases = draws(np.random.default_rng(n), (20_000, n))
    found = np.array([student_t(values) for values in cases])
    return float(np.mean((found[:, 0] <= truth) & (truth <= found[:, 1])))


def means() -> str:
    """The t interval and the bootstrap of a mean."""
    kinds = {
        "normal": (lambda rng, size: rng.normal(size=size), 0.0),
        "exponential": (lambda rng, size: rng.exponential(size=size), 1.0),
    }
    rows = []
    for n in (3, 5, 10, 30, 100, 200, 400):
        found = [percent(t_coverage(n, *kind)) for kind in kinds.values()]
        found += [percent(bootstrap_coverage(n, *kind)) for kind in kinds.values()]
        rows.append([str(n), *found])
    head = [f"{way}, {kind}" for way in ("Student t", "bootstrap") for kind in kinds]
    return table(["n", *head], rows)


def tango_enumerated(n: int) -> tuple[float, float]:
    """Mean and least coverage, for discordances of 2 to 60 % and any difference within."""
    b, c = (one.ravel() for one in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
    b, c = b[b + c <= n], c[b + c <= n]
    low, high = tango_ends(b, c, n)
    ways = gammaln(n + 1) - gammaln(b + 1) - gammaln(c + 1) - gammaln(n - b - c + 1)
    found = []
    for rate, part in product(np.linspace(0.02, 0.6, 30), np.linspace(-0.9, 0.9, 19)):
        first, second = rate * (1 + part) / 2, rate * (1 - part) / 2
        logs = ways + xlogy(b, first) + xlogy(c, second) + xlogy(n - b - c, 1 - rate)
        found.append(np.exp(logs)[(low <= rate * part) & (rate * part <= high)].sum())
    return float(np.mean(found)), float(np.min(found))


def tango_simulated(n: int, discordance: float, difference: float) -> float:
    low, high = tango_ends(*draw(n, n, discordance, difference), n)
    return float(np.mean((low <= difference) & (difference <= high)))


def differences() -> str:
    """Tango's interval of a difference of paired accuracies."""
    rows = []
    for n in (50, 100, 200):
        mean, least = tango_enumerated(n)
        rows.append([str(n), "2 to 60 %", "all", f"{percent(mean)}, least {percent(least)}"])
    for discordance, difference in ((0.01, 0.0), (0.02, 0.003), (0.04, -0.005), (0.08, -0.01)):
        share = percent(tango_simulated(10_000, discordance, difference))
        rows.append(["10,000", percent(discordance), points(difference), share])
    return table(["n", "discordance", "true difference", "coverage"], rows)


def p_values(b: np.ndarray, c: np.ndarray) -> np.ndarray:
    pairs, place = np.unique(np.stack([b, c], axis=1), axis=0, return_inverse=True)
    return np.array([mcnemar(int(x), int(y)) for x, y in pairs])[place.ravel()]


def false_alarms() -> str:
    """McNemar's test on equal models, alone and in families of ten after Holm."""
    rows = []
    for n, discordance in product((359, 2000, 10_000), (0.01, 0.04, 0.16)):
        p = p_values(*draw(n, n, discordance))
        families = p.reshape(-1, 10)
        alarms = np.mean([holm(one).min() < 0.05 for one in families])
        facts = [f"{n:,}", percent(discordance), percent(np.mean(p < 0.05))]
        rows.append([*facts, percent(np.mean(families.min(axis=1) < 0.05)), percent(alarms)])
    head = ["n", "discordance", "p < 0.05", "any of ten", "any of ten, Holm"]
    return table(head, rows)


def power_cell(discordance: float, margin: float, difference: float) -> str:
    b, c = draw(7, 10_000, discordance, difference)
    simulated = np.mean(tango_ends(b, c, 10_000)[0] > -margin)
    stated = power_of_non_inferiority(10_000, discordance, margin, difference)
    return f"{percent(stated)} ({percent(simulated)})"


def power() -> str:
    """How often `not worse than the margin` is found at n = 10,000."""
    rows = []
    for difference, discordance in product((0.0, -0.001), (0.01, 0.02, 0.04, 0.08)):
        cells = [power_cell(discordance, margin, difference) for margin in MARGINS]
        rows.append([points(difference), percent(discordance), *cells])
    margins = [f"margin {points(margin)}" for margin in MARGINS]
    return table(["true difference", "discordance", *margins], rows)


def calibration_bias() -> str:
    """What a perfectly calibrated model measures as ECE."""
    rows = []
    for n, classes in product((200, 1000, 10_000), (2, 10)):
        found = [ece(*told_truly(n, classes, seed)) for seed in range(200)]
        rows.append([f"{n:,}", str(classes), f"{np.mean(found):.3f}"])
    return table(["n", "classes", "mean ECE"], rows)


def told_truly(n: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and labels drawn from them."""
    rng = np.random.default_rng([n, classes, seed])
    raised = np.exp(rng.normal(0, 2, size=(n, classes)))
    probabilities = raised / raised.sum(axis=1, keepdims=True)
    labels = (probabilities.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return probabilities, labels


def section() -> str:
    """The whole part of the page."""
    return f"""### Intervals of accuracies

Coverage of 95 % intervals, enumerated over all counts for 2,000 true shares. Every accuracy,
recall and agreement has Wilson's interval: right on average, below at single shares, most near 0
and 100 %.

{shares_of_images()}

### Intervals of means

Coverage of 95 % intervals of a mean over 20,000 samples each (standard error 0.15 points). Means
over seeds have Student's t; means over images (NLL) have the bootstrap, which covers too little
below a few hundred.

{means()}

### Difference of two models on the same images

Coverage of Tango's 95 % interval: enumerated up to n = 200, simulated above ({CASES:,} pairs of
models, standard error {error()} points). Discordance is the share of images that only one of the
two gets right.

{differences()}

### False alarms

Equal models compared {CASES:,} times, alone (standard error {error()} points) and in families of
ten (0.22 points). Few outcomes are possible, so the exact test has fewer false alarms than 5 %.

{false_alarms()}

### Power of the non-inferiority test at n = 10,000

How probable it is that "not worse than the margin" (95 %) is found, when the first model's accuracy
truly differs by the difference given: by `statistics.power_of_non_inferiority`, and in brackets
simulated ({CASES:,} pairs of models).

{power()}

### Calibration error

Estimates of the expected calibration error (15 bins) are too high on few samples: what a model
measures whose probabilities are exactly right, the mean of 200 samples.

{calibration_bias()}"""


def main() -> None:
    """Compute and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--to", type=Path, help="a file to write in place of the page's part")
    given = parser.parse_args()
    text = section()
    if given.to:
        given.to.write_text(text + "\n", encoding="utf-8")
    else:
        publish("statistics", text)


if __name__ == "__main__":
    main()
