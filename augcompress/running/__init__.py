"""How any stage is carried out: what it is given, its key, its lock, its commit."""

from augcompress.running.context import EVALUATION_BATCH, PLAIN, SMOKE_IMAGES, Context
from augcompress.running.environment import examine
from augcompress.running.rank_zero import rank_zero_only
from augcompress.running.runner import Runner, check_source_is_used
from augcompress.running.stage import (
    FITTED,
    Input,
    Inputs,
    Output,
    Sources,
    Stage,
    fitting_in,
    training_reads,
)
