"""Long lists in few bytes are the lists that they stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from augcompress.datasets.compact import Files, Hashes, Names

TEXTS = ["a/1.png", "", "b/größe.png", "b/\udcff.png", "c/" + "long" * 99]


def test_names_are_what_was_given():
    names = Names.of(iter(TEXTS))
    assert list(names) == TEXTS
    assert len(names) == len(TEXTS)
    assert (names[-1], names[1:4], names[np.int64(2)]) == (TEXTS[-1], TEXTS[1:4], TEXTS[2])
    assert list(names.take(np.array([4, 0, 0]))) == [TEXTS[4], TEXTS[0], TEXTS[0]]
    with pytest.raises(IndexError, match="out of range"):
        names[len(TEXTS)]
    assert list(Names.of([])) == []


def test_files_are_paths_below_the_folder():
    files = Files(Path("/data"), Names.of(TEXTS[:3]))
    assert list(files) == [Path("/data", name) for name in TEXTS[:3]]
    assert files[1:] == [Path("/data"), Path("/data", TEXTS[2])]
    assert len(files) == 3


def test_hashes_are_hexadecimal_again():
    texts = ["00ff", "1234", "abcd"]
    hashes = Hashes.of(texts, 4)
    assert list(hashes) == texts == list(Hashes.of(["".join(texts)], 4))
    assert list(hashes.take(np.array([2, 0]))) == ["abcd", "00ff"]
    assert list(hashes[1:]) == texts[1:]
    assert len(Hashes.of([], 40)) == 0
