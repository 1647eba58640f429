"""Replay applies exactly what was recorded, at the right time, or refuses."""

import fractions
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aaa_jax.augment import policy_json
from aaa_jax.augment.policies import Policies
from aaa_jax.search import controller, replay
from aaa_jax.workdir import run_directory, run_facts, snapshots
from tests.oracles.pillow_ops import some_policies

pytestmark = pytest.mark.usefixtures("light_compiler")

M, Q, S = 8, 5, 2
ROUNDS = 6
ROUND_STEPS = 3
KEY = jax.random.key(3)
MODULE = controller.Controller(
    num_sub_policies=Q, hidden_size=10, embedding_size=4, tanh_constant=1.5
)
APPLIED = {"ranges": "monotone10", "order": "policy_first", "fill": [1, 2, 3]}


def _config(**policies):
    """What replay reads of a run's config.json."""
    return {
        "policies": {"source": "adversarial", "fill": "dataset"} | policies,
        "controller": {
            "hidden_size": MODULE.hidden_size,
            "embedding_size": MODULE.embedding_size,
            "tanh_constant": MODULE.tanh_constant,
            "temperature": 1.0,
            "reset_per_sub_policy": False,
        },
    }


def _recorded(seed):
    """Policies by name as a run writes them, and their losses."""
    drawn = some_policies((M, Q, S), without=("Identity",), seed=seed)
    losses = np.random.default_rng(seed).permutation(M).astype(float)
    return policy_json.to_json(drawn)["policies"], losses.tolist()


def _write_run(path, *, rounds=ROUNDS, config=None, facts=None, **line):
    """A run directory as a run writes it, and the policies and losses in it."""
    written = [_recorded(number) for number in range(rounds)]
    with run_directory.RunDirectory(path, config or _config()) as directory:
        for number, (entries, losses) in enumerate(written):
            recorded = {"policies": entries, "losses": losses}
            record = {"round": number, "version": 1} | APPLIED | recorded | line
            directory.write_policies((number + 1) * ROUND_STEPS, record)
    if facts:
        run_facts.save_facts(path, facts)
    return written


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    return str(path), _write_run(path)


def _request(**values):
    return {"requested": replay.Requested(**values)}


def _chains(policy):
    return [[(name, magnitude) for name, magnitude, _ in chain] for chain in policy]


def _named(sampled: Policies):
    record = policy_json.to_json(sampled, ranges="trivial_wide")
    return [_chains(policy) for policy in record["policies"]]


def _hardest(entries, losses):
    """The oracle: the sub-policies of the hardest five policies, hardest first."""
    order = sorted(range(len(losses)), key=lambda m: -losses[m])[:5]
    return [chain for m in order for chain in _chains(entries[m])]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_best5_replays_the_hardest_five_of_the_round_as_25_sub_policies(number, run):
    path, written = run
    source = replay.replay_source(path)
    state = source.init(KEY)
    for progress in (number / ROUNDS, jnp.float32(number) * (1 / ROUNDS)):
        sampled = jax.jit(source.sample)(KEY, state, jnp.float32(progress))
        assert sampled.ops.shape == (1, 25, 2)
        assert _named(sampled) == [_hardest(*written[number])]
        assert np.all(sampled.probs == 1)


def test_all_replays_every_policy_of_the_round_as_one_and_as_it_was_applied(run):
    path, written = run
    source = replay.replay_source(path, selection="all", num_policies=2)
    sampled = source.sample(KEY, source.init(KEY), 4 / ROUNDS)
    everything = [chain for policy in written[4][0] for chain in _chains(policy)]
    assert _named(sampled) == [everything, everything]
    applied = source.ranges, source.order, list(source.fill)
    assert applied == tuple(APPLIED.values())
    assert not source.is_learned


def test_all_policies_are_taken_where_there_are_fewer_than_five(tmp_path):
    entries, _ = _recorded(1)
    _write_run(tmp_path, rounds=1, policies=entries[:2], losses=[1.0, None])
    source = replay.replay_source(str(tmp_path))
    sampled = source.sample(KEY, source.init(KEY), 0.0)
    assert _named(sampled) == [_hardest(entries, [1.0, -math.inf])]


LENGTHS = (1, 2, 3, 7, 34, 120, 200, 270, 600, 1200)


@pytest.mark.parametrize("recorded", LENGTHS)
def test_epochs_are_mapped_as_the_formula_says_whatever_the_lengths(recorded):
    """floor(e * E_src / E_tgt), from the progress that a run computes in float32."""
    steps = 390  # of an epoch

    @jax.jit
    def mapped(index, share):
        return replay.round_at(index * share, recorded)

    for target in LENGTHS:
        share = steps / (steps * target)  # as in train.compiled
        found = jax.vmap(lambda e, s=share: mapped(e, s))(jnp.arange(target))
        exact = [
            math.floor(fractions.Fraction(e * recorded, target)) for e in range(target)
        ]
        np.testing.assert_array_equal(found, exact)


def _write_snapshots(path, steps):
    """Different controllers at these steps."""
    written = {}
    for step in steps:
        state = controller.init(jax.random.key(step), MODULE, optax.identity())
        # Heads far from zero, so that controllers differ in what they draw.
        params = jax.tree.map(lambda leaf: 40 * leaf, state.params)
        snapshots.save_snapshot(path, step, params | {"entropy_weight": 0.0})
        written[step] = params
    return written


def test_resample_draws_from_the_controller_that_began_the_round(tmp_path):
    _write_run(tmp_path)
    written = _write_snapshots(tmp_path, (0, 5, 10, 15))
    source = replay.replay_source(str(tmp_path), 2, selection="resample")
    state = source.init(KEY)
    sample = jax.jit(source.sample)
    drawn = jax.jit(lambda key, params: controller.sample(key, params, MODULE, 10))
    seen = []
    # Rounds begin at steps 0, 3, 6, 9, 12, 15.
    for number, step in enumerate((0, 0, 5, 5, 10, 15)):
        sampled = _named(sample(KEY, state, jnp.float32(number / ROUNDS)))
        direct = _named(drawn(KEY, written[step]))
        chains = [chain for policy in direct for chain in policy]
        assert sampled == [chains[:25], chains[25:]]
        assert sampled[0] != sampled[1]
        seen.append(sampled)
    assert seen[0] == seen[1] != seen[2] == seen[3] != seen[4] != seen[5]
    assert _named(sample(jax.random.key(9), state, 0.0)) != seen[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run": ""}, " is not a directory: give that of a run"),
        ({"run": "nowhere"}, "nowhere is not a directory"),
        ({"selection": "best6"}, "'best6' is not in best5, all, resample"),
        ({"num_policies": 0}, "num_policies is 0"),
    ],
)
def test_wrong_options_are_refused(options, message, run):
    with pytest.raises(ValueError, match=message):
        replay.replay_source(**{"run": run[0]} | options)


RESAMPLE = {"selection": "resample"}
LENGTH = {"total_steps": 20 * ROUND_STEPS + 2, "round_steps": ROUND_STEPS}
NO_LOSSES = r"policies\.jsonl: round 0: .* a list of 8 numbers is needed"


@pytest.mark.parametrize(
    ("written", "options", "message"),
    [
        ({}, _request(fill="grey"), "policies.fill is 'grey', but .* with 'dataset'"),
        ({}, _request(order="other"), "policies.order is 'other'.*'policy_first'"),
        ({}, _request(ranges="release"), "policies.ranges is 'release'.*'monotone10'"),
        ({"config": _config(fill="alpha")}, {}, r"with 'alpha': set policies\.fill="),
        ({"config": _config(source="random")}, RESAMPLE, "source is 'random'"),
        ({"config": {"policies": {"source": "x"}}}, {}, r"config\.json does not say"),
        ({"config": {"policies": 3}}, {}, r"config\.json does not say"),
        ({}, RESAMPLE, "no snapshots of its controller .*=best5 or all"),
        ({"rounds": 0}, {}, r"no round in policies\.jsonl"),
        ({"facts": LENGTH}, {}, r"is not finished \(6 of 20 rounds\)"),
        ({"facts": LENGTH | {"round_steps": 0}}, {}, r"run\.json has round_steps '0'"),
        ({"losses": None}, {}, NO_LOSSES),
        ({"losses": [1.0] * 7}, {}, NO_LOSSES),
        ({"version": 9}, {}, r"policies\.jsonl: round 0: .* version 9"),
        ({"ranges": "wide"}, {}, r"policies\.jsonl: round 0: .*'wide'"),
    ],
)
def test_a_run_that_cannot_be_replayed_is_refused_in_one_line(
    written, options, message, tmp_path
):
    _write_run(tmp_path, **written)
    with pytest.raises(ValueError, match=message) as caught:
        replay.replay_source(str(tmp_path), **options)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_what_only_looks_wrong_is_replayed(tmp_path):
    _write_run(
        tmp_path, config=_config(fill="alpha"), facts=LENGTH | {"total_steps": 20}
    )
    source = replay.replay_source(str(tmp_path), **_request(fill="alpha"))
    assert source.fill == (1, 2, 3)


def test_a_directory_without_a_run_or_without_policies_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"config\.json"):
        replay.replay_source(str(tmp_path))
    config = _config(source="randaugment")
    with run_directory.RunDirectory(tmp_path, config) as directory:
        directory.write_policies(3, {"round": 0, "losses": [1.0]})
    with pytest.raises(ValueError, match=r"source 'randaugment'\): use that preset"):
        replay.replay_source(str(tmp_path))


@pytest.mark.parametrize(
    ("number", "changes", "message"),
    [
        (2, None, "round 2: it is missing, round 3 is in its place"),
        (2, {"step": 6}, "round 2: it ends at step 6 after 6"),
        (1, {"losses": [math.inf] * 8}, r"round 1: losses are .* 8 numbers is needed"),
        (1, {"fill": [9, 9, 9]}, r"round 1: .* \(9, 9, 9\).*first .* \(1, 2, 3\)"),
        (
            *(1, {"policies": [[[["Rotate", 1, 1.0]]]], "losses": [1.0]}),
            r"round 1: .* \(1, 1, 1\)\)",
        ),
    ],
)
def test_a_recording_that_contradicts_itself_is_refused(
    number, changes, message, tmp_path
):
    path = tmp_path / "policies.jsonl"
    _write_run(tmp_path)
    lines = path.read_text().splitlines(keepends=True)
    changed = (
        [] if changes is None else [json.dumps(json.loads(lines[number]) | changes)]
    )
    lines[number : number + 1] = [f"{line}\n" for line in changed]
    path.write_text("".join(lines))
    with pytest.raises(ValueError, match=rf"policies\.jsonl: {message}"):
        replay.replay_source(str(tmp_path))


def test_a_controller_of_another_config_is_not_resampled(tmp_path):
    _write_run(tmp_path)
    _write_snapshots(tmp_path, (0,))
    config = _config()
    for size, message in (
        (
            11,
            r"0\.npz has parameters of the shapes .*\(14, 40\).*config\.json.*\(15, 44",
        ),
        (-1, r"config\.json has no controller that can be built"),
        ("many", r"config\.json has no controller that can be built"),
    ):
        config["controller"]["hidden_size"] = size
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(ValueError, match=message):
            replay.replay_source(str(tmp_path), selection="resample")
    (tmp_path / "config.json").write_text(json.dumps(_config()))
    snapshots.save_snapshot(tmp_path, 0, {"params": {}, "entropy_weight": 0.0})
    with pytest.raises(ValueError, match=r"0\.npz has parameters of the shapes \{\}"):
        replay.replay_source(str(tmp_path), selection="resample")


def _write_file(path, count=1, **changes):
    entries = _recorded(4)[0][:count]
    record = {"version": 1} | APPLIED | {"policies": entries}
    path.write_text(json.dumps(record | changes))
    return entries


def test_a_file_of_one_policy_is_applied_m_times(tmp_path):
    entries = _write_file(tmp_path / "p.json")
    source = replay.file_source(str(tmp_path / "p.json"), 3)
    sampled = source.sample(KEY, source.init(KEY), 0.5)
    assert _named(sampled) == [_chains(entries[0])] * 3
    applied = source.ranges, source.order, list(source.fill)
    assert applied == tuple(APPLIED.values())


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"count": 4}, {"num_policies": 3}, r"has 4 .*give num_policies=4"),
        ({}, _request(fill="black"), "policies.fill is 'black'"),
        ({"alpha": True}, {}, "policies.fill is 'dataset', but .* 'alpha'"),
        ({"alpha": "no"}, {}, r"p\.json cannot be read: alpha is 'no': true or false"),
        ({}, {"path": ""}, "the policies of  cannot be read"),
        ({}, {"path": "none.json"}, r"none\.json cannot be read"),
    ],
)
def test_a_wrong_or_missing_file_is_refused(changes, options, message, tmp_path):
    _write_file(tmp_path / "p.json", **changes)
    with pytest.raises(ValueError, match=message):
        replay.file_source(**{"path": str(tmp_path / "p.json")} | options)
