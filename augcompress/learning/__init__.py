"""A network put together with what it learns from, for `fit`; and the stages' ways of training."""

from augcompress.learning.fitting import engine_for, finish, train
from augcompress.learning.linear_probe import LinearProbe, linear_probe
from augcompress.learning.pretraining import WHERE, pretrain
from augcompress.learning.resolution import check_takes, share_at, shrunk
from augcompress.learning.shrinking import (
    check_promises,
    check_targets,
    compress_network,
    compression_inputs,
)
from augcompress.learning.student import TrainingSetup
