"""Sources with a format of their own: MNIST's, CIFAR's, arrays, plug-ins."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from datasets_sources import pixels, write_cifar, write_idx, write_mnist, write_npz, write_plugin
from sklearn.datasets import load_digits

from augcompress.datasets import DataFacts
from augcompress.datasets.arrays import Arrays
from augcompress.datasets.cifar import Cifar10, Cifar100
from augcompress.datasets.digits import Digits, _digits
from augcompress.datasets.mnist import FashionMnist, Kmnist, Mnist, read_idx
from augcompress.datasets.plugin import PluginDataset
from augcompress.errors import AugcompressError, UsageError

FACTS = DataFacts(seed=0)
DATA = os.environ.get("AUGCOMPRESS_TEST_DATA")


def raw_file(root: Path, name: str) -> Path:
    return root / "MNIST" / "raw" / name


def test_what_is_written_out_of_libraries_is_what_they_have():
    found = load_digits()
    pixels, labels = _digits()
    assert np.array_equal(pixels, (found.images * (255 / 16)).round())
    assert np.array_equal(labels, found.target)
    for kind in (Mnist, FashionMnist, Kmnist):
        names = getattr(torchvision.datasets, kind.folder).classes
        assert kind.class_names == [name.partition(" - ")[0] for name in names]
    for kind in (Cifar10, Cifar100):
        theirs = getattr(torchvision.datasets, kind.origin)
        listed = [name for name, _ in theirs.train_list + theirs.test_list]
        assert [*kind.files] == [*listed, theirs.meta["filename"]]
        assert kind.folder == theirs.base_folder


@pytest.mark.skipif(not DATA, reason="AUGCOMPRESS_TEST_DATA names no folder of real data")
def test_real_fashion_mnist_is_read_from_its_zipped_files():
    root = Path(str(DATA)) / "fashion-mnist"
    before = sorted(root.rglob("*"))
    data = FashionMnist(root=str(root)).build(FACTS)
    assert (len(data.train) + len(data.validation), len(data.test)) == (60_000, 10_000)
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    assert data.mean == pytest.approx([0.2860], abs=1e-3)  # the published mean and deviation
    assert data.std == pytest.approx([0.3530], abs=1e-3)
    assert sorted(root.rglob("*")) == before


def test_zipped_and_unzipped_are_the_same_data(tmp_path):
    zipped = Mnist(root=str(write_mnist(tmp_path / "a", "MNIST")))
    plain = Mnist(root=str(write_mnist(tmp_path / "b", "MNIST", zipped=False)))
    assert zipped.fingerprint() == plain.fingerprint()
    one, two = zipped.build(FACTS), plain.build(FACTS)
    assert torch.equal(one.test.fetch(np.arange(40)), two.test.fetch(np.arange(40)))


def test_mnist_images_are_those_written(tmp_path):
    data = Mnist(root=str(write_mnist(tmp_path, "MNIST"))).build(FACTS)
    found = data.test.fetch(np.arange(40))[:, 0].numpy()
    np.testing.assert_array_equal(found, pixels(40, 28, 28, seed=40))
    assert data.classes == [str(digit) for digit in range(10)]


def test_missing_mnist_says_what_to_do(tmp_path):
    for use in (Mnist(root=str(tmp_path)).build, lambda _: Mnist(root=str(tmp_path)).fingerprint()):
        with pytest.raises(AugcompressError, match=r"no train-images.*set data\.download: true"):
            use(FACTS)


def test_download_happens_only_where_files_are_missing(tmp_path, monkeypatch):
    calls = []

    class MNIST:
        def __init__(self, root, download):
            calls.append((root, download))
            write_mnist(Path(root), "MNIST")

    monkeypatch.setattr(torchvision.datasets, "MNIST", MNIST)
    settings = Mnist(root=str(tmp_path), download=True)
    settings.fingerprint()
    assert len(settings.build(FACTS).test) == 40
    assert calls == [(str(tmp_path), True)]


def test_failed_download_is_an_error(tmp_path, monkeypatch):
    def fail(root, download):
        raise RuntimeError("Error downloading")

    monkeypatch.setattr(torchvision.datasets, "MNIST", fail)
    with pytest.raises(AugcompressError, match=r"data\.download: MNIST: Error downloading"):
        Mnist(root=str(tmp_path), download=True).build(FACTS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a", b"", "not an IDX file"),
        ("a", b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00", "not an IDX file of bytes"),
        ("a", b"\x00\x00\x08\x01\x00\x00\x00\x05ab", "cut short or damaged"),
        ("a", b"\x00\x00\x08\x03\x00", "cut short or damaged"),
        ("a.gz", b"text", "cannot be read"),
        ("a.gz", b"\x1f\x8b\x08", "cannot be read"),
    ],
)
def test_damaged_idx_file_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AugcompressError, match=f"{name}: {message}"):
        read_idx(tmp_path / name)


def test_damaged_zip_is_named_by_the_fingerprint(tmp_path):
    root = write_mnist(tmp_path, "MNIST")
    raw_file(root, "t10k-labels-idx1-ubyte.gz").write_bytes(b"text")
    with pytest.raises(AugcompressError, match=r"t10k-labels-idx1-ubyte\.gz: cannot be read"):
        Mnist(root=str(root)).fingerprint()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(39, np.uint8), "do not belong together"),
        (np.full(40, 10, np.uint8), "has a label 10 of 10 classes"),
    ],
)
def test_idx_labels_that_do_not_fit_are_an_error(tmp_path, labels, message):
    root = write_mnist(tmp_path, "MNIST")
    write_idx(raw_file(root, "t10k-labels-idx1-ubyte"), labels)
    with pytest.raises(AugcompressError, match=message):
        Mnist(root=str(root)).build(FACTS)


def test_missing_cifar_says_what_to_do(tmp_path):
    with pytest.raises(AugcompressError, match=r"no data_batch_1.*set data\.download: true"):
        Cifar10(root=str(tmp_path)).build(FACTS)
    with pytest.raises(AugcompressError, match=r"no data_batch_1.*set data\.download: true"):
        Cifar10(root=str(tmp_path)).fingerprint()


def test_cifar_with_a_wrong_checksum_is_an_error(tmp_path, monkeypatch):
    root = write_cifar(tmp_path, torchvision.datasets.CIFAR10, monkeypatch)
    (root / "cifar-10-batches-py" / "data_batch_2").write_bytes(b"text")
    with pytest.raises(AugcompressError, match="cifar-10-batches-py: a file's checksum is wrong"):
        Cifar10(root=str(root)).build(FACTS)


def test_cifar_download_without_network_is_an_error(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", fail)
    with pytest.raises(AugcompressError, match="no route to host; check the network"):
        Cifar10(root=str(tmp_path), download=True).fingerprint()


IMAGES = pixels(60, 6, 5, 3)


@pytest.mark.parametrize(
    "images", [IMAGES, IMAGES.transpose(0, 3, 1, 2), IMAGES / 255, (IMAGES / 255).astype("float32")]
)
def test_array_layouts_and_floats_are_the_same_images(tmp_path, images):
    settings = Arrays(path=str(write_npz(tmp_path / "a.npz", x_train=images)), validation=0.1)
    train = settings.read().train
    expected = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
    assert torch.equal(train.fetch(np.arange(60)), expected)


def test_grey_arrays_and_named_classes(tmp_path):
    changed = {"x_train": pixels(60, 7, 7), "x_test": pixels(30, 7, 7, seed=1)}
    names = np.array(["a", "b", "c"])
    data = Arrays(path=str(write_npz(tmp_path / "a.npz", **changed, classes=names))).build(FACTS)
    assert (data.channels, data.size, data.classes) == (1, (7, 7), ["a", "b", "c"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y_test": None}, "has no y_test; add it"),
        ({"x_train": pixels(60, 6, 5, 3).astype("int64")}, "x_train: dtype int64; use uint8"),
        ({"x_train": pixels(60, 6, 5, 3) / 100}, r"x_train: floats outside \[0,1\]"),
        ({"x_train": np.full((60, 6, 5, 3), np.nan)}, r"x_train: floats outside \[0,1\]"),
        ({"x_train": pixels(60, 6, 5, 4)}, r"x_train: shape \(60, 6, 5, 4\); use"),
        ({"x_train": pixels(60, 6)}, r"x_train: shape \(60, 6\); use"),
        ({"x_train": pixels(60, 6, 6, 3)}, "make them alike"),
        ({"x_train": pixels(59, 6, 5, 3)}, "59 images in x_train, 60 labels"),
        ({"y_train": np.arange(60) % 3 - 1}, "use one integer from 0 per image"),
        ({"y_train": np.arange(60) / 3}, "y_train: float64 of shape"),
        ({"classes": np.array(["a"])}, "label 2, but classes names 1"),
        ({"classes": np.array([None, {}], dtype=object)}, "not a readable .npz file"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, changed, message):
    settings = Arrays(path=str(write_npz(tmp_path / "a.npz", **changed)))
    with pytest.raises(AugcompressError, match=message):
        settings.build(FACTS)


def test_unreadable_npz_is_named(tmp_path):
    for name, content in (("a.npz", b"text"), ("b.npz", b"PK\x03\x04"), ("c.npz", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AugcompressError, match=f"{name}: not a readable .npz file"):
            Arrays(path=str(tmp_path / name)).build(FACTS)
    np.save(tmp_path / "d.npy", pixels(3, 2))
    with pytest.raises(AugcompressError, match=r"d\.npy: not a readable .npz file"):
        Arrays(path=str(tmp_path / "d.npy")).build(FACTS)
    with pytest.raises(AugcompressError, match=r"none\.npz: No such file"):
        Arrays(path=str(tmp_path / "none.npz")).fingerprint()


def test_plugin_needs_permission_and_a_data_set(tmp_path, monkeypatch):
    file = write_plugin(tmp_path)
    with pytest.raises(AugcompressError, match="add --allow-plugins"):
        PluginDataset(target=f"{file}:Stripes").build(FACTS)
    monkeypatch.setenv("AUGCOMPRESS_ALLOW_PLUGINS", "1")
    with pytest.raises(AugcompressError, match=r"is no subclass of .*DatasetSettings"):
        PluginDataset(target=f"{file}:NoDataset").build(FACTS)
    with pytest.raises(UsageError, match=r"options\.validation"):
        PluginDataset(target=f"{file}:Stripes", options={"validation": 2}).build(FACTS)


def test_plugin_takes_the_common_settings_as_options(tmp_path, monkeypatch):
    monkeypatch.setenv("AUGCOMPRESS_ALLOW_PLUGINS", "1")
    target = f"{write_plugin(tmp_path)}:Stripes"
    data = PluginDataset(target=target, options={"validation": 0.2}).build(FACTS)
    assert (len(data.train), len(data.validation), len(data.test)) == (24, 6, 10)


def test_digits_fingerprint_is_of_the_content():
    assert Digits().fingerprint() == Digits(validation=0.2, subset=100).fingerprint()
