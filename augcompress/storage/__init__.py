"""Run directories and the store of finished stages.  No torch."""

from augcompress.storage.cache import cache_folder, remembered
from augcompress.storage.digests import digest_file, digest_json
from augcompress.storage.files import (
    RECORD_FILE,
    STATE_FOLDER,
    files_of,
    is_disk_full,
    link_or_copy,
    make_folder,
    remove_path,
    storage_errors,
    write_aside,
)
from augcompress.storage.models import MODEL_ENDINGS, model_file, model_folder, stand_in
from augcompress.storage.run_directory import RECIPE_FILE, RunDir, pending_stages
from augcompress.storage.runs import (
    TRIALS_FOLDER,
    RunSummary,
    clean,
    pipeline_of,
    planned_stages,
    read_run,
    read_stage,
    runs,
    shipping_stage,
    stage_order,
    undone,
    unfinished,
)
from augcompress.storage.stage_record import (
    StageRecord,
    changes,
    check_unchanged,
    read_record,
    stage_records,
)
from augcompress.storage.store import StoreEntry
from augcompress.storage.stored_arrays import StoredArrays
