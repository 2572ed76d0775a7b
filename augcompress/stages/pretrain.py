"""pretrain: a network learns features from images without labels; a linear probe measures them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from augcompress.datasets import digest_unlabelled
from augcompress.evidence import Measurement, difference_text, top1_difference, value_text
from augcompress.learning import WHERE, LinearProbe, finish, linear_probe, pretrain
from augcompress.networks import WEIGHTS, Network, new_network
from augcompress.running import Context, Input, Inputs, Output, Sources, Stage, rank_zero_only
from augcompress.scoring import accuracy, with_role
from augcompress.spec import Spec, require_section

UNTRAINED = "untrained"


def inputs(sources: Sources) -> dict[str, Input]:
    """The folder of further images, where the recipe names one."""
    given = require_section(sources.context.spec, "pretrain").unlabelled
    if given is None:
        return {}
    return {"unlabelled": Input(Path(given), digest_unlabelled(Path(given)))}


def body(context: Context, inputs: Inputs, folder: Path) -> Output:
    """Build, probe as it is, train, probe again: the probe is the head."""
    section = require_section(context.spec, "pretrain")
    network = new_network(context, model_of(context.spec), None, WHERE)
    before = rank_zero_only(context, lambda: linear_probe(context, network, WHERE))
    context.seed_everything(WHERE)
    notes = pretrain(context, network, section, folder)
    output = rank_zero_only(context, lambda: measured(context, network, folder, notes, before))
    return output or Output(WEIGHTS)


def model_of(spec: Spec) -> Any:
    """The architecture that is pretrained."""
    stage, field = require_section(spec, "pretrain").trains()
    return getattr(getattr(spec, stage), field)


def measured(
    context: Context, network: Network, folder: Path, notes: list[str], before: LinearProbe | None
) -> Output:
    """Save the network with a probe as its head; what the probe says, and what it said before."""
    assert before is not None  # the first process has it
    probe = linear_probe(context, network, WHERE)
    output = finish(context, network, folder, notes)
    gained = top1_difference(
        probe.predictions, before.predictions, subject=WEIGHTS, baseline=UNTRAINED
    )
    control = [with_role(row, UNTRAINED) for row in accuracy(before.predictions, WEIGHTS)]
    scores = [under(row, probe) for row in accuracy(probe.predictions, WEIGHTS)]
    names = {row.name for row in scores}
    scores += [row for row in output.measurements if row.name not in names]
    scores += [under(row, before) for row in control] + [under(gained, probe)]
    return replace(output, measurements=scores, notes=[*notes, gain_text(scores[0], gained, probe)])


def under(row: Measurement, probe: LinearProbe) -> Measurement:
    """A number of a probe."""
    return row.model_copy(update={"conditions": {**row.conditions, **probe.conditions}})


def gain_text(top1: Measurement, gained: Measurement, probe: LinearProbe) -> str:
    """What pretraining gave, in a sentence."""
    return (
        f"linear probe on {probe.labels} labels: validation top-1 {value_text(top1)},"
        f" {difference_text(gained)} against the untrained network"
    )


STAGE = Stage(
    "pretrain",
    inputs,
    body,
    makes="network",
    builds=model_of,
    reads=lambda spec: {"model": model_of(spec)},  # stands in another section
    starts_fresh=True,
    trains=True,
    version=3,
)
