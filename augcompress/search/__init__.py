"""`search`: variants of a recipe, run side by side and compared; the runner of all studies."""

from __future__ import annotations

from augcompress.search.measuring import measure_notes, measure_table, plan_measure, run_measure
from augcompress.search.runner import plan_search, run_search
from augcompress.search.study import Cell, Change, Study, Trial, read_study
from augcompress.search.tables import study_notes, study_tables, trials_table

__all__ = [
    "Cell",
    "Change",
    "Study",
    "Trial",
    "measure_notes",
    "measure_table",
    "plan_measure",
    "plan_search",
    "read_study",
    "run_measure",
    "run_search",
    "study_notes",
    "study_tables",
    "trials_table",
]
