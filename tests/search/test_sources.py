import collections
import functools
import itertools
import json
import pathlib
import pickle
import tempfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aaa_jax
from aaa_jax.augment import ops, policy_json
from aaa_jax.augment.magnitudes import RANGES
from aaa_jax.augment.policies import Policies, check_policies, identity_policies
from aaa_jax.augment.policy_json import ORDERS
from aaa_jax.search import collapse, published, sources
from aaa_jax.search.policy_source import RoundOutcome
from aaa_jax.workdir import run_directory

pytestmark = pytest.mark.usefixtures("light_compiler")

INFO_SHAPES = {
    "op_entropy": (),
    "magnitude_entropy": (),
    "kl": (),
    "gradient_norm": (),
    "entropy_weight": (),
    "rewards": ("M",),
    "log_probs": ("M",),
    "op_shares": (17,),
    "magnitude_shares": ("L",),
}
IDENTITY = ops.op_index("Identity")


@functools.cache
def needed(name):
    """The options without which a source cannot be: what it reads."""
    if name not in ("replay", "file"):
        return {}
    folder = pathlib.Path(tempfile.mkdtemp())
    record = policy_json.to_json(identity_policies(1), ranges="monotone")
    if name == "file":
        (folder / "policies.json").write_text(json.dumps(record))
        return {"path": str(folder / "policies.json")}
    config = {"policies": {"source": "random", "fill": "dataset"}}
    with run_directory.RunDirectory(folder, config) as run:
        run.write_policies(1, {"round": 0, "losses": [1.0]} | record)
    return {"run": str(folder)}


def test_every_source_is_offered_by_the_package():
    for make in sources.SOURCES.values():
        assert getattr(aaa_jax, make.__name__) is make
        assert make.__name__ in aaa_jax.__all__


class Round:
    """One round of a source of three policies, under jit, from the same keys."""

    def __init__(self, name):
        self.source = sources.SOURCES[name](num_policies=3, **needed(name))
        self.state = jax.jit(self.source.init)(jax.random.key(0))
        self.sample = jax.jit(self.source.sample)
        self.update = jax.jit(self.source.update)
        self.policies = self.sample(jax.random.key(1), self.state, 0.9)
        outcome = RoundOutcome(jnp.arange(1.0, 4.0))
        self.new_state, self.info = self.update(self.state, self.policies, outcome)


play = functools.cache(Round)


def leaves_equal(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


# What holds for every row of SOURCES.


@pytest.mark.parametrize("name", sources.SOURCES)
def test_a_source_is_called_as_its_row_and_samples_m_policies_of_its_tables(name):
    played = play(name)
    assert played.source.name == name
    assert played.source.order in (None, *ORDERS)
    check_policies(played.policies, played.source.ranges or "monotone")
    assert played.policies.num_policies == played.source.num_policies == 3
    # A compiled function must not see other shapes or dtypes later.
    again = played.sample(jax.random.key(9), played.new_state, jnp.float32(0.1))
    chex.assert_trees_all_equal_shapes_and_dtypes(again, played.policies)


@pytest.mark.parametrize("name", sources.SOURCES)
def test_a_source_comes_back_from_a_pickle(name):
    source = play(name).source
    again = pickle.loads(pickle.dumps(source))
    assert again[3:] == source[3:]
    key = jax.random.key(1)
    drawn = [s.sample(key, s.init(key), 0.9) for s in (source, again)]
    assert leaves_equal(*drawn)


@pytest.mark.parametrize("name", sources.SOURCES)
def test_a_source_is_a_function_of_its_key(name):
    played = play(name)
    same = played.sample(jax.random.key(1), played.state, 0.9)
    assert leaves_equal(same, played.policies)
    other = played.sample(jax.random.key(2), played.state, 0.9)
    is_random = name in ("adversarial", "random", "schedule")
    assert leaves_equal(other, played.policies) != is_random


@pytest.mark.parametrize("name", sources.SOURCES)
def test_a_source_reports_the_same_values_in_float32(name):
    played = play(name)
    table = RANGES[played.source.ranges or "monotone"]
    sizes = {"M": 3, "L": table.num_magnitudes}
    assert set(played.info) == set(INFO_SHAPES)
    for key, value in played.info.items():
        assert value.shape == tuple(sizes.get(size, size) for size in INFO_SHAPES[key])
        assert value.dtype == jnp.float32, key
        assert np.isfinite(value).all(), key
    for key in ("op_entropy", "magnitude_entropy"):
        assert 0 <= played.info[key] <= 1 + 1e-6
    np.testing.assert_allclose(played.info["op_shares"].sum(), 1, rtol=1e-6)
    np.testing.assert_allclose(
        played.info["rewards"], [-np.sqrt(1.5), 0, np.sqrt(1.5)], atol=1e-4
    )


@pytest.mark.parametrize("name", sources.SOURCES)
def test_a_sources_round_has_a_summary_of_finite_floats(name):
    played, losses = play(name), jnp.arange(1.0, 4.0)
    summary = collapse.summarize(played.policies, losses, losses, played.info)
    json.dumps(summary, allow_nan=False)
    assert all(type(value) is float for value in summary.values())
    shares = [v for key, v in summary.items() if key.startswith("op_share/")]
    assert shares == played.info["op_shares"].tolist()
    assert summary["top_op_share"] == max(shares)
    assert summary["op_entropy"] == played.info["op_entropy"]
    assert summary["magnitude_share/3"] == played.info["magnitude_shares"][3]


@pytest.mark.parametrize("name", sources.SOURCES)
def test_only_a_learned_sources_state_changes_and_keeps_its_structure(name):
    played = play(name)
    assert leaves_equal(played.new_state, played.state) != played.source.is_learned
    before, after = (
        jax.tree.map(jax.typeof, state) for state in (played.state, played.new_state)
    )
    assert before == after


@pytest.mark.parametrize("name", sources.SOURCES)
def test_losses_that_are_not_finite_leave_state_and_info_finite(name):
    played = play(name)
    bad = jnp.array([1.0, jnp.nan, jnp.inf])
    state, info = played.update(played.state, played.policies, RoundOutcome(bad))
    assert leaves_equal(state, played.state)
    assert all(np.isfinite(value).all() for value in info.values())


@pytest.mark.parametrize("name", sources.SOURCES)
def test_a_source_works_at_any_number_of_policies_from_one(name):
    smallest = 2 if name == "adversarial" else 1
    for num_policies in (smallest, 5):
        source = sources.SOURCES[name](num_policies=num_policies, **needed(name))
        state = jax.eval_shape(source.init, jax.random.key(0))
        policies = jax.eval_shape(source.sample, jax.random.key(0), state, 0.0)
        assert policies.num_policies == num_policies
        outcome = RoundOutcome(jnp.ones(num_policies))
        jax.eval_shape(source.update, state, policies, outcome)
    with pytest.raises(ValueError, match="num_policies is 0"):
        sources.SOURCES[name](num_policies=0, **needed(name))


# Adversarial and random.


@pytest.mark.parametrize("options", [{}, {"tanh_constant": 1.5, "temperature": 2.0}])
def test_a_controller_with_zero_heads_samples_what_random_samples(options):
    adversarial = sources.adversarial_source(8, 5, **options)
    state = adversarial.init(jax.random.key(0))
    params = {
        name: jnp.zeros_like(leaf) if name.startswith(("op_", "magnitude_")) else leaf
        for name, leaf in state.params["params"].items()
    }
    state = state.replace(params={"params": params})
    random = sources.random_source(8, 5)
    for seed in range(3):
        key = jax.random.key(seed)
        ours = jax.jit(adversarial.sample)(key, state, 0.0)
        theirs = jax.jit(random.sample)(key, (), 0.0)
        assert leaves_equal(ours, theirs)


def test_randoms_log_probability_is_that_of_the_search_space():
    info = play("random").info
    np.testing.assert_allclose(info["log_probs"], np.full(3, -10 * np.log(160)))
    assert info["op_entropy"] == info["magnitude_entropy"] == 1
    np.testing.assert_allclose(info["op_shares"], [1 / 16] * 16 + [0])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adversarial", {"num_policies": 1}, "num_policies is 1, must be at least 2"),
        ("adversarial", {"num_sub_policies": 0}, "num_sub_policies is 0"),
        ("adversarial", {"hidden_size": 0}, "hidden_size is 0, must be a whole number"),
        ("adversarial", {"learning_rate": -1.0}, "learning_rate is -1.0"),
        ("adversarial", {"temperature": 0.0}, "temperature is 0.0"),
        ("adversarial", {"tanh_constant": 0.0}, "tanh_constant is 0.0"),
        ("adversarial", {"kl_cap": -0.1}, "kl_cap is -0.1"),
        ("adversarial", {"entropy_weight": -1e-5}, "entropy_weight is -1e-05"),
        ("adversarial", {"entropy_target": 1.0}, "entropy_target is 1.0"),
        ("adversarial", {"normalization": "rank"}, "normalization 'rank'"),
        ("adversarial", {"credit": "op"}, "credit 'op' is not in"),
        ("adversarial", {"steps_per_round": 33}, "33, must be .* from 1 to 32"),
        ("random", {"num_sub_policies": 0}, "num_sub_policies is 0"),
        ("published", {"policy": "cifar"}, "'cifar' is not in cifar10, svhn"),
        ("randaugment", {"num_ops": 5}, "num_ops is 5"),
        ("randaugment", {"magnitude": 11}, "magnitude is 11, must be 0 to 10"),
        ("randaugment", {"magnitude": 31, "scale": 30}, "must be 0 to 30"),
        ("randaugment", {"scale": 9}, "scale is 9, must be 10 or 30"),
    ],
)
def test_a_source_refuses_what_cannot_be(name, options, message):
    with pytest.raises(ValueError, match=message):
        sources.SOURCES[name](**options)


# Fixed and published.


def test_fixed_without_policies_is_the_identity():
    played = play("fixed")
    assert leaves_equal(played.policies, identity_policies(3))
    assert played.info["op_entropy"] == played.info["magnitude_entropy"] == 0
    assert played.source.ranges is None


def test_fixed_gives_the_policies_it_was_given_and_describes_them():
    policies = Policies(
        ops=jnp.array([[[4, 14]], [[4, IDENTITY]]], jnp.int32),
        magnitudes=jnp.array([[[9, 3]], [[9, 0]]], jnp.int32),
        probs=jnp.array([[[1.0, 0.5]], [[0.5, 1.0]]]),
    )
    source = sources.fixed_source(policies)
    assert source.num_policies == 2
    assert leaves_equal(source.sample(jax.random.key(0), (), 0.3), policies)
    _, info = source.update((), policies, RoundOutcome(jnp.ones(2)))
    weights = np.zeros(17)
    weights[[4, 14, IDENTITY]] = 1.5, 0.5, 1.0
    np.testing.assert_allclose(info["op_shares"], weights / 3)
    magnitudes = np.zeros(10)
    magnitudes[[9, 3]] = 0.75, 0.25
    np.testing.assert_allclose(info["magnitude_shares"], magnitudes)
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(10)
    np.testing.assert_allclose(info["magnitude_entropy"], entropy, rtol=1e-6)


def chains_of(policies):
    """A list for each policy: its chains as tuples of (op, probability, magnitude)."""
    record = policy_json.to_json(policies, ranges=policies.ranges)
    return [
        [tuple((op, prob, number) for op, number, prob in chain) for chain in policy]
        for policy in record["policies"]
    ]


def frequencies(policies):
    """How often a policy's image gets each chain, by the rule "one, uniformly"."""
    total = policies.num_sub_policies
    return [
        {chain: n / total for chain, n in collections.Counter(chains).items()}
        for chains in chains_of(policies)
    ]


@pytest.mark.parametrize("name", published.AUTOAUGMENT)
def test_autoaugments_chains_have_the_published_frequencies(name):
    source = sources.published_source(name, 2)
    counts = collections.Counter(published.AUTOAUGMENT[name])
    expected = {chain: n / 25 for chain, n in counts.items()}
    policies = source.sample(jax.random.key(0), (), 0.0)
    assert frequencies(policies) == [expected, expected]
    assert source.ranges == "release"
    assert source.order == ("standard_first" if name == "imagenet" else "policy_first")


@pytest.mark.parametrize("num_ops", [1, 2])
def test_randaugments_chains_are_all_tuples_equally_often(num_ops):
    source = sources.randaugment_source(2, num_ops=num_ops, magnitude=14, scale=30)
    for found in frequencies(source.sample(jax.random.key(0), (), 0.0)):
        assert len(found) == 14**num_ops
        assert set(found.values()) == {1 / 14**num_ops}
        assert {entry[1:] for chain in found for entry in chain} == {(1.0, 14)}
        assert {entry[0] for chain in found for entry in chain} == set(
            published.FOURTEEN_OPS
        )
    assert source.ranges == "randaugment"


def test_randaugments_magnitudes_end_at_ten_unless_thirty_is_asked_for():
    def degrees(**options):
        source = sources.randaugment_source(1, num_ops=1, **options)
        magnitude = int(source.sample(jax.random.key(0), (), 0.0).magnitudes[0, 0, 0])
        return RANGES[source.ranges].value("Rotate", magnitude, 1, 32, 32)

    assert degrees() == pytest.approx(27)
    assert degrees(magnitude=10) == degrees(magnitude=30, scale=30) == 30
    assert degrees(scale=30) == pytest.approx(9)


def test_trivialaugments_chains_are_all_pairs_equally_often():
    played = play("trivialaugment")
    for found in frequencies(played.policies):
        assert found == {
            ((op, 1.0, magnitude),): 1 / 434
            for op in published.FOURTEEN_OPS
            for magnitude in range(31)
        }
    assert played.source.ranges == "trivial_wide"


# The schedule.


def exact_pba_chains(entries):
    """The distribution of PBA's chains, by integrals over the random order.

    Give every entry a uniform place in [0, 1]. Entry i is the first that applies if it
    applies and no entry before it does: p_i ∫ Π_k≠i (1 - p_k u) du. Entries i, j are
    the first two, in this order, if no other before j applies:
    p_i p_j ∫ v Π_k≠i,j (1 - p_k v) dv. All polynomials.
    """
    polynomial = np.polynomial.Polynomial
    probs = [prob for _, prob, _ in entries]

    def none_of_the_others(*left_out):
        factors = [p for k, p in enumerate(probs) if k not in left_out]
        return functools.reduce(
            lambda product, p: product * polynomial([1, -p]), factors, polynomial([1])
        )

    none, one, two = published.PBA_NUM_OPS_PROBS
    chains = collections.Counter()
    nothing = np.prod([1 - p for p in probs])
    chains[()] += none + (one + two) * nothing
    for i, p in enumerate(probs):
        if p == 0:
            continue
        first = p * none_of_the_others(i).integ()(1)
        alone = p * np.prod([1 - q for k, q in enumerate(probs) if k != i])
        name = (entries[i][0], entries[i][2])
        chains[(name,)] += one * first + two * alone
        for j, q in enumerate(probs):
            if j != i and q > 0:
                both = none_of_the_others(i, j) * polynomial([0, 1])
                other = (entries[j][0], entries[j][2])
                chains[(name, other)] += two * p * q * both.integ()(1)
    return chains


@pytest.mark.parametrize("part", [1, 7])
def test_the_schedules_chains_have_the_frequencies_of_pbas_rule(part):
    parts = published.pba_cifar()
    start = sum(epochs for epochs, _ in parts[:part])
    exact = exact_pba_chains(parts[part][1])
    np.testing.assert_allclose(sum(exact.values()), 1, atol=1e-9)
    source = sources.schedule_source(2, num_chains=20_000)
    policies = jax.jit(source.sample)(jax.random.key(0), (), (start + 0.5) / 200)
    found = collections.Counter(
        tuple((op, number) for op, _, number in chain if op != "Identity")
        for chain in itertools.chain(*chains_of(policies))
    )
    number = 40_000
    assert set(found) <= set(exact)
    for chain, prob in exact.items():
        # Five and a half deviations of a binomial count, over some hundred chains.
        deviation = np.sqrt(number * prob * (1 - prob))
        assert abs(found[chain] - number * prob) < 5.5 * deviation + 1, chain


def test_identity_stands_behind_the_ops_of_a_short_chain_and_policies_differ():
    policies = play("schedule").policies
    assert not np.array_equal(policies.ops[0], policies.ops[1])
    first, second = np.asarray(policies.ops[..., 0]), np.asarray(policies.ops[..., 1])
    assert not np.any((first == IDENTITY) & (second != IDENTITY))
    assert np.any((first != IDENTITY) & (second == IDENTITY))


@pytest.mark.parametrize("epochs", [200, 600, 1200])
def test_the_schedule_changes_with_the_first_step_of_a_parts_first_epoch(epochs):
    parts = published.pba_cifar()
    source = sources.schedule_source(1, num_chains=512)
    sample = jax.jit(source.sample)
    stretch = epochs // 200
    start = 0
    for length, entries in parts:
        allowed = {(op, m) for op, prob, m in entries if prob > 0}
        for epoch in (start * stretch, (start + length) * stretch - 1):
            policies = sample(jax.random.key(epoch), (), epoch / epochs)
            entries = itertools.chain(*chains_of(policies)[0])
            found = {(op, m) for op, _, m in entries if op != "Identity"}
            assert found <= allowed
            assert bool(found) == bool(allowed)
        start += length
