"""The shrink loop: prepare, train, convert; each round committed before the next begins."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from augcompress.component import Plugin
from augcompress.compressions import NetworkCompression, Prepared, Probe, resolve, resolve_steps
from augcompress.errors import AugcompressError, UsageError
from augcompress.evidence import Measurement, StageName
from augcompress.learning.fitting import engine_for, how_it_went, learn
from augcompress.learning.probe import cost_of, make_probe
from augcompress.learning.student import TrainingSetup
from augcompress.models import build_classifier
from augcompress.networks import (
    DESCRIPTION,
    WEIGHTS,
    Applied,
    Network,
    Teacher,
    load_network,
    open_network,
    open_teacher,
    save_network,
)
from augcompress.running import Context, Input, Inputs, Sources
from augcompress.spec import CompressionSection, require_section
from augcompress.storage import write_aside
from augcompress.training import Engine, Training

LOG = "log.jsonl"


def compress_network(
    context: Context, where: StageName, inputs: Inputs, folder: Path
) -> tuple[Network, list[Measurement]]:
    """Open a stage's network, take it through its section's steps on the network, and save it;
    reopened, with the promises that were checked on it.

    Raises LimitError when one is not kept.
    """
    section: CompressionSection = require_section(context.spec, where)
    network = open_network(context, inputs["source"].path, None, where)
    setup = TrainingSetup(
        where,
        section.objectives,
        context.spec.augmentations(where),
        teachers(context, section, inputs, where),
        sampling=context.spec.sampling(where),
    )
    engine = engine_for(context, where, section.training, folder)
    probe = make_probe(context, setup, engine, network.module)
    shrunk = shrink(context, section, network, setup, probe, engine)
    context.processes.rank_zero_only(lambda: save_network(shrunk, folder))
    reopened = load_network(folder / WEIGHTS)
    return reopened, check_promises(reopened, probe)


def check_targets(context: Context) -> None:
    """Before anything trains: can `prune` come from the architecture to what it promises?

    Raises UsageError naming the field.
    """
    spec, section = context.spec, context.spec.prune
    student = spec.distill.student if spec.distill and "distill" in spec.stages() else None
    model = student or (spec.train_teacher.model if spec.train_teacher else None)
    if section is None or model is None or isinstance(model, Plugin) or context.source is not None:
        return
    if getattr(model, "pretrained", False):
        model = model.model_copy(update={"pretrained": False})
    example = context.example()
    for place, step in enumerate(section.steps):
        if not isinstance(step, NetworkCompression):
            return  # what a plug-in does is not known before
        with torch.random.fork_rng():
            network = _untrained(context, model)
        macs = partial(cost_of, context, example=example, name="macs")
        wrong = step.unreachable(network, example, macs)
        if wrong:
            raise UsageError(f"prune.steps.{place}.{wrong}")
        if step.reshapes:
            return


def _untrained(context: Context, model: Any) -> nn.Module:
    """The network of an architecture, with any weights."""
    channels = context.model_facts.input.channels
    constants = [0.0] * channels, [1.0] * channels
    return build_classifier(model, context.model_facts, *constants).eval()


def compression_inputs(sources: Sources, where: StageName) -> dict[str, Input]:
    """What a stage compresses, and the teacher where an objective follows the recipe's."""
    section: CompressionSection = require_section(sources.context.spec, where)
    found = {"source": sources.source(where)}
    follows = section.follows_teacher() and section.teacher == "train_teacher"
    if follows and (teacher := sources.teacher()) is not None:
        found["teacher"] = teacher
    return found


def teachers(
    context: Context, section: CompressionSection, inputs: Inputs, where: str
) -> list[Teacher]:
    """The recipe's teacher, the network that the stage began with, or none where none is
    followed."""
    role = "source" if section.teacher == "original" else "teacher"
    if not section.follows_teacher() or role not in inputs:
        return []
    return [open_teacher(context, inputs[role].path, None, f"{where}.teacher")]


def check_promises(network: Network, probe: Probe | None = None) -> list[Measurement]:
    """What a reopened network's compressions promise of it.

    Raises LimitError when a promise is not kept.
    """
    return [
        row
        for applied in network.standing()
        for row in applied.compression.check(network.module, applied.history, probe)
    ]


def shrink(
    context: Context,
    section: CompressionSection,
    network: Network,
    setup: TrainingSetup,
    probe: Probe,
    engine: Engine,
) -> Network:
    """Take `network` through all rounds of all steps on the network; finished rounds are read back,
    not repeated.

    Every round counts its target from the network that the stage began with.
    """
    on_network, _ = resolve_steps(section.steps, setup.where)
    for position, step in enumerate(on_network):
        states = [network]  # before the first round and after each
        kept = None

        def score(done: int, states: list[Network] = states) -> float:
            return probe.score(states[done].module.to(context.device))

        while kept is None and len(states) <= step.rounds:
            states.append(
                one_round(context, section, states[-1], setup, probe, engine, position, len(states))
            )
            kept = step.stop_after(len(states) - 1, score)
        network = states[-1 if kept is None else kept]
    assert engine.state is not None
    context.processes.rank_zero_only(partial(join_logs, engine.state.parent))
    return network


def one_round(
    context: Context,
    section: CompressionSection,
    network: Network,
    setup: TrainingSetup,
    probe: Probe,
    engine: Engine,
    position: int,
    number: int,
) -> Network:
    """The network after round `number`, from 1, of a step: read back where it was finished."""
    settings, turn = section.steps[position], number - 1
    assert engine.state is not None
    place = engine.state / f"step-{position}-round-{turn}"
    if context.processes.broadcast((place / DESCRIPTION).exists):
        return load_network(place / WEIGHTS)
    step = resolve(settings)
    assert isinstance(step, NetworkCompression)
    context.reporter.message(f"{step.kind}: round {number} of {step.rounds}")
    context.seed_everything(setup.where, position, turn)
    network.module.to(context.device)
    with repeatable(context):
        prepared = step.prepare(network.module, probe, round=turn)
    check_alike(context, prepared.network, f"{setup.where}.steps.{position}")
    if prepared.needs == "training" and section.training is not None:
        tune(context, prepared, network, setup, section.training, own_files(engine, place))
    if prepared.needs == "calibration":
        calibrate(prepared, probe)
    module, history = prepared.convert()
    network = network.changed(module.cpu().eval(), Applied(settings, history))
    context.processes.rank_zero_only(partial(save_network, network, place))
    return network


@torch.no_grad()
def calibrate(prepared: Prepared, probe: Probe) -> None:
    """Show a prepared network the calibration batches, once."""
    for images in probe.calibration():
        prepared.network(images)


def own_files(engine: Engine, place: Path) -> Engine:
    """The engine of one round: state, log and events of its own."""
    events = None if engine.events is None else engine.events / place.name
    return replace(engine, state=place, log=place / LOG, events=events)


def repeatable(context: Context) -> AbstractContextManager:
    """Several processes must choose the same: algorithms that give the same bits each time."""
    if context.processes.world == 1:
        return nullcontext()
    return torch.backends.cudnn.flags(deterministic=True, benchmark=False)


def check_alike(context: Context, network: nn.Module, where: str) -> None:
    """Raises AugcompressError when the processes were left with different networks."""
    if context.processes.world == 1:
        return
    digest = digest_network(network)
    if context.processes.all_reduce_any(context.processes.broadcast(lambda: digest) != digest):
        raise AugcompressError(
            f"{where}: the processes chose differently, as their arithmetic differs;"
            f" {where.partition('.')[0]} with --devices 1"
        )


def digest_network(network: nn.Module) -> str:
    """SHA-256 of a network's names and values."""
    found = hashlib.sha256()
    for name, value in network.state_dict().items():
        found.update(f"{name} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def join_logs(folder: Path) -> None:
    """The rounds' logs, one below the other."""
    logs = sorted(
        (folder / "state").glob(f"step-*/{LOG}"), key=lambda path: path.stat().st_mtime_ns
    )
    if logs:
        with write_aside(folder / LOG) as aside:
            aside.write_text("".join(path.read_text() for path in logs))


def tune(
    context: Context,
    prepared: Prepared,
    network: Network,
    setup: TrainingSetup,
    training: Training,
    engine: Engine,
) -> None:
    """Train a prepared network with its hooks and the mask hooks of earlier compressions."""
    assert engine.state is not None
    engine.state.mkdir(parents=True, exist_ok=True)
    earlier = replace(network, module=prepared.network).mask_hooks()
    setup = replace(setup, prepared=(prepared, *earlier))
    result = learn(context, prepared.network, setup, training, engine)
    context.reporter.message(f"{setup.where}: {how_it_went(result, training, engine)}")
