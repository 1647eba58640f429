import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.augment import ops
from aaa_jax.augment.policies import Policies, identity_policies
from aaa_jax.search import collapse, sources

pytestmark = pytest.mark.usefixtures("light_compiler")


def make_policies(names, magnitudes) -> Policies:
    indices = np.vectorize(ops.op_index)(np.array(names)).astype(np.int32)
    return Policies(
        ops=jnp.asarray(indices),
        magnitudes=jnp.asarray(magnitudes, jnp.int32),
        probs=jnp.ones(indices.shape),
    )


TWO = make_policies(
    [
        [["Rotate", "Rotate"], ["Rotate", "Cutout"]],
        [["Identity", "Identity"], ["Color", "Identity"]],
    ],
    [[[9, 9], [9, 1]], [[0, 0], [3, 0]]],
)
HEALTHY = {"entropy": 0.9, "top_magnitude_share": 0.2, "top_op_share": 0.1}


def test_shares_are_counts_over_all_ops():
    shares = collapse.op_shares(TWO)
    expected = {"Rotate": 3 / 8, "Cutout": 1 / 8, "Color": 1 / 8, "Identity": 3 / 8}
    for op, share in zip(ops.OPS, shares, strict=True):
        assert share == expected.get(op.name, 0)
    np.testing.assert_array_equal(
        collapse.magnitude_shares(TWO),
        [0, 1 / 5, 0, 1 / 5, 0, 0, 0, 0, 0, 3 / 5],  # Identity has none
    )
    assert collapse.magnitude_shares(TWO, 31).shape == (31,)
    identity = identity_policies(2)
    assert collapse.op_shares(identity)[-1] == 1
    np.testing.assert_array_equal(collapse.magnitude_shares(identity), np.zeros(10))


def test_repeated_ops_counts_sub_policies_and_not_identity():
    assert collapse.repeated_ops(TWO) == 1 / 4
    triple = make_policies(
        [[["Rotate", "Color", "Rotate"], ["Color", "Rotate", "Invert"]]],
        np.zeros((1, 2, 3)),
    )
    assert collapse.repeated_ops(triple) == 1 / 2


def test_the_joint_entropy_weighs_the_heads_by_their_maxima():
    np.testing.assert_allclose(
        collapse.joint_entropy(0.5, 0.25),
        (0.5 * math.log(16) + 0.25 * math.log(10)) / math.log(160),
    )


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, "ok"),
        ({"entropy": 0.98}, "ok"),
        ({"entropy": 0.981}, "uniform"),
        ({"entropy": 0.5}, "ok"),
        ({"entropy": 0.49}, "narrowing"),
        ({"entropy": 0.3}, "narrowing"),
        ({"entropy": 0.29}, "collapsed"),
        ({"top_magnitude_share": 0.7}, "ok"),
        ({"top_magnitude_share": 0.71}, "narrowing"),
        ({"top_op_share": 0.5}, "ok"),
        ({"top_op_share": 0.51}, "narrowing"),
        ({"entropy": 0.2, "top_op_share": 0.9}, "collapsed"),
    ],
)
def test_the_states_begin_at_their_thresholds(change, state):
    assert state in collapse.STATES
    assert collapse.collapse_state(HEALTHY | change) == state


def test_a_summary_tells_the_spread_and_the_correlation_of_its_round():
    source = sources.adversarial_source(4)
    state = source.init(jax.random.key(0))
    policies = source.sample(jax.random.key(1), state, 0.5)
    losses = jnp.array([1.0, 2.0, 4.0, 5.0])
    _, info = source.update(state, policies, sources.RoundOutcome(losses))
    summary = collapse.summarize(policies, losses, jnp.full(4, 0.5), info)
    deviation = np.std([1.0, 2.0, 4.0, 5.0])
    np.testing.assert_allclose(summary["loss_spread"], deviation)
    np.testing.assert_allclose(summary["loss_spread_ratio"], deviation / 0.5)
    expected = np.corrcoef(losses, info["log_probs"])[0, 1]
    found = summary["loss_log_prob_correlation"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert collapse.collapse_state(summary) == "uniform"
    without = collapse.summarize(policies, losses, jnp.zeros(4), info)
    assert without["loss_spread_ratio"] == 0
    assert collapse.correlation(losses, jnp.ones(4)) == 0
