"""Our steps, which `candidates.py` times: the AAA step, the network's step alone."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from aaa_jax import data, objective
from aaa_jax.train.step import TrainState
from benchmarks.train_step import presets

NUM_BATCHES = 4  # mini-batches of synthetic images on the device

# (state, ...) -> (state, result), and its arguments.
Step = tuple[Callable[..., tuple[TrainState, Any]], tuple[Any, ...]]


def aaa_step(config: ConfigDict, spec: data.DatasetSpec) -> Step:
    """A step of Algorithm 1 on synthetic images: gather, augment, train, average."""
    made = _make(config, spec)
    return made.call, jax.jit(made.make_arguments)()


def network_step(config: ConfigDict, spec: data.DatasetSpec) -> Step:
    """Forward, backward and update on rows that are there: what PyTorch does too."""
    made = _make(config, spec)
    model, optimizer = made.experiment.model, made.experiment.optimizer
    num_rows = made.experiment.recipe.layout.num_rows

    def make_arguments() -> tuple[Any, ...]:
        state, _, _, key = made.make_arguments()
        side = (spec.image_size, spec.image_size, 3)
        images = jax.random.normal(key, (num_rows, *side), jnp.float32)
        return state, images, jnp.zeros(num_rows, jnp.int32), key

    def step(
        state: TrainState, images: jax.Array, labels: jax.Array, key: jax.Array
    ) -> tuple[TrainState, jax.Array]:
        def loss(params: Any) -> tuple[jax.Array, Any]:
            logits, updated = model.apply(
                {"params": params, "batch_stats": state.batch_stats},
                images,
                train=True,
                rngs={"noise": jax.random.fold_in(key, state.step)},
                mutable=["batch_stats"],
            )
            return objective.cross_entropy(logits, labels).mean(), updated

        (value, updated), gradients = jax.value_and_grad(loss, has_aux=True)(
            state.params
        )
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        state = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=updated["batch_stats"],
            opt_state=opt_state,
        )
        return state, value

    return step, jax.jit(make_arguments)()


def _make(config: ConfigDict, spec: data.DatasetSpec) -> presets.PresetStep:
    num_images = NUM_BATCHES * config.batch_size
    return presets.make_step(config, spec, num_images, num_images)
