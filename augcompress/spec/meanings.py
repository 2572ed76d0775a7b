"""What fields mean: the docstrings below them, read when they are asked for.

Pydantic's own option reads them when a class is made, which takes as long as all else that our
modules do.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from augcompress.spec.tree import Spec


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """The docstring of each field, by name; of a field that a base class has too, the own one."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        found |= _classes(each.__module__).get(each.__qualname__, {})
    return found


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe, with what its fields mean."""
    return Spec.model_json_schema(schema_generator=_WithMeanings)


class _WithMeanings(GenerateJsonSchema):
    def model_schema(self, schema: Any) -> dict[str, Any]:
        found, told = super().model_schema(schema), meanings(schema["cls"])
        for name, field in found.get("properties", {}).items():
            if name in told:
                field["description"] = told[name]
        return found


@cache
def _classes(module: str) -> dict[str, dict[str, str]]:
    """The documented fields of each class at the top of one of our modules."""
    if module.partition(".")[0] != __package__.partition(".")[0]:
        return {}
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: _fields(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _fields(node: ast.ClassDef) -> dict[str, str]:
    found = {}
    for field, below in pairwise(node.body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            found[ast.unparse(field.target)] = inspect.cleandoc(ast.literal_eval(below.value))
    return found
