"""A run that the tests of this room read: two epochs, a checkpoint after each."""

import pathlib
import shutil

import pytest

from aaa_jax.train import loop
from configs import digits

TINY = {
    "model.name": "tests.support.tiny:factory",
    "data.num_train_images": 16,
    "batch_size": 8,
    "batch_norm.group_size": 4,
    "policies.num_policies": 2,
    "policies.ranges": "monotone10",
    "epochs": 2,
    "devices.num_devices": 1,
    "compilation_cache": False,
}


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Its directory, and its last line. Nobody may write there: see `copied`."""
    config = digits.get_config("fixed")
    with config.unlocked():
        config.model.options = {}
        config.update_from_flattened_dict(TINY)
    config.data.dir = str(tmp_path_factory.mktemp("data"))
    workdir = tmp_path_factory.mktemp("run")
    return workdir, loop.train_and_evaluate(config, workdir)


@pytest.fixture
def copied(run, tmp_path) -> pathlib.Path:
    """A copy of its directory."""
    return shutil.copytree(run[0], tmp_path / "copy")
