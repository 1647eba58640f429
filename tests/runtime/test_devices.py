"""The one function that maps a step over devices, and the cache of what it compiles."""

import pwd

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.runtime import devices

ROWS = np.arange(24, dtype=np.float32).reshape(8, 3) / 7


def _share_of_mean(state, rows, *, axis_name, num_devices):
    """A step like a train step: each device has a share, all return the same."""
    device = 0 if axis_name is None else jax.lax.axis_index(axis_name)
    share = rows.shape[0] // num_devices
    mine = jax.lax.dynamic_slice_in_dim(rows, device * share, share)

    def loss(weights):
        return jnp.sum((mine @ weights) ** 2) / rows.shape[0]

    gradient = jax.grad(loss)(state["weights"])
    if axis_name is not None:
        gradient = jax.lax.psum(gradient, axis_name)
    return {"weights": state["weights"] - gradient}, gradient


def _mapped(count, mapping, donate=False):
    used = devices.pick_devices(count)

    def step(state, rows, *, axis_name):
        return _share_of_mean(state, rows, axis_name=axis_name, num_devices=count)

    return used, devices.map_over_devices(step, used, mapping, donate=donate)


@pytest.mark.parametrize(
    ("count", "mapping"),
    [(1, "jit"), (1, "pmap"), (4, "pmap"), (2, "shard_map"), (4, "shard_map")],
)
def test_every_mapping_gives_the_gradient_of_the_whole(count, mapping):
    used, step = _mapped(count, mapping)
    weights = np.array([0.5, -1.0, 0.25], np.float32)
    state, rows = devices.replicate(({"weights": weights}, ROWS), used)
    # d/dw mean((Xw)^2) = 2/n X'Xw, in double
    expected = 2 / 8 * ROWS.T.astype(np.float64) @ (ROWS @ weights)
    new, gradient = step(state, rows)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)
    np.testing.assert_allclose(new["weights"], weights - expected, rtol=1e-5)


@pytest.mark.parametrize(("count", "mapping"), [(1, "jit"), (2, "pmap")])
def test_a_donated_state_is_given_up_and_the_source_is_not(count, mapping):
    used, step = _mapped(count, mapping, donate=True)
    kept = jnp.ones(3)
    state = devices.replicate({"weights": kept}, used)
    step(state, devices.replicate(ROWS, used))
    assert state["weights"].is_deleted()
    assert not kept.is_deleted()


@pytest.mark.parametrize("mapping", ["pmap", "shard_map"])
def test_what_comes_of_the_first_device_is_the_same_on_all(mapping):
    """Values that differ, with NaN on the others, as if hosts had drifted apart."""
    used = devices.pick_devices(4)

    def drifted(state, unused, *, axis_name):
        index = jax.lax.axis_index(axis_name)
        mine = jnp.where(index == 0, state, jnp.nan * state)
        first = devices.copy_from_first_device(
            {"real": mine, "whole": index + 7}, axis_name
        )
        return jax.lax.all_gather(first, axis_name)

    state = devices.replicate(np.array([0.1, -3.0], np.float32), used)
    mapped = devices.map_over_devices(drifted, used, mapping)
    found = jax.device_get(mapped(state, np.int32(0)))
    np.testing.assert_array_equal(found["real"], np.float32([[0.1, -3.0]] * 4))
    np.testing.assert_array_equal(found["whole"], [7, 7, 7, 7])


def test_auto_is_jit_alone_pmap_in_company_and_shard_map_in_processes(monkeypatch):
    assert devices.resolve_mapping("auto", 1) == "jit"
    assert devices.resolve_mapping("auto", 4) == "pmap"
    assert devices.resolve_mapping("shard_map", 1) == "shard_map"
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert devices.resolve_mapping("auto", 4) == "shard_map"
    assert devices.resolve_mapping("pmap", 4) == "pmap"
    assert len(devices.pick_devices(0)) == 4
    with pytest.raises(ValueError, match="is 3; a run of 2 processes uses all"):
        devices.pick_devices(3)


def test_impossible_choices_are_refused():
    with pytest.raises(ValueError, match="is 99; here are 4 cpu devices"):
        devices.pick_devices(99)
    with pytest.raises(ValueError, match="'jit' uses one device, not 4"):
        devices.resolve_mapping("jit", 4)


def test_compiled_programs_are_kept_for_the_user_unless_they_said_where(
    monkeypatch, tmp_path
):
    name = "jax_compilation_cache_dir"
    before = jax.config.values[name]
    assert before is not None  # of tests/conftest.py
    devices.keep_compiled_programs()
    assert jax.config.values[name] == before

    def chosen():
        jax.config.update(name, None)
        devices.keep_compiled_programs()
        return jax.config.values[name]

    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        assert chosen() == str(tmp_path / "cache" / "aaa_jax" / "compiled")
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert chosen() == str(tmp_path / ".cache" / "aaa_jax" / "compiled")
        monkeypatch.delenv("HOME")  # and no user of that number: no folder called ~
        monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[uid])
        assert chosen() is None
    finally:
        jax.config.update(name, before)
