"""The bandit of benchmarks/collapse against NumPy and a second simulation."""

import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.augment.policies import Policies
from benchmarks.collapse import __main__ as collapse
from tests.support.benchmark_records import PLACE


def make_policies(seed: int) -> Policies:
    rng = np.random.default_rng(seed)
    shape = (8, 5, 2)
    return Policies(
        ops=jnp.asarray(rng.integers(0, 16, shape), jnp.int32),
        magnitudes=jnp.asarray(rng.integers(0, 10, shape), jnp.int32),
        probs=jnp.ones(shape),
    )


def drawn_pairs(policies: Policies, some=slice(None)) -> list[tuple[int, int]]:
    """All (op, magnitude) of some policies."""
    columns = (np.asarray(policies.ops[some]), np.asarray(policies.magnitudes[some]))
    return list(zip(*(column.ravel().tolist() for column in columns), strict=True))


def test_a_policys_loss_is_the_mean_over_its_sub_policies():
    policies, skill = make_policies(0), np.random.default_rng(1).random((16, 10))
    losses = collapse.policy_losses(jnp.asarray(skill, jnp.float32), policies)
    for m in range(8):
        expected = [
            (op + 1) / 16 * magnitude / 9 * (1 - skill[op, magnitude])
            for op, magnitude in drawn_pairs(policies, m)
        ]
        assert losses[m] == pytest.approx(sum(expected) / 5, rel=1e-5)


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
    constant = np.full(entropy.shape, 0.1)
    return {
        "entropy": entropy,
        "top_op_share": constant,
        "top_magnitude_share": constant,
        "kl": constant / 10,
        "loss": constant * 3,
        "ignorance": constant * 2,
    }


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
    assert cells[-4:] == ["1 ok, 1 collapsed", "0.300", "0.200", "0.010"]


def test_the_page_has_every_controller_in_every_game_and_the_figure_is_drawn(tmp_path):
    arrays = make_arrays(np.full((3, 50), 0.8))
    played = {
        name: dict.fromkeys(collapse.GAMES, arrays) for name in collapse.CONTROLLERS
    }
    page = collapse.page(PLACE, played)
    for game in collapse.GAMES:
        assert f"\n## {game}\n" in page
    assert page.count("\n| guarded | 0.80 |") == len(collapse.GAMES)
    collapse.draw(played, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


# An independent simulation, mean of five seeds: entropy after 30, 90, ... updates.
REFERENCE = {
    "paper": (1.00, 0.86, 0.57, 0.36, 0.24),
    "reset per sub-policy": (1.00, 1.00, 0.99, 0.93, 0.76),
    "tanh constant 1.5": (1.00, 0.90, 0.82, 0.78, 0.75),
    "entropy weight 0.2": (1.00, 0.94, 0.86, 0.82, 0.81),
}


@pytest.mark.slow  # the controller's numbers are in test_controller.py
@pytest.mark.parametrize("name", REFERENCE)
def test_the_table_game_agrees_with_an_independent_simulation(name):
    entropy = collapse.play_games(collapse.CONTROLLERS[name], 5, 200)["table"]
    for update, expected in zip(collapse.SHOWN[:-1], REFERENCE[name], strict=True):
        found = collapse.at(entropy["entropy"], update)
        assert abs(found - expected) <= 0.1, update
