"""Limits: they pass what was promised, and fail what was not."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from augcompress.gate import check_limits, describe, loss, loss_bound
from augcompress.records import Measurement, StageResult, Verdict


@dataclass(frozen=True)
class Limit:
    measure: str
    baseline: str | None = None
    split: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    at_most_worse: float | None = None
    bound: str = "value"


def number(name: str, value: float, role: str | None = None, **facts) -> Measurement:
    conditions = {"role": role} if role else {}
    better = "lower" if name in ("nll", "size_bytes", "latency_ms") else "higher"
    return Measurement(name=name, value=value, better=better, conditions=conditions, **facts)


def top1(value: float, role: str | None = None, split: str = "test", margin: float = 0.01):
    ends = {"low": value - margin, "high": value + margin}
    return number("top1", value, role, split=split, n=1000, **ends)


def stage(name: str, *measurements: Measurement) -> StageResult:
    return StageResult(name=name, status="done", seconds=1, measurements=list(measurements))


STAGES = [
    stage("train_teacher", top1(0.96, split="validation"), number("size_bytes", 4000)),
    stage("distill", top1(0.95, split="validation")),
    stage("quantize", top1(0.93, split="validation")),
    stage(
        "export",
        top1(0.955, "teacher"),
        top1(0.945, "float"),
        top1(0.94, "shipped"),
        number("size_bytes", 4000, "teacher"),
        number("size_bytes", 1000, "shipped", subject="model.onnx"),
        number("speedup", 4.0, baseline="teacher", n=50, low=3.5, high=4.5),
        number("speedup", 1.5, baseline="float", n=50, low=1.4, high=1.6),
    ),
]


def verdict(stages=STAGES, **settings) -> Verdict:
    (found,) = check_limits([Limit(**settings)], stages)
    return found


@pytest.mark.parametrize(
    ("settings", "actual", "reached"),
    [
        ({"measure": "top1", "at_least": 0.94}, 0.94, True),
        ({"measure": "top1", "at_least": 0.941}, 0.94, False),
        ({"measure": "top1", "at_least": 0.94, "bound": "interval"}, 0.93, False),
        ({"measure": "top1", "at_least": 0.93, "bound": "interval"}, 0.93, True),
        ({"measure": "top1", "split": "validation", "at_least": 0.93}, 0.93, True),
        ({"measure": "top1", "split": "validation", "at_least": 0.931}, 0.93, False),
        ({"measure": "size_bytes", "at_most": 1000}, 1000, True),
        ({"measure": "size_bytes", "at_most": 999}, 1000, False),
        ({"measure": "size_bytes", "at_most": 1000, "bound": "interval"}, 1000, True),
        ({"measure": "speedup", "baseline": "teacher", "at_least": 4}, 4.0, True),
        ({"measure": "speedup", "baseline": "teacher", "at_least": 4.1}, 4.0, False),
        ({"measure": "speedup", "baseline": "float", "at_least": 1.6}, 1.5, False),
        (
            {"measure": "speedup", "baseline": "teacher", "at_least": 4, "bound": "interval"},
            3.5,
            False,
        ),
        ({"measure": "speedup", "baseline": "teacher", "at_most": 4, "bound": "interval"}, 4.5, 0),
    ],
)
def test_bounds_pass_and_fail(settings, actual, reached):
    found = verdict(**settings)
    assert found.actual == pytest.approx(actual)
    assert found.reached is bool(reached)
    assert found.note == ""


@pytest.mark.parametrize(
    ("settings", "actual"),
    [
        ({"measure": "top1", "baseline": "teacher"}, 0.015),
        ({"measure": "top1", "baseline": "float"}, 0.005),
        ({"measure": "top1", "baseline": "teacher", "split": "validation"}, 0.03),
        ({"measure": "top1", "baseline": "previous", "split": "validation"}, 0.02),
        ({"measure": "size_bytes", "baseline": "teacher"}, -3000.0),
    ],
)
def test_losses_pass_and_fail(settings, actual):
    assert verdict(**settings, at_most_worse=actual).reached
    missed = verdict(**settings, at_most_worse=actual - 0.001)
    assert not missed.reached
    assert missed.actual == pytest.approx(actual)


def test_loss_goes_by_the_measures_direction():
    assert loss(number("top1", 0.9), number("top1", 0.95)) == pytest.approx(0.05)
    assert loss(number("nll", 0.9), number("nll", 0.95)) == pytest.approx(-0.05)


def test_interval_of_a_loss_is_newcombes():
    ours = number("top1", 56 / 70, n=70, low=0.69183, high=0.87695)  # 56 of 70
    theirs = number("top1", 48 / 80, n=80, low=0.49045, high=0.70039)  # 48 of 80
    # Newcombe 1998, example (a), method 10: 0.2 with 0.0524 to 0.3339
    assert loss_bound(theirs, ours) == pytest.approx(0.3339, abs=5e-5)
    assert -loss_bound(ours, theirs) == pytest.approx(0.0524, abs=5e-5)


def test_interval_of_a_loss_can_fail_where_the_value_passes():
    settings = {"measure": "top1", "baseline": "teacher", "at_most_worse": 0.02}
    assert verdict(**settings).reached
    bounded = verdict(**settings, bound="interval")
    assert not bounded.reached
    assert bounded.actual == pytest.approx(0.015 + 0.01 * 2**0.5)


def test_a_loss_within_rounding_of_its_limit_is_reached():
    stages = [stage("export", top1(0.93, "teacher"), top1(0.92, "shipped"))]
    assert 0.93 - 0.92 > 0.01
    assert verdict(stages, measure="top1", baseline="teacher", at_most_worse=0.01).reached


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        ({"measure": "macro_f1", "at_least": 0.1}, "macro_f1 was not measured; run: augcompress"),
        ({"measure": "top1", "split": "train", "at_least": 0.1}, "top1 on train was not measured"),
        (
            {"measure": "speedup", "baseline": "previous", "at_least": 1},
            "speedup against previous was not measured",
        ),
        ({"measure": "speedup", "at_least": 1}, "speedup was not measured"),
        (
            {"measure": "size_bytes", "baseline": "float", "at_most_worse": 1},
            "float has no size_bytes on the same images; run: augcompress export",
        ),
    ],
)
def test_an_absent_measure_fails_and_says_how_to_get_it(settings, note):
    found = verdict(**settings)
    assert not found.reached
    assert found.actual is None
    assert note in found.note


def test_nothing_measured_reaches_nothing():
    assert not verdict([], measure="top1", at_least=0.0).reached


def test_a_sampled_measure_without_interval_fails_an_interval_limit():
    stages = [stage("export", number("top1", 1.0, split="test", n=1000))]
    found = verdict(stages, measure="top1", at_least=0.5, bound="interval")
    assert not found.reached
    assert "top1 has no interval; use bound: value" in found.note


def test_the_teachers_own_number_never_passes_for_the_deliverables():
    stages = [stage("export", top1(0.99, "teacher"), top1(0.98, "float"))]
    assert not verdict(stages, measure="top1", at_least=0.5).reached


def test_the_teachers_test_number_is_not_held_against_a_validation_number():
    stages = [stage("export", top1(0.5, "teacher"), top1(0.9, "shipped", split="validation"))]
    found = verdict(stages, measure="top1", baseline="teacher", at_most_worse=0.5)
    assert not found.reached
    assert "teacher has no top1 on the same images" in found.note


def test_the_last_stage_counts():
    stages = [stage("distill", top1(0.9)), stage("prune", top1(0.8))]
    assert verdict(stages, measure="top1", at_least=0.85).actual == 0.8


def test_a_baseline_may_be_named_by_its_file():
    stages = [
        stage(
            "export",
            number("size_bytes", 4000, "teacher", subject="train_teacher/model.onnx"),
            number("speedup", 3.0, baseline="train_teacher/model.onnx", n=9, low=2, high=4),
        )
    ]
    assert verdict(stages, measure="speedup", baseline="teacher", at_least=3).reached
    assert not verdict(stages, measure="speedup", baseline="float", at_least=3).reached


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"measure": "top1", "baseline": "teacher", "at_most_worse": 0.01, "split": "test"},
            "top1 on test at most 0.01 worse than teacher",
        ),
        (
            {"measure": "speedup", "baseline": "teacher", "at_least": 4, "bound": "interval"},
            "speedup against teacher at least 4 (end of its interval)",
        ),
        ({"measure": "size_bytes", "at_most": 100000}, "size_bytes at most 100000"),
    ],
)
def test_limits_in_words(settings, words):
    assert describe(Limit(**settings)) == words


def test_verdicts_come_in_the_limits_order_and_say_on_what():
    found = check_limits([Limit("top1", at_least=0.9), Limit("size_bytes", at_most=10)], STAGES)
    assert [one.reached for one in found] == [True, False]
    assert found[0].limit == "top1 on test at least 0.9"
    assert (found[1].actual, found[1].wanted) == (1000, 10)
