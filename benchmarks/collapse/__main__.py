"""When does the controller collapse, what prevents it, what does it cost? A bandit.

    python -m benchmarks.collapse rewards [--seeds=5] [--updates=600]
    python -m benchmarks.collapse restraints

The controller plays against a table instead of a network: a pair of op o (0 to 15) and
magnitude l has the hardness h = (o + 1)/16 · l/9, a policy's loss is the mean over its
five sub-policies of the two pairs' losses, plus normal noise of 0.01 (of a sub-policy
√5 times as much); M = 8, one update a round. Four games:

- `table`: a pair's loss is its hardness, for ever.
- `learning`: a network learns what it is shown. Each pair has a skill in [0, 1), its
  loss is h·(1 - skill); every draw of a pair closes 10 % of the gap to 1, and in
  every round 2 % of the skill is forgotten.
- `irreducible`: the same, but nothing is learned of the last op (it destroys labels).
- `noisy`: `irreducible` with noise of 0.2, as on the digits: at first the spread of
  the M losses is about one standard error, and `paper` moves as late as there.

Rewards other than the loss: `gain` is the loss before less the loss after the round's
practice, with a tenth of the noise (a probe sees the same images with the same draws);
`less slow` is the loss less that of a slow average of the skills, also on equal images.

The first plays the rewards and credits that the controller can have, the second the
restraints on it. Writes `benchmarks/results/collapse-SET.md` and
`docs/images/collapse-SET.png`.
"""

import argparse
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aaa_jax.augment import ops
from aaa_jax.augment.magnitudes import NUM_MAGNITUDES
from aaa_jax.augment.policies import Policies
from aaa_jax.search import collapse, controller
from benchmarks import measure

NUM_POLICIES = 8
GAIN_NOISE = 0.1  # of a difference on equal images and draws, as a share of the loss's
SLOW = 0.9  # decay of the slow average of the skills, per round
GUARD = {"entropy_target": 0.75, "tanh_constant": 1.5}
RESTRAINTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "reset per sub-policy": {"reset_per_sub_policy": True},
    "tanh constant 1.5": {"tanh_constant": 1.5},
    "entropy weight 0.2": {"entropy_weight": 0.2},
    "entropy target 0.75": {"entropy_target": 0.75},
    "KL cap 0.01": {"kl_cap": 0.01},
    "guarded": {**GUARD, "kl_cap": 0.05},
    "guarded without KL cap": GUARD,
    "uniform": {"learning_rate": 0.0},
}
SUB_POLICY = {"credit": "sub_policy"}
REWARDS: dict[str, dict[str, Any]] = {
    "uniform": {"learning_rate": 0.0},
    "paper": {},
    "sub-policy": SUB_POLICY,
    "gain": {"reward": "gain"},
    "gain, sub-policy": {"reward": "gain"} | SUB_POLICY,
    "gain, sub-policy, two steps": {"reward": "gain", "steps": 2} | SUB_POLICY,
    "less slow, sub-policy": {"reward": "less slow"} | SUB_POLICY,
}
SETS = {"rewards": REWARDS, "restraints": RESTRAINTS}
SHOWN = (30, 90, 120, 160, 200, 600)
MOVED = 0.95  # of the maximal entropy: below, the controller has begun to choose
AVERAGED = 10  # updates before and at the one that is shown
STYLES = ("-", "--", "-.", ":")  # lines of the figure, of these controllers
DRAWN = {
    "rewards": ("paper", "gain", "gain, sub-policy, two steps", "gain, sub-policy"),
    "restraints": ("paper", "reset per sub-policy", "guarded", "entropy weight 0.2"),
}


class Game(NamedTuple):
    """How the table answers; floats, so that one program plays every game."""

    learning: float  # share of a pair's gap in skill that a draw of it closes
    forgetting: float  # share of the skill that a round takes
    last_op: float  # 1: it is learned like the others; 0: never
    noise: float  # of a policy's loss


GAMES = {
    "table": Game(0.0, 0.0, 0.0, 0.01),
    "learning": Game(0.1, 0.02, 1.0, 0.01),
    "irreducible": Game(0.1, 0.02, 0.0, 0.01),
    "noisy": Game(0.1, 0.02, 0.0, 0.2),
}
Arrays = dict[str, np.ndarray]


def hardness() -> np.ndarray:
    """The table: float32 [16, 10]."""
    of_op = np.arange(1, ops.NUM_SEARCH_OPS + 1) / ops.NUM_SEARCH_OPS
    of_magnitude = np.arange(NUM_MAGNITUDES) / (NUM_MAGNITUDES - 1)
    return np.outer(of_op, of_magnitude).astype(np.float32)


def sub_policy_losses(skill: jax.Array, policies: Policies) -> jax.Array:
    """The sum of each sub-policy's two pairs' losses: float32 [M, Q]."""
    losses = jnp.asarray(hardness()) * (1 - skill)
    return jnp.sum(losses[policies.ops, policies.magnitudes], axis=2)


def practise(skill: jax.Array, policies: Policies, game: Game) -> jax.Array:
    """The skills [16, 10] after a round in which these policies were trained on."""
    draws = jnp.zeros_like(skill).at[policies.ops, policies.magnitudes].add(1.0)
    skill = 1 - (1 - skill) * (1 - game.learning) ** draws
    return (skill * (1 - game.forgetting)).at[-1].multiply(game.last_op)


def rewards_of(
    policies: Policies,
    skill: jax.Array,
    practised: jax.Array,
    slow: jax.Array,
    noise: jax.Array | float,
) -> dict[str, jax.Array]:
    """Each reward of the sub-policies of a round, float32 [M, Q].

    The skills [16, 10] are those before it, after it, and their slow average; the noise
    is that of the losses.
    """
    losses = sub_policy_losses(skill, policies)
    small = GAIN_NOISE * noise
    return {
        "loss": losses + noise,
        "gain": losses - sub_policy_losses(practised, policies) + small,
        "less slow": losses - sub_policy_losses(slow, policies) + small,
    }


def player(options: dict[str, Any], updates: int) -> Callable[..., Any]:
    """A function (game, seed) -> what happened in each update: arrays [updates]."""

    def some(*names: str) -> dict[str, Any]:
        return {name: options[name] for name in names if name in options}

    module = controller.Controller(**some("reset_per_sub_policy", "tanh_constant"))
    restraints = some("entropy_target", "kl_cap", "steps")
    tx = optax.adam(options.get("learning_rate", 3.5e-4))
    entropy_weight = options.get("entropy_weight", 1e-5)

    def play(game: Game, seed: jax.Array) -> dict[str, jax.Array]:
        init_key, key = jax.random.split(jax.random.key(seed))
        state = controller.init(init_key, module, tx, entropy_weight=entropy_weight)

        def update(carry: Any, index: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
            state, skill, slow = carry
            sample_key, noise_key = jax.random.split(jax.random.fold_in(key, index))
            policies = controller.sample(sample_key, state.params, module, NUM_POLICIES)
            practised = practise(skill, policies, game)
            noise = game.noise * jax.random.normal(noise_key, policies.ops.shape[:2])
            noise *= policies.num_sub_policies**0.5
            offered = rewards_of(policies, skill, practised, slow, noise)
            rewards = offered[options.get("reward", "loss")]
            if options.get("credit", "policy") == "policy":
                rewards = jnp.mean(rewards, axis=1)
            state, info = controller.update(
                state, policies, rewards, module=module, tx=tx, **restraints
            )
            return (state, practised, SLOW * slow + (1 - SLOW) * practised), {
                "op_entropy": info["op_entropy"],
                "magnitude_entropy": info["magnitude_entropy"],
                "top_op_share": jnp.max(info["op_shares"]),
                "last_op_share": info["op_shares"][-1],
                "top_magnitude_share": info["magnitude_shares"][-1],
                "kl": info["kl"],
                "loss": jnp.mean(sub_policy_losses(skill, policies)),
                # What is left to learn of the ops that can be learned.
                "ignorance": jnp.mean((jnp.asarray(hardness()) * (1 - practised))[:-1]),
            }

        start = jnp.zeros(hardness().shape, jnp.float32)
        return jax.lax.scan(update, (state, start, start), jnp.arange(updates))[1]

    return play


def play_games(options: dict[str, Any], seeds: int, updates: int) -> dict[str, Arrays]:
    """Game -> name -> [seeds, updates]; `entropy` joins both heads'."""
    games = Game(*(jnp.asarray(values) for values in zip(*GAMES.values(), strict=True)))
    of_seeds = jax.vmap(player(options, updates), in_axes=(None, 0))
    played = jax.jit(jax.vmap(of_seeds, in_axes=(0, None)))(games, jnp.arange(seeds))
    arrays = {name: np.asarray(value, np.float64) for name, value in played.items()}
    join = np.vectorize(collapse.joint_entropy)
    arrays["entropy"] = join(arrays["op_entropy"], arrays["magnitude_entropy"])
    return {
        game: {name: value[place] for name, value in arrays.items()}
        for place, game in enumerate(GAMES)
    }


def states(arrays: Arrays) -> np.ndarray:
    """The state of `search/collapse` in every update: int [seeds, updates]."""
    keys = ("entropy", "top_op_share", "top_magnitude_share")

    def state(*values: float) -> int:
        found = collapse.collapse_state(dict(zip(keys, values, strict=True)))
        return collapse.STATES.index(found)

    return np.vectorize(state)(*(arrays[key] for key in keys))


def first_update(reached: np.ndarray) -> str:
    """Median over seeds of the first update, from 1, where bool [seeds, updates]."""
    if not reached.any():
        return "never"
    firsts = [int(np.argmax(row)) + 1 for row in reached if row.any()]
    share = "" if len(firsts) == len(reached) else f" ({len(firsts)}/{len(reached)})"
    return f"{np.median(firsts):.0f}{share}"


def at(values: np.ndarray, update: int) -> float:
    """Mean over seeds and the ten updates that end with this one."""
    return float(values[:, max(update - AVERAGED, 0) : update].mean())


def row(name: str, arrays: Arrays) -> list[str]:
    """A controller's cells in a game's table."""
    reached = states(arrays)
    last = reached[:, -1]
    ends = ", ".join(
        f"{np.sum(last == place)} {state}"
        for place, state in enumerate(collapse.STATES)
        if np.any(last == place)
    )
    return [
        name,
        *(
            f"{at(arrays['entropy'], update):.2f}" if update <= reached.shape[1] else ""
            for update in SHOWN
        ),
        first_update(arrays["entropy"] < MOVED),
        first_update(reached >= collapse.STATES.index("narrowing")),
        first_update(reached >= collapse.STATES.index("collapsed")),
        ends,
        f"{arrays['loss'][:, -100:].mean():.3f}",
        f"{arrays['ignorance'][:, -100:].mean():.3f}",
        f"{100 * arrays['last_op_share'][:, -100:].mean():.0f}",
        f"{arrays['kl'].max():.3f}",
    ]


def page(record: dict[str, Any], played: dict[str, dict[str, Arrays]]) -> str:
    """The Markdown page: a table per game."""
    seeds = len(next(iter(played.values()))["table"]["entropy"])
    lines = [
        *measure.head("Collapse in a bandit", record),
        "",
        f"Entropy of both heads as a fraction of the maximum: mean over {seeds} seeds "
        f"and the {AVERAGED} updates that end with the one named. `moved at`: median "
        f"over the seeds of the first update below {MOVED} of the maximal entropy; "
        "`narrowing at`: of the first in that state or worse. Loss: of the policies, "
        "mean of the last 100 updates. Ignorance: the mean loss over all pairs but "
        "those of the last op, drawn or not; last op: the share of it in the draws; "
        "both over the same updates. KL in nats a policy and update.",
    ]
    heads = ["controller", *SHOWN, "moved at", "narrowing at", "collapsed at"]
    heads += ["states at the end", "loss", "ignorance", "last op, %", "largest KL"]
    for game in GAMES:
        rows = [row(name, by_game[game]) for name, by_game in played.items()]
        lines += ["", f"## {game}", "", *measure.table(heads, rows)]
    return measure.page(lines)


def draw(name: str, played: dict[str, dict[str, Arrays]], path: pathlib.Path) -> None:
    """A panel per game: entropy over the updates, mean and range over the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 3.8))
    axes = figure.subplots(1, len(GAMES), sharey=True)
    for game, axis in zip(GAMES, axes, strict=True):
        for controller_name, style in zip(DRAWN[name], STYLES, strict=True):
            entropy = played[controller_name][game]["entropy"]
            draw_entropy(axis, entropy, style, controller_name)
        for value, state in ((0.5, "narrowing"), (0.3, "collapsed")):
            axis.axhline(value, color="grey", lw=0.6)
            axis.text(5, value + 0.01, f"{state} below", fontsize=7, color="grey")
        axis.set(title=f"game: {game}", xlabel="controller update", ylim=(0, 1.02))
    axes[0].set_ylabel("entropy, fraction of the maximum")
    seeds = len(next(iter(played.values()))["table"]["entropy"])
    # The curves of this game leave room below, and the names of the lines at the right.
    axes[1].legend(
        title=f"mean and range, {seeds} seeds", loc="center right", fontsize="small"
    )
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def draw_entropy(
    axis: Any, entropy: np.ndarray, style: str, label: str, color: str | None = None
) -> None:
    """A line of the mean over the seeds, and the range: [seeds, updates]."""
    x = np.arange(1, entropy.shape[1] + 1)
    (line,) = axis.plot(x, entropy.mean(0), style, label=label, color=color)
    bounds = entropy.min(0), entropy.max(0)
    axis.fill_between(x, *bounds, color=line.get_color(), alpha=0.15, lw=0)


def write(
    name: str,
    played: dict[str, dict[str, Arrays]],
    record: dict[str, Any],
    folder: pathlib.Path,
) -> str:
    """Writes page and figure of a set; returns the page."""
    text = page(record, played)
    output = folder / f"benchmarks/results/collapse-{name}.md"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text)
    draw(name, played, folder / f"docs/images/collapse-{name}.png")
    return text


def main(command_line: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("set", choices=SETS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=600)
    parser.add_argument("--output", type=pathlib.Path, default=measure.ROOT)
    options = parser.parse_args(command_line)
    record = measure.started("collapse", command_line) | measure.place()
    played = {}
    for name, choices in SETS[options.set].items():
        started = time.monotonic()
        played[name] = play_games(choices, options.seeds, options.updates)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    print(write(options.set, played, record, options.output))


if __name__ == "__main__":
    main()
