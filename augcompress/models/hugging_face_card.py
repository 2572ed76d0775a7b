"""What the card of a model of Hugging Face says: under which licence its weights are."""

from __future__ import annotations

from pathlib import Path

from augcompress.errors import require
from augcompress.untrusted import plain_yaml

CARD = "README.md"


def licence_said(folder: str | None, name: str | None, revision: str | None) -> str | None:
    """The licence in the card of a folder, else of a model on the hub; None: there is none, or it
    says nothing."""
    try:
        if folder is not None:
            return read_licence(Path(folder) / CARD)
        hub = require("huggingface_hub", extra="hugging-face")
        return read_licence(Path(hub.hf_hub_download(name, CARD, revision=revision)))
    except Exception:  # the hub, the file or the network may fail in any way
        return None


def read_licence(card: Path) -> str | None:
    """The licence that the data at the head of a card names; None where it names none.

    Raises OSError or ValueError when it cannot be read.
    """
    head = card.read_text(encoding="utf-8").split("\n---", 1)[0]
    told = plain_yaml(head.removeprefix("---")) if head.startswith("---\n") else {}
    given = told.get("license") if isinstance(told, dict) else None
    if given == "other":
        given = told.get("license_name", given)
    return given if isinstance(given, str) else None
