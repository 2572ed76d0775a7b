"""Run directory and store: nothing half done under a final name, nothing done twice."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from augcompress.errors import AugcompressError
from augcompress.evidence.records import Measurement, write_measurements
from augcompress.storage import digests, shipping_stage
from augcompress.storage.digests import digest_file, digest_json, digests_of
from augcompress.storage.files import write_aside
from augcompress.storage.run_directory import RunDir
from augcompress.storage.runs import clean, runs
from augcompress.storage.store import Store, StoreEntry

KEY = digest_json({"a": 1})
OTHER = digest_json({"a": 2})

HOLD = """
import sys, time
from augcompress.storage.store import Store
with Store(sys.argv[1]).entry("distill", sys.argv[2]).writing() as folder:
    (folder / "state").mkdir(exist_ok=True)
    (folder / "state" / "fit.pt").write_text("epoch 3")
    (folder / "model.safetensors").write_text("half")
    print("holding", flush=True)
    time.sleep(60)
"""


def fill(entry: StoreEntry, text: str = "weights", top1: float = 0.9) -> StoreEntry:
    with entry.writing() as folder:
        (folder / "model.safetensors").write_text(text)
        score = Measurement(name="top1", value=top1, n=100, split="test", better="higher")
        write_measurements(folder / "measurements.json", [score])
        entry.commit({"artifact": "model.safetensors"})
    return entry


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".lock"))


@pytest.fixture
def entry(tmp_path) -> StoreEntry:
    return Store(tmp_path / ".store").entry("distill", KEY)


@pytest.fixture
def holder(entry):
    """A second process in the midst of writing the entry."""
    command = [sys.executable, "-c", HOLD, str(entry.store.root), KEY]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_write_aside_replaces_at_the_end(tmp_path):
    (tmp_path / "a.json").write_text("old")
    with write_aside(tmp_path / "a.json") as aside:
        aside.write_text("new")
        assert aside.suffix == ".json"
        assert (tmp_path / "a.json").read_text() == "old"
    assert (tmp_path / "a.json").read_text() == "new"
    assert names(tmp_path) == ["a.json"]


def fail_aside(path: Path) -> None:
    with write_aside(path) as aside:
        aside.write_text("new")
        raise KeyError("stop")


@pytest.mark.skipif(os.name == "nt", reason="rights of POSIX")
def test_a_checkpoint_may_be_read_by_whom_other_files_may(tmp_path):
    (tmp_path / "other").touch()
    with write_aside(tmp_path / "model.safetensors") as aside:
        save_file({"w": np.zeros(3, dtype=np.float32)}, aside)  # makes the file anew, mode 600
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_write_aside_keeps_the_old_file_after_an_error(tmp_path):
    (tmp_path / "a.json").write_text("old")
    with pytest.raises(KeyError, match="stop"):
        fail_aside(tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_digests(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    assert digest_file(tmp_path / "a") == wanted
    assert digest_json({"a": 1, "b": [1, 2]}) == digest_json({"b": (1, 2), "a": 1})
    assert digest_json({"a": 1}) != digest_json({"a": 2})
    with pytest.raises(AugcompressError, match="No such file or directory; give a readable"):
        digest_file(tmp_path / "b")
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "a\0b", "."):
        with pytest.raises(AugcompressError, match=r": .*; give a readable file$"):
            digest_file(tmp_path / name)


def test_committed_entry_holds_its_files_and_no_state(entry):
    with entry.writing() as folder:
        (folder / "state").mkdir()
        (folder / "state" / "fit.pt").write_text("epoch 3")
        (folder / "model.onnx").write_text("graph")
        assert not entry.done
        entry.commit({"artifact": "model.onnx"})
    assert entry.done
    assert names(entry.path) == ["model.onnx", "stage.json"]
    assert names(entry.store.root) == [f"distill-{KEY[:16]}"]
    record = entry.record()
    assert record.artifact == "model.onnx"
    assert (record.version, record.stage, record.key) == (2, "distill", KEY)
    assert record.files == {"model.onnx": 5}
    assert record.sha256 == {"model.onnx": hashlib.sha256(b"graph").hexdigest()}


def test_missing_entry_is_a_miss_without_a_problem(entry):
    assert not entry.done
    assert entry.problem is None
    with pytest.raises(AugcompressError, match="is not there; run distill"):
        entry.record()


def spoil_json(entry: StoreEntry) -> None:
    (entry.path / "stage.json").write_text("{")


def spoil_version(entry: StoreEntry) -> None:
    record = {**entry.record().model_dump(), "version": 99}
    (entry.path / "stage.json").write_text(json.dumps(record))


def spoil_key(entry: StoreEntry) -> None:
    record = {**entry.record().model_dump(), "key": OTHER}
    (entry.path / "stage.json").write_text(json.dumps(record))


def spoil_size(entry: StoreEntry) -> None:
    (entry.path / "model.safetensors").write_text("")


def spoil_byte(entry: StoreEntry) -> None:
    """Another byte in a file of the same size, with the same time."""
    path = entry.path / "measurements.json"
    before = path.stat()
    path.write_text(path.read_text().replace("0.9", "0.8"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def spoil_presence(entry: StoreEntry) -> None:
    (entry.path / "model.safetensors").unlink()


def spoil_nesting(entry: StoreEntry) -> None:
    (entry.path / "stage.json").write_text("[" * 100_000)


def spoil_names(entry: StoreEntry) -> None:
    record = {**entry.record().model_dump(), "files": {"../../thesis.tex": 3}}
    (entry.path / "stage.json").write_text(json.dumps(record))


def spoil_digests(entry: StoreEntry) -> None:
    record = entry.record().model_dump()
    del record["sha256"]["measurements.json"]
    (entry.path / "stage.json").write_text(json.dumps(record))


def spoil_list(entry: StoreEntry) -> None:
    record = {**entry.record().model_dump(), "files": {}, "sha256": {}}
    (entry.path / "stage.json").write_text(json.dumps(record))


def spoil_marker(entry: StoreEntry) -> None:
    (entry.path / "stage.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (spoil_json, "cannot be read"),
        (spoil_nesting, "is deeper than 32 levels"),
        (spoil_names, "is no name of a file in the folder"),
        (spoil_digests, "files, sha256 and artifact do not name the same files"),
        (spoil_list, "files, sha256 and artifact do not name the same files"),
        (spoil_version, "has format 99, not 2"),
        (spoil_key, "belongs to another key"),
        (spoil_size, "model.safetensors has 0 bytes and was written with 7"),
        (spoil_byte, "measurements.json has changed since it was written"),
        (spoil_presence, "model.safetensors is missing"),
        (spoil_marker, "cannot be read"),
    ],
)
def test_unreadable_entry_is_a_miss_said_so_and_replaced(entry, spoil, complaint):
    spoil(fill(entry))
    assert not entry.done
    assert complaint in entry.problem
    assert entry.problem.endswith("doing distill again")
    with pytest.raises(AugcompressError, match=complaint):
        entry.record()
    fill(entry, "again")
    assert entry.done
    assert (entry.path / "model.safetensors").read_text() == "again"
    assert names(entry.store.root) == [entry.name]


def test_entry_finished_meanwhile_is_kept(entry):
    fill(entry, "first")
    fill(entry, "second")
    assert (entry.path / "model.safetensors").read_text() == "first"
    assert names(entry.store.root) == [entry.name]


def test_second_process_is_told_that_the_first_is_at_work(entry, holder):
    with pytest.raises(AugcompressError, match=r"another process is working on this stage; wait"):
        entry.writing().__enter__()
    assert holder.poll() is None
    assert not entry.path.exists()


def test_other_entries_are_free_while_one_is_held(entry, holder):
    assert fill(entry.store.entry("distill", OTHER)).done


def test_waiting_gets_the_lock_when_it_comes_free(entry, holder):
    threading.Timer(0.3, holder.kill).start()
    with entry.writing(wait_s=30) as folder:
        assert names(folder) == ["parts.json", "state"]


def test_killed_stage_leaves_its_state_and_no_final_name(entry, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not entry.path.exists()
    assert not entry.done
    with entry.writing() as folder:  # the lock died with its process
        assert names(folder) == ["parts.json", "state"]
        assert (folder / "state" / "fit.pt").read_text() == "epoch 3"


def fail_writing(entry: StoreEntry, error: BaseException) -> None:
    with entry.writing() as folder:
        (folder / "state").mkdir()
        (folder / "model.safetensors").write_text("half")
        raise error


FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/0"),
    ValueError("I/O error: No space left on device (os error 28)"),  # as safetensors says it
]


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_full_disk_is_said_and_leaves_only_the_state(entry, error):
    with pytest.raises(AugcompressError, match=r"disk full; free some space"):
        fail_writing(entry, error)
    assert names(entry.store.root) == [f".work-{entry.name}"]
    assert names(entry.work) == ["parts.json", "state"]


def write_to_full_device(entry: StoreEntry) -> None:
    with entry.writing(), open("/dev/full", "w") as file:
        file.write("x" * 100_000)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_the_systems_own_full_disk_error_is_known(entry):
    with pytest.raises(AugcompressError, match="disk full"):
        write_to_full_device(entry)
    assert not entry.path.exists()


def test_full_disk_at_the_commit_leaves_no_final_name(entry, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(AugcompressError, match="disk full"):
        fill(entry)
    assert not entry.path.exists()


def test_missing_rights_are_said_with_the_path(entry):
    error = PermissionError(errno.EACCES, "Permission denied", "/data/x.npz")
    with pytest.raises(AugcompressError, match=r"^/data/x.npz: Permission denied; make it"):
        fail_writing(entry, error)
    assert not entry.path.exists()


def test_an_error_that_was_already_explained_is_not_explained_again(entry):
    with pytest.raises(AugcompressError, match=r"^x: No space left on device, so wait$"):
        fail_writing(entry, AugcompressError("x: No space left on device, so wait"))


def test_a_fresh_start_forgets_the_state_of_a_killed_run(entry):
    with entry.writing() as work:
        (work / "state").mkdir()
        (work / "state" / "epoch.pt").write_text("half")
    with entry.writing() as work:
        assert names(work) == ["parts.json", "state"]
    with entry.writing(fresh=True) as work:
        assert names(work) == ["parts.json"]


@pytest.mark.parametrize(
    ("pipeline", "made", "ships"),
    [
        (None, ["distill", "train_teacher"], "distill"),
        (None, ["export", "quantize"], "export"),
        (["train_teacher"], ["quantize", "train_teacher"], "quantize"),
        (["prune", "distill"], ["distill", "evaluate", "prune"], "distill"),
        (None, ["evaluate"], "evaluate"),
        (None, ["augment"], None),
        (None, [], None),
    ],
)
def test_what_ships_is_export_or_the_last_of_the_pipeline(tmp_path, pipeline, made, ships):
    (tmp_path / "spec.json").write_text(json.dumps({"pipeline": pipeline}))
    assert shipping_stage(tmp_path, made) == ships


def test_other_errors_pass_as_they_are(entry):
    with pytest.raises(KeyError, match="a bug"):
        fail_writing(entry, KeyError("a bug"))
    with pytest.raises(KeyboardInterrupt, match="ctrl-c"):
        fail_writing_again(entry)
    assert names(entry.work) == ["model.safetensors", "parts.json", "state"]


def fail_writing_again(entry: StoreEntry) -> None:
    with entry.writing() as folder:
        assert names(folder) == ["parts.json", "state"]
        (folder / "model.safetensors").write_text("half")
        raise KeyboardInterrupt("ctrl-c")


def forbid(*_args, **_settings):
    raise PermissionError(errno.EROFS, "Read-only file system", "/runs")


def test_read_only_folder_is_said(entry, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", forbid)  # tests may run as root, whom no mode stops
    with pytest.raises(AugcompressError, match=r"/runs: Read-only file system; make it accessible"):
        fill(entry)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into read-only folders")
def test_read_only_folder_is_said_by_the_system(tmp_path, entry):
    tmp_path.chmod(0o500)
    with pytest.raises(AugcompressError, match="Permission denied; make it accessible"):
        fill(entry)


def test_a_folder_whose_name_is_not_utf8_is_refused_before_the_work(tmp_path):
    run = RunDir(tmp_path / "caf\udce9" / "digits")
    with pytest.raises(AugcompressError, match=r"caf\udce9/.store: is not UTF-8; rename it or use"):
        fill(run.store.entry("distill", KEY))
    assert names(tmp_path) == []


def test_file_in_the_folders_place_is_said(tmp_path):
    (tmp_path / ".store").write_text("a file")
    with pytest.raises(AugcompressError, match="cannot be made a folder"):
        fill(Store(tmp_path / ".store").entry("distill", KEY))


def test_discard_forgets_result_and_state(entry):
    fill(entry)
    entry.discard()
    assert not entry.done
    with pytest.raises(KeyError, match="stop"):
        fail_writing(entry, KeyError("stop"))
    entry.discard()
    assert names(entry.store.root) == []


def test_discard_stops_while_another_process_is_at_work(entry, holder):
    with pytest.raises(AugcompressError, match="another process"):
        entry.discard()
    assert entry.work.exists()


def test_link_makes_plain_files_and_drops_stale_ones(tmp_path, entry):
    run = RunDir(tmp_path / "digits")
    assert run.store.root == tmp_path / ".store"
    old = run.store.entry("distill", OTHER)
    with old.writing() as work:
        (work / "stale.txt").write_text("stale")
        old.commit({})
    run.link(old, "distill")
    run.link(fill(entry), "distill")
    folder = run.stage("distill")
    assert names(folder) == ["measurements.json", "model.safetensors", "stage.json"]
    assert (folder / "model.safetensors").read_text() == "weights"
    assert (folder / "model.safetensors").samefile(entry.path / "model.safetensors")
    assert names(run.path) == ["distill"]


def test_linking_again_changes_nothing(tmp_path, entry):
    run = RunDir(tmp_path / "digits")
    run.link(fill(entry), "distill")
    before = run.stage("distill").stat().st_ino
    run.link(entry, "distill")
    assert run.stage("distill").stat().st_ino == before


def test_link_copies_where_there_are_no_hard_links(tmp_path, entry, monkeypatch):
    def unsupported(source, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", unsupported)
    run = RunDir(tmp_path / "digits")
    run.link(fill(entry), "distill")
    model = run.stage("distill") / "model.safetensors"
    assert model.read_text() == "weights"
    assert not model.samefile(entry.path / "model.safetensors")


def test_full_disk_while_copying_leaves_the_old_files(tmp_path, entry, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    run = RunDir(tmp_path / "digits")
    run.link(fill(run.store.entry("distill", OTHER), "old"), "distill")
    monkeypatch.setattr(os, "link", full)
    with pytest.raises(AugcompressError, match="disk full"):
        run.link(fill(entry), "distill")
    assert (run.stage("distill") / "model.safetensors").read_text() == "old"
    assert names(run.path) == ["distill"]


def test_link_refuses_to_delete_foreign_files(tmp_path, entry):
    run = RunDir(tmp_path / "digits")
    run.stage("distill").mkdir(parents=True)
    run.link(fill(entry), "distill")  # an empty folder is no loss
    (run.path / "export").mkdir()
    (run.path / "export" / "thesis.tex").write_text("years of work")
    with pytest.raises(AugcompressError, match="holds files that augcompress did not write"):
        run.link(entry, "export")
    assert (run.path / "export" / "thesis.tex").read_text() == "years of work"


def test_link_of_a_vanished_entry_is_said(tmp_path, entry):
    run = RunDir(tmp_path / "digits")
    with pytest.raises(AugcompressError, match="was removed"):
        run.link(entry, "distill")
    assert names(run.path) == []


def test_link_sweeps_what_a_killed_one_left(tmp_path, entry):
    run = RunDir(tmp_path / "digits")
    for left in (".new-distill", ".old-distill"):
        (run.path / left).mkdir(parents=True)
        (run.path / left / "half").write_text("half")
    run.link(fill(entry), "distill")
    assert names(run.path) == ["distill"]


def users_note(folder: Path) -> Path:
    (folder / "notes.txt").write_text("mine")
    return folder / "notes.txt"


def users_link(folder: Path) -> Path:
    (folder / "data").symlink_to(folder.parent)
    return folder / "data"


def users_folder(folder: Path) -> Path:
    (folder / "figures").mkdir()
    return users_note(folder / "figures")


USERS = pytest.mark.parametrize("put", [users_note, users_link, users_folder])


@USERS
def test_a_users_file_in_a_stages_folder_stays_or_is_named(tmp_path, entry, put):
    run = RunDir(tmp_path / "digits")
    run.link(fill(entry), "distill")
    mine = put(run.stage("distill"))
    name = mine.relative_to(run.stage("distill")).as_posix()
    assert run.link(entry, "distill") == []  # a cached run
    other = fill(entry.store.entry("distill", OTHER), "other")
    with pytest.raises(AugcompressError, match=rf"did not write: {name}; move them away"):
        run.link(other, "distill")
    with pytest.raises(AugcompressError, match=rf"did not write: {name}; move them away"):
        run.remove_stale(["distill"])
    assert (run.stage("distill") / "model.safetensors").read_text() == "weights"
    assert clean(tmp_path, ["digits"]) > 0
    left = [path for path in run.path.rglob("*") if path.is_symlink() or not path.is_dir()]
    assert left == [mine]


def edit(path: Path) -> None:
    """As editors do that write a new file and rename it: the store's stays as it is."""
    path.unlink()
    path.write_text("mine")


def test_changed_files_are_told_of_and_kept_and_the_stages_own_are_back(tmp_path, entry):
    run = RunDir(tmp_path / "digits")
    run.link(fill(entry), "distill")
    edit(run.stage("distill") / "model.safetensors")
    (told,) = run.link(entry, "distill")
    assert "model.safetensors had been changed since distill wrote it; what it was is" in told
    (kept,) = (run.path / "changed" / "distill").iterdir()
    assert kept.read_text() == "mine"
    assert str(kept) in told
    assert (run.stage("distill") / "model.safetensors").read_text() == "weights"
    assert run.link(entry, "distill") == []
    edit(run.stage("distill") / "model.safetensors")
    assert len(run.remove_stale(["distill"])) == 1
    assert not run.stage("distill").exists()


def test_all_is_kept_where_the_record_was_changed(tmp_path, entry):
    run = RunDir(tmp_path / "digits")
    run.link(fill(entry), "distill")
    edit(run.stage("distill") / "stage.json")
    users_note(run.stage("distill"))
    assert len(run.link(entry, "distill")) == 4
    kept = {path.name[9:] for path in (run.path / "changed" / "distill").iterdir()}
    assert kept == {"stage.json", "notes.txt", "model.safetensors", "measurements.json"}
    assert run.link(entry, "distill") == []


def test_clean_leaves_changed_files(tmp_path):
    run = two_stage_run(tmp_path, "digits")
    edit(run.stage("distill") / "measurements.json")
    clean(tmp_path, ["digits"])
    assert [path for path in run.path.rglob("*") if path.is_file()] == [
        run.stage("distill") / "measurements.json"
    ]


def test_what_a_killed_writer_left_goes_and_what_one_is_at_stays(tmp_path):
    left, users = tmp_path / ".recipe-0123abcd.yaml", tmp_path / ".recipe-mine.yaml"
    for path in (left, users):
        path.write_text("half")
    with write_aside(tmp_path / "recipe.yaml") as aside:
        aside.write_text("one")
        with write_aside(tmp_path / "recipe.yaml") as second:
            second.write_text("two")
        assert aside.exists()
    assert (tmp_path / "recipe.yaml").read_text() == "one"
    assert names(tmp_path) == [users.name, "recipe.yaml"]


def test_digests_of_large_files_are_remembered_until_they_change(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "LARGE_BYTES", 2)
    monkeypatch.setattr(digests, "QUIET_S", 0.0)
    monkeypatch.setattr(digests, "_known", {})
    (tmp_path / "a").write_bytes(b"abc")
    files = {"a": tmp_path / "a"}
    wanted = digests_of(files)
    monkeypatch.setattr(digests, "digest_file", forbid)
    assert digests_of(files) == wanted
    before = (tmp_path / "a").stat()
    (tmp_path / "a").write_bytes(b"abd")
    os.utime(tmp_path / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(PermissionError, match="Read-only"):
        digests_of(files)


def test_remove_stale_leaves_foreign_folders(tmp_path, entry):
    run = RunDir(tmp_path / "digits")
    run.link(fill(entry), "distill")
    (run.path / "export").mkdir()
    (run.path / "export" / "mine.txt").write_text("mine")
    run.remove_stale(["distill", "export", "prune"])
    assert names(run.path) == ["export"]


def test_write_text_is_whole_or_not_at_all(tmp_path, monkeypatch):
    run = RunDir(tmp_path / "digits")
    assert run.write_text("spec.json", "{}").read_text() == "{}"

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(AugcompressError, match="disk full"):
        run.write_text("spec.json", "{new}")
    assert (run.path / "spec.json").read_text() == "{}"
    assert names(run.path) == ["spec.json"]
    (run.path / "report.html").mkdir()
    with pytest.raises(AugcompressError, match=r"report.html: is a folder, where a file is to be"):
        run.write_text("report.html", "")
    assert names(run.path) == ["report.html", "spec.json"]


def two_stage_run(root: Path, name: str) -> RunDir:
    run = RunDir(root / name)
    for stage, key, top1 in (("train_teacher", KEY, 0.95), ("distill", OTHER, 0.9)):
        entry = run.store.entry(stage, key)
        if not entry.done:
            fill(entry, stage * 100, top1)
            os.utime(entry.path / "stage.json", (time.time(), 1e9 + (stage == "distill")))
        run.link(entry, stage)
    run.write_text("spec.json", "{}")
    return run


def test_runs_lists_stages_in_order_with_the_last_top1(tmp_path):
    run = two_stage_run(tmp_path, "digits")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no run")
    (run.path / "thoughts").mkdir()
    (run.path / "thoughts" / "stage.json").write_text("a user's")
    (summary,) = runs(tmp_path)
    assert summary.name == "digits"
    assert summary.stages == ["train_teacher", "distill"]
    assert summary.top1.value == 0.9
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert summary.size_bytes == sum(path.stat().st_size for path in files)
    assert summary.modified == max(path.stat().st_mtime for path in files)


def test_no_folder_has_no_runs(tmp_path):
    assert runs(tmp_path / "none") == []


def test_clean_keeps_what_runs_link(tmp_path):
    run = two_stage_run(tmp_path, "digits")
    stored = names(run.store.root)
    assert clean(tmp_path) == 0
    assert names(run.store.root) == stored


def test_clean_removes_unlinked_entries_and_abandoned_work(tmp_path, entry):
    fill(entry, "x" * 5000)
    size = sum(path.stat().st_size for path in entry.path.iterdir())
    abandoned = entry.store.entry("prune", OTHER)
    with pytest.raises(KeyError, match="stop"):
        fail_writing(abandoned, KeyError("stop"))
    swapped = abandoned.path.with_name(f".old-{abandoned.name}")
    swapped.mkdir()
    (swapped / "model.onnx").write_text("old")
    size += (abandoned.work / "parts.json").stat().st_size
    assert clean(tmp_path, dry_run=True) == size + len("half") + len("old")
    assert entry.done
    assert clean(tmp_path) == size + len("half") + len("old")
    assert names(entry.store.root) == []


def test_clean_leaves_work_that_a_process_is_at(tmp_path, entry, holder):
    assert clean(tmp_path) == 0
    assert (entry.work / "state" / "fit.pt").exists()


def test_clean_of_a_run_frees_what_no_other_run_links(tmp_path):
    run = two_stage_run(tmp_path, "first")
    second = RunDir(tmp_path / "second")
    second.link(run.store.entry("distill", OTHER), "distill")
    teacher = run.store.entry("train_teacher", KEY).path
    size = sum(path.stat().st_size for path in teacher.iterdir()) + len("{}")
    assert clean(tmp_path, ["first"], dry_run=True) == size
    assert run.path.exists()
    assert clean(tmp_path, ["first"]) == size
    assert names(tmp_path) == [".store", "second"]
    assert names(run.store.root) == [f"distill-{OTHER[:16]}"]


def test_clean_keeps_entries_that_a_run_has_copies_of(tmp_path, entry, monkeypatch):
    monkeypatch.setattr(os, "link", forbid)
    RunDir(tmp_path / "digits").link(fill(entry), "distill")
    assert clean(tmp_path) == 0
    assert entry.done


def test_clean_of_a_run_leaves_foreign_files(tmp_path):
    run = two_stage_run(tmp_path, "digits")
    (run.path / "thesis.tex").write_text("years of work")
    clean(tmp_path, ["digits"])
    assert names(run.path) == ["thesis.tex"]


def test_clean_takes_nothing_from_a_foreign_store(tmp_path):
    foreign = [".store/pkg/data.txt", ".store/distill-old/a", ".store/distill-0123456789abcdef/a"]
    foreign += ["site/spec.json", "site/recipe.yaml", "site/report.html", ".store/.work-x/a"]
    for name in foreign:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert clean(tmp_path) == 0
    with pytest.raises(AugcompressError, match="is no run"):
        clean(tmp_path, ["site"])
    found = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert {name for name in found if ".lock" not in name} == set(foreign)


def test_clean_keeps_what_runs_behind_symbolic_links_use(tmp_path, entry, monkeypatch):
    monkeypatch.setattr(os, "link", forbid)  # the run is on another disk
    (tmp_path / "far" / "digits").mkdir(parents=True)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "digits").symlink_to(tmp_path / "far" / "digits")
    run = RunDir(tmp_path / "runs" / "digits")
    stored = fill(run.store.entry("distill", KEY))
    run.link(stored, "distill")
    assert clean(tmp_path / "runs") == 0
    with pytest.raises(AugcompressError, match="is no run; choose among: none"):
        clean(tmp_path / "runs", ["digits"])
    assert stored.done
    assert (run.stage("distill") / "model.safetensors").exists()
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / ".store").symlink_to(tmp_path / "runs" / ".store")
    assert clean(tmp_path / "others") == 0
    assert stored.done


def locked(run: RunDir, monkeypatch) -> None:
    """As for a user who may not look into it; the tests may run as root, who may."""
    iterate = Path.glob

    def refuse(path: Path, pattern: str):
        if path == run.path:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return iterate(path, pattern)

    monkeypatch.setattr(Path, "glob", refuse)


def test_a_run_that_cannot_be_read_is_one_line_among_the_others(tmp_path, monkeypatch):
    two_stage_run(tmp_path, "first")
    locked(two_stage_run(tmp_path, "second"), monkeypatch)
    first, second = runs(tmp_path)
    assert (first.name, first.problem, first.stages) == ("first", "", ["train_teacher", "distill"])
    assert (second.name, second.stages) == ("second", [])
    assert "Permission denied" in second.problem


@pytest.mark.parametrize("text", ["[" * 100_000, "{", '{"version": 1, "measurements": [[]]}'])
def test_a_run_with_damaged_measurements_is_listed(tmp_path, text):
    run = two_stage_run(tmp_path, "digits")
    (run.stage("distill") / "measurements.json").write_text(text)
    (found,) = runs(tmp_path)
    assert found.stages == ["train_teacher", "distill"]
    assert found.top1.value == 0.95  # the teacher's


@pytest.mark.parametrize("name", ["other", "..", ".store", "digits/distill"])
def test_clean_refuses_what_is_no_run(tmp_path, name):
    run = two_stage_run(tmp_path, "digits")
    with pytest.raises(AugcompressError, match="is no run; choose among: digits"):
        clean(tmp_path, [name])
    assert run.stage("distill").is_dir()
