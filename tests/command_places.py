"""The folders that the pages' commands find: a function for each page, run in an empty folder.

Recipes and plug-ins are those that the page shows, with tiny data and few epochs.  A function that
yields some words goes on when the page has come to the block that holds them.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from end_to_end import TINY
from fences import ROOT, Fence
from PIL import Image
from ruamel.yaml import YAML
from sklearn.datasets import load_digits
from torch import nn

Page = list[Fence]
COLOURS = {"bird": 60, "cat": 110, "dog": 160, "horse": 220}
DIGITS = {**TINY, "data": {"kind": "digits", "validation": 0.15}}
BATCHES = {name: {"training": {"batch_size": 16}} for name in ("train_teacher", "distill")}
FOLDER = {**TINY, "data": {"kind": "image_folder", "root": "my-images", "size": 16}}


def sections(page: Page, *numbers: int) -> dict[str, Any]:
    """The YAML blocks of a page with these numbers, joined."""
    shown = [YAML(typ="safe", pure=True).load(one.body) for one in page if one.kind == "yaml"]
    found: dict[str, Any] = {}
    for number in numbers:
        found = joined(found, shown[number])
    return found


def joined(under: Any, over: Any) -> Any:
    """Mappings of the same kind key by key; else the second."""
    if not (isinstance(under, dict) and isinstance(over, dict)):
        return copy.deepcopy(over)
    if over.get("kind", under.get("kind")) != under.get("kind"):
        return copy.deepcopy(over)
    return {**under, **{key: joined(under.get(key), value) for key, value in over.items()}}


def quick(value: Any, key: str = "") -> Any:
    """A recipe with few epochs, small batches and few timings."""
    if isinstance(value, dict):
        return {name: quick(one, name) for name, one in value.items()}
    if key == "training" and value is None:
        return None
    return min(value, 6) if key == "epochs" else value


def recipe(name: str, *parts: dict[str, Any]) -> None:
    """Write `name`; what it says comes from `parts`, the later ones over the earlier."""
    found: dict[str, Any] = {}
    for part in parts:
        found = joined(found, part)
    found = {key: value for key, value in found.items() if value is not None}
    Path(name).write_text(json.dumps(quick(found), indent=1))


def python(page: Page, first_line: str) -> str:
    """The Python block of a page that begins so."""
    return next(one.body for one in page if one.body.startswith(first_line))


def picture(name: str, number: int = 0) -> None:
    """A handwritten digit as a file."""
    pixels = (load_digits().images[number] * 15.9).astype(np.uint8)
    Image.fromarray(pixels).save(name)


def photographs(root: str, classes: list[str], parts: dict[str, int], size: int = 16) -> None:
    """Class folders, whose classes differ in brightness."""
    draw = np.random.default_rng(0)
    for part, count in parts.items():
        for name in classes:
            folder = Path(root, part, name)
            folder.mkdir(parents=True)
            for number in range(count):
                noise = draw.integers(-20, 20, (size, size, 3))
                image = Image.fromarray((COLOURS[name] + noise).astype(np.uint8))
                image.save(folder / f"{number:04}.png")


def images(*classes: str) -> None:
    photographs("my-images", list(classes), {"train": 40, "test": 12})


def runs(*names: str) -> None:
    """Further runs, as good as the run `digits`."""
    for name in names:
        shutil.copytree("runs/digits", Path("runs", name))


def program(name: str, text: str) -> None:
    """A program of this name, found before any other."""
    file = Path(os.environ["PATH"].split(os.pathsep)[0], name)
    file.write_text("#!/bin/sh\n" + text)
    file.chmod(0o755)


def checkout(page: Page) -> None:
    """A copy of this repository, with `data` where there is some."""
    for name in ("augcompress", "docs", "recipes", "tests", ".ci", "README.md", "pyproject.toml",
                 ".pre-commit-config.yaml", ".gitignore"):  # fmt: skip
        copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copied(ROOT / name, name)
    subprocess.run(["git", "init", "-q"], check=True)
    if os.environ.get("AUGCOMPRESS_TEST_DATA"):
        Path("data").symlink_to(os.environ["AUGCOMPRESS_TEST_DATA"])


def with_digits(page: Page) -> None:
    """The run of `digits.yaml`, a recipe like it, and images."""
    shutil.copy(ROOT / "recipes" / "digits.yaml", "mine.yaml")
    picture("image.png")


def readme(page: Page) -> None:
    photographs("my-images", ["cat", "dog"], {"train": 40, "test": 12}, size=100)
    picture("image.png")


def tutorial(page: Page) -> Iterator[str]:
    Path(".venv/bin").mkdir(parents=True)
    Path(".venv/bin/activate").touch()
    picture("digit.png")
    yield "--dry-run"
    mine = Path("mine.yaml")
    mine.write_text(mine.read_text().replace("name: digits", "name: mine"))


def augment(page: Page) -> None:
    few = {"augment": {"measure": {"seeds": [0, 1], "epochs": 1}}}
    recipe("mine.yaml", DIGITS, {"name": "mine"}, sections(page, 0, 1), few)


def write_classifier(slope: float = 9.0) -> None:
    """`classifier.onnx`, as a page says: it tells bright images from dark ones."""
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    network[2].weight.data = torch.tensor([[-slope] * 3, [slope] * 3])
    network[2].bias.data = torch.zeros(2)
    guide = (ROOT / "docs/howto-bring-your-own.md").read_text(encoding="utf-8")
    export = "torch.onnx.export(" + guide.split("torch.onnx.export(")[1].split("```")[0]
    exec(export.replace("224, 224", "16, 16"), {"torch": torch, "network": network})


def bring_your_own(page: Page) -> Iterator[str]:
    images("cat", "dog")
    write_classifier()
    tiny = {"data": {"size": 16, "validation": 0.3}, "export": TINY["export"]}
    recipe("mine.yaml", sections(page, 0), tiny)
    yield "--allow-plugins"
    guide = (ROOT / "docs/howto-plugins.md").read_text(encoding="utf-8")
    tiny_net = guide.split("```python\n# nets.py\n")[1].split("```")[0]
    Path("nets.py").write_text(f"{tiny_net}\n\nclass MyNet(Tiny):\n    pass\n")
    own: dict[str, Any] = {}
    exec(Path("nets.py").read_text(), own)
    torch.save(trained(own["MyNet"](2, 3, 64)).state_dict(), "my-net.pth")
    training = {"distill": {"training": TINY["distill"]["training"]}}
    recipe("mine.yaml", {"version": 1, "name": "own", **training}, sections(page, 1, 2), tiny)


def trained(network: nn.Module) -> nn.Module:
    """A network that tells bright images from dark ones."""
    bright = torch.randn(32, 3, 16, 16) * 0.1 + torch.tensor([-1.0, 1.0] * 16)[:, None, None, None]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(bright), torch.tensor([0, 1] * 16)).backward()
        optimizer.step()
    return network


SHOES = {"name": "shoes", "limits": [{"measure": "top1", "at_least": 0.3}]}


def gate(page: Page) -> Iterator[str]:
    limit = {"measure": "latency_ms", "at_most": 1000}
    recipe("recipe.yaml", DIGITS, SHOES, {"limits": [*SHOES["limits"], limit]})
    yield "python bench.py"
    for name in ("bench.py", "model.onnx"):
        shutil.copy(Path("runs/shoes/export", name), name)
    yield "gh release download"
    with tarfile.open("release.tar.gz", "w:gz") as archive:
        archive.add("runs/shoes/export", "export")
    program("gh", "mv release.tar.gz export.tar.gz\n")


def deploy(page: Page) -> Iterator[str]:
    recipe("recipe.yaml", DIGITS, SHOES, sections(page, 0))
    yield "python predict.py"
    for file in Path("runs/shoes/export").iterdir():
        shutil.copy(file, file.name)
    picture("image.png")


def compare(page: Page) -> None:
    runs(*"abc", *(f"{name}-{seed}" for name in "ab" for seed in range(3)))
    shutil.copy("runs/digits/quantize/model.onnx", "old.onnx")
    shutil.copy("runs/digits/export/model.onnx", "new.onnx")
    shutil.copy(ROOT / "recipes" / "digits.yaml", "recipe.yaml")
    images("cat", "dog")
    for name, slope in (("float", 9.0), ("int8", 8.0)):
        write_classifier(slope)
        Path("classifier.onnx").rename(f"{name}.onnx")


def own_images(page: Page) -> Iterator[str]:
    images("cat", "dog")
    tiny = {"data": {"size": 16, "validation": 0.3}, "export": TINY["export"]}
    small = {name: TINY[name] for name in ("train_teacher", "distill")}
    recipe("pets.yaml", sections(page, 0), tiny, joined(small, BATCHES))
    shutil.copy("my-images/test/cat/0000.png", "photo.jpg")
    shutil.copytree("my-images/test/dog", "new-photos")
    yield "my-teacher"
    shutil.copytree("runs/pets/train_teacher", "my-teacher")


def plugins(page: Page) -> Iterator[str]:
    for name in ("nets", "losses", "looks"):
        Path(f"{name}.py").write_text(python(page, f"# {name}.py"))
    recipe("mine.yaml", DIGITS, {"name": "mine"}, sections(page, 0, 1))
    yield "augcompress augment"
    recipe("mine.yaml", DIGITS, {"name": "mine"}, sections(page, 0, 1, 2))


def pretrain(page: Page) -> None:
    photographs("photos", ["cat", "dog"], {"train": 40, "test": 12})
    photographs("more-photos", ["cat", "dog"], {"": 20})
    few = {"pretrain": {"training": {"epochs": 2, "batch_size": 16}}, "data": {"size": 16}}
    training = {"train_teacher": {"training": {"epochs": 4, "batch_size": 16}}}
    recipe("mine.yaml", {"version": 1, "name": "mine"}, sections(page, 0), few, training)


def studies(page: Page) -> None:
    small = {"name": "digits-study", "prune": None, "quantize": None, "export": None}
    recipe("digits-study.yaml", DIGITS, small, sections(page, 0))


def train(page: Page) -> None:
    recipe("mine.yaml", DIGITS, sections(page, 0))


def transfer(page: Page) -> None:
    images(*COLOURS)
    some, tiny = sections(page, 2), {"prune": None, "data": {"size": 16, "validation": 0.3}}
    tiny = joined(tiny, BATCHES)
    recipe("three-classes.yaml", FOLDER, {"name": "three-classes"}, some, tiny)
    every = {"name": "all-classes", "data": {"classes": None}}
    recipe("all-classes.yaml", FOLDER, some, tiny, every)


def prune(page: Page) -> None:
    recipe("mine.yaml", DIGITS, {"name": "mine"}, sections(page, 0))


quantize = prune

PLACES: dict[str, Callable[[Page], Iterator[str] | None]] = {
    "README.md": readme,
    "docs/benchmarks.md": checkout,
    "docs/contributing.md": checkout,
    "docs/decisions/run-without-evaluate.md": with_digits,
    "docs/howto-augment.md": augment,
    "docs/howto-bring-your-own.md": bring_your_own,
    "docs/howto-ci-gate.md": gate,
    "docs/howto-compare.md": compare,
    "docs/howto-deploy.md": deploy,
    "docs/howto-own-images.md": own_images,
    "docs/howto-plugins.md": plugins,
    "docs/howto-pretrain.md": pretrain,
    "docs/howto-prune.md": prune,
    "docs/howto-quantize.md": quantize,
    "docs/howto-several-devices.md": with_digits,
    "docs/howto-studies.md": studies,
    "docs/howto-train.md": train,
    "docs/howto-transfer.md": transfer,
    "docs/testing.md": checkout,
    "docs/tutorial.md": tutorial,
}
