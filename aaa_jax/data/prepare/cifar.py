"""CIFAR-10 and CIFAR-100 from their original archives to TFDS folders.

The stock TFDS builders are used as they are, except where they call TensorFlow: the
archive is read and the PNG bytes are made here. Names, versions, features, ids, keys,
and hence the order of the records, are the stock ones: any TFDS reads the folder.
The binary archives are read (not the pickled ones, which can run code).
"""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from tensorflow_datasets.image_classification import cifar
from tqdm import tqdm

from aaa_jax.data.errors import DatasetError
from aaa_jax.data.prepare.download import check_sha256, download
from aaa_jax.data.tfds_folder import write_prepared

SIZE = 32


class Archive(NamedTuple):
    """An original file, as TFDS's `url_checksums` states it."""

    url: str
    sha256: str
    size: int


ARCHIVES: dict[str, Archive] = {
    "cifar10": Archive(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        size=170052171,
    ),
    "cifar100": Archive(
        url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        size=168513733,
    ),
}


class _FromArchive:
    """What the two builders replace in the stock ones."""

    __module__ = cifar.__name__  # the module that the folder's JSON names
    archive: Path

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        stock: Any = self
        plan = stock._cifar_info
        with tarfile.open(self.archive) as tar:
            for key, file in zip(plan.label_keys, plan.label_files, strict=True):
                text = _member(tar, plan.prefix + file).decode()
                stock.info.features[key].names = [n for n in text.split("\n") if n]
            train = [_member(tar, plan.prefix + file) for file in plan.train_files]
            test = [_member(tar, plan.prefix + file) for file in plan.test_files]
        return {
            "train": stock._generate_examples("train_", train),
            "test": stock._generate_examples("test_", test),
        }

    def _generate_examples(
        self, prefix: str, batches: list[bytes]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        stock: Any = self
        keys = stock._cifar_info.label_keys
        labels, images = _unpack(b"".join(batches), len(keys))
        records = zip(labels, images, strict=True)
        bar = tqdm(
            records,
            total=len(images),
            desc=f"writing {stock.name} {prefix.rstrip('_')}",
            unit="image",
            disable=None,
            leave=False,
        )
        for index, (numbers, rgb) in enumerate(bar):
            record: dict[str, Any] = dict(zip(keys, numbers.tolist(), strict=True))
            record["id"] = f"{prefix}{index:05d}"
            record["image"] = cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()
            yield index, record


class Cifar10(  # type: ignore[call-arg]  # the keyword is TFDS's own
    _FromArchive, cifar.Cifar10, skip_registration=True
):
    """The stock builder of "cifar10", fed from a local archive."""

    __module__ = cifar.__name__
    name = "cifar10"


class Cifar100(  # type: ignore[call-arg]  # the keyword is TFDS's own
    _FromArchive, cifar.Cifar100, skip_registration=True
):
    """The stock builder of "cifar100", fed from a local archive."""

    __module__ = cifar.__name__
    name = "cifar100"


BUILDERS = {"cifar10": Cifar10, "cifar100": Cifar100}


def prepare_cifar(name: str, folder: Path, archive: Path | None) -> None:
    """Write "cifar10" or "cifar100" under `folder`.

    Args:
        name: a key of ARCHIVES.
        folder: of all datasets; a download is kept in its `downloads`.
        archive: the original file, if it is on this machine already.
    """
    source = ARCHIVES[name]
    if archive is None:
        archive = folder / "downloads" / source.url.rpartition("/")[2]
        download(source.url, archive, sha256=source.sha256, size=source.size)
    else:
        check_sha256(archive, source.sha256, source=str(archive))
    builder = BUILDERS[name](data_dir=folder, file_format="array_record")
    builder.archive = archive
    write_prepared(builder)


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    try:
        file = tar.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise DatasetError(f"the archive {tar.name!s} has no file {name}")
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
