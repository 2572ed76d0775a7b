"""Files below a folder, with links, loops and what is no regular file."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from augcompress.errors import AugcompressError
from augcompress.inference.walking import files_below, identities


@pytest.fixture
def top(tmp_path) -> Path:
    """`a/1`, `a/deep/2` and `b/3`, beside a folder `pool` with `4`."""
    for name in ("top/a/1", "top/a/deep/2", "top/b/3", "pool/4", "top/.hidden/5", "top/b/.6"):
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(name)
    return tmp_path / "top"


ALL = ["a/1", "a/deep/2", "b/3"]


@pytest.mark.parametrize(
    "links",
    [
        {"a/up": ".."},
        {"a/deep/self": "."},
        {"a/far": "../../.."},
        {"a/root": "/"},
        {"a/x": "../b", "b/y": "../a"},
        {f"{folder}/{n}": f"../{n}" for folder in "ab" for n in "ab"},
        {"a/one": "two", "a/two": "three", "a/three": "../.."},
    ],
    ids=lambda links: " ".join(links),
)
def test_links_that_lead_back_are_not_followed(top, links):
    for link, target in links.items():
        (top / link).symlink_to(target)
    found = files_below(top, "data")
    assert found.names == ALL
    assert found.not_followed == sorted(links)
    assert found.linked


def test_every_folder_is_entered_once_however_many_links_there_are(top):
    for number in range(30):  # by paths, 30! ways
        (top / "b" / f"f{number}").mkdir()
        (top / "b" / f"f{number}" / "file").write_text("")
    for number in range(30):
        for other in range(30):
            (top / "b" / f"f{number}" / f"to{other}").symlink_to(f"../f{other}")
    assert len(files_below(top, "data").names) == 33


def test_links_elsewhere_are_followed_once(top):
    (top.parent / "pool" / "back").symlink_to("../top")
    (top.parent / "pool" / "above").symlink_to("..")
    (top / "b" / "pool").symlink_to("../../pool")
    (top / "b" / "pool2").symlink_to(top.parent / "pool")
    (top / "a" / "file").symlink_to("../../pool/4")
    found = files_below(top, "data")
    assert found.names == ["a/1", "a/deep/2", "a/file", "b/3", "b/pool/4"]
    assert found.not_followed == ["b/pool/above", "b/pool/back", "b/pool2"]
    same = identities(top / name for name in found.names).tolist()
    assert same[2] == same[4]
    assert len({*same}) == 4


def test_a_folder_in_a_link_that_was_entered_by_another_is_not_entered_again(top):
    (top.parent / "pool" / "deep").mkdir()
    (top.parent / "pool" / "deep" / "5").write_text("")
    (top / "b" / "deep").symlink_to("../../pool/deep")
    (top / "b" / "pool").symlink_to("../../pool")
    assert files_below(top, "data").names == [*ALL, "b/deep/5", "b/pool/4"]


def test_a_top_that_is_a_link_is_read(top):
    (top.parent / "link").symlink_to("top")
    found = files_below(top.parent / "link", "data")
    assert (found.names, found.linked) == (ALL, True)
    assert not files_below(top, "data").linked


def test_only_regular_files_are_listed(top, monkeypatch):
    os.mkfifo(top / "a" / "pipe.png")
    (top / "a" / "device.png").symlink_to("/dev/null")
    (top / "b" / "gone.png").symlink_to("nowhere.png")
    (top / "b" / "own.png").symlink_to("own.png")
    monkeypatch.chdir(top)  # a socket's name must be short
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("b/socket.png")
    found = files_below(top, "data")
    assert found.names == ALL
    assert found.irregular == ["a/device.png", "a/pipe.png", "b/socket.png"]
    assert found.broken == ["b/gone.png", "b/own.png"]


def test_a_folder_that_cannot_be_read_is_named(top, monkeypatch):
    scandir = os.scandir

    def refuse(place):
        if str(place).endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(AugcompressError, match=r"^data: .*a/deep: Permission denied; make it"):
        files_below(top, "data")
