"""When a network learned nothing, and when quantising was not worth it."""

import pytest

from augcompress.evidence import Measurement, gained_nothing, only_guesses


def rows(ours, theirs, speed, half=0.02, **conditions):
    sizes = {"shipped": ours, "float": theirs}
    found = [
        Measurement(name="size_bytes", value=size, unit="bytes", conditions={"role": role})
        for role, size in sizes.items()
    ]
    speedup = Measurement(
        name="speedup", value=speed, unit="ratio", n=10, low=speed - half, high=speed + half,
        baseline="float", conditions={"role": "shipped", **conditions},
    )  # fmt: skip
    return [*found, speedup]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (rows(9100, 8800, 0.52), True),
        (rows(9100, 8800, 1.01), True),  # not shown to be faster
        (rows(9100, 8800, 1.05), False),
        (rows(8700, 8800, 0.52), False),
        (rows(8800, 8800, 1.0), True),
        (rows(9100, 8800, 0.52, too_noisy=True), False),
        (rows(9100, 8800, 0.52)[1:], False),  # what the shipped file takes is not known
        (rows(9100, 8800, 0.52)[:2], False),
    ],
)
def test_it_is_said_where_the_file_is_neither_smaller_nor_faster(given, said):
    sentence = gained_nothing(given)
    assert bool(sentence) is said
    if said:
        assert "quantising gained nothing: " in sentence
        assert "leave the quantize stage out" in sentence


def test_the_sentence_names_both_sizes_and_the_ratio():
    expected = (
        "9.1 kB against 8.8 kB, and 1.92 times slower than its float file (1.85–2, n=10 processes)"
    )
    assert expected in gained_nothing(rows(9100, 8800, 0.52))


@pytest.mark.parametrize(
    ("low", "largest", "guesses"),
    [(0.4, 0.3, False), (0.3, 0.3, True), (0.2, 0.3, True), (0.9, 1.0, False), (0.2, None, False)],
)
def test_guessing_is_told_from_learning(low, largest, guesses):
    conditions = {} if largest is None else {"largest_class": largest}
    facts = {"low": low, "high": 0.95, "n": 50, "split": "validation", "conditions": conditions}
    told = only_guesses(Measurement(name="top1", value=0.9, better="higher", **facts))
    assert bool(told) is guesses
    if guesses:
        assert told.startswith("top-1 of 90.0 % (")
        assert "on validation is no better than guessing: the largest class alone is 30 %" in told
