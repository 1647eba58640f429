"""Encoded images to pixels: what is whole, and what only ends as if it were."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from aaa_jax.data.decode import JPEG_END, decode_rgb

NOISE = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
PICTURE = cv2.resize(NOISE, (160, 120), interpolation=cv2.INTER_CUBIC)
END = b"\xff\xd9"


def jpeg(mode="RGB", **options):
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


KINDS = {
    "colour": jpeg(),
    "grey": jpeg("L"),
    "CMYK": jpeg("CMYK"),
    "restarts": jpeg(restart_marker_rows=1),
    "progressive": jpeg(progressive=True),
    "a thumbnail within": jpeg(exif=b"Exif\0\0" + jpeg(quality=5)),
}
RANDOM = np.random.default_rng(1).bytes(2**20)


@pytest.mark.parametrize("thorough", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_bytes_behind_the_end_of_a_jpeg_change_nothing(kind, thorough):
    encoded = KINDS[kind]
    alone = decode_rgb(encoded, thorough=thorough)
    for more in (b"abc\xff\xdaxyz", RANDOM, encoded, encoded[:99], b"\xff\xda" + END):
        found = decode_rgb(encoded + more, thorough=thorough)
        np.testing.assert_array_equal(found, alone)


@pytest.mark.parametrize("behind", [b"", END, END + RANDOM, END + KINDS["colour"]])
@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_cut_short_is_refused_whatever_stands_behind(kind, behind):
    encoded = KINDS[kind]
    start = encoded.rfind(b"\xff\xda")  # the marks before it are not the scan's
    for kept in (start + (len(encoded) - start) // 2, len(encoded) - 40):
        with pytest.raises(ValueError, match="JPEG data stop early"):
            decode_rgb(encoded[:kept].rstrip(b"\xff") + behind, thorough=True)


@pytest.mark.parametrize("kind", ["colour", "grey", "CMYK", "restarts"])
def test_grey_in_the_place_of_missing_data_is_always_noticed(kind):
    encoded = KINDS[kind]
    with pytest.raises(ValueError, match="the end mark stands too soon"):
        decode_rgb(encoded[: len(encoded) // 2].rstrip(b"\xff") + END)


def test_a_sound_jpeg_of_grey_is_read():
    grey = np.full((120, 160, 3), 128, np.uint8)
    encoded = cv2.imencode(".jpg", grey)[1].tobytes()
    np.testing.assert_array_equal(decode_rgb(encoded, thorough=True), grey)


def test_a_jpeg_of_tables_alone_is_refused():
    tables = KINDS["colour"][: KINDS["colour"].find(b"\xff\xc0")]
    with pytest.raises(ValueError, match="stop early"):
        decode_rgb(tables + JPEG_END)


@pytest.mark.parametrize(
    "ending", ["png", "bmp", "gif", "tiff", "webp", "jp2", "ppm", "pgm"]
)
def test_other_formats_may_have_bytes_behind_them_and_not_lack_any(ending):
    shown = PICTURE[..., 0] if ending == "pgm" else PICTURE
    encoded = cv2.imencode(f".{ending}", shown)[1].tobytes()
    found = decode_rgb(encoded + b"abc\xff\xdaxyz")
    np.testing.assert_array_equal(found, decode_rgb(encoded))
    for kept in (len(encoded) // 2, len(encoded) - 20):
        with pytest.raises(ValueError, match=r"stop early|cannot decode|can decode"):
            decode_rgb(encoded[:kept])
