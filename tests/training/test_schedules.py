"""Learning-rate schedules: against torch's, by hand, and what all of them promise."""

from __future__ import annotations

import math
import warnings
from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch.optim import lr_scheduler

from augcompress.errors import UsageError
from augcompress.spec import load
from augcompress.training import Training
from augcompress.training.positions import in_shares
from augcompress.training.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseTime,
    MultiStep,
    OneCycle,
    Polynomial,
    Schedule,
    Step,
    cycle_at,
)

EPOCHS = 40
MEMBERS = {
    "constant": [{}, {"warmup": 4}],
    "step": [{}, {"every": 15, "gamma": 0.5, "warmup": 4}],
    "multi_step": [{}, {"milestones": [10, 0.5, 30], "warmup": 0.1}],
    "exponential": [{}, {"every": 1, "gamma": 0.9, "warmup": 4}],
    "polynomial": [{}, {"power": 2, "end": 0.1, "cycles": 3, "warmup": 0.1}],
    "inverse_time": [{}, {"every": 2, "decay": 0.5, "warmup": 4}],
    "cosine": [{}, {"end": 0.05, "warmup": 4}],
    "cosine_restarts": [{}, {"cycle": 7, "multiplier": 1.5, "end": 0.1, "warmup": 4}],
    "one_cycle": [{}, {"anneal": "linear", "warmup": 10, "div_factor": 10}],
}
SETTINGS = [(kind, options) for kind, several in MEMBERS.items() for options in several]


def schedule(kind, **options):
    return TypeAdapter(Schedule).validate_python({"kind": kind, **options})


def torch_rates(steps, make):
    """The learning rates of torch's scheduler for a peak of 1."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PolynomialLR and others step without the optimiser
        scheduler = make(optimizer)
        rates = []
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return rates


def starts(kind, epochs=EPOCHS, **options):
    """Factors at the start of each epoch."""
    made = schedule(kind, **options)
    return [made.factor(epoch / epochs, epochs) for epoch in range(epochs)]


def middles(kind, epochs=EPOCHS, **options):
    """Factors in the middle of each epoch."""
    made = schedule(kind, **options)
    return [made.factor((epoch + 0.5) / epochs, epochs) for epoch in range(epochs)]


def test_table_is_complete():
    members = get_args(get_args(Schedule)[0])
    assert {member.model_fields["kind"].default for member in members} == set(MEMBERS)


@pytest.mark.parametrize("kind, options", SETTINGS)
def test_factor_is_a_share_of_the_peak(kind, options):
    made = schedule(kind, **options)
    made.check(EPOCHS)
    factors = [made.factor(done / 1000, EPOCHS) for done in range(1001)]
    assert all(0 <= factor <= 1 + 1e-12 for factor in factors)
    assert max(factors) > 0.99
    assert all(math.isfinite(made.factor(done, EPOCHS)) for done in (1e-300, 1 - 2**-53, 1.0))


@pytest.mark.parametrize("kind, options", SETTINGS)
def test_settings_survive_json(kind, options):
    made = schedule(kind, **options)
    again = TypeAdapter(Schedule).validate_json(made.model_dump_json())
    assert again == made
    fields = ("warmup", "every", "cycle", "milestones")
    kinds = [repr(getattr(made, name, None)) for name in fields]
    assert kinds == [repr(getattr(again, name, None)) for name in fields]  # an int is no float


@pytest.mark.parametrize("kind", [kind for kind in MEMBERS if kind != "one_cycle"])
@pytest.mark.parametrize("warmup", [8, 0.2])
def test_warmup_is_linear(kind, warmup):
    made = schedule(kind, warmup=warmup)
    factors = [made.factor(done, EPOCHS) for done in (0, 0.05, 0.1, 0.15, 0.199999999)]
    assert factors == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert made.factor(0.2, EPOCHS) == 1


def test_without_warmup_only_where_the_paper_has_one():
    defaults = {kind: schedule(kind).warmup for kind in MEMBERS}
    assert {kind: share for kind, share in defaults.items() if share} == {
        "cosine": 0.1,
        "one_cycle": 0.3,
    }


def test_defaults_by_hand():
    cosine = Cosine()
    assert [cosine.factor(at, 10) for at in (0, 0.05, 0.1, 0.55, 1)] == pytest.approx(
        [0, 0.5, 1, 0.5, 0]
    )
    assert cosine.factor(0.4, 10) == 0.5 * (1 + math.cos(math.pi * (0.4 - 0.1) / (1 - 0.1)))
    steps = [MultiStep().factor(at, 10) for at in (0, 0.49, 0.5, 0.74, 0.75, 1)]
    assert steps == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert Constant().factor(0.3, 10) == 1
    drops = [Step().factor(at, 10) for at in (0.29, 0.31, 0.59, 0.61, 0.91)]
    assert drops == pytest.approx([1, 0.1, 0.1, 0.01, 0.001])
    assert [Exponential().factor(at, 10) for at in (0, 0.5, 1)] == pytest.approx([1, 0.1, 0.01])
    assert [Polynomial().factor(at, 10) for at in (0, 0.25, 1)] == pytest.approx([1, 0.75, 0])
    assert [InverseTime().factor(at, 10) for at in (0, 0.1, 1)] == pytest.approx([1, 0.5, 1 / 11])
    restarts = [CosineRestarts().factor(at / 14, 10) for at in (0, 1, 2.1, 4, 6.1, 10, 13.9)]
    assert restarts == pytest.approx([1, 0.5, 1, 0.5, 1, 0.5, 0], abs=0.01)
    cycle = [OneCycle().factor(at, 10) for at in (0, 0.15, 0.3, 0.65, 1)]
    assert cycle == pytest.approx([0.04, 0.52, 1, 0.500002, 4e-6])


def test_step_is_torchs():
    wanted = torch_rates(EPOCHS, lambda o: lr_scheduler.StepLR(o, 7, gamma=0.3))
    assert middles("step", every=7, gamma=0.3) == pytest.approx(wanted)


def test_multi_step_is_torchs():
    wanted = torch_rates(EPOCHS, lambda o: lr_scheduler.MultiStepLR(o, [5, 20, 39], gamma=0.2))
    assert middles("multi_step", milestones=(5, 20, 39), gamma=0.2) == pytest.approx(wanted)
    assert middles("multi_step", milestones=(5, 0.5, 0.975), gamma=0.2) == pytest.approx(wanted)


def test_exponential_is_torchs():
    wanted = torch_rates(EPOCHS, lambda o: lr_scheduler.ExponentialLR(o, 0.93))
    assert starts("exponential", every=1, gamma=0.93) == pytest.approx(wanted)


@pytest.mark.parametrize("power", [0.9, 1, 2])
def test_polynomial_is_torchs(power):
    wanted = torch_rates(EPOCHS, lambda o: lr_scheduler.PolynomialLR(o, EPOCHS, power))
    assert starts("polynomial", power=power) == pytest.approx(wanted)


@pytest.mark.parametrize("end", [0, 0.1])
def test_cosine_is_torchs(end):
    wanted = torch_rates(EPOCHS, lambda o: lr_scheduler.CosineAnnealingLR(o, EPOCHS, eta_min=end))
    assert starts("cosine", warmup=0, end=end) == pytest.approx(wanted)


@pytest.mark.parametrize("cycle, multiplier", [(10, 1), (5, 2), (3, 3)])
def test_cosine_restarts_are_torchs(cycle, multiplier):
    """Read in the middle of each epoch: at a restart itself both values are right."""

    def make(optimizer):
        return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, cycle, multiplier, 0.01)

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = make(optimizer)
    wanted = []
    for epoch in range(EPOCHS):
        scheduler.step(epoch + 0.5)
        wanted.append(optimizer.param_groups[0]["lr"])
    found = middles("cosine_restarts", cycle=cycle, multiplier=multiplier, end=0.01)
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize("anneal, theirs", [("cosine", "cos"), ("linear", "linear")])
def test_one_cycle_is_torchs(anneal, theirs):
    """Torch's first phase ends at step pct_start * steps - 1, its second one at steps - 1."""
    steps, pct_start = 200, 0.3

    def make(optimizer):
        return lr_scheduler.OneCycleLR(
            optimizer, 1.0, total_steps=steps, pct_start=pct_start, anneal_strategy=theirs
        )

    wanted = torch_rates(steps - 1, make)
    made = OneCycle(warmup=(pct_start * steps - 1) / (steps - 1), anneal=anneal)
    found = [made.factor(step / (steps - 1), EPOCHS) for step in range(steps - 1)]
    assert found == pytest.approx(wanted)


def test_polynomial_cycles_are_tensorflows():
    """(1 - step / (length * ceil(step / length))) ** power, scaled to end at `end`."""
    length, power, end = EPOCHS / 4, 1.5, 0.2
    made = Polynomial(power=power, end=end, cycles=4)
    for step in (0.5, 3.0, 9.9, 10.1, 17.0, 20.1, 35.0, 39.9):
        left = 1 - step / (length * math.ceil(step / length))
        assert made.factor(step / EPOCHS, EPOCHS) == pytest.approx(end + (1 - end) * left**power)
    assert made.factor(1, EPOCHS) == pytest.approx(end)


def test_inverse_time_is_tensorflows():
    """1 / (1 + decay_rate * step / decay_steps)."""
    found = starts("inverse_time", every=5, decay=0.5)
    assert found == pytest.approx([1 / (1 + 0.5 * step / 5) for step in range(EPOCHS)])


@pytest.mark.parametrize("kind", ["cosine", "polynomial", "cosine_restarts"])
def test_shape_stretches_over_what_the_warmup_leaves(kind):
    whole, rest = schedule(kind, warmup=0), schedule(kind, warmup=0.2)
    for done in (0.1, 0.4, 0.77):
        assert rest.factor(0.2 + 0.8 * done, EPOCHS) == pytest.approx(whole.factor(done, EPOCHS))


@pytest.mark.parametrize(
    "kind, options", [("exponential", {"every": 5}), ("inverse_time", {"every": 5, "decay": 2})]
)
def test_decay_starts_after_the_warmup(kind, options):
    plain, late = schedule(kind, **options), schedule(kind, warmup=4, **options)
    for epoch in (0, 3, 20):
        later = late.factor((epoch + 4) / EPOCHS, EPOCHS)
        assert later == pytest.approx(plain.factor(epoch / EPOCHS, EPOCHS))


@pytest.mark.parametrize("kind, options", [("step", {"every": 10}), ("multi_step", {})])
def test_drops_count_from_the_start(kind, options):
    plain, warmed = middles(kind, **options), middles(kind, warmup=5, **options)
    assert warmed[5:] == plain[5:]


def test_restarts_by_hand():
    assert cycle_at(0.05, 0.1, 2) == pytest.approx((0, 0.1))
    assert cycle_at(0.15, 0.1, 2) == pytest.approx((0.1, 0.2))
    assert cycle_at(0.95, 0.1, 2) == pytest.approx((0.7, 0.8))
    assert cycle_at(0.95, 0.1, 1) == pytest.approx((0.9, 0.1))


@pytest.mark.parametrize(
    "kind, options, epochs, message",
    [
        ("cosine", {"warmup": 12}, 10, "warmup: 12 epochs are not less than the 10 epochs of"),
        ("constant", {"warmup": 1}, 1, "warmup: 1 epoch is not less than the 1 epoch of training"),
        ("one_cycle", {"warmup": 10}, 10, "warmup: 10 epochs are not less than the 10 epochs"),
        ("step", {"every": 30}, 10, "every: 30 epochs are not less than the 10 epochs"),
        (
            "step",
            {"every": 2, "warmup": 3},
            10,
            "every: the rate would drop after 2 epochs, in the",
        ),
        ("multi_step", {"milestones": [5, 10]}, 10, "milestones: 10 epochs are not less than"),
        (
            "multi_step",
            {"milestones": [6, 0.5]},
            10,
            "milestones: 0.5 of the training does not come after 6 epochs; put them in order",
        ),
        ("multi_step", {"milestones": [6, 6]}, 10, "6 epochs does not come after 6 epochs"),
        (
            "multi_step",
            {"milestones": [2, 5], "warmup": 0.3},
            10,
            "milestones: the rate would drop after 2 epochs, in the warm-up of 0.3 of the training",
        ),
        ("cosine_restarts", {"cycle": 11}, 10, "cycle: the first cycle of 11 epochs ends after"),
        ("cosine_restarts", {"cycle": 8, "warmup": 3}, 10, "of 8 epochs ends after the 10 epochs"),
    ],
)
def test_what_does_not_fit_is_refused(kind, options, epochs, message):
    made = schedule(kind, **options)
    with pytest.raises(ValueError, match=message):
        made.check(epochs)
    with pytest.raises(ValidationError, match=message):
        Training(epochs=epochs, schedule=made)


@pytest.mark.parametrize(
    "kind, options",
    [
        ("cosine", {"warmup": 9}),
        ("multi_step", {"milestones": [1, 9]}),
        ("multi_step", {"milestones": []}),
        ("cosine_restarts", {"cycle": 10}),
        ("cosine_restarts", {"cycle": 7, "warmup": 0.3}),
        ("exponential", {"every": 30}),
    ],
)
def test_what_just_fits_is_taken(kind, options):
    made = Training(epochs=10, schedule=schedule(kind, **options)).schedule
    assert 0 < made.factor(0.95, 10) <= 1


@pytest.mark.parametrize("value", [-1, 1.0, 1.5, -0.1, True, "0.1", math.nan, None])
def test_what_is_no_time_is_refused(value):
    with pytest.raises(ValidationError, match=r"neither a number of epochs .* nor a share"):
        Cosine(warmup=value)


@pytest.mark.parametrize(
    "kind, options",
    [
        ("step", {"every": 0}),
        ("multi_step", {"milestones": [0.0]}),
        ("cosine_restarts", {"cycle": 0}),
    ],
)
def test_only_the_warmup_may_be_zero(kind, options):
    with pytest.raises(ValidationError, match="greater than 0"):
        schedule(kind, **options)


@pytest.mark.parametrize(
    "overrides, message",
    [
        (
            ["schedule={kind: cosine, warmup: 1.0}"],
            r"train_teacher\.training\.schedule\.warmup: 1\.0 is neither a number of epochs",
        ),
        (
            ["epochs=10", "schedule={kind: one_cycle, warmup: 12}"],
            r"^train_teacher\.training\.schedule\.warmup: 12 epochs are not less than the 10",
        ),
    ],
)
def test_recipe_is_told_where(overrides, message):
    with pytest.raises(UsageError, match=message):
        load("digits.yaml", [f"train_teacher.training.{change}" for change in overrides])


@pytest.mark.parametrize("kind, options", SETTINGS)
def test_shares_keep_the_shape(kind, options):
    """A schedule in shares of 40 epochs is the same one in a training of any length."""
    made = schedule(kind, **options)
    short = schedule(**in_shares({"kind": kind, **options}, EPOCHS))
    short.check(1)
    places = [0.013, 0.21, 0.37, 0.63, 0.91]
    found = [short.factor(place, 1) for place in places]
    assert found == pytest.approx([made.factor(place, EPOCHS) for place in places])


def test_times_beyond_the_training_stay():
    assert in_shares({"kind": "cosine", "warmup": 12}, 10) == {"kind": "cosine", "warmup": 12}
