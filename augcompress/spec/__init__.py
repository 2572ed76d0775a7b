"""The recipe, validated: one Pydantic tree whose sections are named like the commands."""

from __future__ import annotations

from augcompress.evidence import ORDER, StageName
from augcompress.spec.loading import (
    find_recipe,
    find_spec,
    load,
    read_raw,
    recipe_summary,
    shipped_recipes,
    validate,
)
from augcompress.spec.overriding import override_value, set_value
from augcompress.spec.search import Factor, GridSearch, Search
from augcompress.spec.sections import (
    CompressionSection,
    DistillSection,
    ForeignSection,
    QuantizeSection,
    Resolution,
    Sampling,
)
from augcompress.spec.tree import Spec, differing_sections, require_section

__all__ = [
    "ORDER",
    "CompressionSection",
    "DistillSection",
    "Factor",
    "ForeignSection",
    "GridSearch",
    "QuantizeSection",
    "Resolution",
    "Sampling",
    "Search",
    "Spec",
    "StageName",
    "differing_sections",
    "find_recipe",
    "find_spec",
    "load",
    "override_value",
    "read_raw",
    "recipe_summary",
    "require_section",
    "set_value",
    "shipped_recipes",
    "validate",
]
