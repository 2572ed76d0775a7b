"""What was measured and what it says: records, predictions, differences, limits.  No torch."""

from augcompress.evidence.accuracy import robustness, top_k
from augcompress.evidence.differences import (
    Comparison,
    Differing,
    ModelPair,
    agreement,
    are_same_images,
    proportion,
    top1_difference,
)
from augcompress.evidence.formatting import (
    TitledTable,
    amount_text,
    bytes_text,
    cell_text,
    count_text,
    decimal_text,
    difference_text,
    digits_to_tell,
    duration_text,
    markdown_text,
    p_text,
    percent,
    range_text,
    score_text,
    share_text,
    signed_text,
    size_text,
    speed_text,
    three_digits,
    value_text,
)
from augcompress.evidence.limits import Limit
from augcompress.evidence.names import (
    OF_SHIPPED_FILES,
    TEXTS,
    UNKNOWN,
    MeasureName,
    unit_of,
    unknown_measure,
)
from augcompress.evidence.predictions import (
    PREDICTIONS_FILE,
    Predictions,
    load_arrays,
    over_classes,
    save_arrays,
)
from augcompress.evidence.records import (
    FORMAT_VERSION,
    LAYERS_FILE,
    MEASUREMENTS_FILE,
    ORDER,
    Layer,
    Measurement,
    RunResult,
    StageName,
    StageResult,
    Verdict,
    bounded,
    headline,
    own_measurements,
    read_layers,
    read_measurements,
    write_layers,
    write_measurements,
)
from augcompress.evidence.worth import gained_nothing, only_guesses
