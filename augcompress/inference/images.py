"""One image from file to array: the evaluation preprocessing of data sets and of `predict`."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, features

from augcompress.errors import AugcompressError

UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises on files that are no images, or broken ones."""

IMAGE_FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx", ".jpc", ".j2c"),
    "AVIF": (".avif", ".avifs"),
}
"""The formats that are read, by Pillow's names, and how the names of such files end.  Pillow knows
more, some of which start other programs: no file reaches those, whatever its name."""
_LIBRARIES = {"WEBP": "webp", "JPEG2000": "jpg_2000", "AVIF": "avif"}
"""Formats that a build of Pillow may lack, and what it calls the library that reads them."""
_BITS_PER_SAMPLE = 258
"""TIFF's number for that tag."""

LARGEST_SIDE = 4096
"""Of an image that a network takes, in pixels."""
LARGEST_IMAGE = 2**26
"""Pixels of an image before it is cropped."""

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@cache
def read_formats() -> tuple[str, ...]:
    """Those of IMAGE_FORMATS that the installed Pillow reads."""
    known = (*features.modules, *features.codecs)

    def is_there(library: str | None) -> bool:
        return library is None or (library in known and bool(features.check(library)))

    return tuple(each for each in IMAGE_FORMATS if is_there(_LIBRARIES.get(each)))


@cache
def image_endings() -> frozenset[str]:
    """How the names of files end that are taken for images, in lower case: `.jpg`."""
    return frozenset(ending for each in read_formats() for ending in IMAGE_FORMATS[each])


def _are_sides(told: Any) -> bool:
    sides = told if isinstance(told, list | tuple) and len(told) == 2 else [told]
    return told is None or all(type(side) is int and 1 <= side <= LARGEST_SIDE for side in sides)


_SIDES = f"null, 1 to {LARGEST_SIDE} pixels, or two of these"
_RESIZING: dict[str, tuple[Callable[[Any], bool], str]] = {
    "resize": (_are_sides, _SIDES),
    "crop": (_are_sides, _SIDES),
    "interpolation": (lambda told: told in [*_FILTERS], f"one of {', '.join(_FILTERS)}"),
    "mode": (lambda told: told in ["RGB", "L"], "RGB or L"),
    "scaled_decoding": (
        lambda told: told is None or (type(told) is int and told > 0),
        "null, or 1 pixel and more",
    ),
}
"""The evaluation preprocessing as it is written down (see `load_image`): what each part may be."""


def check_resizing(told: Any) -> dict[str, Any]:
    """What somebody's file says of its resizing, for `load_image`; empty where it says none.

    Raises ValueError when it is none that could be done.
    """
    if told == {}:
        return {}
    if not isinstance(told, dict):
        raise ValueError("is no mapping")
    if unknown := told.keys() - _RESIZING.keys():
        raise ValueError(f"{ascii(min(unknown, key=str))[:60]} is unknown")
    for name, (fits, words) in _RESIZING.items():
        if name not in told and name != "scaled_decoding":
            raise ValueError(f"{name} is missing")
        if not fits(told.get(name)):
            raise ValueError(f"{name} should be {words}")
    return {name: list(one) if isinstance(one, tuple) else one for name, one in told.items()}


def direct(size: tuple[int, int], mode: str, interpolation: str = "bilinear") -> dict[str, Any]:
    """The preprocessing that resizes to `(H,W)` without a crop."""
    return {"resize": list(size), "crop": None, "interpolation": interpolation, "mode": mode}


def as_decoded(resizing: dict[str, Any]) -> dict[str, Any]:
    """The preprocessing without any resizing: every pixel, in the mode."""
    return {**resizing, "resize": None, "crop": None, "scaled_decoding": None}


def scaled_from(resizing: dict[str, Any]) -> int | None:
    """The `scaled_decoding` that goes unnoticed: twice what is resized to, so that the resizing
    still decides what a pixel becomes (docs/benchmarks.md, Decoding).  None: there is none."""
    resize = resizing["resize"]
    if resize is None or resizing["interpolation"] == "nearest":
        return None
    return 2 * (resize if isinstance(resize, int) else max(resize))


def load_image(
    source: str | Path | bytes, resizing: dict[str, Any], *, advice: str = "give another file"
) -> np.ndarray:
    """A decoded and resized image, uint8 `(H,W,C)`.

    `resizing` is a data set's: `resize` an int (shorter side), `[H,W]` or None; then a centre
    `crop` (`[H,W]`, an int, or None); `interpolation`; `mode` RGB or L.  An image that already has
    the final size is not resampled.  EXIF orientation is applied; transparency goes over white.
    `scaled_decoding`, where there is one: a JPEG file is decoded at 1/2, 1/4 or 1/8 of its size
    where both sides are then still at least so long, in pixels.
    Integer pixels of more than 8 bits become 8: the highest of 16 (of 12 in a TIFF file that says
    so); of 32 bits, and of 16 with a sign, values 0 to 255 stay what they are.
    Raises AugcompressError, with the file's name and `advice`, when it is no readable image in one
    of the `read_formats`.
    """
    name = "image" if isinstance(source, bytes) else str(source)
    try:
        with Image.open(_opened(source), formats=read_formats()) as image:
            if side := resizing.get("scaled_decoding"):
                image.draft(None, (side, side))  # only JPEG files can
            ImageOps.exif_transpose(image, in_place=True)
            pixels = np.asarray(_fit(_in_mode(image, resizing["mode"]), resizing))
    except UNREADABLE as error:
        told = str(error).replace("\n", " ").replace(f" {name!r}", "")
        reason = getattr(error, "strerror", None) or told
        raise AugcompressError(f"{name}: not a readable image ({reason}); {advice}") from error
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _opened(source: Any) -> Any:
    """What Pillow opens: of paths, regular files only, as others may never end."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if isinstance(source, str | Path) and os.path.exists(source) and not os.path.isfile(source):
        raise OSError("no regular file")
    return source


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    elif image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = _over_white(image)
    elif image.mode not in ("RGB", "L"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64) >> (_bits(image) - 8)
    if values.min() < 0 or values.max() > 255:
        raise ValueError("32-bit pixels outside 0 to 255 have no agreed range")
    return Image.fromarray(values.astype(np.uint8))


def _bits(image: Image.Image) -> int:
    """How many bits of an integer pixel are used."""
    if image.format != "TIFF":
        return 16  # Pillow scales other formats to that
    return 8 if image.mode == "I" else int(image.tag_v2[_BITS_PER_SAMPLE][0])  # type: ignore[attr-defined]


def _over_white(image: Image.Image) -> Image.Image:
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layer).convert("RGB")


def _fit(image: Image.Image, resizing: dict[str, Any]) -> Image.Image:
    resize, crop = resizing["resize"], _pair(resizing["crop"])
    final = crop or (tuple(resize) if isinstance(resize, list | tuple) else None)
    if (image.height, image.width) == final or (resize is None and crop is None):
        return image
    method = _FILTERS[resizing["interpolation"]]
    if isinstance(resize, int):
        image = image.resize(_shorter_side(image, resize), method)
    elif resize is not None:
        image = image.resize((resize[1], resize[0]), method)
    return image if crop is None else _centre_crop(image, crop)


def _pair(crop: int | list[int] | None) -> tuple[int, int] | None:
    if crop is None:
        return None
    return (crop, crop) if isinstance(crop, int) else (crop[0], crop[1])


def _shorter_side(image: Image.Image, side: int) -> tuple[int, int]:
    scale = side / min(image.size)
    width, height = image.size
    found = max(side, round(width * scale)), max(side, round(height * scale))
    if found[0] * found[1] > LARGEST_IMAGE:
        raise ValueError(f"{width} x {height} pixels are too long a strip to be resized")
    return found


def _centre_crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    left, top = (image.width - size[1]) // 2, (image.height - size[0]) // 2
    return image.crop((left, top, left + size[1], top + size[0]))
