"""What a run leaves besides its lines: the time of its search, its snapshots."""

import time
import types

import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax.experiments.build import Experiment
from aaa_jax.train import traces
from aaa_jax.workdir import snapshots


def _experiment() -> types.SimpleNamespace:
    """Rounds of 3 steps, epochs of 5, 20 steps, and a source that learns."""
    experiment = types.SimpleNamespace(
        recipe=types.SimpleNamespace(round_steps=3, steps_per_epoch=5),
        source=types.SimpleNamespace(is_learned=True),
        total_steps=20,
    )
    experiment.ends_epoch = lambda step: Experiment.ends_epoch(experiment, step)
    return experiment


def test_the_search_is_timed_without_what_the_first_call_compiles():
    calls = []

    def sample(state, root, number):
        time.sleep(0.05 if calls else 1.0)
        calls.append("sample")
        return state

    def close_round(state, policies, train):
        time.sleep(0.05)
        calls.append("close_round")
        return jnp.float32(0)

    program = types.SimpleNamespace(sample=sample, close_round=close_round)
    train = types.SimpleNamespace(step=jnp.int32(10))
    state = types.SimpleNamespace(source=jnp.float32(0), train=train)

    def seconds(first):
        return traces.search_seconds(program, _experiment(), None, state, first)

    assert seconds(9) == 0
    assert calls == []
    assert 2 * 0.1 <= seconds(4) < 2 * 0.5  # rounds ended at 6 and 9


def test_a_run_keeps_the_origin_it_began_with(tmp_path):
    for origin in ({}, {"argument": "ours"}, {"argument": "random"}):
        traces.write_facts(tmp_path, _experiment(), jax.devices(), {"x": 1}, origin)
    facts = snapshots.load_facts(tmp_path)
    assert facts["origin"] == {"argument": "ours"}
    assert (facts["total_steps"], facts["data"]) == (20, {"x": 1})
    assert facts["versions"]["numpy"] == np.__version__
    commit = facts["commit"].removesuffix("-dirty")
    assert len(commit) in (0, 40)


def test_a_snapshot_within_an_epoch_goes_when_max_steps_is_raised(tmp_path):
    for step in (0, 5, 7, 10):
        snapshots.save_snapshot(tmp_path, step, {"x": 1.0})
    traces.go_back(tmp_path, _experiment(), 7)
    assert snapshots.snapshot_steps(tmp_path) == [0, 5]
    traces.go_back(tmp_path, _experiment(), 5)
    assert snapshots.snapshot_steps(tmp_path) == [0, 5]
