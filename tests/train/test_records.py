"""What a run writes and says of itself."""

import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.search import collapse
from aaa_jax.train import records
from aaa_jax.train.compiled import Round
from aaa_jax.workdir import run_facts
from tests.support.small_runs import bare_experiment


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("", False),
        ("--xla_gpu_deterministic_ops=TRUE", True),
        ("--xla_gpu_deterministic_ops=1", True),
        ("--xla_gpu_deterministic_ops", True),
        ("--xla_gpu_deterministic_ops=0", False),
        ("--xla_dump_to=deterministic", False),
        ("--xla_gpu_deterministic_ops=true --xla_gpu_deterministic_ops=false", False),
        ("--a=b --xla_gpu_deterministic_ops=false  --xla_gpu_deterministic_ops", True),
    ],
)
def test_the_last_word_on_determinism_counts(flags, told):
    assert records.is_deterministic(flags) is told


def test_a_run_on_a_gpu_promises_what_its_flags_say(monkeypatch):
    layout = types.SimpleNamespace(num_images=8, num_rows=16, num_groups=4)
    experiment = types.SimpleNamespace(
        recipe=types.SimpleNamespace(round_steps=3, layout=layout, num_passes=2),
        source=types.SimpleNamespace(name="ours", num_policies=2, is_learned=True),
        total_steps=20,
        scale=1.0,
    )
    gpu = types.SimpleNamespace(platform="gpu", device_kind="a GPU", process_index=0)
    for value, promise in (("true", "bit for bit"), ("false", records.NEARLY)):
        monkeypatch.setenv("XLA_FLAGS", f"--xla_gpu_deterministic_ops={value}")
        said = records.beginning(experiment, "digits", [gpu], "jit")
        assert said.endswith(f"a resumed run equals one never stopped {promise}")
    assert "4 groups in 2 passes" in said
    # It moves after about 100 updates: of 6 it is told how to have as many as can be.
    assert "6 controller updates are planned" in said
    assert "--config.policies.round_steps=1 gives 20" in said
    experiment.total_steps = 300
    assert "are planned" not in records.beginning(experiment, "digits", [gpu], "jit")


def test_the_entropy_shown_is_that_of_ops_and_magnitudes_together():
    info = {"op_entropy": np.float32(0.5), "magnitude_entropy": np.float32(0.25)}
    shown = records.entropy(Round(policies=(), info=info))
    assert shown == collapse.joint_entropy(0.5, 0.25)


def test_an_epochs_message_has_loss_error_and_entropies():
    line = {"epoch": 3, "train_loss": 1.23456, "test_error": 2.65, "state": "narrowing"}
    line |= {"op_entropy": 0.7726, "magnitude_entropy": 0.3026, "test_loss": 0.07151}
    assert records.epoch_message(line, bare_experiment()) == (
        "epoch 3/4  train loss 1.2346  test error 2.65 %  test loss 0.0715  "
        "op entropy 0.773  magnitude entropy 0.303  controller narrowing"
    )


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
        return records.search_seconds(program, bare_experiment(), None, state, first)

    assert seconds(9) == 0
    assert calls == []
    assert 2 * 0.1 <= seconds(4) < 2 * 0.5  # rounds ended at 6 and 9


def test_a_run_keeps_the_origin_it_began_with(tmp_path):
    splits = types.SimpleNamespace(
        facts=lambda: {"class_names": ("ant", "bee")},
        test=types.SimpleNamespace(held_out=()),
    )
    for origin in ({}, {"argument": "ours"}, {"argument": "random"}):
        records.write_facts(
            tmp_path, bare_experiment(), jax.devices(), splits, {"x": 1}, origin
        )
    facts = run_facts.load_facts(tmp_path)
    assert facts["dataset"]["class_names"] == ["ant", "bee"]
    assert facts["origin"] == {"argument": "ours"}
    assert (facts["total_steps"], facts["data"]) == (20, {"x": 1})
    assert facts["versions"]["numpy"] == np.__version__
    commit = facts["commit"].removesuffix("-dirty")
    assert len(commit) in (0, 40)
