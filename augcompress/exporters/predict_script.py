"""`predict.py`: the few lines that label images with a shipped file, without augcompress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SCRIPT = '''\
"""python predict.py IMAGE... prints image,label,probability; needs onnxruntime, numpy, Pillow."""
import csv, json, os, sys
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy as np, onnxruntime
from PIL import Image, ImageOps
session = onnxruntime.InferenceSession(os.path.join(os.path.dirname(__file__), "model.onnx"))
labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
for file in sys.argv[1:]:
{open}    if image.mode.startswith("I"):  # 16 bits a pixel
        image = Image.fromarray((np.asarray(image).astype(int) >> 8).clip(0, 255).astype("uint8"))
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB").convert("{mode}")
{resize}    pixels = np.asarray(image).reshape({height}, {width}, {channels}).transpose(2, 0, 1)
    scores = session.run(None, {{"input": pixels[None]{repeat}{convert}}})[0][0]
{softmax}    row = [file, labels[scores.argmax()], round(float(scores.max()), 4)]
    csv.writer(sys.stdout, lineterminator="\\n").writerow(row)
'''
_OPEN = "    image = ImageOps.exif_transpose(Image.open(file))\n"
_OPEN_SCALED = """\
    image = Image.open(file)
    image.draft(None, ({least}, {least}))  # a large JPEG file at 1/2, 1/4 or 1/8, as in training
    image = ImageOps.exif_transpose(image)
"""
_SOFTMAX = "    scores = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()\n"
_SHORTER_SIDE = """\
        sides = [max({side}, round({side} * each / min(image.size))) for each in image.size]
        image = image.resize(sides, Image.Resampling.{filter})
"""
_CROP = """\
        left, top = (image.width - {width}) // 2, (image.height - {height}) // 2
        image = image.crop((left, top, left + {width}, top + {height}))
"""


def predict_script(
    resizing: Mapping[str, Any],
    size: tuple[int, int],
    *,
    channels: int,
    input: str,
    output: str,
    batch: int | None = None,
) -> str:
    """The script for a file that takes `channels` x `size` images prepared by `resizing`.

    `input` is float32 or uint8, `output` logits or probabilities, `batch` a fixed number of images
    a call.
    """
    height, width = size
    least = resizing.get("scaled_decoding")
    return _SCRIPT.format(
        open=_OPEN if least is None else _OPEN_SCALED.format(least=least),
        mode=resizing["mode"],
        resize=_resize(resizing, size),
        height=height,
        width=width,
        channels=channels,
        repeat=f".repeat({batch}, axis=0)" if batch is not None else "",
        convert=".astype(np.float32) / np.float32(255)" if input == "float32" else "",
        softmax=_SOFTMAX if output == "logits" else "",
    )


def _resize(resizing: Mapping[str, Any], size: tuple[int, int]) -> str:
    """The lines that do what `datasets.load_image` does, and no others."""
    height, width = size
    resize, method = resizing["resize"], resizing["interpolation"].upper()
    if resize is None and resizing["crop"] is None:
        return ""
    if resizing["crop"] is None and not isinstance(resize, int):
        return f"    image = image.resize(({width}, {height}), Image.Resampling.{method})\n"
    lines = f"    if image.size != ({width}, {height}):\n"
    if isinstance(resize, int):
        lines += _SHORTER_SIDE.format(side=resize, filter=method)
    elif resize is not None:
        lines += f"        image = image.resize({tuple(resize[::-1])}, Image.Resampling.{method})\n"
    return lines + (_CROP.format(width=width, height=height) if resizing["crop"] else "")
