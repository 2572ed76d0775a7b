"""Opening a folder of images: decoded, decoded and stored, and found in the store.

    AUGCOMPRESS_TEST_DATA=data python -m tests.benchmarks.opening [--runs DIR]

CPU seconds of all threads from the settings to the open data set, with its fingerprint, as each
stage in a shell spends them; each in a new process, in turns.  Loading libraries is not counted.
Fills the part `opening` of docs/benchmarks.md.  Three minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

from augcompress.evidence.formatting import three_digits
from augcompress.evidence.statistics import student_t
from augcompress.measures.bench import cpu_name
from augcompress.system.cpus import available_cpus
from tests.benchmarks.comparisons import public_images
from tests.benchmarks.decoding import photographs
from tests.benchmarks.memory import linked
from tests.benchmarks.recipes import publish

ROUNDS = 5
SMALL = 20_000
OPEN = """
import sys, time
from augcompress.datasets import DataFacts, ImageFolder
from augcompress.storage import StoredArrays
from augcompress.storage.store import Store
started = time.process_time()
root, size, store = sys.argv[1:]
facts = DataFacts(seed=0)
if store:
    facts = DataFacts(seed=0, stored=StoredArrays(Store(store), sys.exit))
settings = ImageFolder(root=root, size=int(size))
settings.fingerprint()
data = settings.build(facts)
print(time.process_time() - started, sum(map(len, (data.train, data.validation, data.test))))
"""
Turn = tuple[float, float, float]
"""CPU seconds: nothing stored, decoded and stored, found."""


def opened(root: Path, size: int, store: Path | str) -> tuple[float, int]:
    """CPU seconds of opening a folder in a new process, and how many images it has."""
    command = [sys.executable, "-c", OPEN, str(root), str(size), str(store)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return float(found[0]), int(found[1])


def turn(root: Path, size: int, store: Path) -> Turn:
    """Each way once."""
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir(parents=True)
    plain, first, again = (opened(root, size, place)[0] for place in ("", store, store))
    return plain, first, again


def ratio_text(ratios: list[float]) -> str:
    """Geometric mean with its 95 % interval."""
    ends = student_t(np.log(ratios))
    assert ends is not None
    low, high = (three_digits(math.exp(end)) for end in ends)
    mean = three_digits(statistics.geometric_mean(ratios))
    return f"{mean} times ({low}–{high}, n={len(ratios)})"


def row(name: str, root: Path, size: int, store: Path) -> str:
    """A row of the table."""
    _, count = opened(root, size, "")  # digests of the files are remembered from here on
    turns = [turn(root, size, store) for _ in range(ROUNDS)]
    seconds = [f"{statistics.median(each):.2f}" for each in zip(*turns, strict=True)]
    stored = sum(path.stat().st_size for path in store.glob("*/*")) / 1e6
    gained = ratio_text([plain / again for plain, _, again in turns])
    price = ratio_text([first / plain for plain, first, _ in turns])
    cells = [name, f"{count:,}", f"{stored:.0f} MB", *seconds, gained, price]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"))
    here = parser.parse_args().runs / "opening"
    data = Path(os.environ.get("AUGCOMPRESS_TEST_DATA", "data"))
    small = linked(public_images(data, here.with_name("cifar10")), here / "small", SMALL)
    for label in ("one", "two"):
        photographs(here / "photographs" / label, (500, 375))
    rows = [
        "| images | number | stored | CPU s, nothing stored | first time | found | found: less by"
        " | first time: more by |",
        "|---|---|---|---|---|---|---|---|",
        row("32x32, as they are", small, 32, here / "store"),
        row("500x375 to 224", here / "photographs", 224, here / "store"),
    ]
    ends = (
        f"{cpu_name()}, {available_cpus()} CPUs; medians; geometric means of ratios and 95 %"
        f" Student's t intervals over {ROUNDS} rounds in turns, each opening in a new process."
    )
    publish("opening", "\n".join([*rows, "", ends]))


if __name__ == "__main__":
    main()
