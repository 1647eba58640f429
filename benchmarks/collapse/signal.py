"""How far does a reward stand out of its noise? Asked of a network in training.

    python -m benchmarks.collapse.signal [--images=64] [--rounds=8]

`configs/digits_few.py:random` is trained, and halted at three epochs. There, in each of
some rounds, the network sees the same probe images under the 40 sub-policies of a
round, before and after it trains under them from the same start, in evaluation mode.

- `loss`: on the probe before the round.
- `recognised`: that loss where the network names the class, else 0.
- `gain k`: the loss before less that after k steps.
- `less slow`: the loss less that of a slow average of the weights.

The mean over the sub-policies is taken off each image's rewards. The spread of the
true rewards is the root of the covariance of two halves of the probe; the noise is the
spread of the rows of a sub-policy. Writes `benchmarks/results/collapse-signal.md`.
"""

import argparse
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax import objective
from aaa_jax.augment import batch_layout, ops, pipeline
from aaa_jax.augment.policies import Policies
from aaa_jax.configs import digits_few
from aaa_jax.data import epoch_permutation
from aaa_jax.experiments.build import Experiment, build
from aaa_jax.experiments.splits import open_splits
from aaa_jax.train import step
from benchmarks import measure

PARTS = (0.1, 0.4, 0.7)  # of the training done where it is halted
STEPS = (3, 9)  # of a gain
SLOW = 0.8  # decay of the slow average of the weights, per round
ROWS = (3.2, 9.6)  # of a sub-policy in one mini-batch of digits_few, and in three
ROOT_KEY = 0


class Bed(NamedTuple):
    """A run's objects, and the functions that train it."""

    experiment: Experiment
    num_chains: int  # M Q
    images: jax.Array
    labels: jax.Array
    train: Callable[[step.TrainState, Policies, jax.Array], step.TrainState]
    sample: Callable[[jax.Array], Policies]


def make_bed() -> Bed:
    """The run of random policies on `digits_few`."""
    config = digits_few.get_config("random")
    splits = open_splits(config)
    made = build(config, splits.spec, splits.num_images)
    images, labels = jnp.asarray(splits.train.images), jnp.asarray(splits.train.labels)
    root = jax.random.key(ROOT_KEY)

    @jax.jit
    def train(
        state: step.TrainState, policies: Policies, order: jax.Array
    ) -> step.TrainState:
        return step.train_step(
            state,
            step.ResidentData(images, labels, order),
            policies,
            root,
            model=made.model,
            optimizer=made.optimizer,
            recipe=made.recipe,
            axis_name=None,
        )[0]

    def sample(key: jax.Array) -> Policies:
        return made.source.sample(key, (), 0.0)

    number = config.policies.num_policies * config.policies.num_sub_policies
    return Bed(made, number, images, labels, train, jax.jit(sample))


def advance(
    bed: Bed, state: step.TrainState, policies: Policies, steps: int, order: int = 0
) -> step.TrainState:
    """The state after some steps under these policies; `order` tells orders apart."""
    for _ in range(steps):
        epoch = int(state.step) // bed.experiment.recipe.steps_per_epoch
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(1), order), epoch)
        permutation = epoch_permutation(key, len(bed.labels))
        state = bed.train(state, policies, permutation)
    return state


def probe_of(bed: Bed, count: int) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """(key, policies) -> rows float32 [M Q · count, H, W, 3] and their labels."""
    rows = bed.experiment.recipe.rows
    number = bed.num_chains
    layout = batch_layout.group_layout(count, number, count, "per_policy")
    rows = rows._replace(layout=layout)
    side = bed.images.shape[1]

    @jax.jit
    def probe(key: jax.Array, policies: Policies) -> tuple[jax.Array, jax.Array]:
        each = jax.tree.map(lambda leaf: leaf.reshape(number, 1, -1), policies)
        chosen = jax.random.permutation(jax.random.fold_in(key, 1), len(bed.labels))
        shown = chosen[:count][batch_layout.image_of_row(layout)]
        policy = jnp.asarray(batch_layout.policy_of_row(layout))
        draws = pipeline.draw_rows(key, each, rows, side, side)
        floats = pipeline.augment_rows(bed.images[shown], each, policy, draws, rows)
        return floats, bed.labels[shown]

    return probe


def judge_of(bed: Bed) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """(params, stats, rows, labels) -> losses and rightness, each [M Q, count]."""

    @jax.jit
    def judge(
        params: Any, stats: Any, rows: jax.Array, labels: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        def of_some(part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            variables = {"params": params, "batch_stats": stats}
            logits: Any = bed.experiment.model.apply(variables, part[0], train=False)
            right = jnp.argmax(logits, axis=1) == part[1]
            return objective.cross_entropy(logits, part[1]), right

        shape = (bed.num_chains, -1)
        parts = (rows.reshape(*shape, *rows.shape[1:]), labels.reshape(shape))
        return jax.lax.map(of_some, parts)

    def on_host(*arguments: Any) -> tuple[np.ndarray, np.ndarray]:
        losses, right = judge(*arguments)
        return np.asarray(losses, np.float64), np.asarray(right)

    return on_host


def watch(bed: Bed, images: int, rounds: int) -> Iterator[tuple[int, list[Any]]]:
    """At each halt: the epoch, and of each round its ops and its rewards by name."""
    recipe, made = bed.experiment.recipe, bed.experiment
    shape = bed.images.shape[1:]
    state = step.init_train_state(
        jax.random.key(2), made.model, made.optimizer, shape, recipe.layout.num_policies
    )
    probe, judge = probe_of(bed, images), judge_of(bed)
    key, slow = jax.random.key(3), state.params
    for part in PARTS:
        end = round(part * made.total_steps)
        while int(state.step) < end:
            policies = bed.sample(jax.random.fold_in(key, int(state.step)))
            state = advance(bed, state, policies, recipe.round_steps)
            slow = jax.tree.map(
                lambda old, new: SLOW * old + (1 - SLOW) * new, slow, state.params
            )
        found = []
        for index in range(1, rounds + 1):
            chosen = jax.random.fold_in(jax.random.key(4), index)
            policies = bed.sample(chosen)
            rows = probe(chosen, policies)
            before, right = judge(state.params, state.batch_stats, *rows)
            slower, _ = judge(slow, state.batch_stats, *rows)
            rewards = {"loss": before, "recognised": before * right}
            trained, done = state, 0
            for steps in STEPS:
                trained = advance(bed, trained, policies, steps - done, index)
                done = steps
                after, _ = judge(trained.params, trained.batch_stats, *rows)
                rewards[f"gain {steps}"] = before - after
            rewards["less slow"] = before - slower
            found.append((np.asarray(policies.ops).reshape(len(before), -1), rewards))
        yield int(state.step) // recipe.steps_per_epoch, found


def signal_and_noise(rewards: np.ndarray) -> tuple[float, float]:
    """Variance of the true rewards between sub-policies, and of a row within one.

    Of rewards [R, M Q, count] on the same images in every sub-policy, after each
    image's mean over them is taken off. The first has no bias, and may be below 0.
    """
    rewards = rewards - rewards.mean(axis=1, keepdims=True)
    halves = [rewards[..., start::2].mean(axis=2) for start in range(2)]
    one, other = (half - half.mean(axis=1, keepdims=True) for half in halves)
    chains = rewards.shape[1]
    between = float(np.sum(one * other) / (len(rewards) * (chains - 1)))
    return between, float(rewards.var(axis=2, ddof=1).mean())


def favourites(found: Sequence[Any], name: str, count: int = 3) -> str:
    """Of the ops drawn, those of the highest mean reward, in its deviations."""
    chains = np.concatenate([drawn for drawn, _ in found])
    rewards = [each[name].mean(axis=1) for _, each in found]
    values = np.concatenate([row - row.mean() for row in rewards])
    means = {}
    for index, op in enumerate(ops.OPS[: ops.NUM_SEARCH_OPS]):
        is_drawn = np.any(chains == index, axis=1)
        if is_drawn.any():
            means[op.name] = values[is_drawn].mean() / values.std()
    best = sorted(means, key=lambda op: -means[op])[:count]
    return ", ".join(f"{op} {means[op]:+.1f}" for op in best)


def rows_of_page(seen: Sequence[tuple[int, list[Any]]]) -> list[list[str]]:
    """A line for each halt and reward."""
    lines = []
    for epoch, found in seen:
        for name in found[0][1]:
            rewards = np.stack([each[name] for _, each in found])
            signal, noise = signal_and_noise(rewards)
            sizes = [np.sign(v) * np.sqrt(abs(v)) for v in (signal, noise)]
            lines.append(
                [
                    name,
                    favourites(found, name),
                    str(epoch),
                    f"{rewards.mean():.3f}",
                    *(f"{size:.3f}" for size in sizes),
                    *(f"{rows * signal / noise:.2f}" for rows in ROWS),
                ]
            )
    return lines


def main(command_line: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=64, help="of the probe")
    parser.add_argument("--rounds", type=int, default=8, help="at each halt")
    parser.add_argument("--out", type=pathlib.Path, default=measure.RESULTS)
    options = parser.parse_args(command_line)
    record = measure.started("collapse.signal", command_line) | measure.place()
    heads = ["reward", "ops of the highest, in its deviations", "epoch", "mean"]
    heads += ["spread of the true rewards", "noise of a row"]
    heads += [f"signal to noise, {rows} rows" for rows in ROWS]
    facts = (
        f"{options.rounds} rounds at each halt, {options.images} images. Signal to "
        "noise: the variance of the true rewards over that of the mean of so many "
        "rows, which a sub-policy has in one mini-batch, and in three."
    )
    options.out.mkdir(parents=True, exist_ok=True)
    lines = [*measure.head("How far rewards stand out of their noise", record), ""]
    lines += [facts, ""]
    rows: list[list[str]] = []
    for halt in watch(make_bed(), options.images, options.rounds):
        rows += rows_of_page([halt])
        text = measure.page([*lines, *measure.table(heads, rows, texts=2)])
        (options.out / "collapse-signal.md").write_text(text)
        print(f"epoch {halt[0]} is on the page", flush=True)
    print(text)


if __name__ == "__main__":
    main()
