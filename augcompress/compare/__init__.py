"""compare: models against each other on the same test images, with what chance explains."""

from augcompress.compare.contenders import Contender, open_contender, stand_ins
from augcompress.compare.differing import differing, write_images
from augcompress.compare.pairs import MARGIN, compare_models
