"""What a stage lets network compressions ask: its data, its loss, its score, costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache

import torch
from torch import Tensor, nn

from augcompress import measures
from augcompress.batch import Batch
from augcompress.compressions import CostName, Probe
from augcompress.inference import load_onnx
from augcompress.learning.student import StudentLearner, TrainingSetup
from augcompress.running import Context
from augcompress.scoring import accuracy_scorer
from augcompress.training import Engine

PROBE_BATCH = 64
CALLS = 20
"""Calls of a file, of which the fastest is its latency."""


def make_probe(
    context: Context, setup: TrainingSetup, engine: Engine, original: nn.Module
) -> Probe:
    """The probe of a stage that began with the network `original`."""
    example = context.example()
    size = min(PROBE_BATCH, len(context.data.train))
    score = accuracy_scorer(context, engine)

    def batches() -> Iterator[Batch]:
        return context.training_batches(size).epoch(0)

    def calibration() -> Iterator[Tensor]:
        return (context.data.ready(each, engine.device).images() for each in batches())

    def cost(network: nn.Module, name: CostName) -> float:
        return cost_of(context, network, example, name)

    return Probe(
        example=example.to(engine.device),
        batches=batches,
        calibration=calibration,
        loss=stage_loss(context, setup, engine),
        score=lambda network: score(network).value,
        cost=cost,
        original=cache(lambda name: cost(original, name)),
    )


def stage_loss(
    context: Context, setup: TrainingSetup, engine: Engine
) -> Callable[[nn.Module, Batch], Tensor]:
    """The sum of a setup's losses as a function of any network; a learner is built once for each
    network, and draws nothing from torch's stream."""
    learners: list[StudentLearner] = []

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        if not learners or learners[-1].student is not network:
            score = accuracy_scorer(context, engine)
            with torch.random.fork_rng():
                learners[:] = [StudentLearner(network, setup, context, score)]
        losses = learners[-1](batch.to(context.device))
        return torch.stack(list(losses.values())).sum()

    return loss


def cost_of(context: Context, network: nn.Module, example: Tensor, name: CostName) -> float:
    """What a network costs: counted on the network, or of the float file that it would ship as."""
    if name == "macs":
        device = next(network.parameters()).device
        with torch.no_grad():
            return float(measures.count_macs(network, example.to(device)))
    if name == "parameters":
        return measures.parameters(network).value
    from augcompress.graphs import to_graph

    graph = to_graph(network, example, context.spec.export.headline).SerializeToString()
    return float(len(graph)) if name == "bytes" else least_latency_ms(graph, example)


def least_latency_ms(graph: bytes, example: Tensor) -> float:
    """Milliseconds for one image `(1,C,H,W)` in ONNX Runtime on one thread, the least of a few
    calls."""
    model, image, times = load_onnx(graph), example[:1], list[float]()
    for _ in range(CALLS):
        started = time.perf_counter()
        model(image)
        times.append(1000 * (time.perf_counter() - started))
    return min(times)
