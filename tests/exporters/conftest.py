"""A trained network and real images it has not seen."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from augcompress.batch import ImageInput
from augcompress.models import ModelFacts, SmallCNN, build_classifier

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def network() -> nn.Module:
    images, labels = _digits()
    torch.manual_seed(0)
    facts = ModelFacts(10, ImageInput(1, (8, 8)))
    network = build_classifier(SmallCNN(widths=(8, 16)), facts, [0.3], [0.4]).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(6):
        for start in range(0, 1024, 64):
            optimizer.zero_grad()
            rows = slice(start, start + 64)
            nn.functional.cross_entropy(network(images[rows]), labels[rows]).backward()
            optimizer.step()
    return network


@pytest.fixture(scope="session")
def images() -> torch.Tensor:
    return _digits()[0][1024:]


def _digits() -> tuple[torch.Tensor, torch.Tensor]:
    found = load_digits()
    images = torch.tensor(found.images, dtype=torch.float32)[:, None] / 16
    return images, torch.tensor(found.target)
