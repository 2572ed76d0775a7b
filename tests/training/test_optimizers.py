"""Optimisers: their first steps by hand, and what all of them promise."""

from __future__ import annotations

import copy
from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from augcompress.errors import UsageError
from augcompress.spec import load
from augcompress.training.lars import LARS, trust_ratios
from augcompress.training.optimizers import AdamW, Lars, Optimizer, RMSprop, Sgd

MEMBERS = {
    "sgd": {"lr": 0.05},
    "adamw": {"betas": [0.8, 0.9]},
    "rmsprop": {"momentum": 0.9},
    "lars": {"nesterov": True},
}
WEIGHT, BIAS = [[3.0, 4.0]], [2.0]  # norm 5
GRADIENTS = [([[0.6, 0.8]], [0.5]), ([[-0.8, 0.6]], [-1.0])]  # norm 1


def settings(kind, **options):
    return TypeAdapter(Optimizer).validate_python({"kind": kind, **options})


def groups(weight, bias, weight_decay):
    return [
        {"params": [weight], "weight_decay": weight_decay, "lr_scale": 0.1},
        {"params": [bias], "weight_decay": 0.0, "lr_scale": 1.0},
    ]


def parameters():
    tensors = torch.tensor(WEIGHT), torch.tensor(BIAS)
    return tuple(nn.Parameter(tensor.double()) for tensor in tensors)


def feed(weight, bias, step):
    for parameter, gradient in zip((weight, bias), GRADIENTS[step % 2], strict=True):
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)


def walked(made, steps=2):
    """The weight and the bias after some steps."""
    weight, bias = parameters()
    optimizer = made.build(groups(weight, bias, made.weight_decay))
    for step in range(steps):
        feed(weight, bias, step)
        optimizer.step()
    return weight.detach()[0].tolist(), bias.detach().tolist()


def by_hand(rule, weight_decay, steps=2):
    """The same, number by number: `rule` makes a function (value, gradient, decay) -> value that
    remembers."""
    moved = []
    for start, decay, gradients in (
        (3.0, weight_decay, (0.6, -0.8)),
        (4.0, weight_decay, (0.8, 0.6)),
        (2.0, 0.0, (0.5, -1.0)),
    ):
        step, value = rule(), start
        for gradient in gradients[:steps]:
            value = step(value, gradient, decay)
        moved.append(value)
    return pytest.approx(moved[:2], rel=1e-9), pytest.approx(moved[2:], rel=1e-9)


def test_table_is_complete():
    members = get_args(get_args(Optimizer)[0])
    assert {member.model_fields["kind"].default for member in members} == set(MEMBERS)


@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_by_hand(nesterov):
    def rule():
        velocity = 0.0

        def step(value, gradient, decay):
            nonlocal velocity
            gradient += decay * value
            velocity = 0.9 * velocity + gradient
            return value - 0.1 * (gradient + 0.9 * velocity if nesterov else velocity)

        return step

    assert walked(Sgd(nesterov=nesterov, weight_decay=0.01)) == by_hand(rule, 0.01)


def test_sgd_without_momentum():
    assert walked(Sgd(momentum=0, weight_decay=0), 1) == (
        pytest.approx([2.94, 3.92]),
        pytest.approx([1.95]),
    )


def test_adamw_by_hand():
    def rule():
        first = second = 0.0
        count = 0

        def step(value, gradient, decay):
            nonlocal first, second, count
            count += 1
            first = 0.9 * first + 0.1 * gradient
            second = 0.99 * second + 0.01 * gradient**2
            root = (second / (1 - 0.99**count)) ** 0.5 + 1e-8
            return value * (1 - 0.02 * decay) - 0.02 * first / (1 - 0.9**count) / root

        return step

    made = AdamW(lr=0.02, betas=(0.9, 0.99), weight_decay=0.1)
    assert walked(made) == by_hand(rule, 0.1)


def test_rmsprop_by_hand():
    def rule():
        square = velocity = 0.0

        def step(value, gradient, decay):
            nonlocal square, velocity
            gradient += decay * value
            square = 0.8 * square + 0.2 * gradient**2
            velocity = 0.5 * velocity + gradient / (square**0.5 + 1e-3)
            return value - 0.01 * velocity

        return step

    made = RMSprop(lr=0.01, alpha=0.8, momentum=0.5, eps=1e-3, weight_decay=0.1)
    assert walked(made) == by_hand(rule, 0.1)


def test_lars_by_hand():
    """Norms 5 and 1: the trust ratio is 0.001 * 5 / (1 + 0.1 * 5) = 1 / 300; the bias has none."""
    weight, bias = walked(Lars(lr=3.0, weight_decay=0.1), 1)
    assert weight == pytest.approx(
        [3 - 3 / 300 * (0.6 + 0.3), 4 - 3 / 300 * (0.8 + 0.4)], rel=1e-12
    )
    assert bias == pytest.approx([2 - 3 * 0.5])


@pytest.mark.parametrize("nesterov", [True, False])
def test_lars_gathers_momentum(nesterov):
    """Without weight decay and with a coefficient of 1 / 5 the first ratio is 1, the second one
    |w| / 5."""
    made = Lars(lr=0.5, weight_decay=0, trust_coefficient=0.2, nesterov=nesterov)
    share = 1.9 if nesterov else 1.0
    first = [3 - 0.5 * share * 0.6, 4 - 0.5 * share * 0.8]
    ratio = 0.2 * (first[0] ** 2 + first[1] ** 2) ** 0.5
    moves = [ratio * -0.8, ratio * 0.6]
    buffers = [0.9 * 0.6 + moves[0], 0.9 * 0.8 + moves[1]]
    if nesterov:
        moves = [m + 0.9 * b for m, b in zip(moves, buffers, strict=True)]
    else:
        moves = buffers
    wanted = [w - 0.5 * m for w, m in zip(first, moves, strict=True)]
    assert walked(made)[0] == pytest.approx(wanted, rel=1e-12)


def test_lars_step_does_not_depend_on_the_scale_of_the_loss():
    weight, bias = parameters()
    other, other_bias = parameters()
    feed(weight, bias, 0)
    feed(other, other_bias, 0)
    other.grad *= 1000
    for one in (weight, other):
        LARS([one], lr=1.0).step()
    assert torch.allclose(weight, other, rtol=1e-12)
    assert torch.allclose(
        weight, torch.tensor(WEIGHT).double() * 0.999
    )  # the step is 0.001 of the norm


def test_layer_of_zeros_leaves_zero():
    zero = nn.Parameter(torch.zeros(2, 3))
    optimizer = LARS([zero], lr=0.1, momentum=0.0, weight_decay=0.1)
    zero.grad = torch.ones(2, 3)
    optimizer.step()
    assert torch.allclose(zero, torch.full((2, 3), -0.1))
    for _ in range(50):
        optimizer.step()
    assert torch.allclose(zero, torch.full((2, 3), -0.1), rtol=0.02)  # from now on, small steps


def test_trust_ratio_without_a_gradient_is_finite():
    weights = [torch.ones(2, 2), torch.zeros(2, 2)]
    nothing = [torch.zeros(2, 2)] * 2
    assert [float(ratio) for ratio in trust_ratios(weights, nothing, 0.0, 0.001)] == [1, 1]
    ratios = trust_ratios(weights, nothing, 0.1, 0.001)
    assert [float(ratio) for ratio in ratios] == pytest.approx([0.01, 1])


def test_lars_leaves_gradients_and_untouched_weights():
    weight, bias = parameters()
    feed(weight, bias, 0)
    bias.grad = None
    optimizer = LARS([weight, bias], lr=1.0, weight_decay=0.1)
    assert float(optimizer.step(lambda: weight.detach().sum())) == 7
    assert weight.grad.tolist() == GRADIENTS[0][0]
    assert bias.tolist() == BIAS
    assert len(optimizer.state) == 1


@pytest.mark.parametrize("kind", MEMBERS)
def test_optimizer_resumes_exactly(kind):
    made = settings(kind, **MEMBERS[kind])
    weight, bias = parameters()
    optimizer = made.build(groups(weight, bias, made.weight_decay))
    for step in range(3):
        feed(weight, bias, step)
        optimizer.step()
    twins = [nn.Parameter(one.detach().clone()) for one in (weight, bias)]
    resumed = made.build(groups(*twins, made.weight_decay))
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for step in range(3, 6):
        feed(weight, bias, step)
        feed(*twins, step)
        optimizer.step()
        resumed.step()
    assert torch.equal(weight, twins[0])
    assert torch.equal(bias, twins[1])
    assert not torch.equal(weight, parameters()[0])


@pytest.mark.parametrize("kind", MEMBERS)
def test_groups_keep_their_own(kind):
    made = settings(kind, **MEMBERS[kind])
    optimizer = made.build(groups(*parameters(), made.weight_decay))
    found = optimizer.param_groups
    assert [group["lr"] for group in found] == [made.lr, made.lr]
    assert [group["weight_decay"] for group in found] == [made.weight_decay, 0]
    assert [group["lr_scale"] for group in found] == [0.1, 1.0]
    again = made.build(groups(*parameters(), 0.5))
    again.load_state_dict(optimizer.state_dict())
    assert [group["lr_scale"] for group in again.param_groups] == [0.1, 1.0]


@pytest.mark.parametrize("kind", MEMBERS)
def test_loss_falls(kind):
    torch.manual_seed(0)
    network, inputs = nn.Linear(4, 3), torch.randn(64, 4)
    targets = inputs[:, :3].argmax(1)
    made = settings(kind)
    optimizer = made.build(groups(network.weight, network.bias, made.weight_decay))
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[10] < losses[0]


@pytest.mark.parametrize("kind", MEMBERS)
@pytest.mark.parametrize("lr", [0, -0.1])
def test_learning_rate_zero_is_refused(kind, lr):
    with pytest.raises(ValidationError, match="greater than 0"):
        settings(kind, lr=lr)


def test_recipe_is_told_of_learning_rate_zero():
    message = r"^train_teacher\.training\.optimizer\.lr: 0 is too small; give more than 0$"
    with pytest.raises(UsageError, match=message):
        load("digits.yaml", ["train_teacher.training.optimizer={kind: lars, lr: 0}"])


@pytest.mark.parametrize(
    "kind, options",
    [
        ("sgd", {"momentum": 1}),
        ("adamw", {"betas": [0.9, 1]}),
        ("rmsprop", {"alpha": 1}),
        ("lars", {"momentum": 1}),
    ],
)
def test_rates_that_never_forget_are_refused(kind, options):
    with pytest.raises(ValidationError, match="less than 1"):
        settings(kind, **options)
