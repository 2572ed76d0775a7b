"""Does an augmentation make one class look like another?  A quick probe on the training images.

Every image is answered by its nearest other one.  Two questions are asked.  Do augmented images
pass for another class: does a turned 6 lie nearer to the 9s than most 9s do?  And is an image as it
is answered worse where the others are known only as training shows them, augmented?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from augcompress.augmentations import Augmentation, Setting, build_pipeline
from augcompress.augmentations.pipeline import own
from augcompress.batch import Batch, Progress
from augcompress.datasets import Batches
from augcompress.datasets.drawing import stratified
from augcompress.evidence import Measurement
from augcompress.evidence.statistics import discordant, holm, mcnemar
from augcompress.measures.accuracy import share
from augcompress.running import Context

PROBED = 3000
"""Training images that are looked at, at most."""
EPOCHS = 2
"""Epochs whose augmented images are known."""
VIEWS = 8
"""Versions of an image that may pass for another class."""
SIDE = 16
"""Images are averaged down to this side, in pixels."""
SPREAD = 0.9
"""An image passes for a class when it is as near to it as this share of the class's own images."""
ALPHA = 0.05
_ROWS = 512


@dataclass(frozen=True)
class Collision:
    """Two classes that are mixed up more often with the augmentation."""

    classes: tuple[int, int]
    before: int
    """Images of either that are taken for the other without it."""
    after: int
    n: int
    """Images of either."""
    p: float
    """McNemar's exact p, adjusted after Holm for all pairs of classes."""


@dataclass(frozen=True)
class Probe:
    """What one augmentation does to the answers, each `(N,)` classes."""

    setting: Augmentation
    labels: np.ndarray
    before: np.ndarray
    """Answers where the images are known as they are."""
    after: np.ndarray
    """Answers where they are known as they are augmented."""
    taken_before: np.ndarray
    """The class that an image as it is passes for, its own unless it is another."""
    taken_after: np.ndarray
    """The class that one of its augmented versions passes for, its own unless it is another."""

    @property
    def p_worse(self) -> float:
        """McNemar's exact p of answers as good as before."""
        return mcnemar(*discordant(self.before == self.labels, self.after == self.labels))

    @property
    def worse(self) -> bool:
        """Are fewer answers right, beyond chance?"""
        fewer = (self.after == self.labels).sum() < (self.before == self.labels).sum()
        return bool(fewer) and self.p_worse < ALPHA

    def hurt(self) -> list[Collision]:
        """Pairs of classes that are told apart worse."""
        return collisions(self.labels, self.before, self.after)

    def lookalikes(self) -> list[Collision]:
        """Pairs of classes of which augmented images pass for the other."""
        return collisions(self.labels, self.taken_before, self.taken_after)

    def measurements(self, classes: Sequence[str]) -> list[Measurement]:
        """Accuracies before and after: of all, and of the classes that collide."""
        pairs = [*self.hurt(), *self.lookalikes()]
        rows = []
        for label in [None, *sorted({k for one in pairs for k in one.classes})]:
            of = np.ones(len(self.labels), bool) if label is None else self.labels == label
            for known, answers in {"as they are": self.before, "augmented": self.after}.items():
                row = share("probe_top1", (answers == self.labels)[of], split="train")
                told = {"operation": self.setting.kind, "images_known": known}
                told |= {} if label is None else {"class": classes[label]}
                rows.append(row.model_copy(update={"conditions": told}))
        return rows


def probe_labels(context: Context, settings: Sequence[Setting]) -> list[Probe]:
    """A probe for each augmentation whose settings may change labels."""
    risky = [each for each in map(own, settings) if each.probability and each.may_change_labels()]
    if not risky:
        return []
    batch = probed(context)
    known, owners = features(batch), torch.arange(len(batch))
    assert batch.targets is not None
    labels = batch.targets.argmax(1)
    answers = Answers(known, owners, labels)
    before, distance = answers.to(known, owners)
    radius = torch.stack(
        [
            distance[labels == k].quantile(SPREAD) if (labels == k).any() else torch.tensor(0.0)
            for k in range(batch.targets.shape[1])
        ]
    )
    found = []
    for setting in risky:
        trained = torch.cat([features(b) for b in versions(context, setting, batch, EPOCHS)])
        after, _ = Answers(trained, owners.repeat(EPOCHS), labels).to(known, owners)
        taken = passing(before, distance, radius, labels)
        shown = labels
        always = setting.model_copy(update={"probability": 1.0})
        for version in versions(context, always, batch, VIEWS):
            seen = passing(*answers.to(features(version), owners), radius, labels)
            shown = torch.where(shown == labels, seen, shown)
        arrays = [each.numpy() for each in (labels, before, after, taken, shown)]
        found.append(Probe(setting, *arrays))
    return found


def probed(context: Context) -> Batch:
    """Some training images, every class in its share, in [0,1]."""
    split, classes = context.data.train, len(context.data.classes)
    count = min(PROBED, len(split))
    chosen, _ = stratified(split.labels, count, (context.spec.seed, 3), leave_one=False)
    batches = Batches(split.take(chosen), classes, count, shuffle=False, seed=0)
    return next(iter(batches.epoch(0))).scaled()


def versions(context: Context, setting: Augmentation, batch: Batch, count: int) -> list[Batch]:
    """The batch as `count` epochs show it."""
    pipeline, seed = build_pipeline([setting], context.augmentation_facts), context.spec.seed
    return [pipeline(batch, seed=seed, progress=Progress(epoch=epoch)) for epoch in range(count)]


def features(batch: Batch) -> Tensor:
    """`(N,D)` pixels to compare, averaged down where images are larger than that."""
    images = batch.images().float()
    size = (min(images.shape[2], SIDE), min(images.shape[3], SIDE))
    return adaptive_avg_pool2d(images, size).flatten(1)


@dataclass(frozen=True)
class Answers:
    """Nearest neighbours (Euclid) among known images."""

    known: Tensor
    """`(M,D)`"""
    owners: Tensor
    """`(M,)` the image that each is a version of."""
    labels: Tensor
    """`(N,)` classes of these images."""

    def to(self, queries: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
        """`(Q,)` label of the nearest known image for each of `queries` `(Q,D)`, and its distance;
        versions of the same image are not looked at."""
        lengths, labels, distances = self.known.square().sum(1), [], []
        for start in range(0, len(queries), _ROWS):
            asked = queries[start : start + _ROWS]
            square = asked.square().sum(1, keepdim=True) + lengths - 2 * asked @ self.known.T
            same = owners[start : start + _ROWS, None] == self.owners
            nearest = square.masked_fill_(same, torch.inf).min(1)
            labels.append(self.labels[self.owners[nearest.indices]])
            distances.append(nearest.values.clamp_min(0).sqrt())
        return torch.cat(labels), torch.cat(distances)


def passing(answers: Tensor, distances: Tensor, radius: Tensor, labels: Tensor) -> Tensor:
    """`(N,)` the class that each image passes for: its answer where that is near enough to be one
    of that class, by `radius` `(classes,)`; else its own."""
    return torch.where(distances <= radius[answers], answers, labels)


def collisions(labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> list[Collision]:
    """The pairs of classes that are mixed up more often `after` than `before`, beyond chance:
    McNemar's exact test on the images of both, adjusted after Holm for all pairs; worst first."""
    tested = []
    for pair in sorted(_mixed(labels, before) | _mixed(labels, after)):
        early, late = (_taken_for_the_other(labels, each, pair) for each in (before, after))
        p = mcnemar(*discordant(late, early))
        n = int(np.isin(labels, pair).sum())
        tested.append(Collision(pair, int(early.sum()), int(late.sum()), n, p))
    classes = len(np.unique(labels))
    never = np.ones(max(0, classes * (classes - 1) // 2 - len(tested)))  # pairs that are not mixed
    p_values = holm(np.concatenate([[one.p for one in tested], never])).tolist()
    pairs = zip(tested, p_values, strict=False)
    found = [Collision(o.classes, o.before, o.after, o.n, p) for o, p in pairs if p < ALPHA]
    return sorted((o for o in found if o.after > o.before), key=lambda o: (o.p, o.before - o.after))


def _mixed(labels: np.ndarray, answers: np.ndarray) -> set[tuple[int, int]]:
    wrong = np.stack([labels, answers])[:, labels != answers]
    low, high = wrong.min(0).tolist(), wrong.max(0).tolist()
    return set(zip(low, high, strict=True))


def _taken_for_the_other(
    labels: np.ndarray, answers: np.ndarray, pair: tuple[int, int]
) -> np.ndarray:
    return np.isin(labels, pair) & np.isin(answers, pair) & (labels != answers)
