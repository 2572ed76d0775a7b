"""A result, a table or an error as text for people or as JSON; and progress on standard error.

Standard output carries results only; everything else goes to standard error.
"""

from augcompress.render.renderer import LEGEND, NullProgress, Renderer
from augcompress.render.shipped import headlines, shipped_rows
from augcompress.render.tables import (
    measurements_table,
    plain_table,
    runs_table,
    stages_table,
    verdict_table,
)
