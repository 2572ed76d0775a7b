"""Small networks for 8x8 digits, and what a stage does with them."""

from collections.abc import Iterator

import torch
from sklearn.datasets import load_digits
from torch import nn

from augcompress.batch import Batch, ImageInput
from augcompress.compressions import CostName, Probe
from augcompress.measures import count_macs, parameters
from augcompress.models import CifarResNet, ModelFacts, build_classifier

torch.set_num_threads(1)


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    found = load_digits()
    images = torch.tensor(found.images, dtype=torch.float32)[:, None] / 16
    return images, torch.tensor(found.target)


def batches() -> Iterator[Batch]:
    images, labels = digits()
    targets = nn.functional.one_hot(labels, 10).float()
    for start in range(0, 1024, 128):
        rows = slice(start, start + 128)
        yield Batch(images[rows], targets[rows], torch.arange(start, start + 128))


def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
    return nn.functional.cross_entropy(network(batch.images()), batch.targets)


@torch.no_grad()
def score(network: nn.Module) -> float:
    images, labels = digits()
    network.eval()
    return float((network(images[1024:]).argmax(1) == labels[1024:]).float().mean())


def probe_of(original: nn.Module) -> Probe:
    """What a stage that began with `original` would give."""
    example = digits()[0][:2]

    def cost(network: nn.Module, name: CostName) -> float:
        return float(count_macs(network, example)) if name == "macs" else parameters(network).value

    return Probe(
        example=example,
        batches=batches,
        calibration=lambda: (batch.images() for batch in batches()),
        loss=loss,
        score=score,
        cost=cost,
        original=lambda name: cost(original, name),
    )


def train(network: nn.Module, epochs: int = 1, after_step=None, lr: float = 0.05) -> nn.Module:
    """A few deterministic steps, as a stage's fine-tuning would do them."""
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9, nesterov=True)
    for _ in range(epochs):
        for batch in batches():
            optimizer.zero_grad()
            loss(network, batch).backward()
            optimizer.step()
            if after_step is not None:
                after_step()
    return network.eval()


def fresh(option: str = "A", depth: int = 8) -> nn.Module:
    torch.manual_seed(0)
    facts = ModelFacts(10, ImageInput(1, (8, 8)))
    return build_classifier(CifarResNet(depth=depth, option=option), facts, [0.3], [0.4])
