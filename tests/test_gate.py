"""Limits: they pass what was promised, and fail what was not."""

from __future__ import annotations

import math

import pytest

from augcompress.evidence import Limit, Measurement, StageResult, Verdict
from augcompress.gate import check_limits
from augcompress.gate.estimates import loss, times

LOWER = ("nll", "ece", "size_bytes", "latency_ms", "macs")


def number(
    name: str, value: float, role: str | None = None, given: dict | None = None, **facts
) -> Measurement:
    conditions = ({"role": role} if role else {}) | (given or {})
    better = "lower" if name in LOWER else "higher"
    return Measurement(name=name, value=value, better=better, conditions=conditions, **facts)


def top1(value: float, role: str | None = None, split: str = "test", margin: float = 0.01):
    ends = {"low": value - margin, "high": value + margin}
    return number("top1", value, role, split=split, n=1000, **ends)


def recall(name: str, value: float, role: str = "shipped", margin: float = 0.02) -> Measurement:
    ends = {"low": value - margin, "high": value + margin}
    return number("recall", value, role, {"class": name}, split="test", n=100, **ends)


def timed(name: str, value: float, low: float, high: float, role: str = "shipped", **facts):
    given = facts.pop("given", {})
    return number(name, value, role, given, n=12, low=low, high=high, **facts)


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
CLASSES = [
    stage(
        "export",
        *(recall(name, value, "teacher") for name, value in (("Bag", 0.97), ("Shirt", 0.82))),
        *(recall(name, value) for name, value in (("Bag", 0.96), ("Coat", 0.88), ("Shirt", 0.80))),
    )
]
TIMES = [
    stage(
        "export",
        timed("latency_ms", 1.0, 0.9, 1.1),
        timed("latency_ms", 4.0, 3.0, 5.0, "teacher"),
        timed("speedup", 4.0, 3.8, 4.2, baseline="teacher", method="student_t"),
    )
]


def verdict(stages=STAGES, extra=(), reference=(), **settings) -> Verdict:
    (found,) = check_limits([Limit(**settings)], stages, extra=extra, reference=reference)
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


LOSSES = [
    ({"measure": "top1", "baseline": "teacher"}, 0.015),
    ({"measure": "top1", "baseline": "float"}, 0.005),
    ({"measure": "top1", "baseline": "teacher", "split": "validation"}, 0.03),
    ({"measure": "top1", "baseline": "previous", "split": "validation"}, 0.02),
    ({"measure": "size_bytes", "baseline": "teacher"}, -3000.0),
    ({"measure": "top1", "baseline": "teacher", "relative": True}, 0.015 / 0.955),
    ({"measure": "size_bytes", "baseline": "teacher", "relative": True}, -0.75),
]


@pytest.mark.parametrize(("settings", "actual"), LOSSES)
def test_losses_pass_and_fail(settings, actual):
    assert verdict(**settings, at_most_worse=actual).reached
    missed = verdict(**settings, at_most_worse=actual - 0.001)
    assert not missed.reached
    assert missed.actual == pytest.approx(actual)


@pytest.mark.parametrize(("settings", "lost"), LOSSES)
def test_gains_are_losses_turned_round(settings, lost):
    assert verdict(**settings, at_least_better=-lost).reached
    missed = verdict(**settings, at_least_better=-lost + 0.001)
    assert not missed.reached
    assert missed.actual == pytest.approx(-lost)


@pytest.mark.parametrize(
    ("settings", "ratio"),
    [
        ({"measure": "size_bytes", "baseline": "teacher"}, 4.0),
        ({"measure": "top1", "baseline": "teacher"}, 0.94 / 0.955),
        ({"measure": "size_bytes", "baseline": "teacher", "bound": "interval"}, 4.0),
    ],
)
def test_ratios_pass_and_fail(settings, ratio):
    assert verdict(**settings, times_better=ratio).reached
    missed = verdict(**settings, times_better=ratio + 0.01)
    assert not missed.reached
    assert missed.actual == pytest.approx(ratio)
    assert missed.unit == "ratio"


def test_loss_goes_by_the_measures_direction():
    assert loss(number("top1", 0.9), number("top1", 0.95)).value == pytest.approx(0.05)
    assert loss(number("nll", 0.9), number("nll", 0.95)).value == pytest.approx(-0.05)


def test_interval_of_a_loss_is_newcombes():
    ours = number("top1", 56 / 70, n=70, low=0.69183, high=0.87695)  # 56 of 70
    theirs = number("top1", 48 / 80, n=80, low=0.49045, high=0.70039)  # 48 of 80
    # Newcombe 1998, example (a), method 10: 0.2 with 0.0524 to 0.3339
    assert loss(theirs, ours).low == pytest.approx(0.0524, abs=5e-5)
    assert loss(theirs, ours).high == pytest.approx(0.3339, abs=5e-5)
    assert loss(ours, theirs).low == pytest.approx(-0.3339, abs=5e-5)


def test_interval_of_a_loss_where_less_is_better():
    ours = number("nll", 0.5, n=9, low=0.46, high=0.53)
    theirs = number("nll", 0.4, n=9, low=0.36, high=0.43)
    found = loss(ours, theirs)
    assert found.value == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1 + math.hypot(0.03, 0.04))  # ours up, theirs down
    assert found.low == pytest.approx(0.1 - math.hypot(0.04, 0.03))


def test_interval_of_a_ratio_joins_logarithms():
    ours = number("latency_ms", 2.0, n=9, low=1.0, high=4.0)
    theirs = number("latency_ms", 8.0, n=9, low=4.0, high=16.0)
    found = times(ours, theirs)
    assert found.value == pytest.approx(4)
    assert found.low == pytest.approx(4 / 2 ** (2**0.5))
    assert found.high == pytest.approx(4 * 2 ** (2**0.5))


def test_interval_of_a_loss_can_fail_where_the_value_passes():
    settings = {"measure": "top1", "baseline": "teacher", "at_most_worse": 0.02}
    assert verdict(**settings).reached
    bounded = verdict(**settings, bound="interval")
    assert not bounded.reached
    assert bounded.actual == pytest.approx(0.015 + 0.01 * 2**0.5)
    assert "two independent samples (Newcombe)" in bounded.note


def test_a_paired_difference_comes_before_independent_intervals():
    paired = number(
        "top1_difference",
        -0.015,
        "shipped",
        split="test",
        baseline="teacher",
        n=1000,
        low=-0.019,
        high=-0.011,
        method="tango",
    )
    stages = [stage("export", *STAGES[-1].measurements, paired)]
    settings = {"measure": "top1", "baseline": "teacher", "bound": "interval"}
    found = verdict(stages, **settings, at_most_worse=0.02)
    assert found.reached
    assert found.actual == pytest.approx(0.019)
    assert (found.low, found.high) == pytest.approx((0.011, 0.019))
    assert found.note == "paired interval on the same images (tango)"
    assert not verdict(stages, **settings, at_most_worse=0.018).reached
    assert verdict(stages, **settings, at_least_better=-0.02).actual == pytest.approx(-0.019)
    relative = verdict(stages, **settings, at_most_worse=0.02, relative=True)
    assert relative.actual == pytest.approx(0.019 / 0.955)


def test_a_paired_difference_needs_no_number_of_the_baseline():
    paired = number("top1_difference", -0.004, split="test", baseline="teacher", n=9)
    stages = [stage("export", top1(0.94, "shipped"), paired)]
    settings = {"measure": "top1", "baseline": "teacher", "at_most_worse": 0.005}
    assert verdict(stages, **settings).actual == pytest.approx(0.004)
    assert "teacher has no top1" in verdict(stages, **settings, relative=True).note


def test_a_paired_difference_from_another_baseline_or_split_is_not_used():
    others = [
        number("top1_difference", -0.5, split="test", baseline="float", n=9),
        number("top1_difference", -0.5, split="validation", baseline="teacher", n=9),
    ]
    stages = [stage("export", *STAGES[-1].measurements, *others)]
    settings = {"measure": "top1", "baseline": "teacher", "at_most_worse": 0.02}
    assert verdict(stages, **settings).actual == pytest.approx(0.015)


def test_latency_is_compared_by_the_speedup_taken_in_turns():
    settings = {"measure": "latency_ms", "baseline": "teacher", "bound": "interval"}
    found = verdict(TIMES, **settings, times_better=3.8)
    assert found.reached
    assert found.actual == pytest.approx(3.8)
    assert "taken in turns (student_t)" in found.note
    better = verdict(TIMES, **settings, at_least_better=0.7, relative=True)
    assert better.actual == pytest.approx(1 - 1 / 3.8)
    absolute = verdict(TIMES, **settings, at_least_better=2.9)
    assert absolute.actual == pytest.approx(3 - math.hypot(0.1, 1))


def test_a_speedup_under_other_conditions_is_not_used():
    ours, theirs, faster = TIMES[0].measurements
    two = faster.model_copy(update={"conditions": {"role": "shipped", "threads": 2}, "value": 9.0})
    one = [
        row.model_copy(update={"conditions": row.conditions | {"threads": 1}})
        for row in (ours, theirs)
    ]
    found = verdict(
        [stage("export", two, *one)],
        measure="latency_ms",
        baseline="teacher",
        times_better=3,
        bound="interval",
    )
    assert found.value == pytest.approx(4.0)
    assert "Newcombe" in found.note


def test_of_several_timings_the_first_counts():
    counts = ((2, 8), (1, 1), (1, 8))  # the recipe's order: its target runs two threads
    rows = [
        timed("latency_ms", value, value, value, role, given={"threads": t, "batch": b})
        for role, factor in (("shipped", 1), ("teacher", 4))
        for value, (t, b) in zip((3.0 * factor, 2.0, 1.0), counts, strict=True)
    ]
    stages = [stage("export", *rows)]
    assert verdict(stages, measure="latency_ms", at_most=2).actual == 3.0
    against = {"measure": "latency_ms", "baseline": "teacher"}
    assert verdict(stages, **against, times_better=4).actual == pytest.approx(4)


def test_a_baseline_timed_on_another_machine_is_refused():
    stages = [
        stage(
            "export",
            timed("latency_ms", 1.0, 1, 1, given={"cpu": "Cortex-A76"}),
            timed("latency_ms", 4.0, 4, 4, "teacher", given={"cpu": "Xeon"}),
        )
    ]
    found = verdict(stages, measure="latency_ms", baseline="teacher", times_better=2)
    assert not found.reached
    assert "teacher's latency_ms was measured with cpu Xeon, not Cortex-A76" in found.note


@pytest.mark.parametrize("at_most", [100, 5.3, 4.0, 3.0])
def test_a_noisy_timing_never_reaches_a_limit(at_most):
    noisy = timed("latency_ms", 3.6, 3.1, 5.2, given={"too_noisy": True})
    found = verdict([stage("export", noisy)], measure="latency_ms", at_most=at_most)
    assert not found.reached
    assert "too noisy to say: measured 3.1–5.2; time it again" in found.note


def test_a_noisy_speedup_makes_the_latencys_ratio_noisy():
    ours, theirs, faster = TIMES[0].measurements
    noisy = faster.model_copy(update={"conditions": {"too_noisy": True}})
    settings = {"measure": "latency_ms", "baseline": "teacher"}
    stages = [stage("export", ours, theirs, noisy)]
    assert not verdict(stages, **settings, times_better=1.1).reached
    quiet = [stage("export", ours, theirs, faster)]
    assert verdict(quiet, **settings, times_better=1.1).reached


@pytest.mark.parametrize(
    ("given", "quantised", "explained"),
    [
        ({"int8_dot_product": False}, True, True),
        ({"int8_dot_product": True}, True, False),
        ({"int8_dot_product": None}, True, False),
        ({}, True, False),
        ({"int8_dot_product": False}, False, False),
    ],
)
def test_a_limit_that_the_cpu_cannot_be_expected_to_meet_is_explained(given, quantised, explained):
    given = {**given, "cpu": "Xeon E5"}
    kernels = [number("int8_kernels", 1.0)] if quantised else []
    timing = timed("speedup", 1.4, 1.35, 1.45, given=given, baseline="teacher")
    stages = [stage("export", timing, number("size_bytes", 9), *kernels)]
    wish = {"measure": "speedup", "baseline": "teacher"}
    missed = verdict(stages, **wish, at_least=2)
    assert not missed.reached
    assert ("this Xeon E5 has no int8 dot products (VNNI)" in missed.note) is explained
    assert "VNNI" not in verdict(stages, **wish, at_least=1.2).note
    assert "VNNI" not in verdict(stages, measure="size_bytes", at_most=8).note


def test_a_noisy_timing_without_interval_says_nothing():
    noisy = number("latency_ms", 3.6, "shipped", {"too_noisy": True}, n=3)
    found = verdict([stage("export", noisy)], measure="latency_ms", at_most=100)
    assert not found.reached
    assert "too noisy to say; time it again" in found.note


def licence(text: str, of: str | None) -> Measurement:
    return number("weights_licence", float(of is not None), None, {"licence": text}, subject=of)


FREE, OWN, SECRET = licence("mit", "a"), licence("cc-by-nc-4.0", "b"), licence("unknown", "c.pth")


@pytest.mark.parametrize(
    ("rows", "label", "reached", "found", "note"),
    [
        ([FREE], None, True, "a: mit", ""),
        ([licence("no weights", None)], None, True, "no weights", ""),
        ([FREE, OWN], None, False, "b: cc-by-nc-4.0", "the worst of 2 is b"),
        ([FREE, OWN], "a", True, "mit", ""),
        ([SECRET], None, False, "c.pth: unknown", "nobody says it of c.pth; say it under export"),
        ([SECRET, OWN], None, False, "c.pth: unknown", "of 2 is c.pth; also missed: b; nobody"),
        ([], None, False, "", "weights_licence was not measured; run: augcompress export"),
    ],
)
def test_texts_are_allowed_or_not(rows, label, reached, found, note):
    """Of what went into the last stage, its teachers' weights among it."""
    stages = [stage("distill", OWN), stage("export", number("top1", 0.9, "shipped"), *rows)]
    stages = stages if rows else stages[1:]
    told = verdict(stages, measure="weights_licence", allow=["MIT", "apache-2.0"], label=label)
    assert (told.reached, told.found, told.asked) == (reached, found, "MIT or apache-2.0")
    assert note in told.note
    assert bool(note) == bool(told.note)


def test_every_class_is_held_to_a_limit_without_label():
    found = verdict(CLASSES, measure="recall", at_least=0.9)
    assert not found.reached
    assert found.actual == 0.80
    assert found.limit == "recall of every class on test at least 90 %"
    assert found.found == "Shirt: 80 % (78–82 %)"
    assert found.note == "the worst of 3 is Shirt; also missed: Coat"
    passed = verdict(CLASSES, measure="recall", at_least=0.8)
    assert passed.reached
    assert passed.note == "the worst of 3 is Shirt"


def test_one_class_can_be_meant():
    found = verdict(CLASSES, measure="recall", label="Coat", at_least=0.88)
    assert found.reached
    assert found.limit == "recall of Coat on test at least 88 %"
    assert not verdict(CLASSES, measure="recall", label="Coat", at_least=0.89).reached


def test_a_class_is_compared_with_the_same_class():
    settings = {"measure": "recall", "baseline": "teacher"}
    assert verdict(CLASSES, **settings, label="Bag", at_most_worse=0.01).reached
    assert verdict(CLASSES, **settings, label="Shirt", at_most_worse=0.02).reached
    missed = verdict(CLASSES, **settings, label="Shirt", at_most_worse=0.019)
    assert missed.actual == pytest.approx(0.02)
    assert "teacher has no recall" in verdict(CLASSES, **settings, at_most_worse=0.5).note  # Coat


def test_an_unknown_class_names_the_known_ones():
    note = verdict(CLASSES, measure="recall", label="Shirts", at_least=0.1).note
    assert note == "recall of Shirts: there is no such class; choose among: Shirt, Bag, Coat"
    note = verdict(measure="top1", label="Bag", at_least=0.1).note
    assert note == "top1 has no number for each class; leave label out"


def test_a_loss_within_rounding_of_its_limit_is_reached():
    stages = [stage("export", top1(0.93, "teacher"), top1(0.92, "shipped"))]
    assert 0.93 - 0.92 > 0.01
    assert verdict(stages, measure="top1", baseline="teacher", at_most_worse=0.01).reached


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        ({"measure": "macro_f1", "at_least": 0.1}, "macro_f1 was not measured; run: augcompress"),
        (
            {"measure": "size_byte", "at_most": 1},
            "size_byte was not measured; nearest that was: size_bytes; run: augcompress export",
        ),
        (
            {"measure": "top1", "split": "test", "baseline": "teacher", "at_least": 0.1},
            "against teacher was not measured; it was measured on test, on validation; run:",
        ),
        ({"measure": "latency_ms", "at_most": 1}, "or bench.py on the target device and check"),
        (
            {"measure": "speedup", "baseline": "previous", "at_least": 1},
            "was not measured; it was measured against teacher, against float; run:",
        ),
        ({"measure": "speedup", "at_least": 1}, "speedup was not measured"),
        (
            {"measure": "size_bytes", "baseline": "float", "at_most_worse": 1},
            "float has no size_bytes on the same images; run: augcompress export",
        ),
        (
            {"measure": "top1", "baseline": "reference", "at_most_worse": 0.1},
            "there is no reference to compare with; give --reference RUN",
        ),
        (
            {"measure": "speedup", "baseline": "reference", "at_least": 1},
            "there is no reference to compare with; give --reference RUN",
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
    assert not verdict([], measure="top1", baseline="previous", at_most_worse=1).reached


def test_nothing_is_a_share_or_a_multiple_of_zero():
    stages = [stage("export", number("ece", 0.0, "teacher"), number("ece", 0.0, "shipped"))]
    settings = {"measure": "ece", "baseline": "teacher"}
    relative = verdict(stages, **settings, at_most_worse=0.1, relative=True)
    assert "the baseline's ece is 0" in relative.note
    assert (
        "ece is not above 0, so there is no ratio"
        in verdict(stages, **settings, times_better=2).note
    )


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


def test_the_stage_before_is_found_on_validation_where_it_has_no_test_number():
    found = verdict(measure="top1", baseline="previous", at_most_worse=0.02)
    assert found.reached
    assert found.actual == pytest.approx(0.02)  # quantize against distill
    assert found.limit == "top1 on validation at most 2 points worse than previous"
    assert not verdict(measure="top1", baseline="previous", at_most_worse=0.019).reached


def test_test_numbers_of_the_stage_before_come_first():
    before = stage("distill", top1(0.95, split="validation"), top1(0.941, split="test"))
    found = verdict(
        [STAGES[0], before, *STAGES[2:]], measure="top1", baseline="previous", at_most_worse=0.002
    )
    assert found.reached
    assert found.limit.startswith("top1 on test")


def test_what_export_holds_is_compared_with_what_was_before_it_was_made():
    # export writes the graph of quantize, so that is no stage before it
    stages = [*STAGES[:2], stage("quantize", number("size_bytes", 1010)), STAGES[3]]
    found = verdict(stages, measure="size_bytes", baseline="previous", times_better=4)
    assert found.actual == 4
    assert found.reached


def test_an_earlier_stage_never_stands_in_for_the_shipped_file():
    stages = [*STAGES[:2], stage("quantize"), stage("export", top1(0.1, "shipped"))]
    found = verdict(stages, measure="top1", baseline="previous", at_most_worse=0.5)
    assert not found.reached
    assert "previous has no top1 on the same images; run: the stage before" in found.note


def test_measurements_from_elsewhere_come_first():
    settings = {"measure": "latency_ms", "at_most": 2}
    elsewhere = timed("latency_ms", 3.0, 2.9, 3.1)
    assert verdict(TIMES, **settings).reached
    assert verdict(TIMES, extra=[elsewhere], **settings).actual == 3.0
    theirs = timed("latency_ms", 7.0, 6.9, 7.1, "teacher")
    absolute = {"measure": "latency_ms", "baseline": "teacher", "at_least_better": 4}
    assert verdict(TIMES, extra=[elsewhere, theirs], **absolute).actual == pytest.approx(4)
    faster = timed("speedup", 2.0, 1.9, 2.1, baseline="teacher")
    assert verdict(
        TIMES, extra=[elsewhere, faster], measure="speedup", baseline="teacher", at_least=2
    ).reached
    assert not verdict(
        TIMES, extra=[faster], measure="latency_ms", baseline="teacher", times_better=3
    ).reached


def test_the_reference_is_the_other_runs_shipped_file():
    other = [
        stage("distill", top1(0.99, split="validation")),
        stage("export", top1(0.99, "teacher"), top1(0.945, "shipped"), number("size_bytes", 900)),
    ]
    settings = {"measure": "top1", "baseline": "reference"}
    found = verdict(reference=other, **settings, at_most_worse=0.005)
    assert found.reached
    assert found.limit == "top1 on test at most 0.5 points worse than reference"
    assert not verdict(reference=other, **settings, at_most_worse=0.004).reached
    size = verdict(
        reference=other,
        measure="size_bytes",
        baseline="reference",
        at_most_worse=0.1,
        relative=True,
    )
    assert size.actual == pytest.approx(1 / 9)


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


def test_what_was_found_shows_on_which_side_of_the_limit_it_is():
    stages = [stage("export", top1(0.949964, "shipped", margin=0.01))]
    found = verdict(stages, measure="top1", at_least=0.95)
    assert (found.found, found.asked) == ("94.996 % (93.996–95.996 %)", "≥ 95 %")
    assert verdict(measure="size_bytes", at_most=1000).found == "1000 bytes"
    better = verdict(measure="size_bytes", baseline="teacher", relative=True, at_least_better=0.5)
    assert (better.found, better.asked) == ("75 %", "≥ 50 % better")


def test_verdicts_come_in_the_limits_order_and_say_on_what():
    limits = [Limit(measure="top1", at_least=0.9), Limit(measure="size_bytes", at_most=10)]
    found = check_limits(limits, STAGES)
    assert [one.reached for one in found] == [True, False]
    assert found[0].limit == "top1 on test at least 90 %"
    assert (found[1].actual, found[1].wanted) == (1000, 10)
