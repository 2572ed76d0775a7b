"""Which file is meant where a model is named: a file, a stage's folder or a run."""

from __future__ import annotations

from pathlib import Path

from augcompress.errors import AugcompressError
from augcompress.storage.files import RECORD_FILE
from augcompress.storage.runs import read_run, read_stage, shipping_stage, unfinished

GRAPH = ".onnx"
MODEL_ENDINGS = GRAPH, ".safetensors", ".pt", ".pth", ".th"
"""How names of model files end."""


def model_file(path: Path, *, network: bool = False) -> Path:
    """The file that is meant by a file, a stage's folder or a run: see `model_folder`.

    Raises AugcompressError when there is none.
    """
    if path.is_file() and path.suffix in MODEL_ENDINGS:
        return path
    folder = model_folder(path, network=network)
    artifact = read_stage(folder).artifact
    if artifact is None:
        raise AugcompressError(f"{folder}: this stage makes no model; name another")
    return Path(artifact)


def model_folder(path: Path, *, network: bool = False) -> Path:
    """The folder of the stage that is meant: itself, or of a run what it ships, else its last
    model.  With `network` the last that is no graph, where the run has one.

    Raises AugcompressError when it is neither, or the run has no model.
    """
    if not path.exists() and path.suffix in MODEL_ENDINGS:
        raise AugcompressError(f"{path}: no such file; check the path")
    if not path.is_dir():
        raise AugcompressError(
            f"{path}: is no run, stage or model file; give runs/NAME, runs/NAME/STAGE or a file"
            f" ({', '.join(MODEL_ENDINGS)})"
        )
    if (path / RECORD_FILE).is_file():
        return path
    made = {one.name: Path(one.artifact).suffix for one in read_run(path).stages if one.artifact}
    networks = [name for name, suffix in made.items() if suffix != GRAPH]
    stage = shipping_stage(path, networks if network and networks else [*made])
    if stage is None:
        raise AugcompressError(f"{path}: no stage has made a model yet; run: augcompress run")
    return path / stage


def stand_in(path: Path, *, network: bool = False) -> str:
    """For a run, which of its artefacts stands for it, and what is missing of an unfinished one:
    `runs/a: export/model.onnx stands for the run`.  Empty for everything else.

    Raises AugcompressError when a run has no model.
    """
    if not path.is_dir() or (path / RECORD_FILE).is_file():
        return ""
    file, absent = model_file(path, network=network), unfinished(path)
    missing = f"; unfinished: {', '.join(absent)} not done" if absent else ""
    return f"{path}: {file.parent.name}/{file.name} stands for the run{missing}"
