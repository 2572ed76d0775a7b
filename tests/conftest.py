"""One thread, so that all processes compute the same bits; and a finished run."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded

import pytest
import torch

from augcompress.component import ALLOW_PLUGINS
from augcompress.datasets import splits
from augcompress.system import available_cpus

torch.set_num_threads(1)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

MOST_PROCESSES = 8


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Processes of `-n auto`: what the container allows, not what the machine has."""
    return min(MOST_PROCESSES, available_cpus())


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path_factory):
    """No test inherits the permission to run plug-ins or a cache, or leaves them behind."""
    monkeypatch.setenv(ALLOW_PLUGINS, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder with `tiny.yaml` and its finished run; not to be written to."""
    from end_to_end import done, write_recipe

    folder = tmp_path_factory.mktemp("finished")
    write_recipe(folder)
    with contextlib.chdir(folder):
        done("run", "-r", "tiny.yaml")
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def mine(finished, tmp_path, monkeypatch):
    """A copy of the finished run to work on; the working directory."""
    folder = tmp_path / "mine"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The image files that are decoded."""
    calls: list[str] = []
    real = splits.load_image

    def counted(file, *args, **kwargs):
        calls.append(str(file))
        return real(file, *args, **kwargs)

    monkeypatch.setattr(splits, "load_image", counted)
    return calls
