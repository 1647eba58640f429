"""A run that the tests of this room read: two epochs, a checkpoint after each."""

import pathlib
import shutil

import numpy as np
import pytest

from aaa_jax.train import loop
from aaa_jax.trained.corruption_functions import NAMES
from tests.oracles.by_hand import PUBLISHED_LABELS, SIDE
from tests.support.small_runs import small_config

# Two steps an epoch.
CHANGES = {
    "data.num_train_images": 16,
    "policies.ranges": "monotone10",
    "epochs": 2,
    "evaluation.every_epochs": 1,
    "evaluation.batch_size": 1000,  # all at once: sums in one order
}


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Its directory, and its last line. Nobody may write there: see `copied`."""
    config = small_config("fixed", **CHANGES)
    config.data.dir = str(tmp_path_factory.mktemp("data"))
    workdir = tmp_path_factory.mktemp("run")
    return workdir, loop.train_and_evaluate(config, workdir)


@pytest.fixture
def copied(run, tmp_path) -> pathlib.Path:
    """A copy of its directory."""
    return shutil.copytree(run[0], tmp_path / "copy")


@pytest.fixture
def published(tmp_path) -> pathlib.Path:
    """Files like CIFAR-10-C's, of 15 images in 5 classes, and one that is not read."""
    folder = tmp_path / "TINY-C"
    folder.mkdir()
    random = np.random.default_rng(3)
    shape = (5 * len(PUBLISHED_LABELS), SIDE, SIDE, 3)
    for name in (*NAMES, "spatter"):
        np.save(folder / f"{name}.npy", random.integers(0, 256, shape, np.uint8))
    np.save(folder / "labels.npy", np.tile(PUBLISHED_LABELS, 5))
    return folder
