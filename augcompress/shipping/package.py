"""What the shipped file says of itself, and what lies beside it: card, scripts, examples, sums."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from augcompress.evidence import Measurement, Predictions, over_classes, save_arrays
from augcompress.exporters import predict_script
from augcompress.graphs import metadata_of, read_graph
from augcompress.inference import IMAGE_FORMATS, LoadedModel, load_onnx
from augcompress.measures import BENCH_SCRIPT
from augcompress.networks import GRAPH
from augcompress.running import Context
from augcompress.shipping.card import CardFacts, model_card
from augcompress.shipping.origins import FLOAT, TEACHER
from augcompress.storage import digest_file

CARD, SUMS, EXAMPLES = "MODEL_CARD.md", "SHA256SUMS", "examples.npz"
SCRIPTS = ("predict.py", "bench.py")
MOST_EXAMPLES = 64


def write_scripts(context: Context, folder: Path) -> None:
    """`predict.py` and `bench.py`, for whoever gets the file."""
    data, model = context.data, load_onnx(folder / GRAPH)
    script = predict_script(
        data.resizing,
        data.size,
        channels=data.channels,
        formats=IMAGE_FORMATS,
        input=model.input,
        output=model.output,
        batch=model.batch,
    )
    (folder / "predict.py").write_text(script, encoding="utf-8")
    (folder / "bench.py").write_bytes(BENCH_SCRIPT.read_bytes())


def write_card(context: Context, folder: Path, rows: list[Measurement], *, foreign: bool) -> None:
    """`MODEL_CARD.md`; `foreign`: it was made from an ONNX file whose network is not known."""
    data, model = context.data, load_onnx(folder / GRAPH)
    said = context.spec.export.card.model_dump()
    splits = {name: len(getattr(data, name)) for name in ("train", "validation", "test")}
    facts = CardFacts(
        title=said.pop("title") or context.spec.name,
        classes=data.classes,
        input=input_in_words(model, [data.channels, *data.size]),
        output=f"`{model.output}`, float32, (images, {len(data.classes)})",
        resizing=data.resizing,
        prepares=model.input == "image",
        data=context.spec.data.kind,
        images=splits,
        steps=steps_in_words(context, foreign=foreign),
        duplicates=data.copies.test_in_train,
        recipe=context.recipe_digest,
        version=context.version,
        opset=metadata_of(read_graph(folder / GRAPH))["opset"],
        said=said,
        foreign=foreign,
    )
    (folder / CARD).write_text(model_card(facts, rows), encoding="utf-8")


def input_in_words(model: LoadedModel, shape: Sequence[int]) -> str:
    """`input`, float32, (images, 1, 28, 28), values in [0,1]."""
    if model.input == "image":
        channels = f"(height, width, {shape[0]})"
        return f"`input`, uint8, one image of any size {channels}, values 0 to 255"
    sides = ", ".join(map(str, (model.batch or "images", *shape)))
    values = "0 to 255" if model.input == "uint8" else "in [0,1]"
    return f"`input`, {model.input}, ({sides}), values {values}"


def steps_in_words(context: Context, *, foreign: bool) -> list[str]:
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
            found.append(f"Teacher: {chosen_settings(section.model)}")
        elif name == "distill":
            kinds = [one.kind for one in section.objectives]
            student = chosen_settings(section.student) if section.student else "the network so far"
            found.append(f"Student: {student}, learning from {' and '.join(kinds)}")
        elif name in ("prune", "quantize"):
            kinds = [chosen_settings(one) for one in section.steps]
            found.append(f"{name.capitalize()}: {', '.join(kinds)}")
    return found


def chosen_settings(component: Any) -> str:
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
    other = others.get(TEACHER, others.get(FLOAT))
    chosen = example_positions(shipped, other)
    images = context.evaluated("test").fetch(chosen).numpy().transpose(0, 2, 3, 1)
    arrays = {"index": shipped.index[chosen], "images": images}
    save_arrays(folder / EXAMPLES, arrays)


def example_positions(shipped: Predictions, other: Predictions | None) -> np.ndarray:
    """Positions of the images worth looking at: what was lost and won, over the classes in
    proportion, and errors; the more confident the file is, the sooner."""
    confidence, share = shipped.probabilities.max(axis=1), MOST_EXAMPLES // 4
    wrong = ~shipped.right
    groups = [(wrong, share, False)]
    if other is not None:
        lost, won = other.right & wrong, shipped.right & ~other.right
        most_lost = MOST_EXAMPLES // 2 - share // 2
        groups = [(lost, most_lost, True), (won, MOST_EXAMPLES // 4, True), *groups]
    chosen: list[int] = []
    for group, most, spread in groups:
        found = np.flatnonzero(group)
        ranked = found[np.argsort(-confidence[found], kind="stable")]
        ranked = over_classes(ranked, shipped.labels[ranked]) if spread else ranked
        chosen += [int(one) for one in ranked if one not in chosen][:most]
    return np.array(sorted(chosen), dtype=np.int64)


def write_sums(folder: Path, files: Sequence[str]) -> None:
    """`SHA256SUMS` of the shipped files and scripts, as sha256sum writes and checks it."""
    lines = [f"{digest_file(folder / name)}  {name}\n" for name in (*files, *SCRIPTS)]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


IN_METADATA = ("top1", "top5", "macro_f1", "nll", "ece")


def metadata(context: Context, rows: list[Measurement], *, quantized: bool) -> dict[str, str]:
    """What the file says of itself; no paths."""
    metrics = {row.name: numbers_of(row) for row in rows if row.name in IN_METADATA}
    return {
        **usage(context),
        "recipe": context.recipe_digest,
        "test_top1": json.dumps(metrics["top1"]),
        "metrics": json.dumps(metrics),
        "quantized": json.dumps(quantized),
    }


def usage(context: Context) -> dict[str, str]:
    """What whoever runs a file must know, as its metadata."""
    data = context.data
    return {
        "labels": json.dumps(list(data.classes)),
        "resizing": json.dumps(data.resizing),
        "input_size": json.dumps([data.channels, *data.size]),
        "producer_version": context.version,
    }


def numbers_of(row: Measurement) -> dict[str, Any]:
    """A measurement without its circumstances."""
    return row.model_dump(include={"value", "low", "high", "level", "n", "split"})
