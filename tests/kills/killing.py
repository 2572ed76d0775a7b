"""Commands killed at random moments, and started again until they end."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from forked import Ended, Moment, command
from scenes import Scene, complaints, copied, half_written, left_over, outcome

MOST_KILLS = 3
"""Of one command, before it may end."""
INTERRUPTED = "error: interrupted; the same command goes on from here"


def drawn(scene: Scene, draw: random.Random) -> Moment:
    """A moment within the time that the scene takes undisturbed, or one of its operations."""
    number = signal.SIGTERM if draw.random() < 0.25 else signal.SIGKILL
    if draw.random() < 0.5:
        return Moment(number, operation=draw.randint(1, scene.ended.operations))
    return Moment(number, after_s=draw.uniform(0.0, scene.ended.seconds))


def killed(scene: Scene, place: Path, moments: list[Moment]) -> tuple[Counter[str], list[str]]:
    """Kill a scene's command at each of these moments, one after the other, then let it end: what
    was done, what was wrong."""
    folder, done, wrong = copied(scene.before, place), Counter[str](), list[str]()
    for moment in moments:
        ended = command(folder, *scene.arguments, moment=moment)
        found = [*ending(ended, moment), *half_written(folder), *complaints(folder)]
        wrong += [f"{scene.name}, {moment}: {what}" for what in found]
        if ended.code == 0:
            done["too late"] += 1
            break
        done += Counter(["killed", moment.number.name, moment.kind])
    told = ", then ".join(map(str, moments))
    return done, wrong + [f"{scene.name}, {told}, at the end: {w}" for w in finished(scene, folder)]


def ending(ended: Ended, moment: Moment) -> list[str]:
    """What is wrong with how a killed command has ended."""
    expected = {signal.SIGKILL: (-signal.SIGKILL, []), signal.SIGTERM: (130, [INTERRUPTED])}
    if (ended.code, ended.errors) in ((0, []), expected[moment.number]):
        return []
    return [f"ends with {ended.code}: {ended.err[-2000:]}"]


def finished(scene: Scene, folder: Path) -> list[str]:
    """Let the command end: what is not as after an undisturbed one."""
    ended = command(folder, *scene.arguments)
    (folder / "runs/tiny/report.html").unlink(missing_ok=True)
    if ended.code != 0:
        return [f"does not end: {ended.code}: {ended.err[-2000:]}"]
    return [*half_written(folder), *left_over(folder), *differing(outcome(folder), scene.after)]


def differing(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """What is different between two outcomes, file by file."""
    return [
        f"{name} {'differs' if name in found and name in wanted else 'is in one of them only'}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]


def kill_all(
    known: list[Scene], kills: int, seed: int, place: Path, told: Callable[..., None] = print
) -> tuple[dict[str, Counter[str]], list[str]]:
    """Kill scene after scene, in turns, until there were so many kills: counts by scene, faults."""
    draw, counts, wrong = random.Random(seed), dict[str, Counter[str]](), list[str]()
    counts = {scene.name: Counter() for scene in known}
    while sum(count["killed"] for count in counts.values()) < kills:
        scene = min(known, key=lambda one: counts[one.name]["killed"])
        moments = [drawn(scene, draw) for _ in range(draw.randint(1, MOST_KILLS))]
        done, found = killed(scene, place, moments)
        counts[scene.name] += done
        wrong += found
        for line in found:
            told(line, flush=True)
    return counts, wrong
