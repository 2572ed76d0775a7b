"""Fenced code in the pages, and the marks of what CI cannot run, which readers do not see."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from reference import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARK = re.compile(r"^ *<!-- (minutes|data|elsewhere)(?:: *(.*?))? *-->$", re.M)
FENCE = re.compile(rf"(?:{MARK.pattern}\n)?^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
SHELLS = ("", "bash", "sh", "console")


@dataclass(frozen=True)
class Fence:
    """A fenced block: where it is, what it holds, and how it is marked."""

    line: int
    kind: str
    body: str
    mark: str | None = None
    reason: str | None = None


def fences(text: str) -> list[Fence]:
    """The fenced blocks of a page, in its order."""
    return [
        Fence(text.count("\n", 0, found.start(4)), found[3], found[4], found[1], found[2])
        for found in FENCE.finditer(text)
    ]


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()
