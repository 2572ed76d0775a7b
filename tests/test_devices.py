"""Several processes from the command line: same stages and files, one voice, a clean end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
import torch.distributed as dist
from end_to_end import (
    STAGE_FILES,
    STAGES,
    done,
    files,
    invoke,
    start,
    training,
    wait_for,
    write_recipe,
)

from augcompress.cli import report_error
from augcompress.cli.joining import (
    LAUNCHED,
    LOST,
    is_news,
    lost_contact,
    share_cores,
    slurm_variables,
    started,
)
from augcompress.cli.launching import launch_config, outcome, own_command
from augcompress.cli.layout import Layout, layout_of
from augcompress.cli.options import Device, Options, pick_device
from augcompress.errors import AugcompressError, UsageError
from augcompress.training.processes import StoppedElsewhere

RECIPES = Path(__file__).parents[1] / "recipes"
RUN, STORE = Path("runs/tiny"), Path("runs/.store")
STATE = ".work-train_teacher-*/state/fit.pt"
FOREIGN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK",
           "MASTER_ADDR", "MASTER_PORT")  # fmt: skip
TEACHER = ("train-teacher", "-r", "tiny.yaml", "--device", "cpu")
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups of POSIX")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    """The tests themselves were started by nobody."""
    for name in (*FOREIGN, *(name for name in os.environ if name.startswith("SLURM_"))):
        monkeypatch.delenv(name, raising=False)


def lasting(epochs):
    """A change of the tiny recipe: the teacher trains so long."""
    return lambda recipe: recipe["train_teacher"].update(training=training(epochs))


def ended(process: subprocess.Popen[str]) -> tuple[int, str, list[str]]:
    """Exit code, standard output and the lines of errors of a command that is about to end."""
    try:
        out, err = process.communicate(timeout=240)
    finally:
        process.kill()
    return process.returncode, out, [line for line in err.splitlines() if "error: " in line]


def in_training(process: subprocess.Popen[str]) -> dict[int, psutil.Process]:
    """The processes that a command has started, by rank, when they have written a state."""
    wait_for(process, lambda: any(STORE.glob(STATE)))
    children = psutil.Process(process.pid).children(recursive=True)
    return {int(child.environ()["RANK"]): child for child in children}


def trained_by_two() -> bool:
    """Is there a teacher that two processes have made?"""
    record = json.loads((RUN / "train_teacher/stage.json").read_text())
    return record["notes"][-1] == "2 processes"


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def test_digits_on_two_devices_has_the_same_stages_and_files(place):
    run, epochs = place / "runs/digits", {"train_teacher": 4, "distill": 4, "prune": 2}
    short = [f"--set={stage}.training.epochs={count}" for stage, count in epochs.items()]
    command = ("run", "-r", str(RECIPES / "digits.yaml"), "--json", "--set=limits=[]", *short)
    code, out, errors = ended(start(*command, "--device", "cpu", "--devices", "2"))
    assert (code, errors) == (0, [])
    told = {stage["name"]: stage for stage in json.loads(out)["stages"]}  # said by one process
    assert {name: stage["status"] for name, stage in told.items()} == dict.fromkeys(STAGES, "done")
    found = {f"{stage}/{name}" for stage in STAGES for name in STAGE_FILES[stage]}
    assert files(run) == found | {"recipe.yaml", "spec.json", "typed.json"}
    assert not list((place / "runs/.store").glob(".work-*"))
    records = {stage: json.loads((run / stage / "stage.json").read_text()) for stage in STAGES}
    shared = {stage for stage, record in records.items() if "2 processes" in record["notes"]}
    assert shared == set(epochs)
    log = [json.loads(line) for line in (run / "distill/log.jsonl").read_text().splitlines()]
    rows = json.loads((run / "distill/measurements.json").read_text())["measurements"]
    assert [line["epoch"] for line in log] == [1, 2, 3, 4]
    assert log[-1]["validation_n"] == rows[0]["n"]  # every image in one of the processes
    assert set(done(*command).stages.values()) == {"cached"}  # not a part of the key


@posix
def test_a_killed_process_takes_the_run_down_and_it_resumes(place):
    write_recipe(place, lasting(60))
    first = start(*TEACHER, "--devices", "2")
    workers = in_training(first)
    workers[1].kill()
    code, _, errors = ended(first)
    assert (code, errors) == (1, [
        "error: process 2 of 2 was killed (SIGKILL); the same command goes on from the last state"
    ])  # fmt: skip
    assert sorted(workers) == [0, 1]
    assert not any(worker.is_running() for worker in workers.values())
    second = start(*TEACHER, "--devices", "2")
    assert second.stderr is not None
    assert any("resuming train_teacher at epoch" in line for line in second.stderr)
    second.send_signal(signal.SIGTERM)
    code, _, errors = ended(second)
    assert (code, errors) == (130, ["error: interrupted; the same command goes on from here"])
    third = done(*TEACHER)
    assert "resuming train_teacher at epoch" in third.err  # whatever the number of devices


@posix
def test_a_killed_launcher_takes_the_processes_down_and_the_run_resumes(place):
    write_recipe(place, lasting(60))
    first = start(*TEACHER, "--devices", "2")
    workers = in_training(first)
    first.kill()
    gone, alive = psutil.wait_procs(list(workers.values()), timeout=60)
    for worker in alive:
        worker.kill()
    assert (len(gone), alive) == (2, [])
    ended(first)
    assert "resuming train_teacher at epoch" in done(*TEACHER).err


@posix
def test_torchrun_starts_the_processes(place):
    write_recipe(place, lasting(1))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    got = subprocess.run(
        [*command, "-m", "augcompress", *TEACHER, "--allow-chance"],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert got.returncode == 0, got.stderr
    assert got.stdout.count("train_teacher") == 1
    assert trained_by_two()


@posix
def test_slurm_starts_the_processes(place, monkeypatch):
    write_recipe(place, lasting(1))
    for name, value in {"NTASKS": "2", "JOB_ID": "4711", "STEP_ID": "0", "NNODES": "1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("MASTER_PORT", free_port())
    tasks = []
    for task in ("0", "1"):
        monkeypatch.setenv("SLURM_PROCID", task)
        monkeypatch.setenv("SLURM_LOCALID", task)
        tasks.append(start(*TEACHER, "--allow-chance"))
    (first, out, errors), second = [ended(task) for task in tasks]
    assert (first, errors) == (0, [])
    assert second == (0, "", [])
    assert "train_teacher" in out
    assert trained_by_two()


@posix
def test_machines_meet_and_what_is_wrong_is_said_once(place):
    write_recipe(place)
    command = (*TEACHER, "--set=train_teacher.training.batch_size=33")
    meeting = f"127.0.0.1:{free_port()}"
    nodes = [
        start(*command, "--nodes", "2", "--node-rank", rank, "--rendezvous", meeting)
        for rank in ("0", "1")
    ]
    (first, _, said), (second, _, also) = [ended(node) for node in nodes]
    assert (first, second) == (1, 1)
    assert said + also == [
        "error: train_teacher.training.batch_size: 33 cannot be shared out evenly to 2 processes;"
        " make it a multiple"
    ]
    assert not RUN.joinpath("train_teacher").exists()


def test_a_wrong_recipe_is_refused_before_anything_is_started(place, monkeypatch):
    write_recipe(place)
    monkeypatch.setattr("augcompress.cli.launching.launch", lambda layout: pytest.fail("started"))
    answer = invoke(*TEACHER, "--devices", "2", "--set", "distill.epochs=3")
    assert (answer.code, "distill" in answer.error) == (2, True)


def options(**given) -> Options:
    return Options("digits", **given)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"devices": "0"}, "--devices 0: is no number of devices; give 1 or more, or auto"),
        ({"devices": "two"}, "--devices two: is no number of devices"),
        ({"devices": "3"}, "--devices 3: torch finds 2 CUDA devices here; give --devices 2, or"),
        ({"node_rank": 1}, "--node-rank: has no meaning for one machine; give --nodes too"),
        ({"rendezvous": "a:1"}, "--rendezvous: has no meaning for one machine"),
        ({"nodes": 2}, "--nodes 2: this machine's number is missing"),
        ({"nodes": 2, "node_rank": 2}, "--nodes 2: this machine's number is missing"),
        ({"nodes": 2, "node_rank": 0}, "--nodes 2: no meeting point; give --rendezvous"),
        ({"nodes": 2, "node_rank": 0, "rendezvous": "a:b"}, "--rendezvous a:b: b is no port"),
    ],
)  # fmt: skip
def test_layouts_that_cannot_be(given, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match=re.escape(message)):
        layout_of(options(**given))


def test_layouts(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert layout_of(options()) == Layout()
    assert layout_of(options(devices="auto")) == Layout(2)
    assert layout_of(options(devices="auto", device=Device.cpu)) == Layout(1)
    assert layout_of(options(devices="4", device=Device.cpu)) == Layout(4)
    two = layout_of(options(devices="2", nodes=2, node_rank=1, rendezvous="first"))
    assert (two, two.world) == (Layout(2, 2, 1, "first:29500"), 4)
    for name, value in (("SLURM_NODEID", "1"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "7")):
        monkeypatch.setenv(name, value)
    assert layout_of(options(nodes=2)) == Layout(1, 2, 1, "a:7")


TASK = {
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NTASKS": "6",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_TASKS_PER_NODE": "4,2",
    "SLURM_STEP_NODELIST": "gpu-[07-08],other",
    "SLURM_JOB_ID": "123456",
}


def test_what_slurm_says_is_read():
    assert slurm_variables(TASK, Layout()) == {
        "RANK": "5",
        "WORLD_SIZE": "6",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "4",
        "MASTER_ADDR": "gpu-07",
        "MASTER_PORT": "18456",
    }
    given = slurm_variables({**TASK, "MASTER_ADDR": "a", "MASTER_PORT": "1"}, Layout())
    assert (given["MASTER_ADDR"], given["MASTER_PORT"]) == ("a", "1")
    alone = slurm_variables({"SLURM_NTASKS": "2", "SLURM_PROCID": "0", "MASTER_ADDR": ""}, Layout())
    assert alone["MASTER_ADDR"] == "127.0.0.1"


@pytest.mark.parametrize(
    "change, layout",
    [
        ({"RANK": "0"}, Layout()),  # torchrun below srun
        ({"SLURM_NTASKS": "1"}, Layout()),
        ({"SLURM_STEP_ID": None}, Layout()),  # a batch script
        ({}, Layout(8, 6, 5, "a:1")),  # a launcher of ours on each of six machines
    ],
)
def test_who_is_no_task_of_slurm(change, layout):
    found = {name: value for name, value in {**TASK, **change}.items() if value is not None}
    assert slurm_variables(found, layout) == {}


def test_who_was_started_with_others(monkeypatch):
    assert not started(Layout(2))
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        assert not started(Layout())
        monkeypatch.setenv(name, value)
    assert started(Layout())
    assert started(Layout(2))
    with pytest.raises(UsageError, match=r"^--devices: 3 processes are asked for and 2 were"):
        started(Layout(3))


def test_each_process_has_its_own_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device(Device.auto) == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert pick_device(Device.auto) == torch.device("cuda", 1)
    assert pick_device(Device.cpu) == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UsageError, match="process 3 of this machine has no CUDA device of its own"):
        pick_device(Device.auto)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("SLURM_LOCALID", "2")
    assert pick_device(Device.auto) == torch.device("cuda", 0)


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr("augcompress.system.available_cpus", lambda: 7)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    share_cores(2)
    assert os.environ["OMP_NUM_THREADS"] == "5"
    for processes, cores in ((2, "3"), (9, "1")):
        monkeypatch.delenv("OMP_NUM_THREADS")
        share_cores(processes)
        assert os.environ["OMP_NUM_THREADS"] == cores
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "6")
    share_cores()
    assert os.environ["OMP_NUM_THREADS"] == "6"


@pytest.mark.parametrize(
    "codes, code", [({}, 0), ({0: 3}, 3), ({0: LOST, 1: 2}, 2), ({1: 1, 0: -signal.SIGKILL}, 1)]
)
def test_the_first_failure_is_the_commands(codes, code):
    assert outcome(codes, 2) == code


@pytest.mark.parametrize(
    "codes, message",
    [
        ({0: LOST, 1: -signal.SIGKILL}, r"^process 2 of 2 was killed \(SIGKILL\); the same"),
        ({0: -signal.SIGSEGV, 1: -signal.SIGTERM}, r"^process 1 of 2 was killed \(SIGSEGV\)"),
        ({0: LOST, 1: -signal.SIGTERM}, "^the 2 processes lost each other; see what the other"),
    ],
)
def test_ends_that_no_process_could_explain(codes, message):
    with pytest.raises(AugcompressError, match=message):
        outcome(codes, 2)


def test_the_launcher_is_torchs_own(tmp_path, monkeypatch):
    one = launch_config(Layout(4), str(tmp_path))
    assert (one.nproc_per_node, one.max_nodes, one.max_restarts) == (4, 1, 0)
    two = launch_config(Layout(4, 2, 1, "a:7"), str(tmp_path))
    assert (two.min_nodes, two.rdzv_endpoint, two.rdzv_configs["rank"]) == (2, "a:7", 1)
    monkeypatch.setattr(sys, "argv", ["/bin/augcompress", "run", "-r", "a b.yaml"])
    monkeypatch.setattr(sys, "path", ["/bin"])
    assert own_command() == ["-P", "-m", "augcompress", "run", "-r", "a b.yaml"]
    monkeypatch.setattr(sys, "path", [""])
    assert own_command()[0] == "-m"


@pytest.fixture
def company():
    """This process has joined others: nobody else, as it happens."""
    store = dist.HashStore()
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


GONE = RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:1] Connection closed")


def test_the_first_to_fail_says_why(company, monkeypatch):
    monkeypatch.delenv(LAUNCHED, raising=False)
    assert is_news(AugcompressError("this"))
    assert not is_news(AugcompressError("this"))
    assert not is_news(StoppedElsewhere("another process has stopped"))


@pytest.mark.parametrize("error", [GONE, KeyboardInterrupt()])
def test_what_the_command_sees_it_says_itself(error, company, monkeypatch):
    monkeypatch.setenv(LAUNCHED, "1")
    assert not is_news(error)
    monkeypatch.delenv(LAUNCHED)
    assert is_news(error)


def test_losing_others_is_no_bug(company, capsys):
    assert report_error(GONE) == LOST
    assert capsys.readouterr().err == (
        "error: lost contact with another process; the same command goes on from the last state\n"
    )
    assert report_error(RuntimeError("shapes differ")) == 70


def test_alone_every_error_is_news():
    assert is_news(KeyboardInterrupt())
    assert not lost_contact(GONE)
