"""Numbers as people read them."""

from __future__ import annotations

import pytest

from augcompress.evidence import (
    Measurement,
    amount_text,
    bytes_text,
    cell_text,
    count_text,
    decimal_text,
    difference_text,
    digits_to_tell,
    duration_text,
    p_text,
    range_text,
    score_text,
    share_text,
    signed_text,
    size_text,
    speed_text,
    three_digits,
    value_text,
)

TOP1 = Measurement(name="top1", value=0.972, low=0.969, high=0.975, n=144, split="validation")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (bytes_text(830), "830 B"),
        (bytes_text(47_200), "47.2 kB"),
        (bytes_text(999_600), "1 MB"),
        (bytes_text(11.24e6), "11.2 MB"),
        (bytes_text(3.5e9), "3.5 GB"),
        (count_text(270_000), "270k"),
        (count_text(1_274_000), "1.27M"),
        (count_text(0), "0"),
        (duration_text(0.04), "0.0 s"),
        (duration_text(12.3), "12 s"),
        (duration_text(250), "4 min"),
        (duration_text(9000), "2.5 h"),
        (value_text(Measurement(name="nll", value=1.5e-7, unit="", n=8)), "1.5e-07 (n=8)"),
        (value_text(Measurement(name="latency_ms", value=1234.5, unit="ms")), "1234 ms"),
        (three_digits(999.6), "1000"),
        (three_digits(0.8346), "0.835"),
        (share_text(0.864, 0.841, 0.884), "86.4 % (84.1–88.4)"),
        (amount_text(0.1, "%"), "10 %"),
        (amount_text(0.95, "%"), "95 %"),
        (amount_text(0.015, "points"), "1.5 points"),
        (amount_text(0.01, "points"), "1 point"),
        (range_text(0.1, 0.2, "%"), "10–20 %"),
        (range_text(-1, 2, "ms"), "-1 to 2 ms"),
        (signed_text(0.004), "0.00"),
        (signed_text(-1.254), "-1.25"),
        (signed_text(-1.25, 0), "-1"),
        (p_text(None), "–"),
        (p_text(0.0004), "<0.001"),
        (p_text(0.0006), "0.001"),
        (cell_text(None), "–"),
        (cell_text(0.123456), "0.1235"),
        (cell_text(7), "7"),
        (cell_text(True), "yes"),
        (cell_text([1, False]), "1, no"),
        (decimal_text(float("nan")), "nan"),
        (value_text(Measurement(name="top1", value=0.0)), "0 %"),
        (score_text(TOP1), "val 97.2 % (96.9–97.5, n=144)"),
    ],
)
def test_numbers_for_people(text, wanted):
    assert text == wanted


def test_numbers_are_written_without_exponent():
    assert [decimal_text(number) for number in (-0.0, 5e-6, 123456.7, 1e7, -0.25)] == [
        "0",
        "0.000005",
        "123457",
        "10000000",
        "-0.25",
    ]
    assert (range_text(0.1, 0.2), range_text(-0.1, 0.2)) == ("0.1–0.2", "-0.1 to 0.2")


def test_digits_are_those_that_tell_two_numbers_apart():
    assert [digits_to_tell(0.95, 0.94), digits_to_tell(0.949964, 0.95)] == [4, 5]
    assert digits_to_tell(0.5, 0.5) == 4


def test_differences_have_signs():
    change = Measurement(name="d", value=0.0217, low=-0.0004, high=0.0282, n=10)
    assert difference_text(change) == "+2.17 points (-0.040 to +2.82, n=10)"
    slower = change.model_copy(update={"unit": "ms", "value": 1.0, "low": None, "high": None})
    assert difference_text(slower) == "+1.00 ms (n=10)"


@pytest.mark.parametrize(
    ("ratio", "low", "high", "words"),
    [
        (4.21, 4.0, 4.4, "4.21 times as fast as the teacher (4–4.4, n=9 processes)"),
        (0.8, 0.78, 0.8, "1.25 times slower than the teacher (1.25–1.28, n=9 processes)"),
        (1.0004, 0.98, 1.1, "as fast as the teacher (0.98–1.1, n=9 processes)"),
        (0.5, None, None, "2 times slower than the teacher (n=9 processes)"),
    ],
)
def test_what_is_slower_is_said_the_other_way_round(ratio, low, high, words):
    speed = Measurement(name="speedup", value=ratio, low=low, high=high, n=9, unit="ratio")
    assert speed_text(speed, "the teacher") == words


@pytest.mark.parametrize(
    ("ours", "words"),
    [
        (1000, "2 times smaller than the teacher's 2 kB"),
        (3000, "1.5 times larger than the teacher's 2 kB"),
        (2001, "as large as the teacher's 2 kB"),
    ],
)
def test_sizes_are_compared_in_words(ours, words):
    assert size_text(ours, 2000, "the teacher's") == words
