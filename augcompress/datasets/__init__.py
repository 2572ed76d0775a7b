"""Data sets: labelled images, split, described and served in batches."""

from typing import Annotated

from pydantic import Field

from augcompress.datasets.arrays import Arrays
from augcompress.datasets.base import DatasetSettings
from augcompress.datasets.cifar import Cifar10, Cifar100
from augcompress.datasets.class_names import printable
from augcompress.datasets.copies import Copies
from augcompress.datasets.data import Data, DataFacts, Source
from augcompress.datasets.digits import Digits
from augcompress.datasets.hugging_face import HuggingFace
from augcompress.datasets.image_folder import ImageFolder, PreparedFolder
from augcompress.datasets.loading import Batches
from augcompress.datasets.mnist import FashionMnist, Kmnist, Mnist
from augcompress.datasets.normalization import GivenNormalization, fit_normalization
from augcompress.datasets.plugin import PluginDataset
from augcompress.datasets.resizing import ResizedImages
from augcompress.datasets.sampling import Balancing, ClassBalance, class_counts
from augcompress.datasets.splits import FileSplit, MemorySplit, Split, in_threads
from augcompress.datasets.unlabelled import Joined, digest_unlabelled, read_unlabelled

Dataset = Annotated[
    Digits
    | Mnist
    | FashionMnist
    | Kmnist
    | Cifar10
    | Cifar100
    | ImageFolder
    | Arrays
    | HuggingFace
    | PluginDataset,
    Field(discriminator="kind"),
]
"""Every data set there is."""
