"""Losses: `Objective` is the room's table of contents and its only registry."""

from typing import Annotated

from pydantic import Field

from augcompress.objectives.attention import Attention
from augcompress.objectives.base import ObjectiveFacts, ObjectiveSettings, Taps, View
from augcompress.objectives.correlation import Correlation
from augcompress.objectives.decoupled import Decoupled
from augcompress.objectives.features import FeatureTaps, forward_with_features, stage_ends
from augcompress.objectives.hint import Hint
from augcompress.objectives.labels import Labels
from augcompress.objectives.matched import MatchedLayers
from augcompress.objectives.nt_xent import nt_xent
from augcompress.objectives.plugin import ObjectivePlugin
from augcompress.objectives.relational import Relational
from augcompress.objectives.similarity import Similarity
from augcompress.objectives.soft_targets import SoftTargets

Objective = Annotated[
    Labels
    | SoftTargets
    | Decoupled
    | Correlation
    | Hint
    | Attention
    | Similarity
    | Relational
    | ObjectivePlugin,
    Field(discriminator="kind"),
]
