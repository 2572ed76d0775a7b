"""Augmented copies of the training images on disk."""

from __future__ import annotations

from augcompress.augmenting.offline import write_copies
