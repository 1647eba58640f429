"""Encoded images to pixels: JPEG, PNG and whatever else OpenCV reads.

Grey images get three equal channels, CMYK becomes RGB, an alpha channel is dropped,
16 bits become 8, and EXIF orientation is ignored, as TFDS does.
"""

import io
import re
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import JpegImagePlugin

from aaa_jax.data.errors import BadRecord
from aaa_jax.data.examples import Record

READ_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
# A mark of a JPEG, except those that stand among the data of a scan.
JPEG_MARK = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)
BEGINS, ENDS, SCAN = 0xD8, 0xD9, 0xDA
PNG_START = b"\x89PNG\r\n\x1a\n"
# Start-of-frame markers; C4, C8 and CC are other things.
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
HUFFMAN = (0xC0, 0xC1, 0xC2)  # frames whose scans end where their data do
LUMA = np.array([0.299, 0.587, 0.114])
# What no scan goes on with: any bytes, without marks.
FILLING = np.random.RandomState(0).bytes(512).replace(b"\xff", b"")


def decode_rgb(encoded: bytes, *, thorough: bool = False) -> np.ndarray:
    """The pixels of an encoded image, uint8 [H, W, 3].

    Args:
        encoded: a file's bytes; what lies behind the end of a JPEG or PNG is ignored.
        thorough: every JPEG is searched for missing data, which takes two more
            decodings, not only one that ends in grey.

    Raises:
        ValueError: the bytes are not a whole image; the message says what is wrong.
    """
    if not encoded:
        raise ValueError("it has no bytes")
    end = _check_whole(encoded)
    try:
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), READ_FLAGS)
    except cv2.error as error:
        raise ValueError(f"OpenCV cannot decode it ({error.err})") from error
    if pixels is None:
        raise ValueError(
            f"its {len(encoded)} bytes, which begin {encoded[:8]!r}, are not an image "
            "that OpenCV can decode"
        )
    coding, channels = jpeg_frame(encoded) if encoded.startswith(JPEG_START) else (0, 0)
    is_grey = abs(pixels[-1, -1] @ LUMA - 128) <= 2 or channels == 4
    if coding in HUFFMAN and (thorough or is_grey) and _lacks_data(encoded[:end]):
        raise ValueError("its JPEG data stop early: the end mark stands too soon")
    return pixels


def decode_record(record: Record) -> np.ndarray:
    """The pixels of a record, uint8 [H, W, 3].

    Raises:
        BadRecord: it is not a whole image; the message names it.
    """
    try:
        return decode_rgb(record.encoded)
    except ValueError as error:
        raise BadRecord(f"{record.place}: {error}") from error


def jpeg_frame(encoded: bytes) -> tuple[int, int]:
    """How a JPEG is coded (the mark of its frame) and its channels; 0, 0: no frame."""
    for mark, at in _segments(encoded):
        if mark in FRAMES and at + 7 < len(encoded):
            return mark, encoded[at + 7]  # behind length, bits, height and width
    return 0, 0


def is_plain(encoded: bytes) -> bool:
    """Whether all readers agree on it: a JPEG or PNG of 8 bits, RGB or grey."""
    if encoded.startswith(JPEG_START):
        return jpeg_frame(encoded)[1] in (1, 3)
    # The header of a PNG ends in bits per channel, colour type (0: grey, 2: RGB), ...
    return (
        encoded.startswith(PNG_START)
        and encoded[24:26] in (b"\x08\x00", b"\x08\x02")
        and b"tRNS" not in encoded  # one colour is transparent
    )


def _check_whole(encoded: bytes) -> int:
    """Where the image's data end; raises ValueError where the bytes stop early.

    Some OpenCV versions fill in grey what is missing.
    """
    if encoded.startswith(JPEG_START):
        return _end_of_jpeg(encoded)
    if encoded.startswith(PNG_START):
        _check_png(encoded)
    return len(encoded)


def _segments(encoded: bytes) -> Iterator[tuple[int, int]]:
    """Each mark of a JPEG, and where what follows it begins.

    Marks within a segment (of a thumbnail) are none of the picture's own.
    """
    at = len(JPEG_START) - 1
    while found := JPEG_MARK.search(encoded, at):
        at = found.end()
        yield found[1][0], at
        at += int.from_bytes(encoded[at : at + 2], "big")


def _end_of_jpeg(encoded: bytes) -> int:
    """Where the end mark of the first picture lies; others may stand behind it."""
    has_scan = False
    for mark, at in _segments(encoded):
        if mark == BEGINS or (mark == ENDS and not has_scan):
            break  # another picture begins, or this one ends before its pixels
        if mark == ENDS:
            return at - len(JPEG_END)
        has_scan = has_scan or mark == SCAN
    raise ValueError(f"its JPEG data stop early, after {len(encoded)} bytes")


def _lacks_data(encoded: bytes) -> bool:
    """Whether a JPEG without its end mark would take up more data than it has.

    A decoder makes grey of what is missing. It makes something else of bytes that are
    put there, and nothing of bytes behind a whole picture. Pillow decodes, because it
    does not complain of them on the screen.
    """
    data = encoded.rstrip(b"\xff")
    try:
        pictures = [
            JpegImagePlugin.JpegImageFile(io.BytesIO(content + JPEG_END))
            for content in (data, data + FILLING)
        ]
    except (SyntaxError, OSError):  # OpenCV takes headers that Pillow does not
        return False
    try:
        as_it_is, with_more = (picture.tobytes() for picture in pictures)
    except OSError:
        return True
    return as_it_is != with_more


def _check_png(encoded: bytes) -> None:
    """Raises unless every chunk's checksum holds, up to the end chunk."""
    at = len(PNG_START)
    while at + 12 <= len(encoded):
        length = int.from_bytes(encoded[at : at + 4], "big")
        end = at + 8 + length
        kind = encoded[at + 4 : at + 8]
        stored = int.from_bytes(encoded[end : end + 4], "big")
        if end + 4 > len(encoded):
            break
        if zlib.crc32(encoded[at + 4 : end]) != stored:
            raise ValueError(f"its PNG chunk {kind!r} has a wrong checksum")
        if kind == b"IEND":
            return
        at = end + 4
    raise ValueError(f"its PNG data stop early, after {len(encoded)} bytes")
