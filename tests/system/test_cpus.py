"""What the scheduler and the container allow, read from a tree of cgroups of the test's own."""

from __future__ import annotations

import os

import pytest

from augcompress.system import cpus
from augcompress.system.cpus import available_cpus, has_vnni


@pytest.fixture(autouse=True)
def eight(monkeypatch):
    """A machine whose scheduler gives eight CPUs."""
    monkeypatch.setattr(cpus, "_affinity", lambda: 8)


def tree(root, group: str, **files: str):
    """`/proc` and `/sys` with this process's group; `__` in a file's name stands for `/`."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(group)
    for name, content in files.items():
        file = root / "sys/fs/cgroup" / name.replace("__", "/").replace("cpu_max", "cpu.max")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root


@pytest.mark.parametrize(
    ("content", "count"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("50000 100000\n", 1),
        ("1600000 100000\n", 8),
        ("rubbish", 8),
        ("1 0", 8),
    ],
)
def test_quota_of_the_containers_root(tmp_path, content, count):
    assert available_cpus(tree(tmp_path, "0::/\n", cpu_max=content)) == count


def test_smallest_quota_on_the_way_up_counts(tmp_path):
    files = {"a__cpu_max": "300000 100000", "a__b__cpu_max": "max 100000", "cpu_max": "max 100000"}
    assert available_cpus(tree(tmp_path, "0::/a/b\n", **files)) == 3


@pytest.mark.parametrize("group", ["0::/docker/0123\n", "0::/../../other\n"])
def test_a_group_named_from_outside_has_the_limit_of_the_mounts_root(tmp_path, group):
    assert available_cpus(tree(tmp_path, group, cpu_max="400000 100000")) == 4


@pytest.mark.parametrize(
    ("group", "folder"),
    [("3:cpu,cpuacct:/\n", "cpu,cpuacct"), ("2:memory:/\n1:cpu:/job\n0::/\n", "cpu__job")],
)
@pytest.mark.parametrize(("quota", "count"), [("-1", 8), ("250000", 3), ("10000", 1)])
def test_quota_of_version_1(tmp_path, group, folder, quota, count):
    files = {f"{folder}__cpu.cfs_quota_us": quota, f"{folder}__cpu.cfs_period_us": "100000"}
    assert available_cpus(tree(tmp_path, group, **files)) == count


def test_memory_limits_of_version_1_are_none_of_cpus(tmp_path):
    files = {"cpu__cpu.cfs_quota_us": "100000", "cpu__cpu.cfs_period_us": "100000"}
    assert available_cpus(tree(tmp_path, "2:memory:/\n", **files)) == 8


def test_without_groups_the_affinity_counts(tmp_path, monkeypatch):
    assert available_cpus(tmp_path) == 8
    monkeypatch.undo()
    if hasattr(os, "sched_getaffinity"):
        assert 1 <= available_cpus(tmp_path) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("flags", "expected"), [("avx2 avx512_vnni", True), ("avx_vnni", True), ("avx2", False)]
)
def test_vnni_is_read_from_the_cpu_flags(flags, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    (tmp_path / "cpuinfo").write_text(f"model name : x\nflags\t\t: fpu {flags}\n")
    assert has_vnni(tmp_path / "cpuinfo") is expected


def test_unknown_x86_counts_as_without_and_arm_as_with(tmp_path, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert not has_vnni(tmp_path / "missing")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert has_vnni(tmp_path / "missing")
