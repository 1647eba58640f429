"""Replay applies exactly what was recorded, at the right time, or refuses."""

import fractions
import json
import math
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.augment import policy_json
from aaa_jax.augment.policies import Policies
from aaa_jax.search import collapse, controller, export, replay, sources
from aaa_jax.workdir import run_directory, snapshots

pytestmark = pytest.mark.usefixtures("light_compiler")

M, Q, S = 8, 5, 2
ROUNDS = 6
ROUND_STEPS = 3
KEY = jax.random.key(3)


def _config(**changes):
    """What replay reads of a run's config.json."""
    record = {
        "policies": {"source": "adversarial", "num_sub_policies": Q, "fill": "dataset"},
        "controller": {
            "hidden_size": 10,
            "embedding_size": 4,
            "tanh_constant": 1.5,
            "temperature": 1.0,
            "reset_per_sub_policy": False,
        },
    }
    record["policies"] |= changes
    return record


def _recorded(rng):
    """Policies by name as a run writes them, and their losses."""
    names = ("Rotate", "Invert", "Cutout", "SamplePairing")
    entries = [
        [
            [[str(rng.choice(names)), int(rng.integers(10)), 1.0] for _ in range(S)]
            for _ in range(Q)
        ]
        for _ in range(M)
    ]
    return entries, [float(loss) for loss in rng.permutation(M)]


def _write_run(path, *, rounds=ROUNDS, ranges="monotone10", config=None, **line):
    """A run directory written by `metrics`, and what was recorded in it."""
    rng = np.random.default_rng(0)
    written = []
    with run_directory.RunDirectory(path, config or _config()) as directory:
        for number in range(rounds):
            entries, losses = _recorded(rng)
            written.append((entries, losses))
            directory.write_policies(
                (number + 1) * ROUND_STEPS,
                {
                    "round": number,
                    "version": 1,
                    "ranges": ranges,
                    "order": "policy_first",
                    "fill": [1, 2, 3],
                    "policies": entries,
                    "losses": losses,
                }
                | line,
            )
    return written


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    return str(path), _write_run(path)


def _named(sampled: Policies):
    """Policies as nested tuples of names and magnitudes."""
    record = policy_json.to_json(sampled, ranges="trivial_wide")
    return [
        [[(name, magnitude) for name, magnitude, _ in chain] for chain in policy]
        for policy in record["policies"]
    ]


def _expected_best(entries, losses, count=5):
    """The oracle: the sub-policies of the hardest policies, hardest first."""
    order = sorted(range(M), key=lambda m: -losses[m])[:count]
    return [[(n, g) for n, g, _ in chain] for m in order for chain in entries[m]]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_best5_replays_the_hardest_five_of_the_round_as_25_sub_policies(number, run):
    path, written = run
    source = replay.replay_source(path)
    state = source.init(KEY)
    sampled = jax.jit(source.sample)(KEY, state, jnp.float32(number / ROUNDS))
    assert sampled.ops.shape == (1, 25, 2)
    assert _named(sampled)[0] == _expected_best(*written[number])
    assert np.all(sampled.probs == 1)


def test_all_replays_every_policy_of_the_round_as_one(run):
    path, written = run
    source = replay.replay_source(path, selection="all", num_policies=2)
    sampled = source.sample(KEY, source.init(KEY), 4 / ROUNDS)
    entries = written[4][0]
    everything = [
        [(n, g) for n, g, _ in chain] for policy in entries for chain in policy
    ]
    assert _named(sampled) == [everything, everything]


def test_ranges_order_and_fill_are_those_recorded(run):
    source = replay.replay_source(run[0])
    assert (source.ranges, source.order, source.fill) == (
        "monotone10",
        "policy_first",
        (1, 2, 3),
    )
    assert not source.is_learned


def test_of_fewer_than_five_policies_all_are_taken(tmp_path):
    rng = np.random.default_rng(1)
    entries, losses = _recorded(rng)
    _write_run(tmp_path, rounds=1, policies=entries[:2], losses=[1.0, None])
    source = replay.replay_source(str(tmp_path))
    sampled = source.sample(KEY, source.init(KEY), 0.0)
    chains = [chain for policy in entries[:2] for chain in policy]
    assert _named(sampled)[0] == [[(n, g) for n, g, _ in chain] for chain in chains]


LENGTHS = (1, 2, 3, 7, 34, 120, 200, 270, 600, 1200)


@pytest.mark.parametrize("recorded", LENGTHS)
def test_epochs_are_mapped_as_the_formula_says_whatever_the_lengths(recorded):
    """floor(e * E_src / E_tgt), from the progress that a run computes in float32."""
    steps = 390  # of an epoch

    @jax.jit
    def mapped(index, share):
        return replay.round_at(index * share, recorded)

    for target in LENGTHS:
        share = steps / (steps * target)  # as in program.compile_program
        found = jax.vmap(lambda e, s=share: mapped(e, s))(jnp.arange(target))
        exact = [
            math.floor(fractions.Fraction(e * recorded, target)) for e in range(target)
        ]
        np.testing.assert_array_equal(found, exact)


def test_every_round_of_a_run_of_equal_length_is_replayed_once(run):
    path, written = run
    source = replay.replay_source(path)
    state = source.init(KEY)
    for number in range(ROUNDS):
        sampled = source.sample(KEY, state, jnp.float32(number) * (1 / ROUNDS))
        assert _named(sampled)[0] == _expected_best(*written[number])


# Resampling.


def _module():
    return controller.Controller(
        num_sub_policies=Q, hidden_size=10, embedding_size=4, tanh_constant=1.5
    )


def _write_snapshots(path, steps):
    """Different controllers at these steps."""
    written = {}
    for step in steps:
        module = _module()
        state = controller.init(jax.random.key(step), module, sources.optax.adam(1e-3))
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
    drawn = jax.jit(lambda key, params: controller.sample(key, params, _module(), 10))
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


# What cannot be replayed.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fill": "grey"}, "policies.fill is 'grey', but .* recorded with 'dataset'"),
        ({"order": "other"}, "policies.order is 'other', but .* 'policy_first'"),
        ({"ranges": "release"}, "policies.ranges is 'release', but .* 'monotone10'"),
        ({"selection": "best6"}, "'best6' is not in .'best5', 'all', 'resample'."),
        ({"selection": "resample"}, "no snapshots of its controller .*=best5 or all"),
        ({"num_policies": 0}, "num_policies is 0"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_its_key(options, message, run):
    with pytest.raises(ValueError, match=message):
        replay.replay_source(run[0], **options)


def test_transparent_fill_must_be_asked_for(tmp_path):
    _write_run(tmp_path, config=_config(fill="alpha"))
    with pytest.raises(
        ValueError, match=r"recorded with 'alpha' .*policies\.fill=alpha"
    ):
        replay.replay_source(str(tmp_path))
    assert replay.replay_source(str(tmp_path), fill="alpha").fill == (1, 2, 3)


def test_a_run_that_is_missing_empty_or_unfinished_is_named(tmp_path, run):
    with pytest.raises(ValueError, match=r"set policies\.replay_run to the directory"):
        replay.replay_source("")
    with pytest.raises(ValueError, match="nowhere is not a directory"):
        replay.replay_source(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"config\.json"):
        replay.replay_source(str(tmp_path))
    _write_run(tmp_path / "empty", rounds=0)
    with pytest.raises(ValueError, match=r"no round in policies\.jsonl"):
        replay.replay_source(str(tmp_path / "empty"))
    shutil.copytree(run[0], tmp_path / "short")
    facts = {"total_steps": 20 * ROUND_STEPS + 2, "round_steps": ROUND_STEPS}
    snapshots.save_facts(tmp_path / "short", facts)
    with pytest.raises(ValueError, match=r"is not finished \(6 of 20 rounds\)"):
        replay.replay_source(str(tmp_path / "short"))
    snapshots.save_facts(tmp_path / "short", facts | {"total_steps": 20})
    assert replay.replay_source(str(tmp_path / "short"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"losses": None}, "round 0 has losses 'None', where a list of 8 numbers"),
        ({"losses": 3}, "has losses '3', where a list of 8 numbers is needed"),
        ({"losses": ["a"] * 8}, "where a list of 8 numbers"),
        ({"losses": [1.0] * 7}, "where a list of 8 numbers"),
        ({"losses": [10**400] + [1.0] * 7}, "where a list of 8 numbers"),
        ({"version": 9}, r"policies\.jsonl: round 0: .* version 9"),
    ],
)
def test_a_line_that_no_run_writes_is_refused_by_its_round(line, message, tmp_path):
    _write_run(tmp_path, rounds=2, **line)
    with pytest.raises(ValueError, match=message) as caught:
        replay.replay_source(str(tmp_path))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def _change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_files_of_a_run_that_say_nothing_sensible_are_named(tmp_path, capsys):
    _write_run(tmp_path)
    for text, message in (
        ("{}", r"config\.json has policies\.source 'None', where text is needed"),
        ('{"policies": 3}', r"policies\.source 'None'"),
        ('{"policies": {"source": "x", "fill": []}}', r"policies\.fill '\[\]', where"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            replay.replay_source(str(tmp_path))
        assert export.main([str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert str(tmp_path / "config.json") in error
    shutil.rmtree(tmp_path)
    _write_run(tmp_path)
    snapshots.save_facts(tmp_path, {"total_steps": 18, "round_steps": 0})
    with pytest.raises(ValueError, match=r"run\.json has round_steps '0'"):
        replay.replay_source(str(tmp_path))
    (tmp_path / "run.json").unlink()
    _change(tmp_path / "policies.jsonl", '"step": 6', '"step": 3')
    with pytest.raises(ValueError, match="end at steps that do not increase"):
        replay.replay_source(str(tmp_path))


def test_a_controller_of_another_config_is_not_resampled(tmp_path):
    _write_run(tmp_path)
    _write_snapshots(tmp_path, (0,))
    config = tmp_path / "config.json"
    _change(config, '"hidden_size": 10', '"hidden_size": 11')
    message = r"0\.npz has float32\[.*\] for params/.* config\.json has float32\["
    with pytest.raises(ValueError, match=message):
        replay.replay_source(str(tmp_path), selection="resample")
    _change(config, '"hidden_size": 11', '"hidden_size": -1')
    with pytest.raises(ValueError, match=r"hidden_size '-1', where a whole number"):
        replay.replay_source(str(tmp_path), selection="resample")
    snapshots.save_snapshot(tmp_path, 0, {"params": {}, "entropy_weight": 0.0})
    _change(config, '"hidden_size": -1', '"hidden_size": 10')
    with pytest.raises(ValueError, match=r"0\.npz has nothing for params/"):
        replay.replay_source(str(tmp_path), selection="resample")


def test_a_recording_that_contradicts_itself_is_refused(tmp_path):
    path = tmp_path / "policies.jsonl"
    _write_run(tmp_path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2] + lines[3:]))
    with pytest.raises(ValueError, match="rounds 0 to 4 in order"):
        replay.replay_source(str(tmp_path))
    changed = json.loads(lines[2]) | {"fill": [9, 9, 9]}
    path.write_text("".join([*lines[:2], json.dumps(changed) + "\n"]))
    with pytest.raises(
        ValueError, match=r"fill is \(1, 2, 3\) in round 0, \(9, 9, 9\)"
    ):
        replay.replay_source(str(tmp_path))
    changed = json.loads(lines[0]) | {"ranges": "wide"}
    path.write_text(json.dumps(changed) + "\n")
    with pytest.raises(ValueError, match=r"policies\.jsonl: .*'wide'"):
        replay.replay_source(str(tmp_path))


def test_policies_that_follow_from_a_config_are_not_replayed(tmp_path):
    with run_directory.RunDirectory(
        tmp_path, _config(source="randaugment")
    ) as directory:
        directory.write_policies(3, {"round": 0, "losses": [1.0]})
    with pytest.raises(ValueError, match=r"source 'randaugment'\): use that preset"):
        replay.replay_source(str(tmp_path))


def test_a_run_without_a_controller_cannot_be_resampled(tmp_path):
    _write_run(tmp_path, config=_config(source="random"))
    with pytest.raises(ValueError, match=r"no controller \(its source is 'random'\)"):
        replay.replay_source(str(tmp_path), selection="resample")


# Files.


def _write_file(path, count=1, **changes):
    rng = np.random.default_rng(4)
    record = {
        "version": 1,
        "ranges": "release",
        "order": "policy_first",
        "fill": [7, 8, 9],
        "policies": _recorded(rng)[0][:count],
    }
    path.write_text(json.dumps(record | changes))
    return record["policies"]


def test_a_file_of_one_policy_is_applied_m_times(tmp_path):
    entries = _write_file(tmp_path / "p.json")
    source = replay.file_source(str(tmp_path / "p.json"), 3)
    sampled = source.sample(KEY, source.init(KEY), 0.5)
    expected = [[(n, g) for n, g, _ in chain] for chain in entries[0]]
    assert _named(sampled) == [expected] * 3
    assert (source.ranges, source.order, source.fill) == (
        *("release", "policy_first"),
        (7, 8, 9),
    )


def test_a_file_of_several_policies_needs_as_many(tmp_path):
    _write_file(tmp_path / "p.json", count=4)
    assert replay.file_source(str(tmp_path / "p.json"), 4).num_policies == 4
    with pytest.raises(
        ValueError, match=r"has 4 policies: set policies\.num_policies=4"
    ):
        replay.file_source(str(tmp_path / "p.json"), 3)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"version": 2}, {}, r"p\.json cannot be read: .*version 2"),
        ({"policies": []}, {}, "a list that is not empty"),
        ({}, {"fill": "black"}, "policies.fill is 'black'"),
        ({"alpha": True}, {}, "policies.fill is 'dataset', but .* 'alpha'"),
        ({"alpha": "no"}, {}, r"p\.json cannot be read: alpha is 'no': true or false"),
    ],
)
def test_a_wrong_file_is_refused(changes, options, message, tmp_path):
    _write_file(tmp_path / "p.json", **changes)
    with pytest.raises(ValueError, match=message):
        replay.file_source(str(tmp_path / "p.json"), **options)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"set policies\.file to a JSON file"):
        replay.file_source("")
    with pytest.raises(ValueError, match=r"none\.json cannot be read"):
        replay.file_source(str(tmp_path / "none.json"))
    for text in ("{", "[" * 10**5, "[]", "3"):
        (tmp_path / "text.json").write_text(text)
        with pytest.raises(ValueError, match=r"text\.json cannot be read"):
            replay.file_source(str(tmp_path / "text.json"))


def test_a_round_of_recorded_policies_has_a_summary(run, tmp_path):
    _write_file(tmp_path / "p.json")
    for source in (
        replay.replay_source(str(run[0])),
        replay.file_source(str(tmp_path / "p.json"), 3),
    ):
        sampled = source.sample(KEY, source.init(KEY), 0.5)
        losses = jnp.arange(1.0, 1.0 + source.num_policies)
        _, info = source.update(source.init(KEY), sampled, losses)
        summary = collapse.summarize(sampled, losses, losses, info)
        assert all(np.isfinite(value) for value in summary.values())
        shares = [v for key, v in summary.items() if key.startswith("op_share/")]
        np.testing.assert_allclose(sum(shares), 1, rtol=1e-5)
