"""Every kind of file that a stranger may send: a good one, ways to spoil it, and who reads it.

A reader may return anything, or raise AugcompressError; nothing else, on whatever is in the file.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from fuzz_changes import changed_bytes, changed_data, changed_text
from hypothesis import strategies as st
from onnx import TensorProto, helper
from PIL import Image

from augcompress.batch import ImageInput
from augcompress.datasets import Arrays, DataFacts
from augcompress.datasets.manifests import list_manifest
from augcompress.datasets.mnist import read_idx
from augcompress.errors import AugcompressError
from augcompress.evidence import Measurement, Predictions, write_measurements
from augcompress.gate import check_run
from augcompress.inference import load_image, open_shipped, predict_files
from augcompress.models import ModelFacts, build_classifier, load_weights, read_weights
from augcompress.models.small_cnn import SmallCNN
from augcompress.networks import Network, load_network, save_network
from augcompress.raw import shipped_recipes
from augcompress.report.content import read
from augcompress.spec import load
from augcompress.storage import RunDir, runs
from augcompress.system import SilentReporter
from augcompress.training.state import read_state, write_state

SIZE = (8, 8)
RESIZING = {"resize": list(SIZE), "crop": None, "interpolation": "bilinear", "mode": "L"}
LABELS = ["cat", "dog"]


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    good: bytes
    """One that is taken."""
    read: Callable[[bytes, Path], Any]
    """Read it, in an empty folder of its own."""
    odd: st.SearchStrategy[bytes] | None = None
    """What a stranger sends; None: bytes that are changed."""

    @property
    def spoiled(self) -> st.SearchStrategy[bytes]:
        changed = changed_bytes(self.good)
        return changed if self.odd is None else st.one_of(self.odd, changed)


def told(kind: Kind, content: bytes, folder: Path) -> str:
    """The one line that a reader says of a file; empty: it takes it."""
    try:
        kind.read(content, folder)
    except AugcompressError as error:
        return str(error)
    return ""


def as_json(data: Any) -> st.SearchStrategy[bytes]:
    return changed_data(data).map(lambda value: json.dumps(value).encode())


def recipes() -> dict[str, Kind]:
    """Of text and of values, from all shipped recipes."""
    from augcompress.untrusted import load_yaml

    loaded = [load_yaml(path) for path in shipped_recipes().values()]
    texts = st.sampled_from([text for _, text in loaded if len(text) < 4000])
    values = st.sampled_from([value for value, _ in loaded])
    good = loaded[0][1].encode()
    return {
        "recipe-text": Kind(good, read_recipe, texts.flatmap(changed_text).map(encoded)),
        "recipe-values": Kind(good, read_recipe, values.flatmap(as_json)),
    }


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def read_recipe(content: bytes, folder: Path) -> None:
    (folder / "recipe.yaml").write_bytes(content)
    load(folder / "recipe.yaml")


def networks() -> dict[str, Kind]:
    """`model.json`, weights of ours and from elsewhere, resume states."""
    model, facts = SmallCNN(widths=(4, 8)), ModelFacts(2, ImageInput(1, SIZE))
    module = build_classifier(model, facts, [0.5], [0.5])
    state = module.state_dict()

    def saved(value: Any) -> bytes:
        stream = io.BytesIO()
        torch.save(value, stream)
        return stream.getvalue()

    def description(content: bytes, folder: Path) -> None:
        path = save_network(Network(module, model, facts, tuple(LABELS), RESIZING), folder)
        path.with_name("model.json").write_bytes(content)
        load_network(path)

    def weights(name: str) -> Callable[[bytes, Path], None]:
        def read_them(content: bytes, folder: Path) -> None:
            (folder / name).write_bytes(content)
            load_weights(
                build_classifier(model, facts, [0.5], [0.5]), read_weights(folder / name), where="w"
            )

        return read_them

    def resumed(content: bytes, folder: Path) -> None:
        (folder / "fit.pt").write_bytes(content)
        read_state(folder, SilentReporter())

    sample = Path(_folder()) / "sample"
    save_network(Network(module, model, facts, tuple(LABELS), RESIZING), sample)
    write_state(sample, {"learner": dict(state), "counts": [1, 2, 0, 0], "lines": "[]"})
    told_by_us = json.loads((sample / "model.json").read_text())
    odd = st.sampled_from(odd_tensors()).flatmap(
        lambda value: st.sampled_from(list(state)).map(lambda name: saved({**state, name: value}))
    )
    return {
        "model.json": Kind(json.dumps(told_by_us).encode(), description, as_json(told_by_us)),
        "weights.pt": Kind(
            saved(dict(state)),
            weights("w.pt"),
            st.one_of(odd, st.sampled_from(odd_files(saved, state))),
        ),
        "weights.safetensors": Kind(
            (sample / "model.safetensors").read_bytes(), weights("w.safetensors")
        ),
        "fit.pt": Kind(
            (sample / "fit.pt").read_bytes(),
            resumed,
            st.sampled_from([3, [], {"version": 4}, {"version": 4, "sha256": 1}]).map(saved),
        ),
    }


def odd_tensors() -> list[Any]:
    weight = torch.ones(4, 1, 3, 3)
    return [
        weight.to_sparse(),
        torch.ones(4, 1, 3, 3, device="meta"),
        torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
        weight.to(torch.complex64),
        weight.bool(),
        weight.double(),
        torch.ones(1).expand(10**9),
        torch.zeros(0),
        torch.tensor(1.0),
        None,
        "text",
        [weight],
    ]


def odd_files(saved: Callable[[Any], bytes], state: dict[str, Any]) -> list[bytes]:
    inside: dict[str, Any] = {}
    inside["state_dict"] = inside
    values: list[Any] = [inside, [], 3, None, {}, {"model": {"model": {"model": {"model": state}}}}]
    return [saved(value) for value in (*values, {1: torch.ones(1)}, {"state_dict": 3})]


def arrays() -> dict[str, Kind]:
    """`.npz` of images and of predictions, IDX files, manifests, pictures."""
    images = np.zeros((6, 8, 8), np.uint8)
    labels = np.array([0, 1, 0, 1, 0, 1])
    good = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    odd = [
        np.array(3), np.zeros((6, 0, 0)), np.array(["a"] * 6), np.full(6, 10**12), np.full(6, -1),
        np.full((6, 8, 8), np.nan), np.zeros(6, object), np.zeros((6, 8, 8, 8)),
        np.array([b"a"]),
        np.zeros(6, [("a", int)]), np.full(6, 2**64 - 1, np.uint64), np.zeros(6, "M8[s]"),
    ]  # fmt: skip

    def packed(content: dict[str, Any]) -> bytes:
        stream = io.BytesIO()
        np.savez_compressed(stream, **content)
        return stream.getvalue()

    names = st.sampled_from([*good, "classes", "x_validation"])
    put = st.tuples(names, st.sampled_from(odd)).map(
        lambda each: packed({**good, each[0]: each[1]})
    )
    bomb = st.just(packed({**good, "x_train": np.zeros((40_000, 64, 64), np.uint8)}))

    def of_images(content: bytes, folder: Path) -> None:
        (folder / "a.npz").write_bytes(content)
        Arrays(path=str(folder / "a.npz")).build(DataFacts(seed=0))

    def of_predictions(content: bytes, folder: Path) -> None:
        (folder / "p.npz").write_bytes(content)
        Predictions.load(folder / "p.npz")

    answers = Path(_folder()) / "p.npz"
    Predictions(np.eye(2)[labels], labels, np.arange(6), ("a", "b"), "test", "d").save(answers)
    return {
        "arrays.npz": Kind(packed(good), of_images, st.one_of(put, bomb)),
        "predictions.npz": Kind(answers.read_bytes(), of_predictions),
        **plain_files(),
    }


def plain_files() -> dict[str, Kind]:
    idx = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (3, 4, 4)) + bytes(48)
    huge = b"\0\0\x08\x03" + b"\x7f\xff\xff\xff" * 3
    rows = "path,label,split\na.png,cat,train\nb.png,dog,train\nc.png,cat,test\nd.png,dog,test\n"

    def idx_file(name: str) -> Callable[[bytes, Path], None]:
        def read_it(content: bytes, folder: Path) -> None:
            (folder / name).write_bytes(content)
            read_idx(folder / name)

        return read_it

    def manifest(content: bytes, folder: Path) -> None:
        (folder / "m.csv").write_bytes(content)
        for name in ("a.png", "b.png", "c.png", "d.png"):
            (folder / name).write_bytes(b"")
        list_manifest(folder / "m.csv")

    def picture(content: bytes, folder: Path) -> None:
        (folder / "p.png").write_bytes(content)
        load_image(folder / "p.png", RESIZING)

    zipped = st.one_of(changed_bytes(idx), st.just(huge)).map(gzip.compress)
    return {
        "idx": Kind(idx, idx_file("a"), st.just(huge)),
        "idx.gz": Kind(gzip.compress(idx), idx_file("a.gz"), zipped),
        "manifest.csv": Kind(rows.encode(), manifest, changed_text(rows).map(encoded)),
        "picture": Kind(pictures()[0], picture, st.sampled_from(pictures()).flatmap(changed_bytes)),
    }


def pictures() -> list[bytes]:
    found = []
    for name, mode in (
        ("PNG", "RGBA"),
        ("JPEG", "RGB"),
        ("GIF", "P"),
        ("TIFF", "I;16"),
        ("BMP", "L"),
    ):
        stream = io.BytesIO()
        Image.new(mode, (12, 9)).save(stream, format=name)
        found.append(stream.getvalue())
    stream = io.BytesIO()
    Image.new("L", (20_000, 1)).save(stream, format="PNG")
    return [*found, stream.getvalue()]


def graphs() -> dict[str, Kind]:
    """ONNX files: bytes, and what they say of themselves."""
    weight = np.ones((2, 64), np.float32)
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight"], ["logits"], transB=1),
    ]
    takes = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, *SIZE])
    gives = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])
    stored = [onnx.numpy_helper.from_array(weight, "weight")]
    graph = helper.make_graph(nodes, "g", [takes], [gives], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)

    def with_metadata(told: dict[str, Any]) -> bytes:
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        for key, value in told.items():
            text = value if isinstance(value, str) else json.dumps(value)
            changed.metadata_props.add(key=key, value=text.encode("utf-8", "replace").decode())
        return changed.SerializeToString()

    def predicted(content: bytes, folder: Path) -> None:
        (folder / "m.onnx").write_bytes(content)
        (folder / "p.png").write_bytes(pictures()[0])
        list(predict_files(open_shipped(folder / "m.onnx"), [folder / "p.png"], top=3))

    good = {"labels": LABELS, "resizing": RESIZING}
    return {
        "onnx": Kind(with_metadata(good), predicted),
        "onnx-metadata": Kind(
            with_metadata(good),
            predicted,
            changed_data(good).map(lambda v: with_metadata(v if isinstance(v, dict) else good)),
        ),
    }


def records() -> dict[str, Kind]:
    """What a run directory holds: `stage.json`, `measurements.json`, `spec.json`."""
    top = Path(_folder()) / "runs"
    run = RunDir(top / "digits")
    entry = run.store.entry("distill", "0" * 64)
    with entry.writing() as work:
        (work / "model.onnx").write_bytes(b"graph")
        write_measurements(work / "measurements.json", [Measurement(name="top1", value=0.5, n=9)])
        entry.commit({"artifact": "model.onnx", "artifact_digest": "0" * 64})
    run.link(entry, "distill")
    run.write_text("spec.json", load("digits.yaml")[0].model_dump_json())

    def reader(name: str) -> Callable[[bytes, Path], None]:
        def read_it(content: bytes, folder: Path) -> None:
            copied = folder / "digits"
            for path in run.path.rglob("*"):
                if path.is_file():
                    target = copied / path.relative_to(run.path)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(path.read_bytes())
            (copied / name).write_bytes(content)
            assert runs(folder), "one run"
            for look in (lambda: check_run(copied, ()), lambda: read(copied)):
                told(Kind(b"", lambda _, __, look=look: look()), b"", folder)

        return read_it

    names = ("distill/stage.json", "distill/measurements.json", "spec.json")
    found = {name: (run.path / name).read_bytes() for name in names}
    return {name: Kind(c, reader(name), as_json(json.loads(c))) for name, c in found.items()}


def _folder() -> str:
    import tempfile

    return tempfile.mkdtemp(prefix="fuzz-")


def all_kinds() -> dict[str, Kind]:
    return {**recipes(), **networks(), **arrays(), **graphs(), **records()}
