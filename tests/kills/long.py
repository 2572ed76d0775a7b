"""Commands that are killed at random moments, or whose disk is full, and what becomes of them.

    python tests/kills/long.py stages --count 100 [--seed 0] [--only NAME ...]
    python tests/kills/long.py disks --count 10 [--seed 0] [--only NAME ...]
    python tests/kills/long.py ranks --count 20 [--seed 0]

`stages`: every stage, `run`, `search` and a training on image files in turns, killed one to three
times each (a quarter of the signals is SIGTERM, the rest `kill -9`) at a random time or before a
random operation on a file.  `disks`: `run`, `search` and that training, each on so many disks of
random sizes that are too small (Linux, with the right to mount: root, or `unshare -Urm python
...`).  `ranks`: `run --devices 2`, of which rank 0, rank 1 or the launcher is killed, or the
launcher is sent SIGTERM.

What is left is looked at each time: no file is there by halves, `runs list`, `runs show`, `check`
and `report` say what they find in one line, and the same command ends in the files of an
undisturbed one, byte by byte but for times.  Prints counts and whatever was not so, and exits 1
where there was anything.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # before torch is loaded

import disks
import killing
import ranks
import scenes

LONG = ("run", "search", "pictures")
COUNTS = {"stages": 100, "disks": 10, "ranks": 20}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=COUNTS)
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[])
    given = parser.parse_args()
    place, count = Path(tempfile.mkdtemp(prefix="kills-")), given.count or COUNTS[given.what]
    if given.what == "ranks":
        counts, wrong = ranks.kill_all(count, given.seed, place)
    else:
        disturb = {"stages": killing.kill_all, "disks": disks.fill_all}[given.what]
        only = given.only or (LONG if given.what == "disks" else ())
        known = [one for one in scenes.scenes(place) if not only or one.name in only]
        counts, wrong = disturb(known, count, given.seed, place / "one")
    for name, found in counts.items():
        print(f"{name:20}", ", ".join(f"{number} {what}" for what, number in sorted(found.items())))
    print(f"{len(wrong)} faults, seed {given.seed}")
    shutil.rmtree(place)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
