"""Signals while a step is under way."""

from __future__ import annotations

import os
import signal

import pytest

from augcompress.training.interruption import postponed


@pytest.fixture
def handlers():
    """What the signals did before, put back."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_is_noted_and_its_handler_comes_back(handlers):
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with postponed() as noted:
        os.kill(os.getpid(), signal.SIGTERM)
        assert noted.asked
    assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is handlers[signal.SIGINT]


def test_an_ignored_signal_stays_ignored(handlers):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with postponed() as noted:
        os.kill(os.getpid(), signal.SIGINT)
        assert not noted.asked
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
