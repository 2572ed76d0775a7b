"""Statistics: pure functions of arrays, for single models, for pairs and for factorial studies."""

from augcompress.evidence.statistics.classification import (
    BINS,
    LEAST_PROBABILITY,
    Bin,
    confusion,
    ece,
    ece_interval,
    ece_of_parts,
    ece_parts,
    fit_temperature,
    hits,
    macro_f1,
    macro_f1_interval,
    nll,
    reliability_bins,
    rescale,
)
from augcompress.evidence.statistics.effects import (
    Effect,
    against_control,
    cell_intervals,
    interactions,
    main_effects,
)
from augcompress.evidence.statistics.intervals import (
    LEVEL,
    RESAMPLES,
    Interval,
    bootstrap,
    bootstrap_mean,
    clopper_pearson,
    corrected_t,
    student_t,
    t_test,
    wilson,
)
from augcompress.evidence.statistics.paired import (
    discordant,
    holm,
    mcnemar,
    non_inferior,
    paired_bootstrap,
    paired_bootstrap_macro_f1,
    paired_bootstrap_top1,
    power_of_non_inferiority,
    tango,
)
from augcompress.evidence.statistics.ranking import delong
