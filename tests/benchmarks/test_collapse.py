"""The bandit of benchmarks/collapse against NumPy and a second simulation."""

import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.augment.policies import Policies
from benchmarks.collapse import __main__ as collapse
from benchmarks.collapse import digits, signal
from tests.oracles.pillow_ops import some_policies
from tests.support.benchmark_records import PLACE
from tests.support.run_folders import write_cell


def make_policies(seed: int) -> Policies:
    return some_policies((8, 5, 2), without=("Identity",), seed=seed)


def drawn_pairs(policies: Policies, some=slice(None)) -> list[tuple[int, int]]:
    columns = (np.asarray(policies.ops[some]), np.asarray(policies.magnitudes[some]))
    return list(zip(*(column.ravel().tolist() for column in columns), strict=True))


def test_a_sub_policys_loss_is_the_sum_over_its_pairs():
    policies, skill = make_policies(0), np.random.default_rng(1).random((16, 10))
    losses = collapse.sub_policy_losses(jnp.asarray(skill, jnp.float32), policies)
    for m, q in np.ndindex(8, 5):
        expected = [
            (op + 1) / 16 * magnitude / 9 * (1 - skill[op, magnitude])
            for op, magnitude in drawn_pairs(policies, (m, q))
        ]
        assert losses[m, q] == pytest.approx(sum(expected), rel=1e-5)


def test_what_cannot_be_learned_gains_nothing():
    """The rewards of a round in which one sub-policy is of the last op alone."""
    ops = jnp.stack([jnp.full((5, 2), 15), *make_policies(0).ops[1:]])
    policies = make_policies(0).replace(ops=ops)
    game = collapse.GAMES["irreducible"]._replace(noise=0.0)
    before = jnp.zeros((16, 10))
    after = collapse.practise(before, policies, game)
    losses = collapse.sub_policy_losses(before, policies)
    rewards = collapse.rewards_of(policies, before, after, before, 0.0)
    np.testing.assert_array_equal(rewards["loss"], losses)
    gains = np.asarray(losses - collapse.sub_policy_losses(after, policies))
    np.testing.assert_allclose(rewards["gain"], gains, atol=1e-6)
    assert losses[0].any()
    assert not gains[0].any()
    assert gains[1:].max() > 0.1
    noisy = collapse.rewards_of(policies, before, after, before, 1.0)
    np.testing.assert_allclose(noisy["gain"] - rewards["gain"], 0.1, atol=1e-6)
    assert not rewards["less slow"].any()


@pytest.mark.parametrize("name", collapse.GAMES)
def test_skill_grows_with_every_draw_and_fades_with_every_round(name):
    game, policies = collapse.GAMES[name], make_policies(2)
    skill = np.random.default_rng(3).random((16, 10))
    expected = skill.copy()
    for pair in drawn_pairs(policies):
        expected[pair] += game.learning * (1 - expected[pair])
    expected *= 1 - game.forgetting
    if name != "learning":
        expected[15] = 0
    found = collapse.practise(jnp.asarray(skill, jnp.float32), policies, game)
    np.testing.assert_allclose(found, expected, atol=1e-6)  # float32 near 1
    fresh = collapse.practise(jnp.zeros((16, 10)), policies, game)
    assert (name == "table") == (not np.any(fresh))


def make_arrays(entropy: np.ndarray) -> collapse.Arrays:
    others = {"top_op_share": 0.1, "top_magnitude_share": 0.1, "last_op_share": 0.05}
    others |= {"kl": 0.01, "loss": 0.3, "ignorance": 0.2}
    constant = {name: np.full(entropy.shape, value) for name, value in others.items()}
    return {"entropy": entropy} | constant


def test_states_and_their_first_updates_are_counted_from_one():
    falling = np.stack([0.995 - 0.01 * np.arange(80), np.full(80, 0.9)])
    states = collapse.states(make_arrays(falling))
    # uniform, ok, narrowing, collapsed
    np.testing.assert_array_equal(states[0], np.repeat(range(4), (2, 48, 20, 10)))
    assert (states[1] == 1).all()
    assert collapse.first_update(states >= 2) == "51 (1/2)"
    assert collapse.first_update(states >= 3) == "71 (1/2)"
    assert collapse.first_update(states[:1] >= 3) == "71"
    assert collapse.first_update(states[1:] >= 2) == "never"
    cells = collapse.row("some", make_arrays(falling))
    mean = (np.mean(falling[0, 20:30]) + 0.9) / 2
    assert cells[:2] == ["some", f"{mean:.2f}"]
    assert cells[-5:] == ["1 ok, 1 collapsed", "0.300", "0.200", "5", "0.010"]
    assert cells[7:10] == ["4", "51 (1/2)", "71 (1/2)"]


@pytest.mark.parametrize("name", collapse.SETS)
def test_the_page_has_all_controllers_in_all_games_and_the_figure_is_drawn(
    name, tmp_path
):
    arrays = make_arrays(np.full((3, 50), 0.8))
    played = {
        choice: dict.fromkeys(collapse.GAMES, arrays) for choice in collapse.SETS[name]
    }
    page = collapse.write(name, played, PLACE, tmp_path)
    for game in collapse.GAMES:
        assert f"\n## {game}\n" in page
    for choice in collapse.SETS[name]:
        assert page.count(f"\n| {choice} | 0.80 |") == len(collapse.GAMES)
    figure = tmp_path / f"docs/images/collapse-{name}.png"
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_the_table_of_compare_digits_is_of_paired_seeds(tmp_path, capsys):
    cells = (tmp_path, "compare_digits", "digits_few")
    for column, finals in {"random": (3.0, 4.0), "ours": (2.0, 5.0)}.items():
        for seed, final in enumerate(finals):
            write_cell(*cells, column, seed=seed, errors=(9.0, final))
    digits.main([str(tmp_path), f"--output={tmp_path}"])
    row = next(row for row in capsys.readouterr().out.splitlines() if "| ours" in row)
    assert row.startswith("| ours | 2 | 3.50 ± 2.12 (n = 2) | +0.00 [-12.71, +12.71]")
    assert "| 1.00 | 3 (2/2) | 0.80 | 2 ok | " in row
    assert (tmp_path / "docs/images/compare_digits.png").exists()


def test_signal_and_noise_are_told_apart_and_the_image_is_taken_off():
    rng = np.random.default_rng(0)
    true = rng.normal(scale=0.5, size=(40, 30, 1))
    image = rng.normal(scale=5.0, size=(40, 1, 20))
    rewards = true + image + rng.normal(scale=2.0, size=(40, 30, 20))
    between, within = signal.signal_and_noise(rewards)
    # 1200 true rewards: a relative error of √(2/1200), 4 %, and what the noise adds.
    assert between == pytest.approx(0.25, rel=0.25)
    # 29/30 of the noise is left when the mean over 30 sub-policies is taken off.
    assert within == pytest.approx(4.0 * 29 / 30, rel=0.05)
    assert abs(signal.signal_and_noise(rewards - true)[0]) < 0.05


def test_the_ops_of_the_highest_rewards_are_named():
    ops = np.array([[0, 1], [15, 15], [4, 1], [0, 4]])
    rewards = {"loss": np.array([[1.0, 3.0], [9.0, 9.0], [5.0, 5.0], [0.0, 0.0]])}
    deviations = (np.array([2, 9, 5, 0]) - 4) / np.std([2, 9, 5, 0])
    named = f"SamplePairing {deviations[1]:+.1f}"
    assert signal.favourites([(ops, rewards)], "loss", 1) == named
