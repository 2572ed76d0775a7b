"""scikit-learn's handwritten digits: a real data set that needs no files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from augcompress.datasets.base import DatasetSettings
from augcompress.datasets.data import Source
from augcompress.datasets.drawing import FIXED_SEED, stratified
from augcompress.datasets.hashing import content_hash, digest_of
from augcompress.datasets.splits import MemorySplit
from augcompress.inference import direct

TEST_SHARE = 0.2


class Digits(DatasetSettings):
    """1,797 handwritten digits, 8×8 grey (Alpaydin & Kaynak 1998, UCI), from scikit-learn.

    Levels 0-16 are scaled to 0-255.  A stratified fifth is the test part, the same for every seed.
    """

    kind: Literal["digits"] = "digits"

    def read(self) -> Source:
        pixels, labels = _digits()
        whole = MemorySplit.whole(torch.from_numpy(pixels[:, None]), labels)
        test, train = stratified(labels, round(TEST_SHARE * len(labels)), FIXED_SEED)
        return Source(
            classes=[str(digit) for digit in range(10)],
            train=whole.take(train),
            test=whole.take(test),
            resizing=direct((8, 8), "L"),
        )

    def fingerprint(self) -> str:
        return digest_of([[content_hash(part.tobytes())] for part in _digits()])


def _digits() -> tuple[np.ndarray, np.ndarray]:
    table = _table()  # (N, 65)
    pixels = (table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    return pixels, table[:, -1].astype(np.int64)


def _table() -> np.ndarray:
    """Rows of 64 levels and a label: out of scikit-learn's file, as importing it takes about as
    long as importing torch."""
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).with_name("datasets") / "data" / "digits.csv.gz"
    if file.is_file():
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    found = load_digits()
    return np.column_stack([found.data, found.target])
