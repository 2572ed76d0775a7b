"""Files below a folder: regular ones, each folder once, whatever links there are."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from augcompress.errors import AugcompressError
from augcompress.inference.images import image_endings


@dataclass
class Below:
    """What lies below a folder; all names are relative to it, with `/`."""

    names: list[str] = field(default_factory=list)
    """Regular files, and links to such, in order."""
    not_followed: list[str] = field(default_factory=list)
    """Links to folders above, or to folders that are there already."""
    irregular: list[str] = field(default_factory=list)
    """Pipes, sockets, devices."""
    broken: list[str] = field(default_factory=list)
    """Links to nothing."""
    linked: bool = False
    """Was a link followed?  The same file may then be there twice."""


def files_below(top: Path, where: str) -> Below:
    """What lies at any depth below a folder; hidden files and folders are left out.

    Links are followed, but every folder is entered once, and none above the link or `top`.
    Raises AugcompressError, which begins with `where`, for a folder that cannot be read.
    """
    found, start = Below(linked=top.is_symlink()), os.path.realpath(top)
    entered, links = {start}, deque[tuple[str, str]]()
    waiting = [("", start)]  # the name of a folder, with / behind it, and its real path
    while waiting or links:
        if waiting:
            name, folder = waiting.pop()
        else:
            link, place = links.popleft()
            name, folder = f"{link}/", os.path.realpath(place)
            if folder in entered or _is_above(folder, os.path.dirname(place), start):
                found.not_followed.append(link)
                continue
            entered.add(folder)
        for entry in visible(folder, where):
            if entry.is_dir(follow_symlinks=False):
                if entry.path not in entered:
                    entered.add(entry.path)
                    waiting.append((f"{name}{entry.name}/", entry.path))
            elif entry.is_symlink() and os.path.isdir(entry.path):
                links.append((f"{name}{entry.name}", entry.path))
            else:
                _add(found, f"{name}{entry.name}", entry)
        found.linked |= bool(links)
    for names in (found.names, found.not_followed, found.irregular, found.broken):
        names.sort()
    return found


def _add(found: Below, name: str, entry: os.DirEntry[str]) -> None:
    if entry.is_symlink():
        found.linked = True
        regular = os.path.isfile(entry.path)
        others = found.irregular if os.path.exists(entry.path) else found.broken
    else:
        regular, others = entry.is_file(), found.irregular
    (found.names if regular else others).append(name)


def _is_above(folder: str, *places: str) -> bool:
    """Is the folder, a real path, above one of the places, or the same?"""
    return any(os.path.commonpath([folder, place]) == folder for place in places)


def visible(folder: str | Path, where: str) -> Iterator[os.DirEntry[str]]:
    """What lies in a folder, in order of the names; hidden files and folders are left out.

    Raises AugcompressError, which begins with `where`, when it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise AugcompressError(
            f"{where}: {folder}: {error.strerror}; make it readable or move it away"
        ) from error
    yield from (entry for entry in found if not entry.name.startswith("."))


def folders_in(folder: Path, where: str) -> list[str]:
    """Names of the folders in a folder, in order; no links to a folder above.

    Raises AugcompressError, which begins with `where`, when it cannot be read.
    """
    here = os.path.realpath(folder)
    return [each.name for each in visible(folder, where) if is_folder(each, here)]


def is_folder(entry: os.DirEntry[str], here: str) -> bool:
    """Is it a folder, or a link to one that is not above `here`, a real path?"""
    if not entry.is_symlink():
        return entry.is_dir()
    return os.path.isdir(entry.path) and not _is_above(os.path.realpath(entry.path), here)


def images_in(folder: Path, where: str) -> list[str]:
    """Names of the image files in a folder itself.

    Raises AugcompressError, which begins with `where`, when it cannot be read.
    """
    return [
        each.name
        for each in visible(folder, where)
        if is_image(each.name) and not os.path.isdir(each.path)
    ]


def is_image(name: str) -> bool:
    """Is a file of this name taken for an image?"""
    return os.path.splitext(name)[1].lower() in image_endings()


def identities(files: Iterable[Path]) -> np.ndarray:
    """`(N,)` int64 numbers: the same for the same file, by whatever links it is reached."""
    folders: dict[str, str] = {}

    def real(file: Path) -> str:
        head, name = os.path.split(file)
        if head not in folders:
            folders[head] = os.path.realpath(head)
        place = os.path.join(folders[head], name)
        return os.path.realpath(place) if os.path.islink(place) else place

    return np.fromiter((hash(real(file)) for file in files), dtype=np.int64)
