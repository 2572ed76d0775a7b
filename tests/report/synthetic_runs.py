"""Run directories as the stages leave them, made in milliseconds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from augcompress.evidence.predictions import Predictions, save_arrays
from augcompress.evidence.records import Layer, Measurement, write_layers, write_measurements
from augcompress.evidence.statistics.intervals import wilson

CLASSES = ("cat", "<b>&", 'quo"te', "Ärmel", "x" * 30)
STAGES = ("augment", "train_teacher", "distill", "prune", "quantize", "export")
IMAGES = 200
WEIGHTS = b"weights"
VERSIONS = {"python": "3.12.1", "augcompress": "0.1.0", "torch": "2.11.0"}


def write_run(
    folder: Path, stages: Sequence[str] = STAGES, *, seed: int = 0, old: bool = False
) -> Path:
    """A run that has done `stages`; `old`: its export left neither layers nor baselines."""
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(f"name: {folder.name}\n# <script>alert('&')</script>\n")
    (folder / "spec.json").write_text(json.dumps(spec(folder.name, seed)))
    for stage in stages:
        write_stage(folder, stage)
    if "augment" in stages:
        Image.new("RGB", (96, 40), "grey").save(folder / "augment" / "contact_sheet.png")
    for stage in {"train_teacher", "distill", "prune"} & set(stages):
        write_log(folder / stage)
    if "export" in stages:
        write_export(folder / "export", seed, old)
    return folder


def spec(name: str, seed: int) -> dict[str, Any]:
    training = {"epochs": 4, "optimizer": {"kind": "sgd", "lr": 0.1}}
    return {
        "version": 1,
        "name": name,
        "seed": seed,
        "pipeline": None,
        "data": {"kind": "image_folder", "root": "/home/someone/secret/pictures"},
        "augment": {"pipeline": [{"kind": "affine"}]},
        "train_teacher": {"model": {"kind": "cifar_resnet"}, "training": training},
        "distill": {"student": {"kind": "small_cnn"}, "training": training},
        "prune": {"steps": [{"kind": "channels"}], "training": None},
        "quantize": {"steps": [{"kind": "static_int8"}]},
        "export": {"targets": [{"kind": "onnx"}]},
        "evaluate": {"split": "test"},
        "limits": [
            {"measure": "top1", "baseline": "teacher", "at_most_worse": 0.02, "at_least": None}
        ],
    }


def write_stage(folder: Path, stage: str) -> None:
    """The record and the measurements that any stage leaves."""
    place = folder / stage
    place.mkdir()
    graph = stage in ("quantize", "export")
    artifact = None if stage == "augment" else "model.onnx" if graph else "model.safetensors"
    record = {
        "version": 2,
        "stage": stage,
        "key": "0" * 64,
        "seconds": 12.3,
        "notes": [f"see {folder}/{stage}/file"],
        "environment": VERSIONS,
        "artifact": artifact,
        "files": {artifact: len(WEIGHTS)} if artifact else {},
        "sha256": {artifact: hashlib.sha256(WEIGHTS).hexdigest()} if artifact else {},
    }
    (place / "stage.json").write_text(json.dumps(record))
    if artifact:
        (place / artifact).write_bytes(WEIGHTS)
    rows = [] if stage in ("augment", "export") else [top1(0.9, "validation")]
    if rows and not graph:
        rows += [cost("parameters", 12_000, "parameters"), cost("macs", 2e6, "macs")]
    write_measurements(place / "measurements.json", rows)


def write_log(folder: Path) -> None:
    lines = [
        {
            "epoch": epoch,
            "losses": {"labels": 1.0 / epoch, "soft_targets": 2.0 / epoch},
            "validation_top1": 1 - 0.5 / epoch,
            "validation_low": 0.9 - 0.5 / epoch,
            "validation_high": 1.0,
            "validation_n": 40,
            "validation_top1_ema": 0.9 - 0.5 / epoch,
            "lr": 0.1 / epoch,
            "images_per_s": 1000.0 + epoch,
            "seconds": 1.5,
        }
        for epoch in range(1, 5)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_export(folder: Path, seed: int, old: bool) -> None:
    found = {
        role: predictions(error, seed)
        for role, error in (("shipped", 0.2), ("teacher", 0.1), ("float", 0.18))
    }
    write_measurements(folder / "measurements.json", export_rows(found))
    found["shipped"].save(folder / "predictions.npz")
    if old:
        return
    found["teacher"].save(folder / "predictions-teacher.npz")
    found["float"].save(folder / "predictions-float.npz")
    (folder / "SHA256SUMS").write_text("0  model.onnx\n")
    shot = np.flatnonzero(found["shipped"].right != found["teacher"].right)[:20]
    images = np.random.default_rng(1).integers(0, 256, (len(shot), 8, 8, 1), dtype=np.uint8)
    save_arrays(folder / "examples.npz", {"index": found["shipped"].index[shot], "images": images})
    write_layers(folder / "layers.json", layers())


def predictions(error: float, seed: int) -> Predictions:
    """Of `IMAGES` images; a share of `error` of them is wrong."""
    labels = np.random.default_rng(seed).integers(0, len(CLASSES), IMAGES)
    generator = np.random.default_rng([seed, int(1000 * error)])
    wrong = generator.random(IMAGES) < error
    chosen = np.where(wrong, (labels + 1) % len(CLASSES), labels)
    probabilities = generator.uniform(0.01, 0.1, (IMAGES, len(CLASSES)))
    probabilities[np.arange(IMAGES), chosen] = generator.uniform(0.3, 2.0, IMAGES)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Predictions(
        probabilities, labels, np.arange(IMAGES), classes=CLASSES, split="test", data="digest"
    )


def export_rows(found: dict[str, Predictions]) -> list[Measurement]:
    rows = []
    sizes = {"shipped": 40_000, "teacher": 400_000, "float": 120_000}
    for role, one in found.items():
        rows += [
            top1(float(one.right.mean()), "test", role, IMAGES),
            timed("latency_ms", sizes[role] / 1e6, "ms", role),
            cost("size_bytes", sizes[role], "bytes", role),
            share("ece", 0.03, role),
        ]
    rows.append(timed("speedup", 8.5, "ratio", "shipped", baseline="teacher"))
    rows.append(timed("speedup", 1.01, "ratio", "shipped", baseline="float", too_noisy=True))
    difference = float(found["shipped"].right.mean() - found["teacher"].right.mean())
    rows.append(
        Measurement(
            name="top1_difference",
            value=difference,
            n=IMAGES,
            low=difference - 0.05,
            high=difference + 0.05,
            method="tango",
            split="test",
            baseline="teacher",
            conditions={"role": "shipped"},
        )
    )
    return rows


def top1(value: float, split: str, role: str | None = None, n: int = 100) -> Measurement:
    low, high = wilson(value * n, n)
    return Measurement(
        name="top1",
        value=value,
        better="higher",
        n=n,
        low=low,
        high=high,
        method="wilson",
        split=split,
        subject="model.onnx",
        conditions={"role": role} if role else {},
    )


def share(name: str, value: float, role: str) -> Measurement:
    return Measurement(
        name=name,
        value=value,
        n=IMAGES,
        low=value / 2,
        high=2 * value,
        method="bootstrap",
        split="test",
        conditions={"role": role},
    )


def cost(name: str, value: float, unit: str, role: str | None = None) -> Measurement:
    conditions = {"role": role} if role else {}
    return Measurement(name=name, value=value, unit=unit, better="lower", conditions=conditions)


def timed(
    name: str,
    value: float,
    unit: str,
    role: str,
    baseline: str | None = None,
    too_noisy: bool = False,
) -> Measurement:
    conditions: dict[str, Any] = {"role": role, "threads": 1, "batch": 1, "cpu": "A CPU"}
    if too_noisy:
        conditions["too_noisy"] = True
    return Measurement(
        name=name,
        value=value,
        unit=unit,
        n=50,
        low=0.9 * value,
        high=1.1 * value,
        method="bootstrap",
        baseline=baseline,
        conditions=conditions,
    )


def layers() -> list[Layer]:
    return [
        Layer(
            name=f"body.{number}.conv",
            type="Conv2d",
            parameters=100 * number,
            nonzero_parameters=50 * number,
            macs=10_000,
            precision="int8",
            sensitivity_db=30.0 + number,
        )
        for number in range(1, 7)
    ]
