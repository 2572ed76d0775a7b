"""Many spoiled files of each kind, and how they were taken.

    python tests/fuzz/long.py --recipes 10000 --files 1000 [--seed 0] [--only KIND ...]

Each kind is read in a process of its own.  Prints a line a kind: how many were tried, taken and
refused in words; how many ended in a traceback, took more than 10 seconds, or more than 1 GB of
memory.  Exits 1 where any did; what they were is kept in the folder that is named.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from fuzz_readers import all_kinds, told
from hypothesis import HealthCheck, Phase, given, seed, settings

KINDS = all_kinds()
LIMIT_S, LIMIT_BYTES = 10.0, 10**9
COUNTED = ("tried", "taken", "refused", "traceback", "slow", "large", "died")


def fuzz(
    name: str, count: int, number: int, kept: Path, lines: multiprocessing.SimpleQueue
) -> None:
    """Try `count` files of a kind; what is found is put into `lines`, one file at a time."""
    kind, tried, file = KINDS[name], 0, name.replace("/", "-")

    def attempt(content: bytes) -> None:
        nonlocal tried
        tried += 1
        before, began = peak(), time.monotonic()
        (kept / f"{file}.now").write_bytes(content)
        try:
            with tempfile.TemporaryDirectory() as folder:
                found = ["refused" if told(kind, content, Path(folder)) else "taken"]
        except Exception:
            found = ["traceback"]
            (kept / f"{file}-{tried}.txt").write_text(traceback.format_exc())
        found += ["slow"] * (time.monotonic() - began > LIMIT_S)
        found += ["large"] * (peak() - before > LIMIT_BYTES)
        if found[-1] in ("traceback", "slow", "large"):
            (kept / f"{file}-{tried}.bin").write_bytes(content)
        lines.put(["tried", *found])

    options = settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    seed(number)(options(given(kind.spoiled)(attempt)))()


def peak() -> int:
    """Bytes of memory that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def counted(name: str, count: int, number: int, kept: Path) -> Counter[str]:
    """What became of the files of one kind."""
    context = multiprocessing.get_context("fork")
    lines = context.SimpleQueue()
    process = context.Process(target=fuzz, args=(name, count, number, kept, lines))
    process.start()
    found: Counter[str] = Counter()
    while process.is_alive() or not lines.empty():
        if lines.empty():
            time.sleep(0.05)
        else:
            found.update(lines.get())
    process.join()
    found["died"] += process.exitcode != 0
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[])
    given_ = parser.parse_args()
    kept, bad = Path(tempfile.mkdtemp(prefix="fuzz-found-")), 0
    print(f"{'kind':24}", *(f"{name:>9}" for name in COUNTED))
    for name in KINDS:
        if given_.only and name not in given_.only:
            continue
        count = given_.recipes // 2 if name.startswith("recipe") else given_.files
        found = counted(name, count, given_.seed, kept)
        print(f"{name:24}", *(f"{found[each]:>9}" for each in COUNTED), flush=True)
        bad += sum(found[each] for each in COUNTED[3:])
    print(json.dumps({"found": bad, "folder": str(kept)}))
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
