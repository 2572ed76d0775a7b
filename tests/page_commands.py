"""Every block of commands in the pages is run, or marked with why CI does not.

    python -m tests.page_commands [PAGE ...]

runs those that are marked `minutes` or `data` as well, the latter where AUGCOMPRESS_TEST_DATA
names a folder.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

sys.path.insert(0, str(Path(__file__).parent))

from command_places import DIGITS, PLACES, recipe
from fences import MARK, PAGES, ROOT, Fence, fences, named, read

HERE = frozenset({None})


def bash(shown: list[Fence], marks: Collection[str | None]) -> list[Fence]:
    """The blocks of commands that are marked so; None: not marked."""
    return [one for one in shown if one.kind == "bash" and one.mark in marks]


ALL = {named(page): fences(read(page)) for page in PAGES}
BLOCKS = {name: shown for name, shown in ALL.items() if any(one.kind == "bash" for one in shown)}
WARM = Path(__file__).with_name("warm.py")


class Shell:
    """bash, in which `augcompress` starts at once."""

    def __init__(self) -> None:
        self.bin = Path(tempfile.mkdtemp(prefix="aug-"))
        address = self.bin / "door"
        words = [sys.executable, "-IS", WARM, address]
        client = self.bin / "augcompress"
        client.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n')
        client.chmod(0o755)
        places = [self.bin, Path(sys.executable).parent, os.environ["PATH"]]
        own = {"PATH": os.pathsep.join(map(str, places)), "PYTHONPATH": str(ROOT)}
        quiet = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        self.environment = {**os.environ, **own, **quiet}
        command = [sys.executable, str(WARM), str(address)]
        self.server = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE)
        assert self.server.stdout is not None
        assert self.server.stdout.readline(), "the server does not start"

    def run(self, text: str) -> str | None:
        """Run commands in the current folder; None, or what was said before they failed."""
        command = ["bash", "-c", f"set -e\n{text}"]
        join = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run(command, env=self.environment, text=True, **join)
        return f"exit code {done.returncode}\n{done.stdout}" if done.returncode else None

    def close(self) -> None:
        self.server.kill()
        self.server.wait()
        shutil.rmtree(self.bin)


def follow(
    name: str, shown: list[Fence], shell: Shell, marks: Collection[str | None]
) -> Iterator[tuple[Fence, str | None]]:
    """Run the blocks of a page in its order, in the current folder: each with what went wrong."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", shell.environment["PATH"])
        steps = iter(PLACES[name](shown) or ())
        awaited = next(steps, None)
        for block in bash(shown, marks):
            if awaited is not None and awaited in block.body:
                awaited = next(steps, None)
            yield block, shell.run(block.body)
        assert awaited is None, f"no block has: {awaited}"


@contextlib.contextmanager
def page_folder(folder: Path, stock: Path) -> Iterator[None]:
    """A folder with the runs that all pages have in common, their files shared."""
    folder.mkdir(exist_ok=True)
    shutil.copytree(stock / "runs", folder / "runs", copy_function=os.link)
    with contextlib.chdir(folder):
        yield


def make_stock(folder: Path, shell: Shell) -> None:
    """Runs of the digits and of a tiny recipe, which most commands find done."""
    folder.mkdir()
    with contextlib.chdir(folder):
        recipe("tiny.yaml", DIGITS, {"export": None})
        failed = shell.run("augcompress run -r digits.yaml\naugcompress run -r tiny.yaml")
        assert failed is None, failed
        shutil.rmtree("runs/tiny")


@pytest.fixture(scope="session")
def shell() -> Iterator[Shell]:
    with contextlib.closing(Shell()) as found:
        yield found


@pytest.fixture(scope="session")
def stock(tmp_path_factory, shell) -> Path:
    """Made once, by whichever process comes first."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with FileLock(shared / "stock.lock"):
        if not (shared / "stock").exists():
            make_stock(shared / "stock-made", shell)
            (shared / "stock-made").rename(shared / "stock")
    return shared / "stock"


@pytest.mark.parametrize("name", [name for name, shown in BLOCKS.items() if bash(shown, HERE)])
def test_commands_of_a_page_work(name, tmp_path, shell, stock):
    assert name in PLACES, f"{name}: mark its blocks, or say in PLACES what their folder holds"
    with page_folder(tmp_path / "page", stock):
        for block, failed in follow(name, BLOCKS[name], shell, HERE):
            assert failed is None, f"{name}:{block.line}\n{block.body}\n{failed}"


def wrong(name: str, text: str) -> list[str]:
    """The marks of a page that stand for nothing."""
    shown = fences(text)
    lines = [text.count("\n", 0, found.start()) + 1 for found in MARK.finditer(text)]
    marked = {one.line - 1: one for one in shown if one.kind == "bash" and one.mark}
    lost = [f"{name}:{line}: a mark without a block" for line in lines if line not in marked]
    said = [one for one in marked.values() if one.mark == "elsewhere" and not one.reason]
    return lost + [f"{name}:{one.line - 1}: elsewhere: say why" for one in said]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_marks_stand_before_blocks_and_say_why(page):
    assert wrong(named(page), read(page)) == []


def test_every_folder_is_for_a_page_with_commands():
    assert PLACES.keys() <= BLOCKS.keys()


@pytest.mark.parametrize(
    "text, problem",
    [
        ("<!-- minutes -->\n\n```bash\ntrue\n```\n", "a mark without a block"),
        ("<!-- data -->\n```yaml\na: 1\n```\n", "a mark without a block"),
        ("words\n<!-- elsewhere: GPUs -->\n", "a mark without a block"),
        ("<!-- elsewhere -->\n```bash\ntrue\n```\n", "say why"),
        ("<!-- elsewhere:  -->\n```bash\ntrue\n```\n", "say why"),
    ],
)
def test_a_wrong_mark_is_noticed(text, problem):
    assert [one for one in wrong("page", text) if problem in one]


def test_a_failing_line_fails_its_block(shell, place):
    assert "exit code 3" in shell.run("(exit 3)\ntrue")
    assert "nothing here" in shell.run("augcompress explain xyz\ntrue")
    assert shell.run("augcompress runs list > list.txt") is None


def main() -> int:
    """Run the blocks of pages, long ones too; say of each whether it worked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pages", nargs="*", help="README.md docs/tutorial.md ...; default: all")
    given = parser.parse_args().pages or list(BLOCKS)
    if unknown := [name for name in given if name not in BLOCKS]:
        parser.error(f"no commands in: {', '.join(unknown)}")
    marks = {None, "minutes", *(["data"] if os.environ.get("AUGCOMPRESS_TEST_DATA") else [])}
    found = []
    with tempfile.TemporaryDirectory() as scratch, contextlib.closing(Shell()) as shell:
        stock = Path(scratch, "stock")
        make_stock(stock, shell)
        for number, name in enumerate(given):
            with page_folder(Path(scratch, str(number)), stock):
                found += [tell(name, *one) for one in follow(name, BLOCKS[name], shell, marks)]
    print(f"{len(found)} blocks, {found.count(False)} failed")
    return int(False in found)


def tell(name: str, block: Fence, failed: str | None) -> bool:
    """Say how a block ended."""
    print(f"{name}:{block.line}", "FAILED\n" + failed if failed else "works", flush=True)
    return not failed


if __name__ == "__main__":
    sys.exit(main())
