"""Augmented copies of the training images on disk."""

from __future__ import annotations

from augcompress.augmenting.label_notes import probe_note
from augcompress.augmenting.label_probe import probe_labels
from augcompress.augmenting.offline import write_copies

__all__ = ["probe_labels", "probe_note", "write_copies"]
