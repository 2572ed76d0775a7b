"""A recipe as typed: found, read, overridden, its mistakes explained.  No torch."""

from augcompress.raw.files import (
    find_recipe,
    read_raw,
    read_resolved,
    recipe_summary,
    shipped_recipes,
)
from augcompress.raw.meant import our_names
from augcompress.raw.overriding import override_value, set_value
from augcompress.raw.typed import TYPED_FILE, is_made_with, typed_text
from augcompress.raw.validating import limits_of, validated
