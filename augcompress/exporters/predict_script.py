"""`predict.py`: the few lines that label images with a shipped file, without augcompress."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

_SCRIPT = '''\
"""Labels images with the model.onnx beside this file; needs onnxruntime, numpy and Pillow."""
import argparse, csv, json, os, signal, sys

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("images", nargs="+", metavar="IMAGE", help="image files, or folders of such")
arguments.add_argument("--top", type=int, default=1, help="labels an image (default: 1)")
arguments.add_argument("--csv", action="store_true", help="print rows image,label,probability")
given = arguments.parse_args()
if given.top < 1:
    arguments.error("--top: give 1 or more")
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
try:
    import numpy as np, onnxruntime
    from PIL import Image, ImageOps
except ImportError as error:
    sys.exit(f"{{error}}; run: pip install onnxruntime numpy pillow")
for name in ("SIGINT", "SIGPIPE"):  # end without a word
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
sys.stdout.reconfigure(errors="backslashreplace")
Image.init()
accepted = "{formats}".split()  # Pillow knows others
formats = [each for each in accepted if each in Image.OPEN]
endings = tuple("""
{endings}
""".split())

def shown(text):  # what a terminal would obey is written as codes
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)

def told(error):
    return " ".join(str(getattr(error, "strerror", None) or error).split())

def files_in(path):  # hidden ones are left out
    found = []
    for folder, folders, names in os.walk(path):
        folders[:] = [each for each in folders if not each.startswith(".")]
        found += [os.path.join(folder, each) for each in names if not each.startswith(".")]
    return sorted(each for each in found if each.lower().endswith(endings))

def read(file):  # as in training
    if not os.path.isfile(file):
        raise OSError("no such file")
    image = Image.open(file, formats=formats)
{draft}    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):  # integers of 16 bits; in TIFF files of 12, or of 32 that use 8
        bits = 16 if image.format != "TIFF" else 8 if image.mode == "I" else image.tag_v2[258][0]
        values = np.asarray(image).astype(int) >> bits - 8
        if values.min() < 0 or values.max() > 255:
            raise ValueError("pixels outside 0 to 255 have no agreed range")
        image = Image.fromarray(values.astype("uint8"))
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB").convert("{mode}")
{resize}    pixels = np.asarray(image).reshape({height}, {width}, {channels}){layout}
    return pixels{repeat}{convert}

model = os.path.join(os.path.dirname(os.path.abspath(__file__)), "model.onnx")
try:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
except Exception as error:
    sys.exit(f"{{model}}: cannot be used ({{told(error)}}); export it again")
failed, table = False, csv.writer(sys.stdout, lineterminator="\\n")
if given.csv:
    table.writerow(["image", "label", "probability"])
for path in given.images:
    files = files_in(path) if os.path.isdir(path) else [path]
    if not files:
        print(f"{{shown(path)}}: has no image in it", file=sys.stderr)
        failed = True
    for file in files:
        try:
            pixels = read(file)
        except Exception as error:
            print(f"{{shown(file)}}: not a readable image ({{told(error)}})", file=sys.stderr)
            failed = True
            continue
        scores = session.run(None, {{"input": pixels}})[0][0]
        scores = {shares}
        best = np.argsort(-scores, kind="stable")[: given.top]
        found = [(shown(labels[i]), scores[i] / scores.sum()) for i in best]
        if given.csv:
            table.writerows((shown(file), label, f"{{p:.4f}}") for label, p in found)
        else:
            print(f"{{shown(file)}}:", ", ".join(f"{{label}} {{p:.1%}}" for label, p in found))
sys.exit(failed)
'''
_DRAFT = """\
    image.draft(None, ({least}, {least}))  # a large JPEG file at 1/2, 1/4 or 1/8, as in training
"""
_SHARES = {
    "logits": "np.exp(scores - scores.max())",
    "probabilities": "np.clip(scores, 1e-12, None)",
}
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
    formats: Mapping[str, Sequence[str]],
    input: str,
    output: str,
    batch: int | None = None,
) -> str:
    """The script for a file that takes `channels` x `size` images prepared by `resizing`.

    `formats` are those that Pillow may read, by its names, and how files of them end; `input` is
    float32, uint8 or image (the file prepares whole images itself), `output` logits or
    probabilities, `batch` a fixed number of images a call.
    """
    whole = input == "image"
    height, width = ("image.height", "image.width") if whole else size
    least = None if whole else resizing.get("scaled_decoding")
    return _SCRIPT.format(
        formats=" ".join(formats),
        endings=textwrap.fill(" ".join(one for each in formats.values() for one in each), 96),
        draft="" if least is None else _DRAFT.format(least=least),
        mode=resizing["mode"],
        resize="" if whole else _resize(resizing, size),
        height=height,
        width=width,
        channels=channels,
        layout="" if whole else ".transpose(2, 0, 1)[None]",
        repeat=f".repeat({batch}, axis=0)" if batch is not None else "",
        convert=".astype(np.float32) / np.float32(255)" if input == "float32" else "",
        shares=_SHARES[output],
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
