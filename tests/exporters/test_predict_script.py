"""The shipped predict.py sees exactly the pixels that the run saw."""

from __future__ import annotations

import ast
import re
import runpy
import signal
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from augcompress.errors import AugcompressError
from augcompress.exporters import predict_script
from augcompress.inference import IMAGE_FORMATS, as_decoded, load_image

RESIZINGS = {
    "direct": {"resize": [12, 10], "crop": None, "interpolation": "bilinear"},
    "nearest": {"resize": [12, 10], "crop": None, "interpolation": "nearest"},
    "crop": {"resize": 14, "crop": [12, 10], "interpolation": "bicubic"},
    "both": {"resize": [16, 15], "crop": [12, 10], "interpolation": "bilinear"},
    "only crop": {"resize": None, "crop": [12, 10], "interpolation": "bilinear"},
    "scaled": {
        **{"resize": 14, "crop": [12, 10], "interpolation": "bilinear"},
        "scaled_decoding": 28,
    },
}
SIZE = (12, 10)


def picture(kind: str) -> Image.Image:
    draw = np.random.default_rng(3)
    pixels = draw.integers(0, 256, (40, 30, 4), dtype=np.uint8)
    made = Image.fromarray(pixels, "RGBA")
    if kind == "I;16":
        return Image.fromarray((pixels[:, :, 0].astype(np.uint16) << 8) + 7)
    if kind == "32 bits that use 8":
        return Image.fromarray(pixels[:, :, 0].astype(np.int32))
    if kind == "fitting":
        return Image.fromarray(pixels[:12, :10, :3])
    if kind == "P":
        return made.convert("RGB").convert("P")
    return made if kind == "RGBA" else made.convert(kind)


def run_script(script, folder, files, monkeypatch, output, said):
    """What the script feeds to the runtime, and prints."""
    fed = []

    class Session:
        def __init__(self, path, providers):
            assert (path, providers) == (str(folder / "model.onnx"), ["CPUExecutionProvider"])

        def get_modelmeta(self):
            return SimpleNamespace(custom_metadata_map={"labels": '["cat", "dog, wet"]'})

        def run(self, _, feed):
            fed.append(feed["input"])
            return [np.repeat(np.array([said]), len(feed["input"]), axis=0)]

    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=Session))
    monkeypatch.setattr(sys, "argv", ["predict.py", "--csv", *map(str, files)])
    (folder / "predict.py").write_text(script)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(folder / "predict.py"))
    assert not ended.value.code
    return fed


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("how", RESIZINGS)
@pytest.mark.parametrize(
    "kind", ["RGB", "L", "RGBA", "LA", "P", "1", "CMYK", "I;16", "32 bits that use 8", "fitting"]
)
def test_pixels_are_those_of_the_run(tmp_path, monkeypatch, capsys, kind, how, mode):
    file = tmp_path / ("image.tif" if kind in ("CMYK", "32 bits that use 8") else "image.png")
    picture(kind).save(file)
    resizing = {**RESIZINGS[how], "mode": mode}
    channels = 1 if mode == "L" else 3
    script = predict_script(
        resizing,
        SIZE,
        channels=channels,
        formats=IMAGE_FORMATS,
        input="float32",
        output="probabilities",
    )
    fed = run_script(script, tmp_path, [file], monkeypatch, "probabilities", [0.25, 0.75])
    wanted = load_image(file, resizing).transpose(2, 0, 1)[None].astype(np.float32) / 255
    assert fed[0].dtype == np.float32
    np.testing.assert_array_equal(fed[0], wanted)
    assert capsys.readouterr().out.splitlines()[1:] == [f'{file},"dog, wet",0.7500']


def test_orientation_in_exif_is_applied(tmp_path, monkeypatch):
    file, exif = tmp_path / "image.jpg", Image.Exif()
    exif[0x0112] = 6
    picture("RGB").save(file, exif=exif)
    resizing = {**RESIZINGS["direct"], "mode": "RGB"}
    script = predict_script(
        resizing, SIZE, channels=3, formats=IMAGE_FORMATS, input="uint8", output="logits"
    )
    fed = run_script(script, tmp_path, [file], monkeypatch, "logits", [0.0, 1.0])
    np.testing.assert_array_equal(fed[0][0], load_image(file, resizing).transpose(2, 0, 1))
    assert fed[0].dtype == np.uint8


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_as_in_training(tmp_path, monkeypatch, orientation):
    file, exif = tmp_path / "image.jpg", Image.Exif()
    exif[0x0112] = orientation
    picture("RGB").resize((120, 200)).save(file, exif=exif)
    resizing = {**RESIZINGS["scaled"], "mode": "RGB"}
    script = predict_script(
        resizing, SIZE, channels=3, formats=IMAGE_FORMATS, input="uint8", output="logits"
    )
    fed = run_script(script, tmp_path, [file], monkeypatch, "logits", [0.0, 1.0])
    np.testing.assert_array_equal(fed[0][0], load_image(file, resizing).transpose(2, 0, 1))
    whole = load_image(file, {**RESIZINGS["crop"], **resizing, "scaled_decoding": None})
    assert not np.array_equal(fed[0][0], whole.transpose(2, 0, 1))


@pytest.mark.parametrize("made", ["EPS", "too bright"])
def test_what_the_run_refuses_is_refused(tmp_path, monkeypatch, capsys, made):
    file = tmp_path / "image.png"
    if made == "EPS":
        picture("RGB").save(file, "EPS")
    else:
        Image.fromarray(np.full((12, 10), 256, np.int32)).save(file, "TIFF")
    resizing = {**RESIZINGS["direct"], "mode": "RGB"}
    script = predict_script(
        resizing, SIZE, channels=3, formats=IMAGE_FORMATS, input="uint8", output="logits"
    )
    with pytest.raises(AugcompressError, match="not a readable image"):
        load_image(file, resizing)
    with pytest.raises(AssertionError):
        run_script(script, tmp_path, [file], monkeypatch, "logits", [0.0, 1.0])
    assert re.search(r"no agreed range|cannot identify", capsys.readouterr().err)


def test_logits_become_probabilities_and_a_fixed_batch_is_filled(tmp_path, monkeypatch, capsys):
    picture("RGB").save(tmp_path / "a.png")
    resizing = {**RESIZINGS["direct"], "mode": "RGB"}
    script = predict_script(
        resizing, SIZE, channels=3, formats=IMAGE_FORMATS, input="uint8", output="logits", batch=4
    )
    files = [tmp_path / "a.png"] * 2
    fed = run_script(script, tmp_path, files, monkeypatch, "logits", [2.0, 0.0])
    assert [len(each) for each in fed] == [4, 4]
    expected = f"{1 / (1 + np.exp(-2)):.4f}"
    assert capsys.readouterr().out.splitlines()[1:] == [f"{files[0]},cat,{expected}"] * 2


@pytest.mark.parametrize("how", RESIZINGS)
def test_script_is_short_and_needs_three_packages(how):
    resizing = {**RESIZINGS[how], "mode": "RGB"}
    script = predict_script(
        resizing, SIZE, channels=3, formats=IMAGE_FORMATS, input="float32", output="logits"
    )
    tree = ast.parse(script)
    named = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    named |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    own = {"argparse", "csv", "json", "os", "signal", "sys"}
    assert named == {*own, "numpy", "onnxruntime", "PIL"}
    assert own <= sys.stdlib_module_names
    assert max(map(len, script.splitlines())) <= 100
    assert len(script.splitlines()) <= 100


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", ["RGB", "L", "RGBA", "P", "I;16", "CMYK"])
def test_a_file_that_prepares_images_itself_is_given_every_pixel(
    tmp_path, monkeypatch, capsys, kind, mode
):
    file = tmp_path / ("image.tif" if kind == "CMYK" else "image.png")
    picture(kind).save(file)
    resizing = {**RESIZINGS["scaled"], "mode": mode}
    channels = 1 if mode == "L" else 3
    told = {"formats": IMAGE_FORMATS, "input": "image", "output": "logits"}
    script = predict_script(resizing, SIZE, channels=channels, **told)
    (fed,) = run_script(script, tmp_path, [file], monkeypatch, "logits", [0.0, 1.0])
    assert fed.shape == (40, 30, channels)
    np.testing.assert_array_equal(fed, load_image(file, as_decoded(resizing)))
    assert capsys.readouterr().out.endswith(f'{file},"dog, wet",0.7311\n')
