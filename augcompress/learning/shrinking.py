"""The shrink loop: prepare, train, convert; each round committed before the next begins."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augcompress import measures
from augcompress.batch import Batch
from augcompress.compressions import NetworkCompression, Prepared, Probe, resolve
from augcompress.errors import AugcompressError
from augcompress.learning.fitting import how_it_went, learn
from augcompress.learning.setup import TrainingSetup
from augcompress.networks import (
    DESCRIPTION,
    WEIGHTS,
    Applied,
    Network,
    load_network,
    save_network,
)
from augcompress.running import Context
from augcompress.scoring import accuracy_scorer
from augcompress.spec import PruneSection
from augcompress.storage import write_aside
from augcompress.training import Engine

PROBE_BATCH = 64
LOG = "log.jsonl"


def shrink(
    context: Context,
    section: PruneSection,
    network: Network,
    setup: TrainingSetup,
    engine: Engine,
    folder: Path,
) -> Network:
    """Take `network` through all rounds of all steps; finished rounds are read back, not repeated.

    Every round counts its target from the network that the stage began with.
    """
    probe = make_probe(context, engine)
    original_cost = probe.cost(network.module)
    for position, settings in enumerate(section.steps):
        step = resolve(settings, NetworkCompression)
        for turn in range(step.rounds):
            place = folder / "state" / f"step-{position}-round-{turn}"
            if context.processes.broadcast((place / DESCRIPTION).exists):
                network = load_network(place / WEIGHTS)
                continue
            context.reporter.message(f"{step.kind}: round {turn + 1} of {step.rounds}")
            context.seed_everything(setup.where, position, turn)
            network.module.to(context.device)
            with repeatable(context):
                prepared = step.prepare(
                    network.module, probe, round=turn, original_cost=original_cost
                )
            check_alike(context, prepared.network, f"{setup.where}.steps.{position}")
            if section.training is not None:
                tune(context, prepared, network, setup, section, own_files(engine, place))
            module, history = prepared.convert()
            network = network.changed(module.cpu().eval(), Applied(settings, history))
            context.processes.rank_zero_only(partial(save_network, network, place))
    context.processes.rank_zero_only(lambda: join_logs(folder))
    return network


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
            f"{where}: the processes chose differently, as their arithmetic differs; prune with"
            " --devices 1"
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
    section: PruneSection,
    engine: Engine,
) -> None:
    """Fine-tune a prepared network with its hooks and the mask hooks of earlier compressions."""
    assert section.training is not None
    assert engine.state is not None
    engine.state.mkdir(parents=True, exist_ok=True)
    earlier = replace(network, module=prepared.network).mask_hooks()
    setup = replace(setup, prepared=(prepared, *earlier))
    result = learn(context, prepared.network, setup, section.training, engine)
    context.reporter.message(f"prune: {how_it_went(result, section.training, engine)}")


def make_probe(context: Context, engine: Engine) -> Probe:
    """The world as a compression may ask for it."""
    example = context.example()
    size = min(PROBE_BATCH, len(context.data.train))

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        moved = context.data.ready(batch, engine.device)
        assert moved.targets is not None
        return F.cross_entropy(network(moved.inputs).float(), moved.targets)

    def cost(network: nn.Module) -> float:
        device = next(network.parameters()).device
        with torch.no_grad():
            return float(measures.count_macs(network, example.to(device)))

    score = accuracy_scorer(context, engine)
    return Probe(
        example=example.to(engine.device),
        batches=lambda: context.training_batches(size).epoch(0),
        loss=loss,
        score=lambda network: score(network).value,
        cost=cost,
    )
