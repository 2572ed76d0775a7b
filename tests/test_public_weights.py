"""The public CIFAR-10 networks through our evaluation, against a plain script."""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from end_to_end import done
from PIL import Image
from torch import nn

from augcompress.evidence.predictions import Predictions

TEST_DATA = os.environ.get("AUGCOMPRESS_TEST_DATA")
TRAIN_IMAGES = 20  # a class; the networks are evaluated only, but an image folder has train/, too
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not TEST_DATA, reason="AUGCOMPRESS_TEST_DATA names no folder with the real data"
    ),
]


class PlainBlock(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride, self.grown = stride, after - before

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        x = x[:, :, :: self.stride, :: self.stride]
        half = self.grown // 2
        return F.relu(y + F.pad(x, (0, 0, 0, 0, half, half)))


class PlainResNet(nn.Module):
    def __init__(self, depth):
        super().__init__()
        count = (depth - 2) // 6
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(PlainBlock(16, 16, 1) for _ in range(count)))
        widen = [PlainBlock(16, 32, 2)] + [PlainBlock(32, 32, 1) for _ in range(count - 1)]
        self.layer2 = nn.Sequential(*widen)
        widen = [PlainBlock(32, 64, 2)] + [PlainBlock(64, 64, 1) for _ in range(count - 1)]
        self.layer3 = nn.Sequential(*widen)
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def plain_answers(weights, folder, depth):
    """Class and true class of every image of a folder with a folder per class."""
    state = torch.load(weights, map_location="cpu", weights_only=True)["state_dict"]
    state = {name.removeprefix("module."): value for name, value in state.items()}
    network = PlainResNet(depth)
    network.load_state_dict(state, strict=False)
    network.eval()
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (MEAN, STD))
    found, truth = [], []
    for label, name in enumerate(sorted(path.name for path in folder.iterdir())):
        files = sorted((folder / name).iterdir())
        for start in range(0, len(files), 250):
            pixels = [np.asarray(Image.open(file)) for file in files[start : start + 250]]
            images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
            with torch.inference_mode():
                found.append(network((images - mean) / std).argmax(1).numpy())
        truth += [label] * len(files)
    return np.concatenate(found), np.array(truth)


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory):
    """All test images of CIFAR-10 as JPEG, and a few training images of each class."""
    source, folder = Path(str(TEST_DATA)) / "cifar10-jpeg", tmp_path_factory.mktemp("cifar10")
    with tarfile.open(source / "cifar10-jpeg-test.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    with tarfile.open(source / "cifar10-jpeg-train.tar.xz", "r|xz") as archive:
        for member in archive:
            if member.isfile() and int(Path(member.name).stem) < TRAIN_IMAGES:
                archive.extract(member, folder, filter="data")
    return folder


WEIGHTS = {20: "resnet20-12fca82f.th", 56: "resnet56-4bfd9763.th"}


@pytest.fixture(scope="module")
def answered(cifar10, tmp_path_factory):
    """A folder in which both networks have been evaluated; and what was printed, by depth."""
    folder, printed = tmp_path_factory.mktemp("public"), {}
    for depth, file in WEIGHTS.items():
        settings = {
            "data.root": cifar10,
            "data.validation_from": "train",
            "train_teacher.weights": Path(str(TEST_DATA)) / "cifar10-resnets" / file,
            "train_teacher.model.depth": depth,
        }
        given = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        recipe = ("--recipe", "cifar10-resnet56-to-resnet20.yaml", "--run-dir", f"runs/{depth}")
        with contextlib.chdir(folder):
            answer = done("evaluate", *recipe, *given, "--from", "train_teacher", "--json")
        printed[depth] = json.loads(answer.out)["stages"][0]["measurements"]
    return folder, printed


@pytest.mark.parametrize("depth, top1", [(20, 0.810), (56, 0.832)])
def test_public_network_answers_like_a_plain_script(cifar10, answered, depth, top1):
    folder, printed = answered
    weights = Path(str(TEST_DATA)) / "cifar10-resnets" / WEIGHTS[depth]
    wanted, truth = plain_answers(weights, cifar10 / "test", depth)
    found = Predictions.load(folder / f"runs/{depth}/evaluate/predictions.npz")
    order = np.argsort(found.index)
    assert len(wanted) == 10_000
    assert (found.labels[order] == truth).sum() == 10_000
    assert (found.probabilities[order].argmax(1) == wanted).sum() == 10_000

    measured = next(row for row in printed[depth] if row["name"] == "top1")
    assert (measured["n"], measured["split"]) == (10_000, "test")
    assert measured["value"] == (wanted == truth).mean()
    assert measured["value"] == pytest.approx(top1, abs=0.002)


def test_the_larger_network_is_found_to_be_better(answered, monkeypatch):
    folder, printed = answered
    monkeypatch.chdir(folder)
    small, large = (f"runs/{depth}/evaluate" for depth in WEIGHTS)
    pair = json.loads(done("compare", small, large, "--json").out)["pairs"][0]
    tops = [next(r for r in printed[d] if r["name"] == "top1")["value"] for d in WEIGHTS]
    first = pair["differences"][0]
    assert first["value"] == pytest.approx(tops[1] - tops[0])
    assert first["n"] == 10_000
    assert 0 < first["low"] < first["value"] < first["high"] < 0.04
    assert pair["p_value"] < 1e-6
    assert pair["not_worse"]
    assert not json.loads(done("compare", large, small, "--json").out)["pairs"][0]["not_worse"]
    text = done("compare", small, large).out
    assert "It is better: +2." in " ".join(text.split())
