"""How many CPUs this process may use, and whether they multiply int8."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_V1_FOLDERS = ("cpu", "cpu,cpuacct", "cpuacct,cpu")


def available_cpus(root: Path = Path("/")) -> int:
    """CPUs that the scheduler's affinity and the container's quota allow, at least 1.

    A quota is CPU time per wall time, rounded up: of cgroup v2 (`cpu.max`) or v1
    (`cpu.cfs_quota_us`), the smallest from this process's group up to the root of the tree.
    `root` is where `/proc` and `/sys` are.
    """
    limited = [math.ceil(quota) for quota in _quotas(root) if quota < math.inf]
    return max(1, min([_affinity(), *limited]))


def has_vnni(cpuinfo: str | Path = "/proc/cpuinfo") -> bool:
    """Can this CPU multiply uint8 by int8 without saturating?  Every CPU but old x86 can."""
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return True
    lines = _read(Path(cpuinfo)).splitlines()
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return "avx512_vnni" in flags or "avx_vnni" in flags


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """The limits of all groups that this process is in, in CPUs."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        groups = _and_above(path)
        if not controllers:
            yield from (_v2_quota(root / "sys/fs/cgroup" / group) for group in groups)
        elif "cpu" in controllers.split(","):
            for folder in _V1_FOLDERS:
                base = root / "sys/fs/cgroup" / folder
                yield from (_v1_quota(base / group) for group in groups)


def _and_above(path: str) -> list[PurePosixPath]:
    """A group and those that it lies in, as paths below the mount; inside a container the path may
    be the host's, of which only the root is there."""
    group = PurePosixPath(path.lstrip("/"))
    return [PurePosixPath()] if ".." in group.parts else [group, *group.parents]


def _v2_quota(group: Path) -> float:
    words = _read(group / "cpu.max").split()
    return _ratio(*words) if len(words) == 2 else math.inf


def _v1_quota(group: Path) -> float:
    return _ratio(_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float:
    """CPUs, infinite where there is no limit (`max`, -1) or no such file."""
    try:
        limit = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return math.inf
    return limit if limit > 0 else math.inf


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
