"""Trained networks, and the probe that a stage would give."""

import copy

import pytest
import torch
from digit_networks import digits, fresh, probe_of, train
from torch import nn

from augcompress.compressions import Probe


@pytest.fixture(scope="session")
def trained() -> dict[str, nn.Module]:
    return {option: train(fresh(option), epochs=4) for option in "AB"}


@pytest.fixture(params=["A", "B"])
def option(request) -> str:
    return request.param


@pytest.fixture
def network(trained, option) -> nn.Module:
    return copy.deepcopy(trained[option])


@pytest.fixture(scope="session")
def probe(trained) -> Probe:
    return probe_of(trained["A"])


@pytest.fixture(scope="session")
def images() -> torch.Tensor:
    return digits()[0][1024:]
