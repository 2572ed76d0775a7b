"""What lies beside the shipped file: card, scripts, layers, example images, checksums."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from augcompress.evidence import Measurement, Predictions, save_arrays
from augcompress.exporters import metadata_of, open_session, predict_script, read_graph
from augcompress.measures import BENCH_SCRIPT
from augcompress.networks import GRAPH
from augcompress.running import Context
from augcompress.shipping.card import CardFacts, model_card
from augcompress.storage import digest_file

CARD, SUMS, EXAMPLES = "MODEL_CARD.md", "SHA256SUMS", "examples.npz"
SHIPPED = (GRAPH, "model.ort", "predict.py", "bench.py")
"""Files that `SHA256SUMS` vouches for.  The same checkpoint gives the same bytes; of `model.ort`
the runtime decides, and may write it otherwise."""
MOST_EXAMPLES = 64


def write_scripts(context: Context, folder: Path, graph: onnx.ModelProto) -> None:
    """`predict.py` and `bench.py`, for whoever gets the file."""
    data, session = context.data, open_session(graph.SerializeToString())
    takes, gives = session.get_inputs()[0], session.get_outputs()[0]
    script = predict_script(
        data.resizing,
        data.size,
        channels=data.channels,
        input="uint8" if takes.type == "tensor(uint8)" else "float32",
        output=gives.name,
        batch=takes.shape[0] if isinstance(takes.shape[0], int) else None,
    )
    (folder / "predict.py").write_text(script, encoding="utf-8")
    (folder / "bench.py").write_bytes(BENCH_SCRIPT.read_bytes())


def write_card(context: Context, folder: Path, rows: list[Measurement], *, foreign: bool) -> None:
    """`MODEL_CARD.md`; `foreign`: it was made from an ONNX file whose network is not known."""
    data, session = context.data, open_session(folder / GRAPH)
    told = metadata_of(read_graph(folder / GRAPH))
    said = context.spec.export.card.model_dump()
    takes, gives = session.get_inputs()[0], session.get_outputs()[0]
    splits = {name: len(getattr(data, name)) for name in ("train", "validation", "test")}
    facts = CardFacts(
        title=said.pop("title") or context.spec.name,
        classes=data.classes,
        input=input_in_words(takes.name, takes.type, takes.shape),
        output=f"`{gives.name}`, float32, (images, {len(data.classes)})",
        resizing=data.resizing,
        data=context.spec.data.kind,
        images=splits,
        steps=steps(context, foreign=foreign),
        duplicates=data.duplicates,
        recipe=context.recipe_digest,
        version=context.version,
        opset=told["opset"],
        said=said,
        foreign=foreign,
    )
    (folder / CARD).write_text(model_card(facts, rows), encoding="utf-8")


def input_in_words(name: str, type: str, shape: list[Any]) -> str:
    """`input`, float32, (images, 1, 28, 28), values in [0,1]."""
    in_bytes = type == "tensor(uint8)"
    sides = ", ".join(str(side) for side in shape[1:])
    images = shape[0] if isinstance(shape[0], int) else "images"
    kind, values = ("uint8", "0 to 255") if in_bytes else ("float32", "in [0,1]")
    return f"`{name}`, {kind}, ({images}, {sides}), values {values}"


def steps(context: Context, *, foreign: bool) -> list[str]:
    """The stages of the recipe in words; of a foreign file, those that took part in making this."""
    spec, found = context.spec, list[str]()
    for name in spec.stages():
        if foreign and name != "quantize":
            continue
        section: Any = getattr(spec, name)
        if name == "augment":
            drawn = ", ".join(one.kind for one in spec.augment.pipeline)
            found.append(f"Augmentation: {drawn or 'none'}")
        elif name == "pretrain":
            found.append(f"Pretraining of the {section.network}: SimCLR, without labels")
        elif name == "train_teacher":
            found.append(f"Teacher: {in_short(section.model)}")
        elif name == "distill":
            kinds = [one.kind for one in section.objectives]
            student = in_short(section.student) if section.student else "the network so far"
            found.append(f"Student: {student}, learning from {' and '.join(kinds)}")
        elif name in ("prune", "quantize"):
            kinds = [in_short(one) for one in section.steps]
            found.append(f"{name.capitalize()}: {', '.join(kinds)}")
    return found


def in_short(component: Any) -> str:
    """A component's kind and the settings that were chosen: `small_cnn (widths (16, 32))`."""
    chosen = component.model_dump(exclude_defaults=True, exclude={"kind", "target"}, mode="json")
    plain = {k: v for k, v in chosen.items() if isinstance(v, str | int | float | list | bool)}
    listed = ", ".join(f"{name} {value}" for name, value in plain.items())
    return f"{component.kind} ({listed})" if listed else component.kind


def write_examples(
    context: Context, folder: Path, shipped: Predictions, others: Mapping[str, Predictions]
) -> None:
    """`examples.npz`: test images that the shipped file lost or won against the teacher (else the
    float network), and its most confident errors."""
    other = others.get("teacher", others.get("float"))
    chosen = example_positions(shipped, other)
    images = context.evaluated("test").fetch(chosen).numpy().transpose(0, 2, 3, 1)
    arrays = {"index": shipped.index[chosen], "images": images}
    save_arrays(folder / EXAMPLES, arrays)


def example_positions(shipped: Predictions, other: Predictions | None) -> np.ndarray:
    """Positions of the images worth looking at, each group by how confident the file is."""
    confidence, share = shipped.probabilities.max(axis=1), MOST_EXAMPLES // 4
    wrong = ~shipped.right
    groups = [(wrong, share)]
    if other is not None:
        lost, won = other.right & wrong, shipped.right & ~other.right
        groups = [(lost, MOST_EXAMPLES // 2 - share // 2), (won, MOST_EXAMPLES // 4), *groups]
    chosen: list[int] = []
    for group, most in groups:
        found = np.flatnonzero(group)
        ranked = found[np.argsort(-confidence[found], kind="stable")]
        chosen += [int(one) for one in ranked if one not in chosen][:most]
    return np.array(sorted(chosen), dtype=np.int64)


def write_sums(folder: Path) -> None:
    """`SHA256SUMS`, as sha256sum writes and checks it."""
    there = [name for name in SHIPPED if (folder / name).exists()]
    lines = [f"{digest_file(folder / name)}  {name}\n" for name in there]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")
