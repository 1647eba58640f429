"""Encoded images to pixels: JPEG, PNG and whatever else OpenCV reads.

Grey images get three equal channels, CMYK becomes RGB, an alpha channel is dropped,
16 bits become 8, and EXIF orientation is ignored, as TFDS does.
"""

import zlib

import cv2
import numpy as np

from aaa_jax.data.errors import BadRecord
from aaa_jax.data.examples import Record

READ_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
PNG_START = b"\x89PNG\r\n\x1a\n"
# Start-of-frame markers; C4, C8 and CC are other things.
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def decode_rgb(encoded: bytes) -> np.ndarray:
    """The pixels of an encoded image, uint8 [H, W, 3].

    Raises:
        ValueError: the bytes are not a whole image; the message says what is wrong.
    """
    if not encoded:
        raise ValueError("it has no bytes")
    _check_whole(encoded)
    try:
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), READ_FLAGS)
    except cv2.error as error:
        raise ValueError(f"OpenCV cannot decode it ({error.err})") from error
    if pixels is None:
        raise ValueError(
            f"its {len(encoded)} bytes, which begin {encoded[:8]!r}, are not an image "
            "that OpenCV can decode"
        )
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


def jpeg_channels(encoded: bytes) -> int:
    """How many channels a JPEG has; 0 if no frame is found."""
    at = 2
    while at + 9 < len(encoded) and encoded[at] == 0xFF:
        marker = encoded[at + 1]
        if marker in FRAMES:
            return encoded[at + 9]
        if marker == 0xFF:  # a fill byte
            at += 1
        else:
            at += 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    return 0


def is_plain(encoded: bytes) -> bool:
    """Whether all readers agree on it: a JPEG or PNG of 8 bits, RGB or grey."""
    if encoded.startswith(JPEG_START):
        return jpeg_channels(encoded) in (1, 3)
    # The header of a PNG ends in bits per channel, colour type (0: grey, 2: RGB), ...
    return (
        encoded.startswith(PNG_START)
        and encoded[24:26] in (b"\x08\x00", b"\x08\x02")
        and b"tRNS" not in encoded  # one colour is transparent
    )


def _check_whole(encoded: bytes) -> None:
    """Raises if the bytes stop early; some OpenCV versions fill in grey instead."""
    if encoded.startswith(JPEG_START):
        # Within a scan 0xff is followed by 0x00, so both marks are real ones.
        if encoded.rfind(JPEG_END) <= encoded.rfind(JPEG_SCAN):
            raise ValueError(f"its JPEG data stop early, after {len(encoded)} bytes")
    elif encoded.startswith(PNG_START):
        _check_png(encoded)


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
