"""`search`: variants of a recipe, run side by side and compared; the runner of all studies."""

from augcompress.search.measuring import measuring_settings
from augcompress.search.runner import plan_search, run_search
from augcompress.search.study import Cell, Change, Study, Trial, read_study
from augcompress.search.tables import study_notes, study_tables, trials_table
