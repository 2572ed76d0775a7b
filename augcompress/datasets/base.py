"""What every data set has in common: its settings, and how its source is split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, field_validator, model_validator

from augcompress.component import Component
from augcompress.datasets.choosing import only
from augcompress.datasets.class_names import check_class_names
from augcompress.datasets.copies import find_copies
from augcompress.datasets.data import Data, DataFacts, Source
from augcompress.datasets.drawing import FIXED_SEED, kept, stratified
from augcompress.datasets.folds import hold_out
from augcompress.datasets.normalization import GivenNormalization, fit_normalization
from augcompress.datasets.splits import Split
from augcompress.errors import AugcompressError

ClassName = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) is int else name)]
"""A class by its name; YAML reads `8` as a number."""


class DatasetSettings(Component, ABC):
    """Labelled images.  A kind says how to `read` its source and to `fingerprint` it."""

    classes: tuple[ClassName, ...] | None = Field(None, min_length=2)
    """Names of the classes to tell apart, in the order in which the network numbers them; images of
    the others are left out of every part.  None: all.  A teacher that knows more classes answers
    for these only."""
    validation: float = Field(0.1, gt=0, lt=1)
    """Share of the source part kept for validation, where the source does not bring its own."""
    validation_from: Literal["train", "test"] = "train"
    """The part that validation is cut from.  `test` where public weights have seen all training
    images: test is then the rest, the same for every seed."""
    subset: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, le=1)] | None = None
    """Train on a stratified share (a float) or number (an integer) of the images; None: on all."""
    keep: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(default_factory=dict)
    """Share of the training images that is kept of a class, by its name (one image at least); of
    the others, all.  `{"8": 0.02}` tries out how a class fares that is rare; validation and test
    images stay."""
    normalization: Literal["standardize", "minmax", "none"] | GivenNormalization = "standardize"
    """`standardize`: mean 0, standard deviation 1; `minmax`: 0 to 1; both fitted per channel on
    the training split.  Or `{mean: […], std: […]}`.  It becomes a network's first layer.  One that
    starts from weights of a published design (`pretrained`, or a file) has theirs, where this says
    `standardize`."""
    folds: int | None = Field(None, ge=2)
    """k-fold cross-validation: the training images are divided into so many stratified parts, the
    same for every seed, and one of them takes the place of the test images, which stay unused;
    None: the data's own test images."""
    fold: int = Field(0, ge=0)
    """The part that is held out, from 0."""

    @field_validator("classes")
    @classmethod
    def classes_are_named_once(cls, classes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Each class has one number."""
        twice = [name for name in classes or () if (classes or ()).count(name) > 1]
        if twice:
            raise ValueError(f"class {twice[0]!r} is named twice; name it once")
        return classes

    @model_validator(mode="after")
    def fold_is_one_of_the_folds(self) -> Self:
        """The part that is held out exists, and validation comes from the others."""
        if self.fold >= (self.folds or 1):
            raise ValueError(
                f"fold {self.fold} is none of the folds, which are counted from 0"
                if self.folds
                else f"fold {self.fold} needs folds; say how many there are"
            )
        if self.folds is not None and self.validation_from == "test":
            raise ValueError(
                "folds hold out training images and leave the test images unused; leave out"
                " validation_from: test, or folds"
            )
        return self

    @abstractmethod
    def read(self) -> Source:
        """The source's images and labels; files need not be decoded.  Raises AugcompressError when
        they cannot be read."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Digest of the source's content: not of paths, not of settings; decodes no image."""

    def build(self, facts: DataFacts) -> Data:
        """The data set, split and described.

        Raises AugcompressError when the source cannot be read or split as asked.
        """
        source = _with_test_part(self.read().decoded(facts.stored))
        _check_labels(source)
        all_classes = source.classes
        if self.classes is not None:
            source = only(source, self.classes)
        _check_every_class_is_trained(source)
        if self.folds is not None:
            source = hold_out(source, self.folds, self.fold)
        unlabelled, validation, test = self._split(source, facts.seed)
        train = self._cut_down(unlabelled, source.classes, facts.seed)
        train = self._thinned(train, source.classes, facts.seed)
        if facts.at_most is not None and facts.at_most < len(train):
            train = _drawn(train, facts.at_most, facts.seed)
        channels, height, width = train.fetch(np.arange(1)).shape[1:]
        mean, std = fit_normalization(self.normalization, train, channels)
        return Data(
            classes=source.classes,
            channels=channels,
            size=(height, width),
            train=train,
            validation=validation,
            test=test,
            unlabelled=unlabelled,
            mean=mean,
            std=std,
            resizing=source.resizing,
            all_classes=all_classes,
            copies=find_copies(train, validation, test, source.classes),
            skipped=source.skipped,
            notes=source.notes,
        )

    def _split(self, source: Source, seed: int) -> tuple[Split, Split, Split]:
        if source.validation is not None:
            return source.train, source.validation, source.test
        if self.validation_from == "test":
            validation, test = self._cut(source.test, FIXED_SEED)
            return source.train, validation, test
        validation, train = self._cut(source.train, (seed, 1))
        return train, validation, source.test

    def _cut(self, part: Split, seed: tuple[int, ...]) -> tuple[Split, Split]:
        count = round(self.validation * len(part))
        taken, rest = stratified(part.labels, count, seed)
        if not len(taken) or not len(rest):
            raise AugcompressError(
                f"data.validation: {self.validation} of {len(part)} {self.validation_from} images"
                " leaves a part empty; change the share or add images"
            )
        return part.take(taken), part.take(rest)

    def _cut_down(self, train: Split, classes: list[str], seed: int) -> Split:
        if not self.keep:
            return train
        unknown = sorted(set(self.keep) - set(classes))
        if unknown:
            raise AugcompressError(
                f"data.keep: {unknown[0]} is no class; there are: {', '.join(classes)}"
            )
        shares = np.array([self.keep.get(name, 1.0) for name in classes])
        return train.take(kept(train.labels, shares, (seed, 3)))

    def _thinned(self, train: Split, classes: list[str], seed: int) -> Split:
        if self.subset is None:
            return train
        whole = isinstance(self.subset, int)
        count = int(self.subset) if whole else round(self.subset * len(train))
        if not 1 <= count <= len(train):
            raise AugcompressError(
                f"data.subset: {self.subset} is {count} of {len(train)} training images; ask for"
                " at least one and no more than there are"
            )
        drawn = _drawn(train, count, seed)
        if missing := _missing(drawn, classes):
            raise AugcompressError(
                f"data.subset: {self.subset} leaves no training image of class"
                f" {', '.join(missing)}; raise it, or leave the class out with data.classes"
            )
        return drawn


def _drawn(train: Split, count: int, seed: int) -> Split:
    return train.take(stratified(train.labels, count, (seed, 2), leave_one=False)[0])


def _with_test_part(source: Source) -> Source:
    """The source, with its validation images as test part where it has no other."""
    if len(source.test) or source.validation is None:
        return source
    note = (
        "data: there is no test part: the validation images are it, and other ones are cut from the"
        " training images"
    )
    notes = [*source.notes, note]
    return replace(source, test=source.validation, validation=None, notes=notes)


def _check_labels(source: Source) -> None:
    check_class_names(source.classes)
    for split in (source.train, source.test, source.validation):
        if split is None or not len(split):
            continue
        low, high = int(split.labels.min()), int(split.labels.max())
        if low < 0 or high >= len(source.classes):
            raise AugcompressError(
                f"data: label {low if low < 0 else high}, but there are {len(source.classes)}"
                " classes, numbered from 0; correct the labels"
            )


def _check_every_class_is_trained(source: Source) -> None:
    if missing := _missing(source.train, source.classes):
        raise AugcompressError(
            f"data: no training image of class {', '.join(missing)}; add some, or leave the class"
            " out with data.classes"
        )
    if not len(source.test):
        raise AugcompressError("data: no test image; add some")


def _missing(train: Split, classes: list[str]) -> list[str]:
    """The classes without a training image."""
    counts = np.bincount(train.labels, minlength=len(classes))
    return [classes[place] for place in np.flatnonzero(counts == 0)]
