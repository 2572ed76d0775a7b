"""Runs on disks that are too small, and what they become when there is room."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from forked import command
from killing import finished
from scenes import Scene, complaints, copied, half_written

SMALLEST, AMPLE = 16 * 2**10, 256 * 2**20
FULL = re.compile(r"error: \S+: disk full; free some space .*")


@contextmanager
def disk(place: Path, size: int) -> Iterator[Path]:
    """A disk of so many bytes, in memory; the right to mount one is needed."""
    place.mkdir(parents=True, exist_ok=True)
    mount("-t", "tmpfs", "-o", f"size={size}", "disk", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def filled(scene: Scene, place: Path, size: int) -> tuple[bool, list[str]]:
    """Carry out a scene on a disk with `size` free bytes, then with room enough: was it full, and
    what was wrong?"""
    with disk(place, AMPLE):
        folder = copied(scene.before, place / "files")
        mount("-o", f"remount,size={shutil.disk_usage(place).used + size}", str(place))
        ended = command(folder, *scene.arguments)
        if ended.code == 0:
            return False, []
        wrong = [*half_written(folder), *complaints(folder)]
        if ended.code != 1 or len(ended.errors) != 1 or not FULL.fullmatch(ended.errors[0]):
            wrong.append(f"ends with {ended.code}: {ended.err[-2000:]}")
        if str(place) not in ended.err and "runs" not in ended.err:
            wrong.append(f"names no place: {ended.err}")
        mount("-o", f"remount,size={AMPLE}", str(place))
        return True, [*wrong, *finished(scene, folder)]


def fill_all(
    known: list[Scene], sizes: int, seed: int, place: Path, told: Callable[..., None] = print
) -> tuple[dict[str, Counter[str]], list[str]]:
    """Each scene on so many disks that are too small for it: counts by scene, faults."""
    draw, counts, wrong = random.Random(seed), dict[str, Counter[str]](), list[str]()
    for scene in known:
        counts[scene.name] = Counter()
        most = scene.bytes_after
        while counts[scene.name]["full"] < sizes:
            size = int(SMALLEST * (most / SMALLEST) ** draw.random())
            was_full, found = filled(scene, place, size)
            counts[scene.name] += Counter({"full" if was_full else "large enough": 1})
            wrong += [f"{scene.name}, {size} bytes: {what}" for what in found]
            for what in found:
                told(f"{scene.name}, {size} bytes: {what}", flush=True)
    return counts, wrong
