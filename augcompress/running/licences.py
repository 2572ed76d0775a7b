"""Weights from elsewhere that a stage's result stands on, its teachers' among them, and under which
licences they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from augcompress.errors import AugcompressError
from augcompress.evidence import MEASUREMENTS_FILE, UNKNOWN, Measurement, read_measurements
from augcompress.models import PretrainedWeights
from augcompress.running.stage import Input, Inputs, Stage
from augcompress.spec import Spec
from augcompress.storage import MODEL_ENDINGS, read_record

NAME = "weights_licence"
NONE = "no weights from elsewhere"
STARTS = {"source", "weights", "pretrained"}
"""Roles of inputs that a network starts from, and its design's own weights do not count."""


def weights_licences(stage: Stage, spec: Spec, inputs: Inputs) -> list[Measurement]:
    """A row for each file of weights from elsewhere; one row that says so where there is none."""
    told, found = spec.export.card.weights_license, list[Measurement]()
    model = None if STARTS & inputs.keys() else stage.builds(spec)
    if model is not None and (own := model.pretrained_weights()) is not None:
        found.append(_row(own, told))
    for item in inputs.values():
        if item.path.suffix in MODEL_ENDINGS:
            found += _of_input(item, told)
    each = {row.subject: row for row in found if row.value}
    return [*each.values()] or [_row(PretrainedWeights(NONE, None), {})]


def _of_input(item: Input, told: Mapping[str, str]) -> Iterator[Measurement]:
    """What was told of an artefact's weights when it was made; of a file from elsewhere, itself."""
    known = list(_kept_beside(item.path))
    for row in known:
        yield _row(PretrainedWeights(str(row.subject), row.text), told) if row.value else row
    if not known:
        yield _row(PretrainedWeights(item.path.name, None), told)


def _kept_beside(artifact: Path) -> list[Measurement]:
    """The rows of the stage that made a file; none where no stage did, or an older one."""
    folder = artifact.parent
    try:
        is_its = read_record(folder).artifact == artifact.name
        rows = read_measurements(folder / MEASUREMENTS_FILE) if is_its else []
    except (OSError, ValueError, AugcompressError):
        return []
    return [row for row in rows if row.name == NAME]


def _row(weights: PretrainedWeights, told: Mapping[str, str]) -> Measurement:
    is_none = weights.name == NONE
    licence = NONE if is_none else told.get(weights.name) or weights.licence or UNKNOWN
    return Measurement(
        name=NAME,
        value=float(not is_none),
        unit="weights",
        subject=None if is_none else weights.name,
        conditions={"licence": licence.lower()},
    )
