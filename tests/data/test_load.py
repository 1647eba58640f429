"""The datasets themselves: the table, the digits, subsets, order on the device."""

import os
import pwd
import subprocess
import sys
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from sklearn.datasets import load_digits

from aaa_jax import data
from aaa_jax.augment import standard
from aaa_jax.data.load import channel_statistics
from aaa_jax.data.prepare.preparers import PREPARERS, main
from aaa_jax.data.tfds_folder import data_folder
from tests.support.small_runs import ROOT


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("datasets")


def real_data(name):
    """A folder that holds the real dataset, or skip."""
    places = [os.environ.get("AAA_JAX_TEST_DATA"), os.environ.get("TFDS_DATA_DIR")]
    places.append(str(ROOT.parent / "shared" / "data"))
    for place in filter(None, places):
        if list(Path(place).glob(f"{name}/*/dataset_info.json")):
            return place
    return pytest.skip(f"no {name} found: set AAA_JAX_TEST_DATA to a folder with it")


def test_every_row_of_the_table_is_consistent_and_can_be_prepared():
    for name, spec in data.DATASETS.items():
        assert spec.name == name
        assert name in PREPARERS
        assert spec.fill == tuple(int(255 * mean + 0.5) for mean in spec.mean)
        assert spec.loader in ("resident", "stream")
        assert data.describe(name) is spec


def statistics_of(name, folder):
    if name == "cifar100":  # not at hand: those of fb.resnet.torch's cifar100.lua
        return np.divide([(129.3, 124.1, 112.4), (68.2, 65.4, 70.4)], 255)
    where = folder if name.startswith("digits") else real_data(name)
    if name != "imagenet2012":
        return channel_statistics(data.load(name, "train", data_dir=where).images)
    stream = data.open_stream("imagenet2012", "train", data_dir=where)
    options = data.StreamOptions(image_size=64)
    with data.evaluation_batches(stream, options, batch_size=400, resize=64) as made:
        (batch,) = made
    images = batch.images / 255
    return images.mean((0, 1, 2)), images.std((1, 2)).mean(0)


TOLERANCES = {
    "digits": 1e-4,
    "digits_few": 1e-4,
    "cifar10": 2e-3,  # the copy at hand is a JPEG one
    "cifar100": 3e-4,
    "imagenet2012": 0.02,  # a slice, at 64 pixels
}


@pytest.mark.parametrize("name", data.DATASETS)
def test_mean_and_deviation_are_those_of_the_train_split(name, folder):
    stated = data.DATASETS[name].mean, data.DATASETS[name].std
    np.testing.assert_allclose(
        stated, statistics_of(name, folder), atol=TOLERANCES[name]
    )


@pytest.mark.parametrize("value", [0, 1, 100, 255])
def test_a_constant_channel_is_normalised_to_zero(value):
    images = np.random.default_rng(0).integers(0, 256, (7, 5, 6, 3), np.uint8)
    images[..., 1] = value
    mean, std = channel_statistics(images)
    assert (mean[1], std[1]) == (pytest.approx(value / 255), 1)
    found = standard.normalize(jnp.asarray(images), mean, std)
    np.testing.assert_allclose(found[..., 1], 0, atol=1e-6)  # of float32
    np.testing.assert_allclose(found[..., (0, 2)].std((0, 1, 2)), 1, rtol=1e-5)


def ids_of(name, split, folder):
    path = next((Path(folder) / name).iterdir())
    source = tfds.builder_from_directory(path).as_data_source(
        split, decoders={"image": tfds.decode.SkipDecoding()}
    )
    return [example["id"].decode() for example in source]


def bilinear(grey, side=32):
    """8x8 in 0..16 to a square in 0..255 by Pillow, in float."""
    image = Image.fromarray((grey * 255 / 16).astype(np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR), float)


@pytest.mark.parametrize(
    ("name", "side", "tested"), [("digits", 32, 1 / 3), ("digits_few", 16, 5 / 6)]
)
def test_digits_are_those_of_scikit_learn_interpolated_as_pillow_does(
    name, side, tested, folder
):
    images, labels = load_digits(return_X_y=True)
    seen = []
    for split in ("train", "test"):
        dataset = data.load(name, split, data_dir=folder)
        assert dataset.images.shape[1:] == (side, side, 3)
        assert (dataset.images.dtype, dataset.labels.dtype) == (np.uint8, np.int32)
        assert dataset.class_names == tuple("0123456789")
        assert np.ptp(dataset.images, axis=-1).max() == 0
        places = [int(i.removeprefix("digit_")) for i in ids_of(name, split, folder)]
        seen += places
        np.testing.assert_array_equal(dataset.labels, labels[places])
        for place, image in zip(places, dataset.images, strict=True):
            expected = bilinear(images[place].reshape(8, 8), side)
            # 0.5 is rounding; 1e-3 covers Pillow's float32.
            np.testing.assert_allclose(image[..., 0], expected, atol=0.5 + 1e-3)
    assert sorted(seen) == list(range(1797))
    quotas = np.round(np.bincount(labels) * tested)  # of each class
    np.testing.assert_array_equal(np.bincount(dataset.labels), quotas)


def run_python(code, *arguments):
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    options = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": 120}
    return subprocess.run(command, **options)


def test_no_tensorflow_is_imported_and_tfds_only_when_used(folder):
    code = """if True:
        import sys
        from aaa_jax import data
        assert "tensorflow_datasets" not in sys.modules, "imported too early"
        assert "sklearn" not in sys.modules
        prepared = data.load("digits", "test", data_dir=sys.argv[1])
        written = data.load("digits", "test", data_dir=sys.argv[2])
        assert (prepared.images == written.images).all()
        assert "tensorflow_datasets" in sys.modules
        assert "tensorflow" not in sys.modules
    """
    ended = run_python(code, folder, folder / "new")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ""
    assert ended.stderr == f"preparing digits in {folder / 'new'}\n"


def test_a_subset_keeps_the_share_of_every_class():
    labels = np.random.default_rng(0).integers(0, 7, 1000).astype(np.int32)
    for size in (7, 100, 333, 1000):
        places = data.stratified_subset(labels, size, seed=3)
        assert len(places) == len(set(places.tolist())) == size
        assert (np.diff(places) > 0).all()
        shares = np.bincount(labels, minlength=7) * size / len(labels)
        counts = np.bincount(labels[places], minlength=7)
        assert (np.abs(counts - shares) < 1).all()


def test_a_subset_is_a_function_of_its_seed(folder):
    pick = [
        data.load("digits", "train", data_dir=folder, num_images=200, seed=seed)
        for seed in (0, 0, 1)
    ]
    assert [len(p.images) for p in pick] == [200] * 3
    np.testing.assert_array_equal(pick[0].images, pick[1].images)
    assert (pick[0].images != pick[2].images).any()


@pytest.mark.parametrize("size", [-1, 0, 9, 1199])
def test_an_impossible_subset_is_refused_with_the_possible_sizes(folder, size):
    with pytest.raises(data.DatasetError, match=r"from 10 .* to 1198"):
        data.load("digits", "train", data_dir=folder, num_images=size)


def test_an_explicit_folder_wins_over_the_variable_over_the_default(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", "/from/variable")
    assert data_folder("/explicit") == Path("/explicit")
    assert data_folder("") == data_folder(None) == Path("/from/variable")
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert data_folder() == Path.home() / "tensorflow_datasets"
    assert data_folder("~/x") == Path.home() / "x"


def test_without_a_home_the_data_folder_must_be_given(tmp_path, monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[uid])  # of no user
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    for call in (data_folder, lambda: data_folder("~/x")):
        with pytest.raises(
            data.DatasetError, match=r"data folder: .*no such home directory"
        ):
            call()
    with pytest.raises(data.DatasetError, match=r"folder of images .* no such home"):
        data.describe("folder:~/pictures", data_dir=tmp_path)
    assert data_folder(tmp_path) == tmp_path


@pytest.mark.parametrize("address", ["gs://bucket/x", "s3://bucket", "hdfs://a/b"])
def test_a_folder_in_a_bucket_is_refused_at_every_door(address, tmp_path, capsys):
    for data_dir, name in ((address, "digits"), (tmp_path, f"folder:{address}")):
        with pytest.raises(data.DatasetError, match=f"'{address}' is not a local path"):
            data.load(name, "train", data_dir=data_dir)
    arguments = ["imagenet2012", f"--data-dir={tmp_path}", f"--archive={address}"]
    assert main(arguments) == 2
    assert "the archive" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["promise", "tensorflow_datasets"])
def test_a_package_that_tfds_lacks_is_named_and_no_data_are_blamed(package, folder):
    data.load("digits", "test", data_dir=folder)  # is prepared
    code = f"""if True:
        import sys
        sys.modules["{package}"] = None
        from aaa_jax.data.prepare.preparers import main
        sys.exit(main(["digits", "--data-dir", sys.argv[1]]))
    """
    ended = run_python(code, folder)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert f"pip install {package}" in ended.stderr
    assert "delete" not in ended.stderr


def test_only_what_is_damaged_is_to_be_deleted(tmp_path, monkeypatch):
    data.load("digits", "test", data_dir=tmp_path)
    (info,) = tmp_path.glob("digits/*/dataset_info.json")
    sound = info.read_bytes()
    info.write_bytes(sound[: len(sound) // 2])
    with pytest.raises(data.DatasetError, match="delete the folder and prepare"):
        data.load("digits", "test", data_dir=tmp_path)
    info.write_bytes(sound)
    for error in (PermissionError(13, "denied"), ModuleNotFoundError("No module 'x'")):
        with monkeypatch.context() as patch:
            patch.setattr(tfds, "builder_from_directory", mock.Mock(side_effect=error))
            with pytest.raises(data.DatasetError) as raised:
                data.load("digits", "test", data_dir=tmp_path)
        assert str(error) in str(raised.value)
        assert "delete" not in str(raised.value)


def test_an_epoch_visits_every_image_once_in_an_order_of_its_own():
    keys = [jax.random.fold_in(jax.random.key(0), epoch) for epoch in (0, 0, 1)]
    order = [np.asarray(data.epoch_permutation(key, 50)) for key in keys]
    assert order[0].dtype == np.int32
    for permutation in order:
        np.testing.assert_array_equal(np.sort(permutation), np.arange(50))
    np.testing.assert_array_equal(order[0], order[1])
    assert (order[0] != order[2]).any()
    jitted = jax.jit(data.epoch_permutation, static_argnums=1)(keys[0], 50)
    np.testing.assert_array_equal(jitted, order[0])


def test_gather_takes_what_numpy_indexing_takes():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (20, 4, 5, 3), np.uint8)
    labels = random.integers(0, 10, 20).astype(np.int32)
    indices = np.array([3, 19, 0, 3], np.int32)
    for gather in (data.gather, jax.jit(data.gather)):
        rows, targets = gather(*map(jnp.asarray, (images, labels, indices)))
        assert rows.dtype == jnp.uint8
        np.testing.assert_array_equal(rows, images[indices])
        np.testing.assert_array_equal(targets, labels[indices])
