"""What a shipped file needs to label images: Pillow, NumPy and ONNX Runtime.  No torch."""

from augcompress.inference.images import (
    IMAGE_FORMATS,
    LARGEST_SIDE,
    as_decoded,
    check_resizing,
    direct,
    image_endings,
    load_image,
    scaled_from,
)
from augcompress.inference.labelling import images_of, open_shipped, parse_labels, predict_files
from augcompress.inference.loaded_model import (
    BATCH,
    ImageNames,
    Images,
    LoadedModel,
    filled,
    softmax,
)
from augcompress.inference.sessions import (
    load_onnx,
    open_session,
    runtime_errors,
    save_ort,
    session_options,
)
from augcompress.inference.walking import (
    Below,
    files_below,
    folders_in,
    identities,
    images_in,
    is_image,
    visible,
)
