"""The one training loop and its settings."""

from augcompress.training.averaging import Average, Ema
from augcompress.training.engine import CPU, Engine, Precision, resolve_precision
from augcompress.training.freezing import Freeze, parameter_groups
from augcompress.training.learner import EpochBatches, Learner, Score
from augcompress.training.loop import FitResult, fit
from augcompress.training.optimizers import AdamW, Lars, Optimizer, RMSprop, Sgd
from augcompress.training.positions import of_another_length
from augcompress.training.prefetch import prefetched
from augcompress.training.processes import ALONE, Processes, StoppedElsewhere
from augcompress.training.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseTime,
    MultiStep,
    OneCycle,
    Polynomial,
    Schedule,
    Step,
)
from augcompress.training.settings import EarlyStopping, Training
from augcompress.training.state import put_state
from augcompress.training.threads import cpu_threads, use_available_cpus
