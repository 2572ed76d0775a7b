"""`python -m tests.reference` writes the generated pages: docs/reference.md and docs/modules.md."""

from __future__ import annotations

import ast
from pathlib import Path

from augcompress.spec.reference import markdown

ROOT = Path(__file__).parents[1]
REFERENCE, MODULES = ROOT / "docs" / "reference.md", ROOT / "docs" / "modules.md"
HEAD = """# Modules

One sentence each, from the modules' docstrings by `python -m tests.reference`.  Who may import whom
stands in [contributing](contributing.md#layers).
"""


def pages() -> dict[Path, str]:
    """The generated pages as they should be."""
    return {REFERENCE: markdown().rstrip() + "\n", MODULES: module_map()}


def module_map() -> str:
    """A table of modules for each folder of the package."""
    package = ROOT / "augcompress"
    folders = [package, *sorted(p.parent for p in package.glob("*/**/__init__.py"))]
    return HEAD + "".join(table(folder) for folder in folders)


def table(folder: Path) -> str:
    """The modules of one folder; its own sentence stands above them."""
    title = folder.relative_to(ROOT).as_posix()
    rows = "".join(
        f"| [{path.name}](../{path.relative_to(ROOT).as_posix()}) | {sentence(path)} |\n"
        for path in sorted(folder.glob("*.py"))
        if path.name != "__init__.py"
    )
    head = f"\n## {title}\n\n{sentence(folder / '__init__.py')}\n"
    return head + (f"\n| module | what it is |\n|---|---|\n{rows}" if rows else "")


def sentence(path: Path) -> str:
    """The first paragraph of a module's docstring, on one line."""
    told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(told.partition("\n\n")[0].split()).replace("|", "\\|")


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
