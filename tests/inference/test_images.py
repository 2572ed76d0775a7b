"""From file to array."""

from __future__ import annotations

import io
import os
import struct
import subprocess

import numpy as np
import pytest
from PIL import Image, features
from sklearn.datasets import load_sample_image

from augcompress.datasets.hashing import file_hashes
from augcompress.errors import AugcompressError
from augcompress.inference import (
    IMAGE_FORMATS,
    check_resizing,
    direct,
    images,
    load_image,
    scaled_from,
)


def pixels(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


AS_IS = direct((4, 6), "RGB")


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_image_of_the_final_size_is_not_resampled(tmp_path):
    array = pixels(1, 4, 6, 3)[0]
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(array)))
    cropped = {**AS_IS, "resize": 9, "crop": [4, 6]}
    for resizing in (AS_IS, cropped):
        np.testing.assert_array_equal(load_image(tmp_path / "a.png", resizing), array)


def test_shorter_side_then_centre_crop():
    array = np.zeros((8, 16, 3), np.uint8)
    array[:, 4:12] = 200
    found = load_image(
        encoded(Image.fromarray(array)),
        {"resize": 4, "crop": [4, 4], "interpolation": "nearest", "mode": "RGB"},
    )
    np.testing.assert_array_equal(found, np.full((4, 4, 3), 200))


def test_direct_resize_gives_the_size():
    found = load_image(encoded(Image.fromarray(pixels(1, 9, 5, 3)[0])), direct((4, 6), "L"))
    assert found.shape == (4, 6, 1)


def test_resizing_without_a_size_leaves_the_image():
    resizing = {"resize": None, "crop": None, "interpolation": "bilinear", "mode": "RGB"}
    assert load_image(encoded(Image.new("RGB", (5, 3))), resizing).shape == (3, 5, 3)


def test_transparency_goes_over_white():
    clear = Image.new("RGBA", (6, 4), (255, 0, 0, 0))
    assert load_image(encoded(clear), AS_IS).min() == 255
    half = Image.new("LA", (6, 4), (0, 128))
    assert set(load_image(encoded(half), AS_IS).flatten()) == {127}


def test_palette_is_looked_up_with_its_transparent_entry_over_white():
    image = Image.new("P", (6, 4), 1)
    image.putpalette([9, 9, 9, 10, 20, 30])
    assert load_image(encoded(image), AS_IS)[0, 0].tolist() == [10, 20, 30]
    assert load_image(encoded(image, transparency=1), AS_IS)[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_sixteen_bits_become_eight(mode):
    deep = Image.fromarray(np.full((4, 6), 0xAB12, np.uint16))
    assert set(load_image(encoded(deep), direct((4, 6), mode)).flatten()) == {0xAB}


def test_bilevel_and_cmyk():
    assert load_image(encoded(Image.new("1", (6, 4), 1)), AS_IS).min() == 255
    cyan = encoded(Image.new("CMYK", (6, 4), (255, 0, 0, 0)), "TIFF")
    assert load_image(cyan, AS_IS)[0, 0].tolist() == [0, 255, 255]


def test_exif_orientation_is_applied():
    array = np.zeros((6, 4, 3), np.uint8)
    array[0] = 255  # the stored top row; turned by 90° clockwise it is the right column
    exif = Image.Exif()
    exif[0x0112] = 6
    found = load_image(encoded(Image.fromarray(array), exif=exif.tobytes()), AS_IS)
    assert found[:, -1].min() == 255
    assert found[:, :-1].max() == 0


@pytest.mark.parametrize("broken", [b"", b"text", b"\x89PNG\r\n\x1a\nrubbish"])
def test_broken_image_is_named(tmp_path, broken):
    (tmp_path / "bad.png").write_bytes(broken)
    with pytest.raises(AugcompressError, match=r"bad\.png: not a readable image"):
        load_image(tmp_path / "bad.png", AS_IS)


def test_truncated_and_missing_images_are_named(tmp_path):
    whole = encoded(Image.fromarray(pixels(1, 64, 64, 3)[0]), "JPEG")
    with pytest.raises(AugcompressError, match=r"image: not a readable image .*truncated"):
        load_image(whole[: len(whole) // 2], AS_IS)
    with pytest.raises(AugcompressError, match=r"none\.png: not a readable image"):
        load_image(tmp_path / "none.png", AS_IS)


def tiff(values: np.ndarray, **tags) -> bytes:
    return encoded(Image.fromarray(values), "TIFF", **tags)


def twelve_bits() -> bytes:
    """A TIFF file of two pixels of 12 bits, 0xABC and 0x010."""
    tags = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 128), (277, 1), (278, 1)]
    tags.append((279, 3))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return head.ljust(128, b"\0") + bytes([0xAB, 0xC0, 0x10])


@pytest.mark.parametrize(
    ("content", "level"),
    [
        (tiff(np.full((4, 6), 200, np.int32)), 200),  # 32 bits that use 8
        (tiff(np.full((4, 6), 200, np.int32), tiffinfo={274: 6}), 200),  # and are turned
        (tiff(np.full((4, 6), 0xAB12, np.uint16)), 0xAB),
        (tiff(np.full((4, 6), 0xAB12, ">u2")), 0xAB),
        (encoded(Image.fromarray(np.full((4, 6), 0xAB12, np.uint16)), "PPM"), 0xAB),
        (encoded(Image.fromarray(np.full((4, 6), 0xAB12, np.uint16)), "JPEG2000"), 0xAB),
    ],
)
def test_integers_of_many_bits_keep_their_brightness(content, level):
    assert set(load_image(content, AS_IS).flatten()) == {level}


def test_pixels_of_12_bits_are_not_taken_for_16():
    assert load_image(twelve_bits(), direct((1, 2), "L"))[0, :, 0].tolist() == [0xAB, 0x01]


@pytest.mark.parametrize("value", [-1, 256, 70000])
def test_32_bit_pixels_without_an_agreed_range_are_refused(value):
    with pytest.raises(AugcompressError, match=r"image: .*outside 0 to 255 have no agreed range"):
        load_image(tiff(np.full((4, 6), value, np.int32)), AS_IS)


@pytest.mark.parametrize("kind", IMAGE_FORMATS)
def test_every_format_is_read(kind):
    content = encoded(Image.new("RGB", (6, 4), (200, 100, 50)), kind)
    assert np.abs(load_image(content, AS_IS)[0, 0].astype(int) - (200, 100, 50)).max() < 8


@pytest.mark.parametrize("kind", ["EPS", "PDF", "PCX", "TGA", "ICNS", "IM", "SGI"])
def test_no_other_format_reaches_pillow(tmp_path, monkeypatch, kind):
    (tmp_path / "x.png").write_bytes(encoded(Image.new("RGB", (64, 64)), kind))
    monkeypatch.setattr(subprocess, "Popen", None)  # Ghostscript would be started by it
    with pytest.raises(AugcompressError, match=r"x\.png: not a readable image \(cannot identify"):
        load_image(tmp_path / "x.png", AS_IS)


def test_formats_that_this_pillow_lacks_are_no_image_endings(monkeypatch):
    monkeypatch.setattr(features, "check", lambda name: name != "avif")
    functions = (images.read_formats, images.image_endings)
    for each in functions:
        each.cache_clear()
    try:
        assert set(IMAGE_FORMATS) - set(images.read_formats()) == {"AVIF"}
        assert {".jp2", ".jfif"} < images.image_endings()
        assert ".avif" not in images.image_endings()
    finally:
        for each in functions:
            each.cache_clear()


@pytest.mark.parametrize("made", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_regular_file_is_refused_unopened(tmp_path, made):
    made(tmp_path / "x.png")
    with pytest.raises(AugcompressError, match=r"x\.png: not a readable image \(no regular file\)"):
        load_image(tmp_path / "x.png", AS_IS)
    with pytest.raises(AugcompressError, match=r"x\.png: no regular file; give one"):
        file_hashes([tmp_path / "x.png"])


def test_floating_point_image_is_refused():
    with pytest.raises(AugcompressError, match="no agreed range"):
        load_image(encoded(Image.new("F", (6, 4)), "TIFF"), AS_IS)


def scene(width: int, height: int, *, orientation: int = 1, **options) -> bytes:
    """A JPEG file of a part of a photograph."""
    photograph = Image.fromarray(load_sample_image("china.jpg"))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(photograph.resize((width, height)), "JPEG", exif=exif.tobytes(), **options)


SCALED = {**direct((32, 48), "RGB"), "scaled_decoding": 96}


@pytest.mark.parametrize(
    ("size", "share"), [((192, 192), 2), ((191, 400), 1), ((384, 500), 4), ((800, 767), 4)]
)
def test_a_jpeg_is_decoded_smaller_where_both_sides_stay_long_enough(size, share):
    content = scene(*size)
    with Image.open(io.BytesIO(content)) as image:
        image.draft(None, tuple(side // share for side in size))
        expected = image.resize((48, 32), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(load_image(content, SCALED), np.asarray(expected))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_scaled_decoding_changes_photographs_by_a_grey_level_or_so(mode, orientation):
    content = scene(640, 427, orientation=orientation)
    full = {**direct((60, 50), mode), "interpolation": "bicubic"}
    scaled = load_image(content, {**full, "scaled_decoding": scaled_from(full)})
    difference = np.abs(scaled.astype(int) - load_image(content, full))
    assert 0 < difference.mean() < 2


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_other_files_are_decoded_whole(kind):
    content = encoded(Image.fromarray(load_sample_image("flower.jpg")), kind)
    found = load_image(content, SCALED)
    np.testing.assert_array_equal(found, load_image(content, direct((32, 48), "RGB")))


def test_twice_the_resized_size_goes_unnoticed():
    assert scaled_from(direct((32, 48), "RGB")) == 96
    assert scaled_from({**direct((224, 224), "RGB"), "resize": 256, "crop": [224, 224]}) == 512
    assert scaled_from(direct((32, 48), "RGB", "nearest")) is None
    assert scaled_from({**AS_IS, "resize": None}) is None


def test_resizing_that_a_file_tells_is_taken_as_it_is():
    told = {**direct((4, 6), "L", "nearest"), "crop": 3, "scaled_decoding": 8}
    assert check_resizing(told) == told
    assert check_resizing({**AS_IS, "resize": None, "crop": (2, 3)})["crop"] == [2, 3]
    assert check_resizing({}) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resize": 0}, "resize should be null, 1 to 4096 pixels, or two of these"),
        ({"resize": True}, "resize should be"),
        ({"crop": [4, 6, 8]}, "crop should be"),
        ({"crop": [4, 10**6]}, "crop should be"),
        ({"crop": "4"}, "crop should be"),
        ({"interpolation": ["bilinear"]}, "interpolation should be one of nearest, bilinear, bic"),
        ({"mode": "CMYK"}, "mode should be RGB or L"),
        ({"scaled_decoding": 0.5}, "scaled_decoding should be"),
        ({"\x1b[2J": 1}, r"'\\x1b\[2J' is unknown"),
    ],
)
def test_resizing_that_cannot_be_done_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        check_resizing({**AS_IS, **changes})


@pytest.mark.parametrize("part", ["resize", "crop", "interpolation", "mode"])
def test_resizing_with_a_part_missing_is_refused(part):
    told = {name: value for name, value in AS_IS.items() if name != part}
    with pytest.raises(ValueError, match=f"{part} is missing"):
        check_resizing(told)
    with pytest.raises(ValueError, match="is no mapping"):
        check_resizing([told])
