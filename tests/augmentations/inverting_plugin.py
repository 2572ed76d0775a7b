"""A user's augmentation, as a recipe's plug-in names it."""

from typing import Literal

from augcompress.augmentations import Augmentation, PixelWorker


class Inverting(Augmentation):
    """The negative."""

    label_safety = "nothing here"

    kind: Literal["inverting"] = "inverting"

    def build(self, facts):
        return PixelWorker(lambda images, draws: 1 - images, self.probability)
