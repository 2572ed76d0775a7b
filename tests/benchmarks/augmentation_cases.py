"""The same operation in augcompress, torchvision and kornia, for the bench of their cost."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from PIL import Image
from pydantic import TypeAdapter
from torch import Tensor
from torchvision.transforms import v2

from augcompress.augmentations import AnyAugmentation, AugmentationFacts, build_pipeline
from augcompress.batch import Batch, Progress

K: Any = None
if importlib.util.find_spec("kornia") is not None:
    import kornia.augmentation as K

BILINEAR = v2.InterpolationMode.BILINEAR
SHIFT = (0.1, 0.1)
Transforms = Callable[[int], list[Any]]


@dataclass(frozen=True)
class Case:
    """One operation, or several in a row; settings as equal as the libraries allow."""

    name: str
    ours: list[dict[str, Any]]
    torchvision: Transforms | None = None
    """For images of a side: transforms of one PIL image or one uint8 tensor."""
    late: Transforms = field(default=lambda side: [])
    """Transforms of one float tensor, after those."""
    batched: Transforms | None = None
    """torchvision's transforms of a batch with labels, which draw once for all of it."""
    kornia: Transforms | None = None
    """For images of a side: modules on a float batch."""

    def seldom(self, probability: float) -> Case:
        """Every operation with this probability, each image by itself; mixing of a whole batch and
        kornia's policies have no such thing."""

        def sometimes(make: Transforms) -> Transforms:
            return lambda side: [_seldom(each, probability) for each in make(side)]

        def kornias(side: int) -> list[Any]:
            modules = self.kornia(side) if self.kornia is not None else []
            for module in modules:
                module.p = probability
            return modules

        return replace(
            self,
            ours=[{**settings, "probability": probability} for settings in self.ours],
            torchvision=None if self.torchvision is None else sometimes(self.torchvision),
            late=sometimes(self.late),
            batched=None,
            kornia=None if self.name in POLICIES or self.batched is not None else kornias,
        )


def _seldom(transform: Any, probability: float) -> Any:
    if not hasattr(transform, "p"):
        return v2.RandomApply([transform], probability)
    transform.p = probability
    return transform


POLICIES = ("rand_augment", "trivial_augment", "auto_augment", "augmix")


def one(name: str, settings: dict[str, Any], *makers: Any, **more: Any) -> Case:
    """A case of one operation."""
    torchvision, kornia = makers
    return Case(name, [{"kind": name, **settings}], torchvision, kornia=kornia, **more)


ALWAYS = {"probability": 1.0}
COLOUR = (0.4, 0.4, 0.4, 0.1)
STACK = Case(
    "crop + flip + affine + colour + erasing",
    [
        {"kind": "random_crop", "padding": 4},
        {"kind": "horizontal_flip"},
        {"kind": "affine", "degrees": 10, "translate": 0.1, "scale": [0.9, 1.1]},
        {"kind": "color_jitter"},
        {"kind": "random_erasing", "value": 0.0},
    ],
    lambda s: [
        v2.RandomCrop(s, padding=4),
        v2.RandomHorizontalFlip(),
        v2.RandomAffine(10, SHIFT, (0.9, 1.1), interpolation=BILINEAR),
        v2.ColorJitter(*COLOUR),
    ],
    lambda s: [v2.RandomErasing(0.5, (0.02, 0.4))],
    kornia=lambda s: [
        K.RandomCrop((s, s), padding=4),
        K.RandomHorizontalFlip(0.5),
        K.RandomAffine(10.0, SHIFT, (0.9, 1.1), p=1.0),
        K.ColorJitter(*COLOUR, p=1.0),
        K.RandomErasing((0.02, 0.4), (0.3, 3.3), p=0.5),
    ],
)
STANDARD = Case(
    "resized crop + flip + colour + erasing",
    [
        {"kind": "resized_crop"},
        {"kind": "horizontal_flip"},
        {"kind": "color_jitter"},
        {"kind": "random_erasing", "value": 0.0},
    ],
    lambda s: [v2.RandomResizedCrop(s), v2.RandomHorizontalFlip(), v2.ColorJitter(*COLOUR)],
    STACK.late,
    kornia=lambda s: [
        K.RandomResizedCrop((s, s), p=1.0),
        K.RandomHorizontalFlip(0.5),
        K.ColorJitter(*COLOUR, p=1.0),
        K.RandomErasing((0.02, 0.4), (0.3, 3.3), p=0.5),
    ],
)
SIMPLE = Case(
    "crop + flip",
    STACK.ours[:2],
    lambda s: [v2.RandomCrop(s, padding=4), v2.RandomHorizontalFlip()],
    kornia=lambda s: [K.RandomCrop((s, s), padding=4), K.RandomHorizontalFlip(0.5)],
)


def policy(name: str, settings: dict[str, Any], theirs: Callable[[], Any], kornia: Any) -> Case:
    """A case of a policy; kornia's choose the operation once for a batch."""
    return one(name, settings, lambda s: [theirs()], kornia)


WHOLE = [
    STACK,
    STANDARD,
    SIMPLE,
    policy("rand_augment", {}, v2.RandAugment, lambda s: [K.auto.RandAugment(n=2, m=9)]),
    policy("trivial_augment", {}, v2.TrivialAugmentWide, lambda s: [K.auto.TrivialAugment()]),
    policy(
        "auto_augment",
        {"policy": "cifar10"},
        lambda: v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
        lambda s: [K.auto.AutoAugment("cifar10")],
    ),
    policy("augmix", {}, v2.AugMix, None),
]
SINGLE = [
    one("random_crop", {"padding": 4}, lambda s: [v2.RandomCrop(s, padding=4)],
        lambda s: [K.RandomCrop((s, s), padding=4)]),
    one("horizontal_flip", {}, lambda s: [v2.RandomHorizontalFlip()],
        lambda s: [K.RandomHorizontalFlip(0.5)]),
    one("vertical_flip", {}, lambda s: [v2.RandomVerticalFlip()],
        lambda s: [K.RandomVerticalFlip(0.5)]),
    one("affine", {"degrees": 10, "translate": 0.1, "scale": [0.9, 1.1]},
        lambda s: [v2.RandomAffine(10, SHIFT, (0.9, 1.1), interpolation=BILINEAR)],
        lambda s: [K.RandomAffine(10.0, SHIFT, (0.9, 1.1), p=1.0)]),
    one("rotate", {"degrees": 15}, lambda s: [v2.RandomRotation(15, BILINEAR)],
        lambda s: [K.RandomRotation(15.0, p=1.0)]),
    one("translate", {}, lambda s: [v2.RandomAffine(0, SHIFT, interpolation=BILINEAR)],
        lambda s: [K.RandomTranslate((-0.1, 0.1), (-0.1, 0.1), p=1.0)]),
    one("scale", {}, lambda s: [v2.RandomAffine(0, scale=(0.9, 1.1), interpolation=BILINEAR)],
        lambda s: [K.RandomAffine(0.0, scale=(0.9, 1.1), p=1.0)]),
    one("shear", {}, lambda s: [v2.RandomAffine(0, shear=10, interpolation=BILINEAR)],
        lambda s: [K.RandomShear(10.0, p=1.0)]),
    one("resized_crop", {}, lambda s: [v2.RandomResizedCrop(s)],
        lambda s: [K.RandomResizedCrop((s, s), p=1.0)]),
    one("perspective", ALWAYS, lambda s: [v2.RandomPerspective(0.5, 1.0, BILINEAR)],
        lambda s: [K.RandomPerspective(0.5, p=1.0)]),
    one("elastic", {}, lambda s: [v2.ElasticTransform(50.0, 5.0)],
        lambda s: [K.RandomElasticTransform((41, 41), (5.0, 5.0), p=1.0)]),
    one("gaussian_blur", {**ALWAYS, "kernel_size": 5}, lambda s: [v2.GaussianBlur(5)],
        lambda s: [K.RandomGaussianBlur((5, 5), (0.1, 2.0), p=1.0)]),
    one("median_blur", ALWAYS, None, lambda s: [K.RandomMedianBlur((3, 3), p=1.0)]),
    one("gaussian_noise", {"std": [0.05, 0.05]}, lambda s: [],
        lambda s: [K.RandomGaussianNoise(std=0.05, p=1.0)],
        late=lambda s: [v2.GaussianNoise(sigma=0.05)]),
    one("salt_pepper_noise", {"amount": [0.01, 0.06]}, None,
        lambda s: [K.RandomSaltAndPepperNoise(p=1.0)]),
    one("color_jitter", {}, lambda s: [v2.ColorJitter(*COLOUR)],
        lambda s: [K.ColorJitter(*COLOUR, p=1.0)]),
    one("grayscale", ALWAYS, lambda s: [v2.RandomGrayscale(1.0)],
        lambda s: [K.RandomGrayscale(p=1.0)]),
    one("channel_shuffle", ALWAYS, lambda s: [v2.RandomChannelPermutation()],
        lambda s: [K.RandomChannelShuffle(p=1.0)]),
    one("autocontrast", ALWAYS, lambda s: [v2.RandomAutocontrast(1.0)],
        lambda s: [K.RandomAutoContrast(p=1.0)]),
    one("equalize", ALWAYS, lambda s: [v2.RandomEqualize(1.0)],
        lambda s: [K.RandomEqualize(p=1.0)]),
    one("invert", ALWAYS, lambda s: [v2.RandomInvert(1.0)], lambda s: [K.RandomInvert(p=1.0)]),
    one("posterize", {**ALWAYS, "bits": [4, 4]}, lambda s: [v2.RandomPosterize(4, 1.0)],
        lambda s: [K.RandomPosterize(4, p=1.0)]),
    one("solarize", {**ALWAYS, "threshold": [0.5, 0.5]}, lambda s: [v2.RandomSolarize(128, 1.0)],
        lambda s: [K.RandomSolarize(0.0, 0.0, p=1.0)]),
    one("random_erasing", {**ALWAYS, "value": 0.0}, lambda s: [],
        lambda s: [K.RandomErasing((0.02, 0.4), (0.3, 3.3), p=1.0)],
        late=lambda s: [v2.RandomErasing(1.0, (0.02, 0.4))]),
    one("mixup", {}, None, lambda s: [K.RandomMixUpV2(p=1.0, data_keys=["input", "class"])],
        batched=lambda s: [v2.MixUp(alpha=0.2, num_classes=10)]),
    one("cutmix", {}, None, lambda s: [K.RandomCutMixV2(p=1.0, data_keys=["input", "class"])],
        batched=lambda s: [v2.CutMix(alpha=1.0, num_classes=10)]),
]  # fmt: skip
FLOAT = v2.ToDtype(torch.float32, scale=True)
Contender = Callable[[], Tensor]


def contenders(case: Case, images: Tensor, *, others: bool = True) -> dict[str, Contender]:
    """From the same uint8 images `(N,3,H,W)` to an augmented float batch, by name."""
    side = images.shape[-1]
    found = {"augcompress": _ours(case, images)}
    if not others:
        return found
    if case.torchvision is not None:
        early, late = case.torchvision(side), case.late(side)
        pil = [Image.fromarray(each.permute(1, 2, 0).numpy()) for each in images]
        found["PIL"] = _each(v2.Compose([*early, v2.ToImage(), FLOAT, *late]), pil)
        found["tensor"] = _each(v2.Compose([*early, FLOAT, *late]), list(images))
    labels = torch.arange(len(images)) % 10
    if case.batched is not None:
        found["batch"] = _batched(case.batched(side)[0], images, labels)
    if case.kornia is not None and K is not None:
        found["kornia"] = _kornia(case.kornia(side), images, labels, case.batched is not None)
    return found


def _ours(case: Case, images: Tensor) -> Contender:
    settings = TypeAdapter(list[AnyAugmentation]).validate_python(case.ours)
    count, side = len(images), images.shape[-1]
    facts = AugmentationFacts(count, 10, 3, (side, side), (0.5, 0.5, 0.5), seed=0)
    pipeline = build_pipeline(settings, facts)
    batch = Batch(images, torch.eye(10)[torch.arange(count) % 10], torch.arange(count))
    epochs = iter(range(10**9))

    def run() -> Tensor:
        return pipeline(batch, seed=0, progress=Progress(epoch=next(epochs))).images()

    return run


def _each(transform: Callable[[Any], Tensor], images: list[Any]) -> Contender:
    return lambda: torch.stack([transform(image) for image in images])


def _batched(transform: Any, images: Tensor, labels: Tensor) -> Contender:
    return lambda: transform(images.float().div_(255), labels)[0]


def _kornia(modules: list[Any], images: Tensor, labels: Tensor, mixes: bool) -> Contender:
    def run() -> Tensor:
        batch = images.float().div_(255)
        for module in modules:
            batch = module(batch, labels)[0] if mixes else module(batch)
        return batch

    return run
