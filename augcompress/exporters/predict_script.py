"""`predict.py`: the few lines that label images with a shipped file, without augcompress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SCRIPT = '''\
"""python predict.py IMAGE... prints image,label,probability; needs onnxruntime, numpy, Pillow."""
import csv, json, os, sys
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy as np, onnxruntime
from PIL import Image, ImageOps
session = onnxruntime.InferenceSession(os.path.join(os.path.dirname(__file__), "model.onnx"))
labels = [  # what a terminal would obey is written as codes
    "".join(c if c.isprintable() else ascii(c)[1:-1] for c in label)
    for label in json.loads(session.get_modelmeta().custom_metadata_map["labels"])
]
Image.init()
accepted = "{formats}".split()  # Pillow knows others
formats = [each for each in accepted if each in Image.OPEN]
for file in sys.argv[1:]:
    image = Image.open(file, formats=formats)
{draft}    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):  # integers of 16 bits; in TIFF files of 12, or of 32 that use 8
        bits = 16 if image.format != "TIFF" else 8 if image.mode == "I" else image.tag_v2[258][0]
        values = np.asarray(image).astype(int) >> bits - 8
        if values.min() < 0 or values.max() > 255:
            sys.exit(f"{{file}}: pixels outside 0 to 255 have no agreed range")
        image = Image.fromarray(values.astype("uint8"))
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB").convert("{mode}")
{resize}    pixels = np.asarray(image).reshape({height}, {width}, {channels}){layout}
    scores = session.run(None, {{"input": pixels{repeat}{convert}}})[0][0]
{softmax}    row = [file, labels[scores.argmax()], round(float(scores.max()), 4)]
    csv.writer(sys.stdout, lineterminator="\\n").writerow(row)
'''
_DRAFT = """\
    image.draft(None, ({least}, {least}))  # a large JPEG file at 1/2, 1/4 or 1/8, as in training
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
    formats: Sequence[str],
    input: str,
    output: str,
    batch: int | None = None,
) -> str:
    """The script for a file that takes `channels` x `size` images prepared by `resizing`.

    `formats` are those that Pillow may read, by its names; `input` is float32, uint8 or image (the
    file prepares whole images itself), `output` logits or probabilities, `batch` a fixed number of
    images a call.
    """
    whole = input == "image"
    height, width = ("image.height", "image.width") if whole else size
    least = None if whole else resizing.get("scaled_decoding")
    return _SCRIPT.format(
        formats=" ".join(formats),
        draft="" if least is None else _DRAFT.format(least=least),
        mode=resizing["mode"],
        resize="" if whole else _resize(resizing, size),
        height=height,
        width=width,
        channels=channels,
        layout="" if whole else ".transpose(2, 0, 1)[None]",
        repeat=f".repeat({batch}, axis=0)" if batch is not None else "",
        convert=".astype(np.float32) / np.float32(255)" if input == "float32" else "",
        softmax=_SOFTMAX if output == "logits" else "",
    )


def _resize(resizing: Mapping[str, Any], size: tuple[int, int]) -> str:
    """The lines that do what `inference.load_image` does, and no others."""
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
