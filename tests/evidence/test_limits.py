"""Limits: what is refused, and how they are put into words."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from augcompress.evidence import Limit


@pytest.mark.parametrize(
    ("settings", "words", "wish"),
    [
        (
            {"measure": "top1", "baseline": "teacher", "at_most_worse": 0.01, "split": "test"},
            "top1 on test at most 1 point worse than teacher",
            "≤ 1 point worse",
        ),
        (
            {"measure": "speedup", "baseline": "teacher", "at_least": 4, "bound": "interval"},
            "speedup against teacher at least 4 (end of its interval)",
            "≥ 4",
        ),
        (
            {"measure": "size_bytes", "at_most": 1234567},
            "size_bytes at most 1234567",
            "≤ 1234567 bytes",
        ),
        (
            {"measure": "nll", "baseline": "float", "at_most_worse": 0.1, "relative": True},
            "nll at most 10 % worse than float",
            "≤ 10 % worse",
        ),
        (
            {"measure": "latency_ms", "baseline": "reference", "at_least_better": 0.5},
            "latency_ms at least 0.5 better than reference",
            "≥ 0.5 ms better",
        ),
        (
            {"measure": "latency_ms", "baseline": "teacher", "times_better": 4},
            "latency_ms at least 4 times better than teacher",
            "≥ 4 times better",
        ),
        (
            {"measure": "recall", "label": "Shirt", "at_least": 0.75},
            "recall of Shirt at least 75 %",
            "≥ 75 %",
        ),
        (
            {"measure": "weights_licence", "allow": ["mit", "apache-2.0"]},
            "weights_licence one of mit, apache-2.0",
            "mit or apache-2.0",
        ),
    ],
)
def test_limits_in_words(settings, words, wish):
    assert Limit(**settings).in_words() == words
    limit = Limit(**settings)
    assert limit.asked("fraction") == wish


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"measure": "weights_licence", "at_least": 1}, "weights_licence needs allow: "),
        ({"measure": "top1", "allow": ["mit"]}, "top1 is a number, and has no allow: "),
        ({"measure": "weights_licence", "allow": []}, "at least 1 item"),
        ({"measure": "weights_licence", "allow": ["mit"], "at_most": 1}, "exactly one of"),
    ],
)
def test_what_is_no_number_is_allowed_or_not(settings, message):
    with pytest.raises(ValidationError, match=message):
        Limit(**settings)


def test_a_limit_from_a_run_is_the_same_limit():
    given = Limit(measure="top1", baseline="teacher", at_most_worse=0.01, bound="interval")
    assert Limit.model_validate_json(given.model_dump_json()) == given


def test_units_stand_behind_what_is_asked_but_for_ratios():
    limit = Limit(measure="latency_ms", baseline="float", at_least_better=0.5)
    assert limit.asked("ms") == "≥ 0.5 ms better"
    assert limit.model_copy(update={"relative": True}).asked("ms") == "≥ 50 % better"
    assert Limit(measure="margin", at_least=0.5).asked("fraction") == "≥ 50 %"
    assert Limit(measure="margin", at_least=0.5).asked("volts") == "≥ 0.5 volts"
    ratio = Limit(measure="latency_ms", baseline="float", times_better=2)
    assert ratio.asked("ms") == "≥ 2 times better"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "has no goal; give exactly one of at_least, at_most"),
        (
            {"at_least": 0, "at_most": 1},
            r"has 2 goals \(at_least, at_most\); give exactly one of at_least, at_most",
        ),
        (
            {"at_most_worse": 0.1},
            "at_most_worse has nothing to compare with; give baseline: teacher",
        ),
        ({"at_least": 0.5, "relative": True}, "relative has no meaning for at_least"),
        ({"baseline": "float", "times_better": 0}, "greater than 0"),
        ({"at_leest": 0.5}, "Extra inputs"),
    ],
)
def test_a_limit_that_says_nothing_clear_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Limit.model_validate({"measure": "top1", **settings})
