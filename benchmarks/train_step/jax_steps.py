"""Our candidates of `train_step.py`: the whole AAA step, the network's step alone."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from aaa_jax import data, objective
from aaa_jax.train.step import TrainState
from benchmarks.train_step import presets

NUM_BATCHES = 4  # mini-batches of synthetic images on the device


class Candidate(NamedTuple):
    """Something to time.

    Attributes:
        name: of its row.
        run: does so many steps and waits for them.
        facts: compile_cold_s, compile_warm_s, memory_bytes as far as they are known.
        release: gives back memory that it keeps between steps.
    """

    name: str
    run: Callable[[int], None]
    facts: dict[str, float]
    release: Callable[[], None] = lambda: None


def aaa_step(name: str, config: ConfigDict, spec: data.DatasetSpec) -> Candidate:
    """A step of Algorithm 1 on synthetic images: gather, augment, train, average."""
    num_images = NUM_BATCHES * config.batch_size
    made = presets.make_step(config, spec, num_images, num_images)
    arguments = jax.jit(made.make_arguments)()
    return _candidate(name, made.call, arguments)


def network_step(name: str, config: ConfigDict, spec: data.DatasetSpec) -> Candidate:
    """Forward, backward and update on rows that are there: what PyTorch does too."""
    num_images = NUM_BATCHES * config.batch_size
    made = presets.make_step(config, spec, num_images, num_images)
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

    return _candidate(name, step, jax.jit(make_arguments)())


def _candidate(
    name: str, step: Callable[..., Any], arguments: tuple[Any, ...]
) -> Candidate:
    """Compiled twice: with an empty persistent cache, and from what that left there."""
    function = jax.jit(step, donate_argnums=0)
    cold, compiled = _compile(function, arguments)
    jax.clear_caches()
    warm, compiled = _compile(function, arguments)
    state, *rest = arguments

    def run(steps: int) -> None:
        nonlocal state
        for _ in range(steps):
            state, result = compiled(state, *rest)
        jax.block_until_ready((state, result))

    facts = {
        "compile_cold_s": cold,
        "compile_warm_s": warm,
        "memory_bytes": presets.planned_bytes(compiled),
    }
    return Candidate(name, run, {key: float(value) for key, value in facts.items()})


def _compile(function: Any, arguments: tuple[Any, ...]) -> tuple[float, Any]:
    """Seconds to trace, lower and compile, and the program."""
    start = time.perf_counter()
    compiled = function.lower(*arguments).compile()
    return time.perf_counter() - start, compiled


def device_peak() -> dict[str, float]:
    """The most memory of the device that JAX has used so far, where it tells."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" not in stats:
        return {}
    return {"jax_peak_bytes": float(stats["peak_bytes_in_use"])}
