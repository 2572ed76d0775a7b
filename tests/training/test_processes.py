"""Two processes on the CPU: they learn what one learns, and agree on the rest."""

from __future__ import annotations

import contextlib
import copy
import json
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from end_to_end import TINY
from torch import nn

from augcompress.batch import ImageInput
from augcompress.errors import AugcompressError, LimitError
from augcompress.learning.fitting import batches_for
from augcompress.learning.shrinking import check_alike, digest_network
from augcompress.learning.student import StudentLearner, TrainingSetup
from augcompress.models import ModelFacts, SmallCNN
from augcompress.objectives import Labels
from augcompress.running.context import Context
from augcompress.running.rank_zero import broadcast, rank_zero_only
from augcompress.scoring.scores import accuracy_scorer, scorer, share_of
from augcompress.spec import validate
from augcompress.storage.run_directory import RunDir
from augcompress.training import Engine, Training, fit
from augcompress.training.processes import (
    ALONE,
    Processes,
    StoppedElsewhere,
    exit_code_of,
    restore_norms,
    synchronise_norms,
)

VARIANTS = {
    "plain": {},
    "everything": {
        "accumulation": 2,
        "freeze": {"epochs": 1},
        "ema": {},
        "gradient_clip": 0.5,
        "max_norm": 2.0,
        "optimizer": {"kind": "adamw", "lr": 0.01},
    },
}
STEPS = 20


def tiny_context(folder: Path, processes: Processes = ALONE) -> Context:
    """The digits, 320 of them to learn from."""
    recipe = copy.deepcopy(TINY)
    recipe["data"] = {"kind": "digits", "validation": 0.1, "subset": 320}
    return Context(validate(recipe), RunDir(folder), processes=processes)


def student(context: Context) -> nn.Module:
    """A small network with batch norm, in double precision."""
    network = SmallCNN(widths=(8, 16)).build(context.model_facts).double()
    network.register_forward_pre_hook(lambda _, given: (given[0].double(),))
    return network


def learn(context: Context, folder: Path) -> None:
    """Train every variant, twenty steps each, and keep weights and log."""
    for name, settings in VARIANTS.items():
        torch.manual_seed(context.processes.rank)  # the first process's weights count
        training = Training(epochs=2, batch_size=32, batch_norm="frozen", **settings)
        setup = TrainingSetup("distill", (Labels(),), context.spec.augmentations("distill"))
        place = folder / f"{name}-{context.processes.world}-{context.processes.rank}"
        engine = Engine(torch.device("cpu"), log=place / "log.jsonl", processes=context.processes)
        score = accuracy_scorer(context, engine)
        learner = StudentLearner(student(context), setup, context, score)
        batches = batches_for(context, setup, training)
        assert len(batches) * training.epochs == STEPS
        place.mkdir()
        fit(learner, batches, training, engine)
        torch.save(learner.student.state_dict(), place / "weights.pt")


def linear_network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def what_is_agreed(processes: Processes, context: Context) -> dict[str, object]:
    """Answers of everything that processes ask each other."""
    rank, found = processes.rank, dict[str, object]()
    found["total"] = processes.all_reduce_sum(torch.tensor([1, rank])).tolist()
    found["any"] = [processes.all_reduce_any(rank == 1), processes.all_reduce_any(False)]
    found["broadcast"] = processes.broadcast(lambda: {"rank": rank})
    found["rank_zero_only"] = processes.rank_zero_only(lambda: rank)
    found["alone"] = broadcast(context, lambda: context.processes.world)
    found["led"] = rank_zero_only(context, lambda: accuracy_scorer(context, ENGINE)(CONSTANT).n)
    found["after"] = context.processes.world
    found["nll"] = scorer(context, ENGINE, "nll")(linear_network()).value
    found["share"] = pictures(context)
    for error in (LimitError("not kept"), KeyboardInterrupt(), ValueError("a bug")):
        try:
            processes.broadcast(lambda: throw(error))  # noqa: B023
        except BaseException as met:
            kind, code = type(met).__name__, exit_code_of(met)
            found.setdefault("errors", []).append([kind, code])  # type: ignore[attr-defined]
    linear = nn.Linear(2, 2)
    nn.init.constant_(linear.weight, rank)
    wrapped = processes.wrap(linear)
    found["aligned"] = linear.weight.flatten().tolist()
    with processes.no_sync(wrapped):
        wrapped(torch.full((1, 2), 1.0 + rank)).sum().backward()
    found["own"] = linear.weight.grad[0, 0].item()
    wrapped(torch.full((1, 2), 1.0 + rank)).sum().backward()
    found["both"] = linear.weight.grad[0, 0].item()
    try:
        check_alike(context, nn.Linear(3, 2), "prune.steps.0")
    except AugcompressError as error:
        found["unlike"] = str(error)
    return found


def pictures(context: Context) -> list[str]:
    """This process's validation images, as text."""
    batches = share_of(context, "validation")
    return [image.numpy().tobytes().hex() for batch in batches for image in batch.images()]


class Constant(nn.Module):
    """Says 0 of every image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.eye(10)[:1].expand(len(images), 10)


CONSTANT, ENGINE = Constant(), Engine(torch.device("cpu"))


def throw(error: BaseException) -> None:
    raise error


def be_one_of(rank: int, world: int, folder: str) -> None:
    """What each process does."""
    torch.set_num_threads(1)
    place = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=place, rank=rank, world_size=world)
    processes = Processes(rank, world, dist.new_group(backend="gloo"))
    context = tiny_context(Path(folder), processes)
    learn(context, Path(folder))
    torch.manual_seed(rank)
    told = json.dumps(what_is_agreed(processes, context))
    Path(folder, f"agreed-{rank}.json").write_text(told)
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def outcome(tmp_path_factory) -> Path:
    """A folder with what two processes did, and one."""
    if sys.platform == "win32":
        pytest.skip("gloo's file meeting place needs POSIX")
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(be_one_of, (2, str(folder)), nprocs=2)
    learn(tiny_context(folder), folder)
    return folder


@pytest.fixture
def told(outcome) -> list[dict]:
    """Answers of both processes."""
    return [json.loads((outcome / f"agreed-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_processes_with_half_the_batch_learn_what_one_learns(variant, outcome):
    one, left, right = (
        torch.load(outcome / f"{variant}-{who}" / "weights.pt") for who in ("1-0", "2-0", "2-1")
    )
    start = student(tiny_context(outcome)).state_dict()
    for name, value in one.items():
        torch.testing.assert_close(left[name], value, rtol=0, atol=1e-9)
        assert torch.equal(left[name], right[name])
        learned = not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        assert torch.equal(value, start[name]) != learned, name


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_log_of_two_processes_is_that_of_one(variant, outcome):
    logs = [outcome / f"{variant}-{who}" / "log.jsonl" for who in ("1-0", "2-0", "2-1")]
    assert not logs[2].exists()
    one, two = ([json.loads(line) for line in log.read_text().splitlines()] for log in logs[:2])
    for alone, shared in zip(one, two, strict=True):
        scores = [name for name in alone if name.startswith(("validation", "lr", "epoch"))]
        assert len(scores) >= 5
        assert [alone[name] for name in scores] == [shared[name] for name in scores]
        assert shared["losses"] == pytest.approx(alone["losses"], rel=1e-5)


def test_what_processes_tell_each_other(told):
    for rank, found in enumerate(told):
        assert found["total"] == [2, 1]
        assert found["any"] == [True, False]
        assert found["broadcast"] == {"rank": 0}
        assert found["rank_zero_only"] == (None if rank else 0)
        assert found["aligned"] == [0.0] * 4
        assert (found["own"], found["both"]) == (1.0 + rank, 3.0)  # of 2 (1 + rank), the mean
        assert found["unlike"] == (
            "prune.steps.0: the processes chose differently, as their arithmetic differs; prune"
            " with --devices 1"
        )


def test_the_first_process_is_alone_while_the_others_wait(told, outcome):
    n = len(tiny_context(outcome).data.validation)
    assert [found["alone"] for found in told] == [1, 1]
    assert [found["led"] for found in told] == [n, None]
    assert [found["after"] for found in told] == [2, 2]


def test_an_error_of_the_first_process_stops_all(told):
    codes = [3, 130, 70]
    kinds = [[kind for kind, _ in found["errors"]] for found in told]
    assert kinds == [["LimitError", "KeyboardInterrupt", "ValueError"], ["StoppedElsewhere"] * 3]
    assert [[code for _, code in found["errors"]] for found in told] == [codes, codes]


def test_evaluation_shares_the_images_out_without_duplicates(told, outcome):
    left, right = (found["share"] for found in told)
    assert sorted(left + right) == sorted(pictures(tiny_context(outcome)))
    assert abs(len(left) - len(right)) <= 1


def test_more_processes_than_images_is_fine(tmp_path):
    context = tiny_context(tmp_path)
    n = len(context.data.validation)
    context.processes = Processes(rank=n, world=n + 1)
    assert list(share_of(context, "validation")) == []


def test_a_score_is_a_share_of_all_images(tmp_path):
    context = tiny_context(tmp_path)
    score = accuracy_scorer(context, ENGINE)(Constant())
    labels = context.data.validation.labels
    assert (score.value, score.n, score.name) == ((labels == 0).mean(), len(labels), "top1")


def test_a_measure_is_that_of_all_images_in_every_process(told, tmp_path):
    alone = scorer(tiny_context(tmp_path), ENGINE, "nll")(linear_network()).value
    assert [found["nll"] for found in told] == pytest.approx([alone, alone], rel=1e-6)


def test_one_process_needs_nobody(tmp_path):
    context, linear = tiny_context(tmp_path), nn.Linear(2, 2)
    assert ALONE.wrap(linear) is linear
    with ALONE.no_sync(linear):
        assert not ALONE.all_reduce_any(False)
    assert (
        ALONE.rank_zero_only(lambda: 1),
        ALONE.broadcast(lambda: 2),
        rank_zero_only(context, lambda: 3),
    ) == (1, 2, 3)
    assert ALONE.all_reduce_sum(torch.tensor(4)) == 4
    with pytest.raises(LimitError, match="not kept"):
        ALONE.broadcast(lambda: throw(LimitError("not kept")))
    check_alike(context, linear, "prune")
    assert StoppedElsewhere("", exit_code=3).exit_code == 3


class Norms(nn.Module):
    """One batch norm below another module, one in two places, and one of timm's."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
        self.first, self.frozen = nn.BatchNorm1d(3), nn.BatchNorm1d(3).eval()
        self.second = self.first


def tensors(module: nn.Module) -> dict[str, int]:
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: id(value) for name, value in state.items()}


def test_norms_are_synchronised_over_the_same_tensors_and_restored():
    network = Norms()
    before, modules, state = tensors(network), list(network.modules()), list(network.state_dict())
    replaced = synchronise_norms(network)
    assert type(network.body[1]) is nn.SyncBatchNorm
    assert type(network.first) is nn.SyncBatchNorm
    assert network.first is network.second
    assert (network.first.training, network.frozen.training) == (True, False)
    assert (tensors(network), list(network.state_dict())) == (before, state)
    network.body[1].eval()
    network.first.running_mean = torch.ones(3)  # another tensor in place of the first one
    restore_norms(replaced)
    assert list(network.modules()) == modules
    assert not network.body[1].training
    assert torch.equal(network.second.running_mean, torch.ones(3))
    assert isinstance(network.body[1], nn.BatchNorm2d)


def test_norms_of_timm_keep_their_activation():
    layers = pytest.importorskip("timm.layers")
    network = nn.Sequential(layers.BatchNormAct2d(4, act_layer=nn.SiLU))
    norm = network[0]
    replaced = synchronise_norms(network)
    assert isinstance(network[0], nn.SyncBatchNorm)
    assert isinstance(network[0].act, nn.SiLU)
    restore_norms(replaced)
    assert network[0] is norm


@pytest.mark.parametrize(
    "processes, device, changes",
    [(ALONE, "cuda", False), (Processes(0, 2), "cpu", False), (Processes(0, 2), "cuda", True)],
)
def test_norms_are_synchronised_on_several_gpus_only(processes, device, changes):
    network = Norms()
    norms = [network.body[1], network.first]
    with contextlib.suppress(LimitError), processes.synchronised(network, device):
        assert (network.body[1] is not norms[0]) == changes
        raise LimitError("a loss is not finite")
    assert [network.body[1], network.first] == norms


def test_a_network_is_known_by_its_names_and_values():
    network = SmallCNN().build(ModelFacts(10, ImageInput(1, (8, 8))))
    digest = digest_network(network)
    assert digest_network(copy.deepcopy(network)) == digest
    with torch.no_grad():
        next(network.parameters()).add_(1e-3)
    assert digest_network(network) != digest
