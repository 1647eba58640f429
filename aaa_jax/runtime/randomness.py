"""The random generator of this package: threefry2x32, partitionable, as JAX has it.

The environment can choose another, or other draws from the same key
(JAX_DEFAULT_PRNG_IMPL, JAX_THREEFRY_PARTITIONABLE, JAX_RANDOM_SEED_OFFSET,
FLAX_FIX_RNG_SEPARATOR). A result must not depend on it. So a seed becomes a key here,
and whatever draws is wrapped by `drawing`. It also names its types, so that
JAX_ENABLE_X64 changes nothing, and the mode of `jax.random.categorical`, which
JAX_HIGH_DYNAMIC_RANGE_GUMBEL chooses.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

import flax
import jax
import numpy as np

IMPLEMENTATION = "threefry2x32"
SAFE_PAIR = "rbg"  # a pair of threefry2x32 keys

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Function = Callable[Concatenate[jax.Array, Arguments], Result]


def key_of_seed(seed: int) -> jax.Array:
    """What `jax.random.key(seed)` is where JAX has its defaults; 0 <= seed < 2^32."""
    return _wrap(np.array([0, seed], np.uint32))


def drawing(function: Function[Arguments, Result]) -> Function[Arguments, Result]:
    """Makes a function of a key draw the same in any environment, traced or not."""
    return _drawing(function, own_key)


def initializing(
    function: Function[Arguments, Result],
) -> Function[Arguments, Result]:
    """`drawing` for an initial value, which Flax calls with keys of its own too.

    In `apply` Flax asks for the shapes with a key of the environment's generator, so
    that no key can be refused here.
    """
    return _drawing(function, lambda key: _wrap(jax.random.key_data(key)[:2]))


@contextlib.contextmanager
def fixed_draws() -> Iterator[None]:
    """Within it a key gives JAX's and Flax's default draws, in any environment."""
    flag = flax.config.temp_flip_flag("fix_rng_separator", False)
    with jax.threefry_partitionable(True), flag:
        yield


def own_key(key: jax.Array) -> jax.Array:
    """A key of any caller as a key of this package's generator.

    A key of "rbg" is two threefry2x32 keys side by side, and `split` and `fold_in` act
    on each alone. The first is what the same calls give under threefry2x32. Of
    "unsafe_rbg" that holds for no derived key, so its keys are refused.

    Args:
        key: typed, or the uint32 [2] or [4] of `jax.random.PRNGKey`.

    Raises:
        ValueError: it is no key, several keys, or one that cannot be converted.
    """
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    is_typed = dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)
    default = str(jax.config.values["jax_default_prng_impl"])
    if is_typed and shape == ():
        name = str(jax.random.key_impl(key))
    elif dtype == np.uint32 and shape == (2,):
        name = IMPLEMENTATION
    elif dtype == np.uint32 and shape == (4,) and default != IMPLEMENTATION:
        name = default
    else:
        found = type(key).__name__ if dtype is None else f"{dtype} {list(shape or ())}"
        raise ValueError(f"key is {found}: one key is needed, say jax.random.key(0)")
    if is_typed and name == IMPLEMENTATION:
        return key
    if name not in (IMPLEMENTATION, SAFE_PAIR):
        raise ValueError(
            f"key is of the generator {name!r}: make it with jax.random.key(seed, "
            f"impl={IMPLEMENTATION!r}), which this package draws with in any "
            "environment"
        )
    return _wrap((jax.random.key_data(key) if is_typed else key)[:2])


def settings() -> dict[str, Any]:
    """What numbers are drawn and computed with, for `run.json`.

    The first two are fixed here. The others are the environment's; they do not change
    what is drawn, but may change how results round.
    """
    return {
        "implementation": IMPLEMENTATION,
        "threefry_partitionable": True,
        "enable_x64": bool(jax.config.values["jax_enable_x64"]),
        "default_matmul_precision": jax.config.values["jax_default_matmul_precision"],
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def _drawing(
    function: Function[Arguments, Result], own: Callable[[jax.Array], jax.Array]
) -> Function[Arguments, Result]:
    @functools.wraps(function)
    def drawn(
        key: jax.Array, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        with fixed_draws():
            return function(own(key), *args, **kwargs)

    return drawn


def _wrap(words: Any) -> jax.Array:
    return jax.random.wrap_key_data(words, impl=IMPLEMENTATION)
