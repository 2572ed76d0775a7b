"""What every stage is given: the recipe, the run directory, the device, the data when it asks."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from augcompress.augmentations import AugmentationFacts, channel_covariance
from augcompress.batch import Batch
from augcompress.component import key_of
from augcompress.datasets import Batches, Data, DataFacts, Split, fit_normalization
from augcompress.errors import AugcompressError
from augcompress.evidence import Measurement
from augcompress.models import ModelFacts
from augcompress.running.data_notes import data_notes
from augcompress.spec import Sampling, Spec
from augcompress.storage import (
    RunDir,
    StoredArrays,
    digest_json,
    model_file,
    pending_stages,
    stage_records,
    stand_in,
)
from augcompress.system import Reporter, SilentReporter
from augcompress.training import ALONE, Processes, resolve_precision

EVALUATION_BATCH = 256
SMOKE_IMAGES = 320
COLOUR_SAMPLE = 2000
PLAIN = Sampling()


@dataclass
class Context:
    """One invocation: settings that are no part of the recipe, and the data, opened on demand."""

    spec: Spec
    run: RunDir
    recipe: str = ""
    """The recipe as it was named, for messages."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    reporter: Reporter = field(default_factory=SilentReporter)
    force: bool = False
    source: str | None = None
    """`--from`: the stage, run or file that this stage starts from."""
    teacher: str | None = None
    """`--teacher`: a run or file that stands in for the recipe's teacher."""
    processes: Processes = ALONE
    """Who trains along."""
    smoke: bool = False
    """`--smoke`: a sliver of the data, for training and for measuring."""
    allow_chance: bool = False
    """`--allow-chance`: go on with a network that is no better than guessing."""
    said: set[str] = field(default_factory=set)
    """What need not be said again."""
    licences: Sequence[Measurement] = ()
    """Of weights from elsewhere that the result of the stage that is carried out stands on."""
    fitted: Path | None = None
    """Folder of what `augment` fitted for the stage that is carried out."""

    @cached_property
    def data(self) -> Data:
        """The data set, decoded; stages that are already done never ask for it."""
        self.reporter.message(f"reading data: {self.spec.data.kind}")
        at_most = SMOKE_IMAGES if self.smoke else None
        facts = DataFacts(seed=self.spec.seed, at_most=at_most, stored=self.stored)
        data = self.spec.data.build(facts)
        sizes, *notes = data_notes(data)
        for note in [sizes] if self.is_begun else [sizes, *notes]:
            self.say_once(note)
        self.said.update(notes)
        return data

    @property
    def is_begun(self) -> bool:
        """Has a stage of this run been finished, whose command told what is to be known?"""
        return bool(set(stage_records(self.run.path)) - set(pending_stages(self.run.path)))

    def machine(self) -> str:
        """Where the stages run: `tiny: cpu, 2 threads, fp32`."""
        sections = [getattr(self.spec, name) for name in self.spec.stages()]
        trainings = [one.training for one in sections if getattr(one, "training", None)]
        wanted = [resolve_precision(one.precision, self.device) for one in trainings]
        threads = torch.get_num_threads()
        several = [f"{self.processes.world} processes"] if self.processes.world > 1 else []
        parts = [str(self.device), *several, f"{threads} thread{'s' if threads > 1 else ''}"]
        return f"{self.spec.name}: {', '.join([*parts, *dict.fromkeys(wanted)])}"

    @property
    def stored(self) -> StoredArrays:
        """Decoded images that stages have in common."""
        return StoredArrays(self.run.store, self.reporter.message)

    def keep_spec(self) -> None:
        """Write the resolved recipe into the run directory, for whoever reads the run later."""
        self.run.write_text("spec.json", self.spec.model_dump_json(indent=1) + "\n")

    def data_notes(self) -> list[str]:
        """What a user should know of the data, in sentences."""
        return data_notes(self.data)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the data's content; decodes nothing."""
        return self.spec.data.fingerprint()

    def data_key(self) -> object:
        """What of the data decides a stage's result."""
        return [self.fingerprint, key_of(self.spec.data), self.smoke]

    @cached_property
    def recipe_digest(self) -> str:
        """Digest of everything in the recipe that decides results."""
        return self.spec.digest()

    @property
    def version(self) -> str:
        """The package's version."""
        return importlib.metadata.version("augcompress")

    @property
    def model_facts(self) -> ModelFacts:
        """What a model must fit."""
        return ModelFacts(len(self.data.classes), self.data.input)

    @property
    def augmentation_facts(self) -> AugmentationFacts:
        """What an augmentation may know."""
        data = self.data
        return AugmentationFacts(
            samples=len(data.train),
            classes=len(data.classes),
            channels=data.channels,
            size=data.size,
            mean=self.mean_colour,
            seed=self.spec.seed,
            covariance=self.colour_covariance,
            fitted={one.name: one for one in self.fitted.iterdir()} if self.fitted else {},
        )

    @cached_property
    def mean_colour(self) -> tuple[float, ...]:
        """Mean of each channel over the training images, in [0,1]; the constants of the recipe
        where it gives some."""
        data = self.data
        how = getattr(self.spec.data, "normalization", None)  # a plug-in may have none
        if how in ("none", "minmax"):
            return tuple(fit_normalization("standardize", data.train, data.channels)[0])
        return tuple(data.mean)

    def colour_covariance(self) -> torch.Tensor:
        """`(C,C)` covariance of the training images' colours, in [0,1]: of at most 2,000 of them,
        evenly spread."""
        return self._colour_covariance

    @cached_property
    def _colour_covariance(self) -> torch.Tensor:
        train = self.split("train")
        count = min(COLOUR_SAMPLE, len(train))
        chosen = np.linspace(0, len(train) - 1, count).round().astype(np.int64)
        return channel_covariance(train.fetch(chosen))

    def split(self, name: str) -> Split:
        """`train`, `validation` or `test`.

        Raises AugcompressError when the split is empty.
        """
        split = getattr(self.data, name)
        if len(split) == 0:
            raise AugcompressError(f"data: the {name} split is empty; give it images")
        return split

    def training_batches(
        self,
        batch_size: int,
        processes: Processes = ALONE,
        where: str = "data",
        sampling: Sampling = PLAIN,
    ) -> Batches:
        """Shuffled training batches, or this process's share of each; the incomplete last one is
        dropped.  Probes and calibration see whole batches in every process, and plain ones.

        Raises AugcompressError when the split is smaller than a batch.
        """
        return Batches(
            self.split("train"),
            len(self.data.classes),
            batch_size,
            shuffle=True,
            seed=self.spec.seed,
            drop_last=True,
            rank=processes.rank,
            world=processes.world,
            balance=sampling.class_balance,
            repeat=sampling.repeat,
            where=f"{where}.training",
        )

    def evaluated(self, split: str, limit: int | None = None) -> Split:
        """A split as it is measured: all of it; or `limit` samples, evenly spread, as folders are
        sorted by class."""
        part = self.split(split)
        limit = EVALUATION_BATCH if limit is None and self.smoke else limit
        if limit is None or limit >= len(part):
            return part
        return part.take(np.linspace(0, len(part) - 1, limit).round().astype(np.int64))

    def evaluation_batches(self, split: str, limit: int | None = None) -> Iterator[Batch]:
        """Batches of a split in order, every sample once; or of `limit` of them."""
        part, classes = self.evaluated(split, limit), len(self.data.classes)
        batches = Batches(part, classes, EVALUATION_BATCH, shuffle=False, seed=self.spec.seed)
        return batches.epoch(0)

    def example(self) -> torch.Tensor:
        """Two real validation images `(2,C,H,W)` in [0,1], for tracing and counting."""
        images = self.data.ready(next(self.evaluation_batches("validation", 2)), "cpu").images()
        return images[[0, -1]].contiguous()

    def ready(self, batch: Batch) -> Batch:
        """The batch as networks take it, on this device: see `Data.ready`."""
        return self.data.ready(batch, self.device)

    def seed_everything(self, *words: str | int) -> None:
        """Start torch's stream (initial weights, dropout) at a place that the recipe's seed and
        these words decide: other words, another place."""
        digest = digest_json([self.spec.seed, *words])
        torch.manual_seed(int(digest[:16], 16) >> 1)

    def model(self, given: str, *, network: bool) -> Path:
        """The file that `--from` or `--teacher` names: itself, or that of a stage's folder or a
        run, which is said.  `network`: of a run, a network rather than its graph.

        Raises AugcompressError when there is none.
        """
        path = Path(given).expanduser()
        self.say_once(stand_in(path, network=network))
        return model_file(path, network=network)

    def say_once(self, text: str) -> None:
        """A message that is not repeated, whatever stage asks for it; nothing, where it is
        empty."""
        if text and text not in self.said:
            self.said.add(text)
            self.reporter.message(text)
