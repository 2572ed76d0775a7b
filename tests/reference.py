"""`python -m tests.reference` writes docs/reference.md from the settings classes."""

from __future__ import annotations

from pathlib import Path

from augcompress.reference import markdown

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"


def text() -> str:
    """The page as it should be."""
    return markdown().rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
