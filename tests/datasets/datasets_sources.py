"""Tiny sources of every kind, written into the test's own folder."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image

PLUGIN = '''
from typing import Literal
import numpy as np, torch
from augcompress.datasets import DatasetSettings, MemorySplit, Source
from augcompress.inference import direct

class Stripes(DatasetSettings):
    """Two kinds of stripes."""
    kind: Literal["stripes"] = "stripes"
    def read(self):
        pixels = torch.arange(40 * 16, dtype=torch.int64).remainder(251).to(torch.uint8)
        whole = MemorySplit.whole(pixels.reshape(40, 1, 4, 4), np.arange(40) % 2)
        return Source(["a", "b"], whole.take(np.arange(30)), whole.take(np.arange(30, 40)),
                      direct((4, 4), "L"))
    def fingerprint(self):
        return "stripes"

class NoDataset:
    pass
'''


def pixels(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def save_image(file: Path, seed: int, size: tuple[int, int] = (12, 10)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(1, *size, 3, seed=seed)[0]).save(file)


def write_folder(root: Path, parts: dict[str, int], classes=("cat", "dog"), seed: int = 0) -> Path:
    """`parts` maps a sub-folder ("" for none) to a number of images per class."""
    for part, count in parts.items():
        for label in classes:
            for number in range(count):
                seed += 1
                save_image(root / part / label / f"{number}.png", seed)
    return root


def write_idx(file: Path, array: np.ndarray, *, zipped: bool = True) -> None:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content = head + array.tobytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    if zipped:
        Path(f"{file}.gz").write_bytes(gzip.compress(content))
    else:
        file.write_bytes(content)


def write_mnist(root: Path, name: str, *, zipped: bool = True) -> Path:
    for part, count in (("train", 100), ("t10k", 40)):
        raw = root / name / "raw"
        images, labels = pixels(count, 28, 28, seed=count), np.arange(count, dtype=np.uint8) % 10
        write_idx(raw / f"{part}-images-idx3-ubyte", images, zipped=zipped)
        write_idx(raw / f"{part}-labels-idx1-ubyte", labels, zipped=zipped)
    return root


def write_npz(file: Path, **changed) -> Path:
    arrays = {
        "x_train": pixels(60, 6, 5, 3),
        "y_train": np.arange(60) % 3,
        "x_test": pixels(30, 6, 5, 3, seed=1),
        "y_test": np.arange(30) % 3,
    } | changed
    np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
    return file


def write_cifar(root: Path, kind: type, monkeypatch) -> Path:
    """Files in CIFAR's format, of other content, with the checksums in torchvision's lists."""
    key = "fine_labels" if kind is torchvision.datasets.CIFAR100 else "labels"
    count = 100 if kind is torchvision.datasets.CIFAR100 else 10
    for lists in ("train_list", "test_list"):
        listed = []
        for seed, (name, _) in enumerate(getattr(kind, lists)):
            data = pixels(2 * count, 3072, seed=seed + 10 * len(lists))
            content = {"data": data, key: [n % count for n in range(2 * count)]}
            listed.append([name, _pickled(root / kind.base_folder / name, content)])
        monkeypatch.setattr(kind, lists, listed)
    names = {kind.meta["key"]: [f"class{number}" for number in range(count)]}
    digest = _pickled(root / kind.base_folder / kind.meta["filename"], names)
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": digest})
    return root


def _pickled(file: Path, content: dict) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps(content))
    return torchvision.datasets.utils.calculate_md5(str(file))


def write_plugin(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "stripes.py").write_text(PLUGIN)
    return root / "stripes.py"


def write_parquet(root: Path, parts: dict[str, int], **columns) -> Path:
    """`parts` maps a split to its number of images; `columns` replaces or adds some."""
    pytest.importorskip("datasets.load", reason="Hugging Face datasets is not installed")
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    names = datasets.ClassLabel(names=["cat", "dog"])
    (root / "data").mkdir(parents=True, exist_ok=True)
    for seed, (split, count) in enumerate(parts.items()):
        images = [Image.fromarray(each) for each in pixels(count, 12, 10, 3, seed=seed)]
        made = {"image": images, "label": [number % 2 for number in range(count)]}
        features = datasets.Features({"image": datasets.Image(), "label": names})
        table = datasets.Dataset.from_dict(made, features=features)
        for name, values in columns.items():
            table = table.remove_columns(name) if name in made else table
            if values is not None:
                table = table.add_column(name, [values[n % len(values)] for n in range(count)])
        table.to_parquet(root / "data" / f"{split}-00000-of-00001.parquet")
    return root


def section(kind: str, root: Path, monkeypatch) -> dict:
    """A recipe's `data` section of this kind, over a tiny source written below `root`."""
    mnists = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}
    cifars = {"cifar10": torchvision.datasets.CIFAR10, "cifar100": torchvision.datasets.CIFAR100}
    if kind in mnists:
        return {"kind": kind, "root": str(write_mnist(root, mnists[kind]))}
    if kind in cifars:
        return {"kind": kind, "root": str(write_cifar(root, cifars[kind], monkeypatch))}
    if kind == "image_folder":
        folder = write_folder(root, {"train": 20, "test": 10})
        return {"kind": kind, "root": str(folder), "size": 8}
    if kind == "arrays":
        root.mkdir(parents=True, exist_ok=True)
        return {"kind": kind, "path": str(write_npz(root / "data.npz"))}
    if kind == "hugging_face":
        folder = write_parquet(root, {"train": 40, "test": 20})
        return {"kind": kind, "path": str(folder), "size": 8}
    if kind == "plugin":
        monkeypatch.setenv("AUGCOMPRESS_ALLOW_PLUGINS", "1")
        return {"kind": kind, "target": f"{write_plugin(root)}:Stripes"}
    return {"kind": kind}
