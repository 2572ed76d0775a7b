"""Run directories and the store of finished stages.  No torch."""

from augcompress.storage.files import (
    RECORD_FILE,
    STATE_FOLDER,
    digest_file,
    digest_json,
    link_or_copy,
    make_folder,
    remove_path,
    storage_errors,
    write_aside,
)
from augcompress.storage.run_directory import RunDir
from augcompress.storage.runs import (
    TRIALS_FOLDER,
    RunSummary,
    clean,
    pipeline_of,
    read_run,
    read_stage,
    runs,
    shipping_stage,
    stage_order,
)
from augcompress.storage.store import StoreEntry
