"""What a network must do to be accepted, and the memory that it takes images in."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from augcompress.batch import ImageInput
from augcompress.errors import AugcompressError
from augcompress.models import ModelFacts, build_classifier, place, runs_channels_last

FACTS = ModelFacts(4, ImageInput(3, (8, 8)))


class Net(nn.Module):
    """Two convolutions and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3)
        self.norm, self.fc = nn.BatchNorm2d(6), nn.Linear(6 * 16, 4)

    def features(self, images):
        return self.norm(self.second(self.first(images).relu())).relu()

    def forward(self, images):
        return self.fc(self.features(images).flatten(1))


class View(Net):
    def forward(self, images):
        features = self.features(images)
        return self.fc(features.view(features.size(0), -1))


class ViewOfChannels(Net):
    """Images and channels in one dimension: one image alone would pass in any memory."""

    def forward(self, images):
        maps = self.first(images).relu()
        count, _, height, width = maps.shape
        scaled = maps.view(count * 4, height, width) * 2
        maps = self.second(scaled.view(count, 4, height, width))
        return self.fc(self.norm(maps).relu().flatten(1))


class OneAtATime(Net):
    def forward(self, images):
        return self.fc(self.features(images).reshape(1, -1))


class FirstOnly(Net):
    def forward(self, images):
        return super().forward(images)[:1]


class Complex(Net):
    def forward(self, images):
        return super().forward(images) + 0j


class Whole(Net):
    def forward(self, images):
        return super().forward(images).long()


class Dropout(Net):
    def forward(self, images):
        return self.fc(F.dropout(self.features(images), training=True).flatten(1))


class Noise(Net):
    def forward(self, images):
        return super().forward(images + 0.1 * torch.randn_like(images))


class Centred(Net):
    def forward(self, images):
        return super().forward(images - images.mean(0, keepdim=True))


class OwnStatistics(Net):
    def forward(self, images):
        maps = self.second(self.first(images).relu())
        return self.fc(F.batch_norm(maps, None, None, training=True).relu().flatten(1))


class NoStatistics(Net):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(6, track_running_stats=False)


class Unreachable(Net):
    """Its batch norm stays in training mode, whatever is asked for."""

    def train(self, mode=True):
        super().train(mode)
        self.norm.training = True
        return self


def built(network: type[nn.Module]) -> nn.Module:
    class Given:
        kind = "given"

        def build(self, facts):
            torch.manual_seed(0)
            return network()

    return build_classifier(Given(), FACTS, [0.5] * 3, [0.25] * 3)


@pytest.mark.parametrize(
    "network, message",
    [
        (OneAtATime, "takes one image but not 2 at once .* leave the first dimension free"),
        (FirstOnly, r"gives \(1, 4\) for 2 images, not logits \(2, 4\)"),
        (Complex, r"gives torch.complex64 for one image, not logits \(1, 4\)"),
        (Whole, r"gives torch.int64 for one image, not logits \(1, 4\)"),
        (Dropout, "in evaluation mode, an image has other logits each time"),
        (Noise, "in evaluation mode, an image has other logits each time"),
        (Centred, ".*other logits when there are others in its batch"),
        (OwnStatistics, ".*other logits when there are others in its batch"),
        (NoStatistics, "batch norm norm uses the statistics of its batch in evaluation mode"),
        (Unreachable, "batch norm norm uses the statistics of its batch in evaluation mode"),
    ],
)
def test_each_fault_of_a_network_has_its_own_sentence(network, message):
    with pytest.raises(AugcompressError, match=f"^model given: {message}"):
        built(network)


def test_checking_draws_no_random_numbers():
    built(Net)
    after = torch.random.get_rng_state()
    torch.manual_seed(0)
    Net()
    assert torch.equal(torch.random.get_rng_state(), after)


@pytest.mark.parametrize("network, whole", [(Net, True), (View, False), (ViewOfChannels, False)])
def test_a_network_that_counts_on_the_order_of_memory_is_given_it(network, whole):
    made = built(network)
    assert runs_channels_last(made) is whole
    assert made.body.second.weight.is_contiguous()  # as it was, whatever was tried
    images = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        want = made.eval()(images)
    place(made, "cpu")
    last = made.body.second.weight.is_contiguous(memory_format=torch.channels_last)
    assert last is whole
    shown = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(made(shown), want)
    made.train()(shown).sum().backward()
