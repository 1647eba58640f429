"""The compiled functions of a run, over its devices, and the arrays it goes on from."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax import data
from aaa_jax.augment.policies import Policies
from aaa_jax.experiments import memory
from aaa_jax.experiments.build import Experiment
from aaa_jax.runtime import devices, randomness
from aaa_jax.train import evaluate, step
from aaa_jax.train.step import TrainState

Info = dict[str, Any]  # arrays by name


@flax.struct.dataclass
class Round:
    """A round that is over: its policies and what was learned of them."""

    policies: Policies  # M policies
    info: Info  # of `step.controller_step`: losses, rewards, entropies, …


@flax.struct.dataclass
class RunState:
    """Everything a run needs to go on; arrays only."""

    train: TrainState  # the target network's training
    source: Any  # the policy source's state; for AAA the controller
    policies: Policies  # of the current round
    last_round: Round  # the last one that is over; zeros before the first is


class Program(NamedTuple):
    """What a run calls; every argument and result is replicated over the devices."""

    # (source state, root, round) -> Policies; Alg. 1, line 3
    sample: Callable[[Any, jax.Array, Any], Policies]
    # (train state, data, policies, root) -> train state, losses; takes the buffers of
    # the state
    step: Callable[..., tuple[TrainState, Info]]
    # (source state, policies, train state) -> source state, Round
    close_round: Callable[[Any, Policies, TrainState], tuple[Any, Round]]
    # (variables, test data, batch) -> sums; streamed: (variables, rows)
    evaluate: Callable[..., Info]
    # (root, epoch) -> int32 [n], the epoch's permutation of the train split
    order: Callable[[jax.Array, Any], jax.Array]
    place: Callable[[Any], Any]  # puts a tree of arrays on every device
    # puts each device's share of a streamed batch on it
    place_shares: Callable[[Any], Any]


def compile_program(
    experiment: Experiment,
    run_devices: Sequence[jax.Device],
    mapping: str,
    num_images: int,
    *,
    streamed: bool = False,
) -> Program:
    """The functions of a run, compiled at their first call.

    Args:
        experiment: what the config stands for.
        run_devices: that share the groups of a large batch.
        mapping: ``jit``, ``pmap`` or ``shard_map``.
        num_images: of the train split.
        streamed: steps and tests get their rows from the host, split over the devices.
    """
    recipe, source = experiment.recipe, experiment.source
    num_devices = len(run_devices)
    mapped = functools.partial(
        devices.map_over_devices, devices=run_devices, mapping=mapping
    )

    def sample(
        state: Any, root: jax.Array, index: jax.Array, *, axis_name: str | None
    ) -> Policies:
        key = jax.random.fold_in(root, step.POLICY_STREAM)
        progress = index * (recipe.round_steps / experiment.planned_steps)
        sampled = source.sample(jax.random.fold_in(key, index), state, progress)
        return devices.copy_from_first_device(sampled, axis_name)

    def close_round(
        state: Any, policies: Policies, train: TrainState, *, axis_name: str | None
    ) -> tuple[Any, Round]:
        updated, info = step.controller_step(state, policies, train, source=source)
        return devices.copy_from_first_device(updated, axis_name), Round(policies, info)

    def order(root: jax.Array, epoch: jax.Array, *, axis_name: str | None) -> jax.Array:
        del axis_name
        key = jax.random.fold_in(root, step.DATA_STREAM)
        return data.epoch_permutation(jax.random.fold_in(key, epoch), num_images)

    train_step = functools.partial(
        step.train_step,
        model=experiment.model,
        optimizer=experiment.optimizer,
        recipe=recipe,
        num_devices=num_devices,
    )
    eval_step = functools.partial(
        evaluate.eval_step,
        model=experiment.model,
        mean=recipe.rows.mean,
        std=recipe.rows.std,
        num_devices=num_devices,
    )
    return Program(
        sample=mapped(sample),
        step=mapped(train_step, donate=True, split=streamed),
        close_round=mapped(close_round),
        evaluate=mapped(eval_step, split=streamed),
        order=mapped(order),
        place=functools.partial(devices.replicate, devices=run_devices),
        place_shares=functools.partial(
            devices.place_shares, devices=run_devices, mapping=mapping
        ),
    )


def choose_passes(
    experiment: Experiment,
    run_devices: Sequence[jax.Device],
    image_shape: tuple[int, ...],
    resident_images: int,
) -> int:
    """Passes of accumulation for these devices, see `memory.fewest_passes`.

    `image_shape` is (H, W, 3) of a row; `resident_images` live on each device.
    """
    num_devices = len(run_devices)

    @functools.cache  # not made at all where the rows alone decide
    def estimate() -> Callable[[int], float]:
        return step_memory(experiment, num_devices, image_shape, resident_images)

    layout, device = experiment.recipe.layout, run_devices[0]
    return memory.fewest_passes(layout, device, num_devices, lambda r: estimate()(r))


def step_memory(
    experiment: Experiment,
    num_devices: int,
    image_shape: tuple[int, ...],
    resident_images: int,
) -> Callable[[int], float]:
    """Rows of a pass -> bytes of a step on a device, by estimate; `choose_passes`."""
    layout = experiment.recipe.layout
    height, width, channels = image_shape
    state = jax.eval_shape(
        lambda root: init_run_state(experiment, root, image_shape),
        randomness.key_of_seed(0),
    )
    return memory.step_bytes(
        experiment.model,
        state.train,
        (height, width, channels),
        layout.rows_per_group,
        resident_images,
        layout.num_rows // num_devices,
    )


def init_run_state(
    experiment: Experiment, root: jax.Array, image_shape: tuple[int, ...]
) -> RunState:
    """The state before the first step (Alg. 1, "Initialization"), not yet placed."""
    layout, source = experiment.recipe.layout, experiment.source

    def init(root: jax.Array) -> tuple[TrainState, Any, Policies]:
        train = step.init_train_state(
            jax.random.fold_in(root, step.INIT_STREAM),
            experiment.model,
            experiment.optimizer,
            image_shape,
            layout.num_policies,
            num_sub_policies=experiment.recipe.num_sub_policies,
            keeps_round_start=experiment.recipe.is_gain,
        )
        state = source.init(jax.random.fold_in(root, step.CONTROLLER_STREAM))
        key = jax.random.fold_in(root, step.POLICY_STREAM)
        return train, state, source.sample(key, state, jnp.float32(0))

    train, state, policies = jax.jit(init)(root)
    close = functools.partial(step.controller_step, source=source)
    info = jax.eval_shape(close, state, policies, train)[1]
    empty = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), Round(policies, info))
    return RunState(train, state, policies, empty)
