"""One image from file to array: the evaluation preprocessing of data sets and of `predict`."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

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

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def direct(size: tuple[int, int], mode: str, interpolation: str = "bilinear") -> dict[str, Any]:
    """The preprocessing that resizes to `(H,W)` without a crop."""
    return {"resize": list(size), "crop": None, "interpolation": interpolation, "mode": mode}


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
    Raises AugcompressError, with the file's name and `advice`, when it is no readable image.
    """
    name = "image" if isinstance(source, bytes) else str(source)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            if side := resizing.get("scaled_decoding"):
                image.draft(None, (side, side))  # only JPEG files can
            upright = ImageOps.exif_transpose(image)
            pixels = np.asarray(_fit(_in_mode(upright, resizing["mode"]), resizing))
    except UNREADABLE as error:
        reason = str(error).replace("\n", " ")
        raise AugcompressError(f"{name}: not a readable image ({reason}); {advice}") from error
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    if image.mode.startswith("I"):
        image = _from_16_bit(image)
    elif image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = _over_white(image)
    elif image.mode not in ("RGB", "L"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return image if image.mode == mode else image.convert(mode)


def _from_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64) >> 8
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


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
    return max(side, round(width * scale)), max(side, round(height * scale))


def _centre_crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    left, top = (image.width - size[1]) // 2, (image.height - size[0]) // 2
    return image.crop((left, top, left + size[1], top + size[0]))
