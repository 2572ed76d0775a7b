"""An image classifier in the format of Hugging Face transformers."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import ValidationInfo, model_validator
from torch import Tensor, nn

from augcompress.component import FilePath, NotInKey, expand_path, start_of
from augcompress.errors import AugcompressError, first_line, require
from augcompress.models.base import ModelFacts, ModelSettings, PretrainedWeights, TrainedWith
from augcompress.models.head import find_head
from augcompress.models.hugging_face_card import licence_said
from augcompress.models.hugging_face_images import (
    PREPROCESSOR,
    constants_in,
    read_preprocessor,
    trained_with,
)

CONFIG = "config.json"
EXTRA = "hugging-face"
# What a config says beside the design: where it lay, who wrote it, labels, number types, code.
_NO_DESIGN = {
    "_name_or_path",
    "architectures",
    "auto_map",
    "custom_pipelines",
    "dtype",
    "id2label",
    "label2id",
    "num_labels",
    "quantization_config",
    "torch_dtype",
    "transformers_version",
}


class HuggingFaceModel(ModelSettings):
    """A classifier of transformers (https://huggingface.co/docs/transformers), from a folder with
    its `config.json`; extra `hugging-face`.

    The head has the data's class count.  Only transformers' own classes are built and only
    safetensors are read: no code comes from the folder.  The design is kept with the settings, so
    that a checkpoint does not need the folder again.
    """

    kind: Literal["hugging_face"] = "hugging_face"
    path: Annotated[FilePath | None, NotInKey()] = None
    """Folder with `config.json` and, for `pretrained`, `model.safetensors`."""
    name: str | None = None
    """Name on the Hugging Face hub, downloaded once; only with `pretrained`."""
    revision: str | None = None
    """Commit, tag or branch on the hub; None: its main branch."""
    config: dict[str, Any] | None = None
    """The design: `model_type` and its settings.  None: what `config.json` says."""
    pretrained: bool = False
    """Start from the weights in the folder or on the hub; the head stays fresh where the class
    count differs."""
    mean: tuple[float, ...] | None = None
    """Mean of each channel that the weights were trained with; None: what the folder's
    `preprocessor_config.json` says, else the data's."""
    std: tuple[float, ...] | None = None
    """Standard deviation of each channel that the weights were trained with, likewise."""
    weights_sha256: str | None = None
    """SHA-256 of the folder's `model.safetensors`; None: of what is there when the recipe is
    read."""

    @model_validator(mode="before")
    @classmethod
    def folder_is_read(cls, data: Any, info: ValidationInfo) -> Any:
        """Design and digest come into the settings, and with them into the stage's key."""
        if not isinstance(data, dict) or not isinstance(data.get("path"), str):
            return data
        told, given = dict(data), data["path"]
        folder = Path(expand_path(given, start_of(given, info)))
        if told.get("config") is None:
            told["config"] = read_design(folder)
        if told.get("pretrained") is True:
            told = {**constants_in(read_preprocessor(folder / PREPROCESSOR)), **told}
        if told.get("pretrained") is True and told.get("weights_sha256") is None:
            told["weights_sha256"] = digest(folder)
        return told

    @model_validator(mode="after")
    def one_source(self) -> HuggingFaceModel:
        if self.name is not None and not self.pretrained:
            raise ValueError("name needs pretrained: true; without, give path or config")
        if self.name is not None and self.path is not None:
            raise ValueError("path and name are both given; give one of them")
        if self.name is None and self.config is None:
            raise ValueError("names no network; give path, a folder with a config.json")
        if self.pretrained and self.name is None and self.path is None:
            raise ValueError("pretrained needs weights; give path or name")
        return self

    def trained_with(self, weights: str | None = None) -> TrainedWith | None:
        """What `preprocessor_config.json` says, in the folder or on the hub."""
        if not self.pretrained and weights is None:
            return None
        return trained_with(self._preprocessor(), self.mean, self.std)

    def _preprocessor(self) -> dict[str, Any]:
        """What is said of the images; nothing where nobody says it or the hub is out of reach."""
        if self.name is None:
            return read_preprocessor(Path(self.path) / PREPROCESSOR) if self.path else {}
        from transformers.utils import cached_file

        quiet = dict.fromkeys(("missing_entries", "gated_repo", "connection_errors"), False)
        told = {f"_raise_exceptions_for_{name}": value for name, value in quiet.items()}
        found = cached_file(self.name, PREPROCESSOR, revision=self.revision, **told)
        return read_preprocessor(Path(found)) if found else {}

    def pretrained_weights(self) -> PretrainedWeights | None:
        if not self.pretrained:
            return None
        name = self.name or Path(str(self.path)).name
        return PretrainedWeights(
            f"hugging_face {name}", licence_said(self.path, self.name, self.revision)
        )

    def build(self, facts: ModelFacts) -> nn.Module:
        """The network.

        Raises AugcompressError when transformers is not installed, knows no such classifier, or
        the weights are absent, have changed or do not fit.
        """
        transformers = require("transformers", extra=EXTRA)
        with _quietly(transformers):
            config = self._config(transformers)
            config.num_labels = facts.classes
            if self.pretrained:
                network = self._pretrained(transformers, config, facts)
            else:
                network = self._fresh(transformers, config, facts)
        return Logits(network).train()

    @property
    def _where(self) -> str:
        design = (self.config or {}).get("model_type", "")
        return f"model hugging_face {self.name or self.path or design}"

    def _config(self, transformers: Any) -> Any:
        try:
            if self.config is None:
                offline = not self.pretrained
                return transformers.AutoConfig.from_pretrained(
                    self.name, revision=self.revision, local_files_only=offline
                )
            design = _design(self.config)
            return transformers.AutoConfig.for_model(design.pop("model_type", ""), **design)
        except Exception as error:  # a config may break any of transformers' classes
            raise AugcompressError(
                f"{self._where}: the config cannot be used: {first_line(error)}; mend"
                f" {CONFIG}, or download the model and give path"
            ) from error

    def _fresh(self, transformers: Any, config: Any, facts: ModelFacts) -> nn.Module:
        height, width = facts.input.size
        fitting = {"num_channels": facts.input.channels, "image_size": facts.input.size}
        if height == width:
            fitting["image_size"] = height
        for name, value in fitting.items():
            if hasattr(config, name):
                setattr(config, name, value)
        classifier = transformers.AutoModelForImageClassification
        try:
            return classifier.from_config(config, dtype=torch.float32, trust_remote_code=False)
        except Exception as error:  # a config may break any of transformers' classes
            raise AugcompressError(
                f"{self._where}: cannot be built: {first_line(error)}; give the config of an image"
                " classifier"
            ) from error

    def _pretrained(self, transformers: Any, config: Any, facts: ModelFacts) -> nn.Module:
        self._check_weights()
        try:
            network, told = transformers.AutoModelForImageClassification.from_pretrained(
                self.path or self.name,
                config=config,
                revision=self.revision or "main",
                local_files_only=self.path is not None,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                trust_remote_code=False,
                dtype=torch.float32,
            )
        except Exception as error:  # the hub, the file or the network may fail in any way
            raise AugcompressError(
                f"{self._where}: the weights cannot be loaded: {first_line(error)}; give a folder"
                f" with {CONFIG} and model.safetensors"
            ) from error
        _check_all_loaded(network, told, facts, self._where)
        return network

    def _check_weights(self) -> None:
        if self.path is None:
            return
        try:
            found = digest(Path(self.path))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise AugcompressError(
                f"{self._where}: {self.path}: {reason}; check the path"
            ) from error
        if found != self.weights_sha256:
            raise AugcompressError(
                f"{self._where}: the weights are others than weights_sha256 says; correct it, or"
                " restore the file"
            )


class Logits(nn.Module):
    """A classifier of transformers that returns its logits `(N,classes)` alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(pixel_values=images).logits


def read_design(folder: Path) -> dict[str, Any]:
    """The design in a folder's `config.json`.  Raises ValueError when there is none."""
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{folder / CONFIG}: {error.strerror}; give its folder") from error
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: is no JSON ({error}); write it again") from error
    if not isinstance(found, dict) or "model_type" not in found:
        raise ValueError(f"{folder / CONFIG}: names no model_type; give a transformers model")
    return _design(found)


def _design(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in _NO_DESIGN}


def digest(folder: Path) -> str:
    """SHA-256 of a folder's safetensors file, or of the digests where the weights lie in several.

    Raises ValueError when there is none.
    """
    digests = []
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    if not digests:
        raise ValueError(f"{folder}: holds no .safetensors; save the model with save_pretrained")
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def _check_all_loaded(
    network: nn.Module, told: dict[str, Any], facts: ModelFacts, where: str
) -> None:
    """Raises AugcompressError when anything but the head stayed fresh."""
    fresh = {*told["missing_keys"], *(name for name, *_ in told["mismatched_keys"])}
    head = _class_names(network, facts) if fresh else set()
    wrong = sorted(fresh - head)
    if wrong:
        raise AugcompressError(
            f"{where}: the weights do not fit the network: {wrong[0]}; give the config"
            " that they were trained with"
        )


def _class_names(network: nn.Module, facts: ModelFacts) -> set[str]:
    """What of the network's state has an entry for each class; all of it where the network cannot
    take the images: whoever checks it says so."""
    try:
        found = find_head(Logits(network), facts.example()).classes
    except (RuntimeError, ValueError):
        return {*network.state_dict()}
    return {name.removeprefix("network.") for name in found}


@contextlib.contextmanager
def _quietly(transformers: Any) -> Iterator[None]:
    """Without the library's progress bars and reports."""
    log = transformers.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
