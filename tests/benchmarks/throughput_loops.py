"""Loops that train the same network on the same images: ours, one written by hand, and the usual
one of torchvision's transforms and a DataLoader.  Used by `tests.benchmarks.throughput`."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from augcompress.augmentations import build_pipeline
from augcompress.batch import Batch, Progress
from augcompress.learning.fitting import batches_for, engine_for
from augcompress.learning.student import StudentLearner, TrainingSetup
from augcompress.networks import NetworkTeacher, new_network
from augcompress.running.context import Context
from augcompress.scoring.scores import accuracy_scorer
from augcompress.spec import Spec, validate
from augcompress.storage.run_directory import RunDir
from augcompress.training import fit, resolve_precision

WARM_UP = 5
"""Steps before the clock starts."""
CLASSES = 10
LR, MOMENTUM, DECAY = 0.02, 0.9, 5e-4
TEMPERATURE, SOFT = 4.0, 0.9
"""Of the soft targets: their temperature, their weight; the labels have the rest."""
PADDING = 4
LOOK_EVERY = 20
"""Steps between two looks at the loss, as our loop has it."""
LAST = torch.channels_last
WATCH = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
WATCH += ["--loop-ms=100"]


@dataclass(frozen=True)
class Work:
    """What is trained on what."""

    student: dict[str, Any]
    teacher: dict[str, Any] | None = None
    side: int = 32
    batch: int = 128
    steps: int = 40
    """Steps on the clock."""

    @property
    def whole(self) -> int:
        """Steps of the epoch, those off the clock included."""
        return WARM_UP + self.steps + 1


class Clock:
    """Wall time from the start of step `WARM_UP` to the start of the step `steps` later: so many
    batches are fetched, augmented and learned from in between, and nothing else."""

    def __init__(self, work: Work, device: torch.device) -> None:
        self.work, self.device = work, device
        self.started = self.seconds = 0.0
        self.busy: list[float] = []
        """Share of the time in which the GPU computed, in percent, ten times a second."""

    def tick(self, step: int) -> None:
        """Step `step` starts."""
        if step not in (WARM_UP, WARM_UP + self.work.steps):
            return
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.started, self.seconds = now, now - self.started
        if self.device.type == "cuda":
            self._watch(begins=step == WARM_UP)

    def _watch(self, *, begins: bool) -> None:
        if begins:
            self._watcher = subprocess.Popen(WATCH, stdout=subprocess.PIPE, text=True)
            return
        self._watcher.terminate()
        self.busy = [float(line) for line in self._watcher.communicate()[0].split()]

    @property
    def images_per_s(self) -> float:
        """Throughput."""
        return self.work.batch * self.work.steps / self.seconds


class Clocked(StudentLearner):
    """Our learner; it tells when steps start, and its losses where somebody listens."""

    clock: Clock
    losses: list[float] | None = None

    def on_progress(self, progress: Progress) -> None:
        super().on_progress(progress)
        self.clock.tick(progress.step)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        found = super().forward(batch)
        if self.losses is not None:
            self.losses.append(sum(float(loss.detach()) for loss in found.values()))
        return found


class Pictures(Dataset):
    """Images one by one through PIL, as torchvision's data sets hand them out."""

    def __init__(self, images: Tensor, labels: Tensor, transform: Any) -> None:
        self.images, self.labels = images.permute(0, 2, 3, 1).numpy(), labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[place])), self.labels[place]


class Place:
    """Images in memory and the loops, each of which trains a fresh student for one epoch."""

    def __init__(self, work: Work, folder: Path, device: torch.device) -> None:
        self.work, self.folder, self.device = work, folder, device
        self.context = Context(recipe(work, folder), RunDir(folder / "run"), device=device)
        self.settings: Any = self.context.spec.distill
        train = self.context.data.train
        self.images = train.fetch(np.arange(len(train)))  # uint8 (N, 3, side, side)
        self.labels = torch.from_numpy(train.labels)
        self.teacher = None if work.teacher is None else self.settled_teacher()
        self.loaders: dict[int, DataLoader] = {}

    def network(self, model: Any, where: str = "distill") -> Any:
        """A network with its initial weights, the same every time."""
        return new_network(self.context, model, None, where)

    def settled_teacher(self) -> nn.Module:
        """A teacher whose batch norms know the images, so that its logits are of the usual size."""
        model: Any = self.context.spec.train_teacher
        network = self.network(model.model, "train_teacher").module.to(self.device).train()
        with torch.no_grad():
            for _ in range(20):
                network(self.images[: min(self.work.batch, 64)].to(self.device).float() / 255)
        return NetworkTeacher(network, self.device).network

    def autocast(self, precision: str) -> torch.autocast:
        """Mixed precision as our loop resolves it."""
        dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16}
        dtype = dtypes.get(resolve_precision(precision, self.device))
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """What a hand-written loop has: norms and biases do not decay."""
        groups = [
            {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": DECAY},
            {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.SGD(groups, lr=LR, momentum=MOMENTUM, nesterov=True)

    def ours(self, precision: str = "auto", losses: list[float] | None = None) -> Clock:
        """`fit`, as the stage `distill` calls it."""
        training = self.settings.training.model_copy(update={"precision": precision})
        augmentations = self.context.spec.augmentations("distill")
        teachers = () if self.teacher is None else (NetworkTeacher(self.teacher, self.device),)
        setup = TrainingSetup("distill", self.settings.objectives, augmentations, teachers)
        engine = engine_for(self.context, "distill", training, self.folder / "stage")
        student, score = self.network(self.settings.student), accuracy_scorer(self.context, engine)
        learner = Clocked(student.module, setup, self.context, score)
        learner.clock, learner.losses = Clock(self.work, self.device), losses
        shutil.rmtree(self.folder / "stage", ignore_errors=True)
        fit(learner, batches_for(self.context, setup, training), training, engine)
        return learner.clock

    def by_hand(
        self, precision: str = "auto", losses: list[float] | None = None, layout: Any = LAST
    ) -> Clock:
        """What one writes without a library: the same images in the same order, in memory."""
        clock, device, size = Clock(self.work, self.device), self.device, self.work.batch
        augmentations = self.context.spec.augmentations("distill")
        augment = build_pipeline(augmentations, self.context.augmentation_facts)
        student = self.network(self.settings.student).module
        student = student.to(device, memory_format=layout).train()
        optimizer, images, labels = self.optimizer(student), self.images, self.labels
        order = torch.from_numpy(np.random.default_rng((0, 0)).permutation(len(images)))
        for step in range(self.work.whole):
            clock.tick(step)
            index = order[step * size : (step + 1) * size]
            pixels = sent(images.index_select(0, index), device).float().div_(255)
            targets = sent(labels[index], device)
            batch = Batch(pixels, None, sent(index, device))
            shown = augment(batch, seed=0, progress=Progress(epochs_done=0)).images()
            shown = shown.contiguous(memory_format=layout)
            with self.autocast(precision):
                logits = student(shown).float()
                with torch.no_grad():
                    taught = None if self.teacher is None else self.teacher(shown).float()
            loss = F.cross_entropy(logits, targets)
            if taught is not None:
                loss = SOFT * softened(logits, taught) + (1 - SOFT) * loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if losses is not None or step % LOOK_EVERY == 0:
                (losses if losses is not None else []).append(loss.item())
        return clock

    def by_loader(self, workers: int, spared: int = 0) -> Clock:
        """The usual way: an image at a time in processes of a DataLoader; labels alone.  `spared`
        threads of training's are left to the workers."""
        clock, device, threads = Clock(self.work, self.device), self.device, torch.get_num_threads()
        torch.set_num_threads(max(1, threads - spared))
        student = self.network(self.settings.student).module.body  # the transforms normalise
        student = student.to(device, memory_format=LAST).train()
        optimizer = self.optimizer(student)
        for step, (images, labels) in enumerate(self.loader(workers)):
            clock.tick(step)
            with self.autocast("auto"):
                logits = student(images.to(device, memory_format=LAST))
            loss = F.cross_entropy(logits.float(), labels.to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if step % LOOK_EVERY == 0:
                loss.item()
        torch.set_num_threads(threads)
        return clock

    def loader(self, workers: int) -> DataLoader:
        """Kept with its processes from one epoch to the next."""
        if workers not in self.loaders:
            data, side = self.context.data, self.work.side
            crop, flip = transforms.RandomCrop(side, PADDING), transforms.RandomHorizontalFlip()
            scale = transforms.Normalize(data.mean, data.std)
            steps = transforms.Compose([crop, flip, transforms.ToTensor(), scale])
            self.loaders[workers] = DataLoader(
                Pictures(self.images, self.labels, steps),
                self.work.batch,
                shuffle=True,
                drop_last=True,
                num_workers=workers,
                persistent_workers=True,
            )
        return self.loaders[workers]


def recipe(work: Work, folder: Path) -> Spec:
    """The recipe of `ours`."""
    soft = {"kind": "soft_targets", "temperature": TEMPERATURE, "weight": SOFT}
    labels = {"kind": "labels", "weight": 1.0 if work.teacher is None else 1 - SOFT}
    sgd = {"kind": "sgd", "lr": LR, "momentum": MOMENTUM, "weight_decay": DECAY}
    crop = {"kind": "random_crop", "padding": PADDING}
    training = {"epochs": 1, "batch_size": work.batch, "optimizer": sgd}
    raw = {
        "version": 1,
        "name": "throughput",
        "data": {"kind": "arrays", "path": str(random_images(work, folder))},
        "augment": {"pipeline": [crop, {"kind": "horizontal_flip"}]},
        "distill": {
            "student": work.student,
            "objectives": [labels] if work.teacher is None else [soft, labels],
            "training": {**training, "schedule": {"kind": "constant"}},
        },
    }
    if work.teacher is not None:
        raw["train_teacher"] = {"model": work.teacher}
    return validate(raw)


def random_images(work: Work, folder: Path) -> Path:
    """A file of images and labels of the size that is asked for."""
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for part, count in (("train", work.whole * work.batch), ("validation", 64), ("test", 64)):
        shape = (count, 3, work.side, work.side)
        arrays[f"x_{part}"] = random.integers(0, 256, shape, np.uint8)
        arrays[f"y_{part}"] = np.arange(count) % CLASSES
    np.savez(folder / "images.npz", **arrays)
    return folder / "images.npz"


def softened(logits: Tensor, taught: Tensor) -> Tensor:
    """T² KL of the softened teacher from the softened student."""
    student = F.log_softmax(logits / TEMPERATURE, dim=1)
    teacher = F.softmax(taught / TEMPERATURE, dim=1)
    return TEMPERATURE**2 * F.kl_div(student, teacher, reduction="batchmean")


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """To the device, for CUDA through pinned memory and without waiting."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
