"""TFRECORD files without TensorFlow.

The framing is (TensorFlow, `tensorflow/core/lib/io/record_writer.h`), little-endian:

    uint64 length, uint32 masked CRC of the 8 bytes of length,
    bytes[length],  uint32 masked CRC of the bytes;      CRC: CRC-32C (Castagnoli)

What the bytes mean does not belong here.
"""

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aaa_jax.data.errors import BadRecord

HEADER = struct.Struct("<QI")
FOOTER = struct.Struct("<I")
MAX_PADDED_BYTES = 64 * 2**20


def read_tfrecords(path: Path) -> list[bytes]:
    """All records of a TFRECORD file, with both checksums of each verified."""
    content = path.read_bytes()
    records: list[bytes] = []
    headers: list[bytes] = []
    stored = []
    at = 0
    while at < len(content):
        end = at + HEADER.size
        if end > len(content):
            raise _damaged(path, len(records), "the file ends within its header")
        length, header_crc = HEADER.unpack_from(content, at)
        if end + length + FOOTER.size > len(content):
            raise _damaged(
                path,
                len(records),
                f"it claims {length} bytes, {len(content) - end} are left in the file",
            )
        headers.append(content[at : at + 8])
        records.append(content[end : end + length])
        stored.append((header_crc, *FOOTER.unpack_from(content, end + length)))
        at = end + length + FOOTER.size
    _check(path, headers, [crc for crc, _ in stored])
    _check(path, records, [crc for _, crc in stored])
    return records


def index_tfrecords(path: Path) -> np.ndarray:
    """Where the records of a TFRECORD file lie, int64 [n, 2]: start and length.

    Only the headers are read, and their checksums verified; not those of the records.
    """
    spans: list[tuple[int, int]] = []
    headers: list[bytes] = []
    stored: list[int] = []
    size = path.stat().st_size
    at = 0
    with path.open("rb", buffering=0) as file:
        while at < size:
            header = os.pread(file.fileno(), HEADER.size, at)
            if len(header) < HEADER.size:
                raise _damaged(path, len(spans), "the file ends within its header")
            length, crc = HEADER.unpack(header)
            headers.append(header[:8])
            stored.append(crc)
            start = at + HEADER.size
            at = start + length + FOOTER.size
            if at > size:
                reason = (
                    f"it claims {length} bytes, {size - start} are left in the file"
                )
                raise _damaged(path, len(spans), reason)
            spans.append((start, length))
    _check(path, headers, stored)
    return np.array(spans, np.int64).reshape(-1, 2)


def masked_crc32c(texts: Sequence[bytes]) -> np.ndarray:
    """The masked CRC-32C of each of n byte strings, uint32 [n].

    The strings are padded to one length and go through the byte-wise table together,
    the longest first, so that those still running are the first rows: 50,000 CIFAR
    images in a second, where one string after the other takes half a minute.
    """
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    result = np.empty(len(texts), np.uint32)
    while order:
        longest = max(1, len(texts[order[0]]))
        rows = order[: max(1, MAX_PADDED_BYTES // longest)]
        order = order[len(rows) :]
        result[rows] = _crc32c_of_sorted([texts[i] for i in rows])
    rotated = (result >> np.uint32(15)) | (result << np.uint32(17))
    return rotated + np.uint32(0xA282EAD8)


def _crc32c_of_sorted(texts: list[bytes]) -> np.ndarray:
    """CRC-32C of byte strings that never grow longer, uint32 [n]."""
    lengths = np.array([len(text) for text in texts])
    padded = np.zeros((len(texts), max(1, lengths[0])), np.uint8)
    for row, text in zip(padded, texts, strict=True):
        row[: len(text)] = np.frombuffer(text, np.uint8)
    crc = np.full(len(texts), 0xFFFFFFFF, np.uint32)
    for column, byte in enumerate(np.ascontiguousarray(padded.T)[: lengths[0]]):
        running = np.searchsorted(-lengths, -column)  # how many are longer than column
        low = (crc[:running] ^ byte[:running]) & np.uint32(0xFF)
        crc[:running] = CRC_TABLE[low] ^ (crc[:running] >> np.uint32(8))
    return ~crc


def _check(path: Path, texts: list[bytes], stored: list[int]) -> None:
    wrong = np.flatnonzero(masked_crc32c(texts) != np.array(stored, np.uint32))
    if len(wrong):
        raise _damaged(path, int(wrong[0]), "its checksum does not match")


def _damaged(path: Path, record: int, reason: str) -> BadRecord:
    return BadRecord(
        f"record {record} of {path} is damaged: {reason}. Delete the dataset's folder "
        "and prepare it again, or copy it again"
    )


def _crc_table() -> np.ndarray:
    """The 256 entries of the reflected Castagnoli polynomial 0x1EDC6F41."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ (table & np.uint32(1)) * np.uint32(0x82F63B78)
    return table


CRC_TABLE = _crc_table()
