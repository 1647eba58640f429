"""ImageNet (ILSVRC 2012) from its two original tar files to a TFDS folder.

    python -m aaa_jax prepare imagenet2012 --archive=FOLDER

with ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar in FOLDER. Names, version,
labels, order and files are those of TFDS 5.1.0, and no TensorFlow is needed. The labels
of the validation images come with TFDS. The tar files are indexed, not unpacked, and
the images are copied byte by byte, except those that TFDS changes too: CMYK images and
one PNG named JPEG become RGB JPEGs (here of quality 100 without chroma subsampling).
"""

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import cv2
from tqdm import tqdm

from aaa_jax.data.decode import JPEG_START, PNG_START, decode_rgb, jpeg_frame
from aaa_jax.data.errors import DatasetError, DatasetNotPrepared
from aaa_jax.data.prepare.tfds_writer import Item, Plan, write_dataset

TRAIN = "ILSVRC2012_img_train.tar"
VALIDATION = "ILSVRC2012_img_val.tar"


class Release(NamedTuple):
    """What the archives must hold."""

    class_names: Sequence[str]  # one a class, in the order of the labels
    # class name of each validation image, in order of their names
    validation_labels: Sequence[str]
    num_train: int  # training images


def ilsvrc2012() -> Release:
    """The release of 2012, as stated by files that come with TFDS."""
    import tensorflow_datasets as tfds

    texts = [
        Path(tfds.core.tfds_path(f"datasets/imagenet2012/{file}.txt")).read_text()
        for file in ("labels", "validation_labels")
    ]
    return Release(texts[0].split(), texts[1].split(), num_train=1_281_167)


def prepare_imagenet(
    folder: Path, archive: Path | None, release: Release | None = None
) -> Path:
    """Writes "imagenet2012" under `folder`, or what is missing of it.

    Args:
        folder: of all datasets.
        archive: the folder with the two tar files; None: TFDS's `downloads/manual`.
        release: what they must hold; None for that of 2012.

    Raises:
        DatasetNotPrepared: a tar file is missing.
        DatasetError: a tar file is another one, or cut short.
    """
    archive = archive or folder / "downloads" / "manual"
    for name in (TRAIN, VALIDATION):
        if not (archive / name).is_file():
            raise DatasetNotPrepared(
                f"imagenet2012 is not prepared in {folder}, and there is no {name} in "
                f"{archive}. ImageNet may not be handed on: register at "
                "https://image-net.org/download-images, put the training and the "
                "validation images (tasks 1 and 2) into one folder, and run\n    "
                f"python -m aaa_jax prepare imagenet2012 --data-dir={folder} "
                "--archive=THAT_FOLDER"
            )
    release = release or ilsvrc2012()
    splits = {
        "train": _train_items(archive / TRAIN, release),
        "validation": _validation_items(archive / VALIDATION, release),
    }
    plan = Plan(
        name="imagenet2012",
        version="5.1.0",
        description="ILSVRC 2012, train and validation images with their labels.",
        labels={"label": release.class_names},
        name_feature="file_name",
        splits=splits,
        encoding="jpeg",
    )
    return write_dataset(folder, plan, _read)


def _read(item: Item) -> bytes:
    with item.source.open("rb") as file:
        file.seek(item.offset)
        return mend(file.read(item.size))


def mend(encoded: bytes) -> bytes:
    """The image as an RGB or grey JPEG; unchanged if it is one.

    Raises:
        ValueError: it is no JPEG or PNG, or must be changed and is damaged.
    """
    if encoded.startswith(JPEG_START):
        if jpeg_frame(encoded)[1] != 4:
            return encoded
    elif not encoded.startswith(PNG_START):
        raise ValueError(f"it begins {encoded[:8]!r}, as neither JPEG nor PNG does")
    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, 100),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    ]
    return cv2.imencode(".jpg", decode_rgb(encoded)[..., ::-1], options)[1].tobytes()


def _train_items(path: Path, release: Release) -> list[Item]:
    """The training images: a tar file of tar files, one a class."""
    labels = {name: label for label, name in enumerate(release.class_names)}
    items = []
    what = f"indexing {path.name}"
    bar = tqdm(total=release.num_train, desc=what, unit="image", disable=None)
    with _open(path) as tar, bar:
        for member in _files(tar, path):
            class_name = member.name.removesuffix(".tar")
            if class_name not in labels:
                raise DatasetError(
                    f"{path} holds {member.name!r}, and there is no class "
                    f"{class_name!r}: it is not ImageNet's {TRAIN}"
                )
            with _open(path, tar.extractfile(member)) as inner:
                for image in _files(inner, path):
                    offset = member.offset_data + image.offset_data
                    label = (labels[class_name],)
                    items.append(Item(image.name, label, path, offset, image.size))
                    bar.update()
    _check_number(path, len(items), release.num_train)
    return items


def _validation_items(path: Path, release: Release) -> list[Item]:
    """The validation images; their labels are in the order of their names."""
    labels = {name: label for label, name in enumerate(release.class_names)}
    with _open(path) as tar:
        members = sorted(_files(tar, path), key=lambda member: member.name)
    _check_number(path, len(members), len(release.validation_labels))
    return [
        Item(member.name, (labels[name],), path, member.offset_data, member.size)
        for member, name in zip(members, release.validation_labels, strict=True)
    ]


def _open(path: Path, file: IO[bytes] | None = None) -> tarfile.TarFile:
    try:
        return tarfile.open(path, "r:", fileobj=file)
    except (tarfile.TarError, OSError) as error:
        raise DatasetError(f"{path} is not a plain tar file: {error}") from error


def _files(tar: tarfile.TarFile, path: Path) -> Iterator[tarfile.TarInfo]:
    try:
        yield from (member for member in tar if member.isfile())
    except tarfile.TarError as error:
        raise DatasetError(f"{path} is damaged or cut short: {error}") from error


def _check_number(path: Path, present: int, wanted: int) -> None:
    if present != wanted:
        raise DatasetError(
            f"{path} holds {present} images, it must hold {wanted}: it is cut short, "
            "or another file; fetch it again"
        )
