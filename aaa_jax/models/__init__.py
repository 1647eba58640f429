"""The target networks, and the table that names them.

A network is a Flax Linen module, called as
`module.apply(variables, images, train=..., rows=...)`: images float [B, H, W, C],
logits float32 [B, K], its batch statistics in the collection `batch_stats`. `rows`,
int32 [B], is each row's index in the large batch; layers with noise draw a row's noise
from `fold_in(key, row)` of the key in `rngs={"noise": key}`, so that it does not depend
on the device that holds the row. Networks without noise need neither.
"""

import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from aaa_jax.models import pyramidnet, resnet, shake_shake, wide_resnet

Factory = Callable[..., nn.Module]

MODELS: dict[str, Factory] = {
    "wide_resnet": wide_resnet.WideResNet,
    "shake_shake": shake_shake.ShakeShake,
    "pyramidnet": pyramidnet.PyramidNet,
    "resnet": resnet.ResNet,
}

# What is not an option: `create` gives it, or Flax's constructors have it.
NO_OPTIONS = ("num_classes", "dtype", "bn_group_size", "parent", "name")
DTYPES = ("float32", "bfloat16")


def create(
    name: str,
    *,
    num_classes: int,
    dtype: Any = jnp.float32,
    bn_group_size: int | None = None,
    **options: Any,
) -> nn.Module:
    """The network of that name, a module that is not initialised.

    Args:
        name: a key of MODELS, or `package.module:factory` for a network of your own:
            a callable that takes num_classes, dtype and bn_group_size by keyword (and
            your options) and returns a Flax Linen module.
        num_classes: K, at least 1.
        dtype: of the computation, float32 or bfloat16; parameters, batch statistics
            and logits are float32 in any case.
        bn_group_size: rows in a batch normalisation group; None: all rows given.
        **options: those of the factory, checked against its signature.
    """
    if num_classes < 1:
        raise ValueError(f"a network needs at least one class: {num_classes}")
    if bn_group_size is not None and bn_group_size < 1:
        raise ValueError(f"bn_group_size is at least 1, or None: {bn_group_size}")
    if dtype not in (*DTYPES, jnp.float32, jnp.bfloat16):
        raise ValueError(f"a network computes in one of {DTYPES}: {dtype!r}")
    arguments = {
        "num_classes": num_classes,
        "dtype": jnp.dtype(dtype),
        "bn_group_size": bn_group_size,
        **options,
    }
    factory = _imported(name) if ":" in name else _listed(name)
    signature = inspect.signature(factory)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        known = [key for key in signature.parameters if key not in NO_OPTIONS]
        raise ValueError(
            f"the network {name!r}: {error}. Its options are "
            f"{', '.join(known) or 'none'}; num_classes, dtype and bn_group_size are "
            "always given"
        ) from error
    network = factory(**arguments)
    _check_network(name, network)
    return network


def _listed(name: str) -> Factory:
    if name not in MODELS:
        raise ValueError(
            f"no network is called {name!r}: the names are {', '.join(MODELS)}, and "
            "package.module:factory imports one of your own"
        )
    return MODELS[name]


def _imported(name: str) -> Factory:
    """The factory that `package.module:factory` names."""
    try:
        factory = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"the network {name!r} cannot be imported ({error}): write "
            "package.module:factory, with the package on the Python path"
        ) from error
    if not callable(factory):
        raise ValueError(f"the network {name!r} is {factory!r}, which is no callable")
    return factory


def _check_network(name: str, network: Any) -> None:
    """Refuses what cannot be called as the networks of this package."""
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"the network {name!r} gave a {type(network).__name__}, not a Flax Linen "
            "module"
        )
    try:
        inspect.signature(type(network).__call__).bind(
            network, "images", train=True, rows=None
        )
    except TypeError as error:
        raise ValueError(
            f"the network {name!r} cannot be called as "
            f"network(images, train=..., rows=...): {error}"
        ) from error
