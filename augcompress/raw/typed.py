"""Whether a run was made with a recipe, told without its settings: their defaults take torch."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from augcompress.component import PlacedText
from augcompress.storage import digest_file
from augcompress.untrusted import load_json

TYPED_FILE = "typed.json"
"""What a run was made with, as data: the recipe as typed, with every `--set`."""
_FILE = re.compile(r"[./\\:~$]")


def typed_text(raw: dict[str, Any], run: Path) -> str:
    """What is kept in a run's `typed.json`, beside the `spec.json` that was made of it."""
    return (
        json.dumps({"spec": digest_file(run / "spec.json"), "recipe": raw}, indent=1, default=str)
        + "\n"
    )


def is_made_with(run: Path, raw: dict[str, Any], base: str = "") -> bool:
    """Was the run made with this very recipe, but for its limits?  Its paths start at `base`.

    False where it is not certain: settings that name files (but for those of the data, whose paths
    decide nothing) may mean something else by now, or from here.
    """
    resolved = _loaded(run / "spec.json")
    if not isinstance(resolved, dict):
        return False
    if _unjudged(raw) == _unjudged(resolved):
        return True
    told = _loaded(run / TYPED_FILE)
    if not isinstance(told, dict) or told.get("spec") != digest_file(run / "spec.json"):
        return False
    same = isinstance(told.get("recipe"), dict) and _unjudged(raw) == _unjudged(told["recipe"])
    decides = {name: value for name, value in raw.items() if name not in ("name", "data", "limits")}
    return same and not any(_names_a_file(text, base) for text in _texts(decides))


def _names_a_file(text: str, base: str) -> bool:
    folder = text.folder if isinstance(text, PlacedText) else base
    return bool(_FILE.search(text)) or os.path.exists(os.path.join(folder, text))


def _loaded(path: Path) -> Any:
    try:
        return load_json(path)
    except (OSError, ValueError):
        return None


def _unjudged(raw: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in raw.items() if name != "limits"}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from _texts(one)
