"""What was saved comes back bit for bit; damage and failures are seen and survived."""

import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time
import warnings
import zlib

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from aaa_jax.workdir.checkpoints import (
    CheckpointError,
    Checkpoints,
    DamagedCheckpointError,
    StateMismatchError,
    read,
)
from tests.support.damage import files_at_most, flip_a_bit


@flax.struct.dataclass
class _State:
    params: dict
    step: jax.Array
    moments: tuple


def _state(seed: int, size: int = 3000) -> _State:
    """Random numbers do not compress: the data get files of their own."""
    draw = np.random.default_rng(seed).standard_normal
    return _State(
        params={
            "dense": {"kernel": jnp.asarray(draw((3, size)), jnp.float32)},
            "half": jnp.asarray(draw(7), jnp.bfloat16),
        },
        step=jnp.asarray(seed, jnp.int32),
        moments=((), (jnp.asarray([True, False]), None), {}),
    )


def _replicated() -> NamedSharding:
    return NamedSharding(Mesh(np.array(jax.devices()), ("device",)), PartitionSpec())


def _assert_same(got, expected) -> None:
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)
    for one, other in pairs:
        assert type(one) is type(other)
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory) -> pathlib.Path:
    """A directory with sound steps 1 and 2. Copy it, do not change it."""
    directory = tmp_path_factory.mktemp("two_steps")
    with Checkpoints(directory) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, _state(step))
    return directory


@pytest.fixture
def copy_of_two_steps(two_steps, tmp_path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(two_steps, tmp_path / "checkpoints"))


def test_a_state_comes_back_with_its_bytes_structure_and_shardings(tmp_path):
    awkward = np.array([np.nan, -0.0, np.inf, 1e-45], np.float32)
    state = jax.device_put(_state(5), _replicated())
    state = state.replace(
        params={**state.params, "awkward": jnp.asarray(awkward), "host": awkward[1:]}
    )
    with Checkpoints(tmp_path / "new" / "checkpoints") as checkpoints:
        assert checkpoints.restore_latest(state) is None
        checkpoints.save(12, state)
        example = jax.tree.map(lambda leaf: (leaf == 0).astype(leaf.dtype), state)
        step, restored = checkpoints.restore_latest(example)
    assert step == 12
    _assert_same(restored, state)
    assert restored.step.sharding == _replicated()
    assert restored.params["awkward"].sharding == example.params["awkward"].sharding


def test_an_abstract_example_chooses_the_sharding(copy_of_two_steps):
    example = jax.eval_shape(lambda: _state(0))
    kernel = example.params["dense"]["kernel"].update(sharding=_replicated())
    example.params["dense"]["kernel"] = kernel
    _, restored = Checkpoints(copy_of_two_steps).restore_latest(example)
    _assert_same(restored, _state(2))
    assert restored.params["dense"]["kernel"].sharding == _replicated()
    assert restored.step.sharding.device_set == {jax.devices()[0]}


def test_a_step_is_read_alone_and_nothing_is_touched(copy_of_two_steps):
    leaves = read(copy_of_two_steps / "1")
    kernel = np.asarray(_state(1).params["dense"]["kernel"])
    np.testing.assert_array_equal(leaves["params.dense.kernel"], kernel)
    assert leaves["params.half"].dtype == jnp.bfloat16
    assert {type(leaf) for leaf in leaves.values()} == {np.ndarray}
    (copy_of_two_steps / "2" / "_CHECKPOINT_METADATA").unlink()
    for step in "23":
        with pytest.raises(DamagedCheckpointError, match=f"{step} is damaged: it cann"):
            read(copy_of_two_steps / step)
    assert sorted(os.listdir(copy_of_two_steps)) == ["1", "2"]


def test_arrays_may_be_donated_as_soon_as_save_returns(tmp_path):
    change = jax.jit(
        lambda state: jax.tree.map(lambda leaf: leaf + 1, state), donate_argnums=0
    )
    start = {"w": jnp.arange(300_000.0), "n": jnp.zeros((), jnp.int32)}
    state = jax.device_put(start, _replicated())
    with Checkpoints(tmp_path, keep=9) as checkpoints:
        for step in range(4):
            checkpoints.save(step, state)
            before, state = state, change(state)
            # On CPUs jax 0.11 copies a buffer that a save still reads, and keeps it.
            assert before["w"].is_deleted() or jax.__version__.startswith("0.11.")
    for step in reversed(range(4)):
        latest, restored = Checkpoints(tmp_path).restore_latest(state)
        assert latest == step
        np.testing.assert_array_equal(restored["w"], np.arange(300_000.0) + step)
        # The restored state can be donated as well.
        np.testing.assert_array_equal(change(restored)["n"], step + 1)
        shutil.rmtree(tmp_path / str(step))


def test_the_newest_steps_are_kept(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (1, 5, 10, 30):
            checkpoints.save(step, _state(step, size=1))
    assert checkpoints.steps() == [10, 30]
    assert sorted(os.listdir(tmp_path)) == ["10", "30"]


def test_saving_a_step_again_keeps_what_is_there_or_sets_it_aside(copy_of_two_steps):
    checkpoints = Checkpoints(copy_of_two_steps)
    before = (copy_of_two_steps / "2").stat().st_ino
    checkpoints.save(2, _state(2))
    assert (copy_of_two_steps / "2").stat().st_ino == before
    with pytest.warns(UserWarning, match=r"another state. Set aside as 2\.replaced-1"):
        checkpoints.save(2, _state(7))
    step, state = checkpoints.restore_latest(_state(0))
    assert step == 2
    _assert_same(state, _state(7))
    assert (copy_of_two_steps / "2.replaced-1").is_dir()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": np.zeros(1, np.int32)}, r"leaf step has shape \[\], .* needs \[1\]"),
        ({"step": np.zeros((), np.float32)}, "dtype int32, the run needs float32"),
        ({"params": {}}, r"leaf params\.\S+ is unknown to the run"),
        ({"moments": {"a": np.zeros(2)}}, r"\.a is missing.*moments\.1\.0 is unknown"),
    ],
)
def test_another_kind_of_state_is_refused_by_leaf(two_steps, change, message):
    with pytest.raises(StateMismatchError, match=message):
        Checkpoints(two_steps).restore_latest(_state(0).replace(**change))
    assert sorted(os.listdir(two_steps)) == ["1", "2"]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": jnp.ones(1), "b": 3}, "leaf b of the state is 3"),
        ({"key": jax.random.key(0)}, "leaf key of the"),
        ({"a": jnp.zeros((0, 3))}, "leaf a .*arrays with elements"),
    ],
)
def test_what_cannot_be_saved_is_named(tmp_path, state, message):
    with pytest.raises(TypeError, match=message):
        Checkpoints(tmp_path).save(1, state)
    assert os.listdir(tmp_path) == []


def _truncate(path: pathlib.Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


DAMAGES = {"flip": flip_a_bit, "truncate": _truncate, "delete": pathlib.Path.unlink}
# Files that a step cannot do without; the others are copies and time stamps.
VITAL = ("_CHECKPOINT_METADATA", "state/_METADATA", "state/manifest.ocdbt")


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_any_file_never_gives_wrong_numbers(two_steps, tmp_path, damage):
    files = sorted(
        path.relative_to(two_steps)
        for path in (two_steps / "2").rglob("*")
        if path.is_file() and path.stat().st_size
    )
    largest = max(files, key=lambda file: (two_steps / file).stat().st_size)
    vital = {pathlib.Path("2") / name for name in VITAL} | {largest}
    assert vital <= set(files)
    for number, file in enumerate(files):
        directory = tmp_path / str(number)
        shutil.copytree(two_steps, directory)
        DAMAGES[damage](directory / file)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step, state = Checkpoints(directory).restore_latest(_state(0))
        _assert_same(state, _state(step))
        if file in vital:
            assert step == 1, file
        set_aside = [] if step == 2 else ["2.damaged-1"]
        assert sorted(os.listdir(directory)) == ["1", *(set_aside or ["2"])]
        texts = [str(w.message) for w in caught if w.category is UserWarning]
        assert len(texts) == len(set_aside), (file, texts)
        assert all(f"{directory}/2 is damaged" in text for text in texts)


def test_a_checksum_that_differs_names_the_leaf(copy_of_two_steps):
    """The manifest of one step with the arrays of another: only the CRC can tell."""
    one, two = (copy_of_two_steps / step / "state" for step in "12")
    shutil.rmtree(two)
    shutil.copytree(one, two)
    with pytest.warns(UserWarning, match=r"checksum of leaf params\.dense\.kernel"):
        step, _ = Checkpoints(copy_of_two_steps).restore_latest(_state(0))
    assert step == 1


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_an_empty_step_is_set_aside_and_saving_goes_on(copy_of_two_steps, kind):
    empty = copy_of_two_steps / "3"
    empty.mkdir() if kind == "directory" else empty.touch()
    with Checkpoints(copy_of_two_steps) as checkpoints:
        with pytest.warns(UserWarning, match=r"3 is damaged.*3\.damaged-1"):
            step, _ = checkpoints.restore_latest(_state(0))
        assert step == 2
        checkpoints.save(3, _state(3))
        checkpoints.wait()
        (copy_of_two_steps / "3" / "_CHECKPOINT_METADATA").unlink()
        with pytest.warns(UserWarning, match=r"3\.damaged-2"):
            checkpoints.restore_latest(_state(0))
        checkpoints.save(3, _state(3))
        assert checkpoints.restore_latest(_state(0))[0] == 3
        assert checkpoints.steps() == [2, 3]


def test_when_no_step_is_sound_the_run_stops_and_stays_stopped(copy_of_two_steps):
    for step in "12":
        (copy_of_two_steps / step / "state" / "manifest.ocdbt").unlink()
    checkpoints = Checkpoints(copy_of_two_steps)
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(DamagedCheckpointError, match=r"1\.damaged-1, 2\.damaged-1"),
    ):
        checkpoints.restore_latest(_state(0))
    with pytest.raises(DamagedCheckpointError, match=str(copy_of_two_steps)):
        Checkpoints(copy_of_two_steps).restore_latest(_state(0))


def test_the_first_save_is_read_back_before_it_is_relied_on(tmp_path, monkeypatch):
    """A step whose files Orbax has not merged, as it does below `run[1]`."""
    from orbax.checkpoint._src.serialization import ocdbt_utils

    async def leave_out(*_, **__):
        pass

    with monkeypatch.context() as patch:
        patch.setattr(ocdbt_utils, "merge_ocdbt_per_process_files", leave_out)
        with pytest.raises(
            DamagedCheckpointError, match=r"cannot be read back.*NOT_FO"
        ):
            Checkpoints(tmp_path).save(1, _state(1))
        with (
            pytest.warns(UserWarning, match="damaged"),
            pytest.raises(DamagedCheckpointError),
        ):
            Checkpoints(tmp_path).restore_latest(_state(0))
    shutil.rmtree(tmp_path / "1.damaged-1")
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, _state(1))
        monkeypatch.setattr(Checkpoints, "_prove", None)  # one that works is enough
        checkpoints.save(2, _state(2))
    assert checkpoints.steps() == [1, 2]


def test_a_step_that_was_set_aside_is_no_silent_new_start(tmp_path):
    for name in (".DS_Store", "notes", "7.replaced-1"):
        (tmp_path / name).mkdir()
    with pytest.raises(DamagedCheckpointError, match=r"there are: 7\.replaced-1\."):
        Checkpoints(tmp_path).restore_latest(_state(0))


def test_lack_of_memory_or_permission_is_no_damage(copy_of_two_steps, monkeypatch):
    from orbax.checkpoint import v1 as ocp

    def fail(*_, **__):
        raise ValueError("PERMISSION_DENIED: Error opening zarr3 driver")

    monkeypatch.setattr(ocp, "load", fail)
    with pytest.raises(CheckpointError, match=r"cannot read step 2 .*PERMISSION"):
        Checkpoints(copy_of_two_steps).restore_latest(_state(0))
    with pytest.raises(CheckpointError, match=r"cannot read .*PERMISSION") as caught:
        read(copy_of_two_steps / "2")
    assert not isinstance(caught.value, DamagedCheckpointError)
    assert sorted(os.listdir(copy_of_two_steps)) == ["1", "2"]


def test_another_format_is_refused_not_set_aside(copy_of_two_steps):
    path = copy_of_two_steps / "2" / "_CHECKPOINT_METADATA"
    content = json.loads(path.read_text())
    manifest = content["custom_metadata"]["aaa_jax"]
    manifest["version"] = 99
    checked = json.dumps([99, manifest["leaves"]], sort_keys=True)
    manifest["crc32"] = zlib.crc32(checked.encode())
    path.write_text(json.dumps(content))
    with pytest.raises(StateMismatchError, match="format 99"):
        Checkpoints(copy_of_two_steps).restore_latest(_state(0))


def _save_at_once(checkpoints: Checkpoints, state: _State) -> None:
    checkpoints.save(int(state.step), state)
    checkpoints.wait()


def test_a_full_disk_is_a_clear_error_and_costs_no_checkpoint(copy_of_two_steps):
    checkpoints = Checkpoints(copy_of_two_steps)
    with (
        files_at_most(64 * 1024),
        pytest.raises(CheckpointError, match="cannot save step 3 ") as caught,
    ):
        _save_at_once(checkpoints, _state(3, size=100_000))
    assert str(copy_of_two_steps) in str(caught.value)
    assert "File too large" in str(caught.value)
    assert checkpoints.steps() == [1, 2]
    step, state = checkpoints.restore_latest(_state(0))
    _assert_same(state, _state(step))
    assert step == 2
    _save_at_once(checkpoints, _state(3))
    assert checkpoints.steps() == [2, 3]


def test_a_failed_save_shows_when_the_run_ends_with_an_error(tmp_path):
    error = KeyError("what happened first")
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(2, _state(2, size=1))
    with files_at_most(64 * 1024):
        checkpoints.save(3, _state(3, size=100_000))  # in the background
        checkpoints.__exit__(KeyError, error, None)
    assert "cannot save step 3" in error.__notes__[0]


def test_a_directory_that_cannot_be_or_is_gone_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=str(tmp_path / "file")):
        Checkpoints(tmp_path / "file" / "checkpoints")
    checkpoints = Checkpoints(tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(CheckpointError, match=f"{tmp_path / 'gone'}: the directory is"):
        checkpoints.save(1, _state(1))
    with pytest.raises(CheckpointError, match="cannot list"):
        checkpoints.restore_latest(_state(1))
    (tmp_path / "gone").touch()
    with pytest.raises(CheckpointError, match=r"cannot save step 1 .*Not a directory"):
        checkpoints.save(1, _state(1))


SAVER = """
import sys
import jax.numpy as jnp
from aaa_jax.workdir.checkpoints import Checkpoints
checkpoints = Checkpoints(sys.argv[1], keep=2)
make = lambda step: {"w": jnp.arange(200_000) * step, "step": jnp.asarray(step)}
found = checkpoints.restore_latest(make(0))
step = found[0] if found else 0
assert not found or bool((found[1]["w"] == make(step)["w"]).all())
print("resumed", step, flush=True)
while True:
    step += 1
    checkpoints.save(step, make(step))
    print("saving", step, flush=True)
"""


def test_kill_9_during_a_save_leaves_a_sound_step(tmp_path):
    """At every kill: the newest step is whole, and at most one save is lost."""
    random.seed(0)
    lowest = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SAVER, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                resumed = int(process.stdout.readline().split()[1])
                assert resumed >= lowest
                for _ in range(random.randrange(3, 6)):
                    last = int(process.stdout.readline().split()[1])
                time.sleep(random.uniform(0, 0.05))
            finally:
                process.kill()
            printed = [int(line.split()[1]) for line in process.stdout]
        # save(n) returns only when save(n - 1) is complete.
        lowest = max([last, *printed]) - 1
        assert lowest > resumed
    names = {path.name for path in tmp_path.iterdir()}
    example = {"w": jnp.arange(200_000), "step": jnp.asarray(0)}
    checkpoints = Checkpoints(tmp_path)
    step, state = checkpoints.restore_latest(example)
    assert step >= lowest
    np.testing.assert_array_equal(state["w"], np.arange(200_000) * step)
    assert not [name for name in names if "damaged" in name]
    assert not [path for path in tmp_path.iterdir() if "tmp" in path.name]
