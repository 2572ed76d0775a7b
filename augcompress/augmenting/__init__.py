"""Augmented copies of the training images on disk."""

from augcompress.augmenting.offline import write_copies
