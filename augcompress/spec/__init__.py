"""The recipe, validated: one Pydantic tree whose sections are named like the commands."""

from augcompress.evidence import ORDER, StageName
from augcompress.spec.loading import (
    find_spec,
    load,
    scale_epochs,
    set_batch_sizes,
    shrink_to_smoke,
    validate,
)
from augcompress.spec.meanings import meanings, recipe_schema
from augcompress.spec.proposing import propose_recipe
from augcompress.spec.search import Factor, GridSearch, Search
from augcompress.spec.sections import (
    CompressionSection,
    DistillSection,
    ForeignSection,
    Offline,
    PretrainSection,
    Projection,
    QuantizeSection,
    Resolution,
    Sampling,
    TestTimeAugmentation,
)
from augcompress.spec.topics import explain
from augcompress.spec.tree import Spec, differing_sections, require_section
