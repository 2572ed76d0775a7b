"""Plain words for wrong values: numbers with units, and names that are nearly right."""

from __future__ import annotations

import pytest

from augcompress.wording import alike, nearest, number_meant


@pytest.mark.parametrize(
    "given, unit, whole, told",
    [
        ("5KB", "bytes", False, "write 5000"),
        ("5 MiB", "bytes", True, "write 5242880"),
        ("500MB", "mb", True, "write 500"),
        ("0.2 s", "ms", False, "write 200"),
        ("90%", "", False, "write 0.9"),
        ("2k", "", True, "write 2000"),
        ("50%", "", True, "write the number alone"),
        ("10 kB", "ms", False, "write the number alone, in ms"),
        ("1e-3x", "", False, ""),
        (None, "", False, ""),
    ],
)
def test_number_with_a_unit(given, unit, whole, told):
    assert number_meant(given, unit, whole=whole) == told


@pytest.mark.parametrize(
    "name, known, found",
    [
        ("adam", ["sgd", "adamw"], ["adamw"]),
        (
            "flip",
            ["rotate", "horizontal_flip", "vertical_flip"],
            ["horizontal_flip", "vertical_flip"],
        ),
        ("--jsn", ["--help", "--json"], ["--json"]),
        ("angle", ["scale", "degrees"], []),
        ("kd", ["soft_targets", "kdx_long_name"], []),
    ],
)
def test_names_alike(name, known, found):
    assert alike(name, known) == found


def test_of_many_names_only_what_is_near_is_told():
    many = [f"name{number:03}" for number in range(40)]
    assert nearest("name0033", many, listed=True) == "; did you mean name033?"
    assert nearest("sgdd", ["sgd", "lars"], listed=True) == "; did you mean sgd? known: sgd, lars"
    assert nearest("x", ["sgd", "lars"]) == "; known: sgd, lars"
