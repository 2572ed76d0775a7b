"""What a network or a file predicts, and how good that is."""

from augcompress.scoring.predict_functions import (
    PredictFunction,
    averaged,
    load_checkpoint,
    open_predict_function,
    predict,
    predict_with_file,
    predict_with_network,
    predict_with_onnx,
)
from augcompress.scoring.preparing import Preparation, prepare_images
from augcompress.scoring.robustness import measure_robustness
from augcompress.scoring.scores import (
    accuracy,
    accuracy_scorer,
    costs,
    loss_of,
    measure_calibration,
    measure_quality,
    scorer,
    with_role,
)
