"""`--help` of every command: whole, in groups, and of what the command uses alone."""

from __future__ import annotations

import re

import pytest
import typer
from end_to_end import done, invoke

from augcompress.cli import app
from augcompress.cli.app import GROUPS
from augcompress.stages import STAGES


def commands(group=None, path: tuple[str, ...] = ()):
    """Every command and group, by its name."""
    group = typer.main.get_command(app) if group is None else group
    for name, command in group.commands.items():
        yield " ".join((*path, name)), command
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))


COMMANDS = dict(commands())
SHARED = ["source", "teacher", "allow_chance", "devices", "nodes", "node_rank", "rendezvous"]


def groups(text: str) -> dict[str, str]:
    """What stands below each heading of a command's help."""
    parts = re.split(r"^(\w+):\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_whole(name):
    command, text = COMMANDS[name], done(*name.split(), "--help").out
    assert max(map(len, text.splitlines())) <= 80
    assert words(command.help) in words(text)
    if hasattr(command, "commands"):
        for inner in command.commands.values():
            assert f"{inner.name} {words(inner.help)}".rstrip(".") in words(text)
        return
    found = groups(text)
    assert list(found) == [heading for heading in GROUPS if heading in found]
    for param in command.params:
        option = max(param.opts, key=len)
        if param.param_type_name == "argument":
            assert words(param.help) in words(found["Arguments"])
            continue
        shown = re.compile(rf"^  (-\w, )?{option}\b(?!-)", re.M)
        (place,) = [heading for heading, part in found.items() if shown.search(part)]
        assert not GROUPS[place] or option in GROUPS[place].split()
        assert param.help
        assert words(param.help) in words(found[place])


def test_summaries_are_whole_and_start_with_the_work():
    text = done("--help").out
    listed = re.findall(r"^  ([a-z-]+)  ", text.partition("Commands:\n")[2], re.M)
    assert listed == [name for name in COMMANDS if " " not in name]
    assert listed[:3] == ["run", "augment", "pretrain"]
    for name in listed:
        assert words(COMMANDS[name].help) in words(text)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_takes_what_it_uses(name):
    stage, command = STAGES[name], COMMANDS[name.replace("_", "-")]
    taken = {param.name for param in command.params}
    together = set(SHARED[3:]) if stage.trains else set()
    starting = {"source"} - ({"source"} if stage.starts_fresh else set())
    learning = {"teacher"} if name in ("distill", "prune", "quantize", "export") else set()
    judged = {"allow_chance"} if stage.makes else set()
    assert taken & set(SHARED) == together | starting | learning | judged


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("train-teacher", "--from"),
        ("evaluate", "--teacher"),
        ("export", "--devices"),
        ("augment", "--allow-chance"),
        *(("search", name) for name in ("--from", "--force", "--batch", "--seed", "--devices")),
    ],
)
def test_what_a_command_does_not_use_it_does_not_take(place, command, option):
    answer = invoke(command, "-r", "digits.yaml", option, "2", chance=False)
    wrong = f"error: {command}: there is no option {option}"
    assert (answer.code, answer.out) == (2, "")
    assert answer.error.startswith(wrong)
    cures = rf"; (see: augcompress {command} --help|did you mean --\w+\?)$"
    assert re.search(cures, answer.error)
    assert option not in done(command, "--help").out.replace(f"{option}-", "").split()
