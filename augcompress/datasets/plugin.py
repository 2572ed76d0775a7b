"""A data set of the user's own."""

from __future__ import annotations

from augcompress.component import Plugin
from augcompress.datasets.base import DatasetSettings
from augcompress.datasets.data import Data, DataFacts


class PluginDataset(Plugin):
    """A subclass of `augcompress.datasets.DatasetSettings`, with `read` and `fingerprint`.

    The common settings (validation, subset, normalization …) are given in `options`.
    """

    def build(self, facts: DataFacts) -> Data:
        """The user's data set."""
        return self.component(DatasetSettings).build(facts)

    def fingerprint(self) -> str:
        """The user's digest of the source's content."""
        return self.component(DatasetSettings).fingerprint()
