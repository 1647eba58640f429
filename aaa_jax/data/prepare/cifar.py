"""CIFAR-10 and CIFAR-100 from their original archives to TFDS folders.

Names, versions, features, ids and the order of the records are those of the stock TFDS
builders, so that any TFDS reads the folder. The binary archives are read, not the
pickled ones, which can run code.
"""

import tarfile
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from aaa_jax.data.errors import DatasetError
from aaa_jax.data.prepare.download import check_sha256, download
from aaa_jax.data.prepare.tfds_writer import Item, Plan, write_dataset

SIZE = 32


class Archive(NamedTuple):
    """An original file, and what is in it."""

    url: str  # where it is, as TFDS's `url_checksums` states it
    sha256: str  # of the file
    size: int  # of the file, in bytes
    folder: str  # of the files in it
    # feature of a label -> the file of its class names; a record begins with its labels
    # in this order
    class_names: dict[str, str]
    splits: dict[str, list[str]]  # split -> the files of its records


ARCHIVES: dict[str, Archive] = {
    "cifar10": Archive(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        size=170052171,
        folder="cifar-10-batches-bin",
        class_names={"label": "batches.meta.txt"},
        splits={
            "train": [f"data_batch_{k}.bin" for k in range(1, 6)],
            "test": ["test_batch.bin"],
        },
    ),
    "cifar100": Archive(
        url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        size=168513733,
        folder="cifar-100-binary",
        class_names={
            "coarse_label": "coarse_label_names.txt",
            "label": "fine_label_names.txt",
        },
        splits={"train": ["train.bin"], "test": ["test.bin"]},
    ),
}


def prepare_cifar(name: str, folder: Path, archive: Path | None) -> Path:
    """Writes "cifar10" or "cifar100" under `folder`.

    The archive is the original file; None: it is downloaded, to `folder`/downloads.
    """
    source = ARCHIVES[name]
    if archive is None:
        archive = folder / "downloads" / source.url.rpartition("/")[2]
        download(source.url, archive, sha256=source.sha256, size=source.size)
    else:
        check_sha256(archive, source.sha256, source=str(archive))
    encoded: list[bytes] = []
    splits: dict[str, list[Item]] = {}
    with tarfile.open(archive) as tar:
        class_names = {
            feature: _read_member(tar, source, file).decode().split()
            for feature, file in source.class_names.items()
        }
        for split, files in source.splits.items():
            content = b"".join(_read_member(tar, source, file) for file in files)
            labels, images = _unpack(content, len(class_names))
            splits[split] = []
            pairs = zip(labels.tolist(), images, strict=True)
            for i, (numbers, rgb) in enumerate(pairs):
                png = cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()
                image, place = f"{split}_{i:05d}", len(encoded)
                item = Item(image, tuple(numbers), archive, place, len(png))
                splits[split].append(item)
                encoded.append(png)
    plan = Plan(
        name=name,
        version="3.0.2",
        description=f"{name}: small images, https://www.cs.toronto.edu/~kriz/cifar.html",
        labels=class_names,
        name_feature="id",
        splits=splits,
        image_size=SIZE,
        key=lambda image: str(int(image.rpartition("_")[2])),
    )
    return write_dataset(folder, plan, lambda item: encoded[item.offset])


def _read_member(tar: tarfile.TarFile, source: Archive, name: str) -> bytes:
    path = f"{source.folder}/{name}"
    try:
        file = tar.extractfile(path)
    except KeyError:
        file = None
    if file is None:
        raise DatasetError(f"the archive {tar.name!s} has no file {path}")
    return file.read()


def _unpack(content: bytes, num_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels uint8 [n, num_labels] and images uint8 [n, 32, 32, 3] of binary CIFAR.

    A record is its labels, a byte each, then the red, the green and the blue plane.
    """
    length = num_labels + 3 * SIZE * SIZE
    if len(content) % length:
        raise DatasetError(
            f"CIFAR's binary files have records of {length} bytes; {len(content)} "
            "bytes are not a whole number of them"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, length)
    planes = rows[:, num_labels:].reshape(-1, 3, SIZE, SIZE)
    return rows[:, :num_labels], planes.transpose(0, 2, 3, 1)
