"""Nothing that a stranger sends ends in a traceback: a few of each kind; `long.py` tries many."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from fuzz_readers import Kind, all_kinds, told
from hypothesis import HealthCheck, given, settings

KINDS = all_kinds()


@pytest.mark.parametrize("name", KINDS)
def test_a_good_file_is_taken(name, tmp_path):
    assert told(KINDS[name], KINDS[name].good, tmp_path) == ""


@pytest.mark.parametrize("name", KINDS)
def test_a_spoiled_file_is_taken_or_refused_in_words(name):
    kind: Kind = KINDS[name]

    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(kind.spoiled)
    def spoiled(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            assert "\n" not in told(kind, content, Path(folder))

    spoiled()
