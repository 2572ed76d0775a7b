"""A cache of its own for every test."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "augcompress"


@pytest.fixture
def settled(monkeypatch) -> None:
    """Files count as old enough for their hashes to be remembered."""
    monkeypatch.setattr("augcompress.datasets.hashing.SETTLED_S", 0.0)
