"""`MODEL_CARD.md`: what whoever gets the file should know of it (Mitchell et al. 2019,
arXiv:1810.03993)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources

from jinja2 import Environment, StrictUndefined

from augcompress.errors import visible_text
from augcompress.evidence import Measurement, difference_text, markdown_text, value_text

TITLES = {
    "top1": "Top-1 accuracy",
    "top5": "Top-5 accuracy",
    "macro_f1": "Macro F1",
    "roc_auc": "ROC AUC, one against rest, macro",
    "nll": "Negative log-likelihood (nats)",
    "ece": "Expected calibration error (15 bins)",
    "nll_scaled": "… NLL after temperature scaling",
    "ece_scaled": "… calibration error after temperature scaling",
}
NOISY = "too noisy to say"
COSTS = {
    "size_bytes": "Size",
    "compressed_bytes": "Size, compressed (zlib)",
    "parameters": "Parameters",
    "macs": "Multiply-adds for one image",
    "latency_ms": "Latency, median",
    "latency_p95_ms": "Latency, 95th percentile",
    "throughput": "Throughput",
    "load_ms": "Time to load",
    "peak_memory_bytes": "Peak memory of inference",
}


@dataclass(frozen=True)
class CardFacts:
    """What the card says beside the measurements: plain text, but for `input` and `output`."""

    title: str
    classes: Sequence[str]
    input: str
    """Name, type, shape and range of the file's input, in words, as Markdown."""
    output: str
    resizing: Mapping[str, object]
    prepares: bool
    """Does the file resize whole images itself?"""
    data: str
    """The kind of data set."""
    images: Mapping[str, int]
    """How many there are in train, validation and test."""
    steps: Sequence[str]
    """What was done to make the file, in order."""
    duplicates: int
    recipe: str
    """Digest of the recipe."""
    version: str
    opset: str
    said: Mapping[str, str | None] = field(default_factory=dict)
    """What the recipe's `export.card` says: license, data_license, contact, …"""
    foreign: bool = False
    """Does it start from a file made elsewhere?  Nothing is known of its training then."""


def model_card(facts: CardFacts, measurements: Sequence[Measurement]) -> str:
    """The card as Markdown."""
    ours = [one for one in measurements if one.role in (None, "shipped")]
    recalls = [one for one in ours if one.name == "recall"]
    text = (resources.files("augcompress.shipping") / "model_card.md.j2").read_text(
        encoding="utf-8"
    )
    page = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_visible
    )
    return page.from_string(text).render(
        facts=facts,
        quality=_rows(TITLES, ours),
        cost=_rows(COSTS, ours + [m for m in measurements if m.role == "float"]),
        recalls=sorted(recalls, key=lambda one: one.value),
        differences=[one for one in ours if one.name in ("top1_difference", "speedup")],
        agreements=[one for one in ours if one.name == "agreement" and one.split == "test"],
        licences=[one for one in measurements if one.name == "weights_licence"],
        figure=figure,
        difference=difference_text,
        text=markdown_text,
    )


def figure(one: Measurement) -> str:
    """A value as it stands in the card: what was counted, in full (`13,870`); of a timing that says
    so, that it is too noisy; anything else with its unit, interval and n."""
    if one.conditions.get("too_noisy"):
        return NOISY
    if one.n is None and one.low is None and one.unit in ("bytes", "count"):
        return f"{one.value:,.0f}{' bytes' if one.unit == 'bytes' else ''}"
    return value_text(one)


def _visible(value: object) -> object:
    return visible_text(value) if isinstance(value, str) else value


def _rows(titles: Mapping[str, str], found: Sequence[Measurement]) -> list[tuple[str, Measurement]]:
    """The first measurement of each name, with its title."""
    first: dict[str, Measurement] = {}
    for one in found:
        if one.baseline is None:
            first.setdefault(one.name, one)
    return [(title, first[name]) for name, title in titles.items() if name in first]
