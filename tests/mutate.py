"""Breaks a module in small ways, in a copy of the tree, and says which ones its tests overlook.

python -m tests.mutate augcompress/evidence/limits.py tests/evidence tests/test_gate.py
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

OPPOSITE: dict[type, type] = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.And: ast.Or,
    ast.Or: ast.And, ast.UAdd: ast.USub, ast.USub: ast.UAdd,
}  # fmt: skip
COPIED = ("augcompress", "tests", "recipes", "docs", "pyproject.toml", "README.md")


def mutants(source: str) -> list[tuple[int, str, str]]:
    """Every mutant: line, what was done, and the module's new text."""
    found = []
    for place in range(sum(1 for _ in ast.walk(ast.parse(source)))):
        tree = ast.parse(source)
        node = next(one for at, one in enumerate(ast.walk(tree)) if at == place)
        line = getattr(node, "lineno", 0)
        found += [(line, what, ast.unparse(tree)) for what in changes(node)]
    return found


def changes(node: ast.AST) -> Iterator[str]:
    """Change a node in place, in at most one way: an operator, a number, a statement."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OPPOSITE:
        before, node.ops[0] = type(node.ops[0]), OPPOSITE[type(node.ops[0])]()
        yield f"{before.__name__} turned round"
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.UnaryOp) and type(node.op) in OPPOSITE:
        before, node.op = type(node.op), OPPOSITE[type(node.op)]()
        yield f"{before.__name__} turned round"
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        before = node.value
        node.value = not before if isinstance(before, bool) else before + 1
        yield f"{before} becomes {node.value}"
    elif isinstance(node, ast.Expr | ast.Assign | ast.AugAssign) and is_deletable(node):
        before = ast.unparse(node).partition("\n")[0]
        node.__class__, node.value = ast.Expr, ast.Constant(None)  # type: ignore[assignment]
        yield f"without: {before[:60]}"


def is_deletable(node: ast.Expr | ast.Assign | ast.AugAssign) -> bool:
    """Is it a statement inside a function, and no docstring?"""
    return node.col_offset > 0 and not isinstance(node.value, ast.Constant)


def main() -> None:
    """Run the tests against some mutants of a module; exit code 1 when one survives."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("module", type=Path)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--mutants", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    source = given.module.read_text(encoding="utf-8")
    every = mutants(source)
    chosen = random.Random(given.seed).sample(every, min(given.mutants, len(every)))
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in COPIED:
            copy = shutil.copytree if Path(name).is_dir() else shutil.copy2
            copy(name, Path(folder) / name)
        for line, what, text in sorted(chosen):
            (Path(folder) / given.module).write_text(text, encoding="utf-8")
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
            settings = {**os.environ, "PYTHONPATH": folder}
            run = subprocess.run(
                [*command, *given.tests], cwd=folder, env=settings, capture_output=True, check=False
            )
            survivors += run.returncode == 0
            word = "SURVIVED" if run.returncode == 0 else "killed"
            print(f"{word} {given.module}:{line} {what}", flush=True)
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
