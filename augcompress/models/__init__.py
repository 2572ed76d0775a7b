"""Networks: `Model` is the room's table of contents and its only registry."""

from typing import Annotated

from pydantic import Field

from augcompress.models.base import (
    Constants,
    ModelFacts,
    ModelSettings,
    PretrainedWeights,
    TrainedWith,
)
from augcompress.models.checking import check_batch_of_one, require_logits
from augcompress.models.cifar_resnet import CifarResNet, PadShortcut
from augcompress.models.depth import backbone_layers
from augcompress.models.head import Head, find_head, unused_parameters
from augcompress.models.hugging_face_model import HuggingFaceModel
from augcompress.models.network import (
    Classifier,
    Normalize,
    build_classifier,
    place,
    runs_channels_last,
)
from augcompress.models.plugin import ModelPlugin
from augcompress.models.small_cnn import SmallCNN
from augcompress.models.timm_model import TimmModel
from augcompress.models.torchvision_model import TorchvisionModel
from augcompress.models.weights import cut_head, head_classes, load_weights, read_weights, receiver

Model = Annotated[
    CifarResNet | SmallCNN | TorchvisionModel | TimmModel | HuggingFaceModel | ModelPlugin,
    Field(discriminator="kind"),
]
