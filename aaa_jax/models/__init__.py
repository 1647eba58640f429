"""The target networks, and the table that names them.

A network is a Flax Linen module, called as
`module.apply(variables, images, train=..., rows=...)`: images float [B, H, W, C],
logits float32 [B, K], its batch statistics in the collection `batch_stats`. `rows`,
int32 [B], is each row's index in the large batch; layers with noise draw a row's noise
from `fold_in(key, row)` of the key in `rngs={"noise": key}`, so that it does not depend
on the device that holds the row. Networks without noise need neither.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from aaa_jax.models import pyramidnet, resnet, shake_shake, wide_resnet

Factory = Callable[..., nn.Module]

MODELS: dict[str, Factory] = {
    "wide_resnet": wide_resnet.wide_resnet,
    "shake_shake": shake_shake.shake_shake,
    "pyramidnet": pyramidnet.pyramidnet,
    "resnet": resnet.resnet,
}

COMMON_ARGUMENTS = ("num_classes", "dtype", "bn_group_size")
FLAX_ARGUMENTS = ("parent", "name")  # of a module's constructor
CALL_ARGUMENTS = ("train", "rows")
DTYPES = ("float32", "bfloat16")


def create(
    name: str,
    *,
    num_classes: int,
    dtype: Any = jnp.float32,
    bn_group_size: int | None = None,
    **options: Any,
) -> nn.Module:
    """The network of that name.

    Args:
        name: a key of MODELS, or `package.module:factory` for a network of your own:
            a callable that takes num_classes, dtype and bn_group_size by keyword (and
            your options) and returns a Flax Linen module.
        num_classes: K, at least 1.
        dtype: of the computation, float32 or bfloat16; parameters, batch statistics
            and logits are float32 in any case.
        bn_group_size: rows in a batch normalisation group; None: all rows given.
        **options: those of the factory, checked against its signature.

    Returns:
        The module, not initialised.
    """
    dtype = _checked_dtype(dtype)
    if num_classes < 1:
        raise ValueError(f"a network needs at least one class: {num_classes}")
    if bn_group_size is not None and bn_group_size < 1:
        raise ValueError(f"bn_group_size is at least 1, or None: {bn_group_size}")
    factory = _imported(name) if ":" in name else _listed(name)
    _check_factory(name, factory, options)
    network = factory(
        num_classes=num_classes,
        dtype=dtype,
        bn_group_size=bn_group_size,
        **options,
    )
    _check_network(name, network)
    return network


def _checked_dtype(dtype: Any) -> jnp.dtype:
    try:
        checked = jnp.dtype(dtype)
    except TypeError:
        checked = None
    if checked is None or checked.name not in DTYPES:
        raise ValueError(f"a network computes in one of {DTYPES}: {dtype!r}")
    return checked


def _listed(name: str) -> Factory:
    if name not in MODELS:
        raise ValueError(
            f"no network is called {name!r}: the names are {', '.join(MODELS)}, and "
            "package.module:factory imports one of your own"
        )
    return MODELS[name]


def _imported(name: str) -> Factory:
    """The factory that `package.module:factory` names."""
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"the network {name!r} cannot be imported ({error}): write "
            "package.module:factory, with the package on the Python path"
        ) from error
    factory = vars(module).get(attribute)
    if not callable(factory):
        raise ValueError(
            f"the network {name!r}: {module_name} has no callable {attribute!r}"
        )
    return factory


def _check_factory(name: str, factory: Factory, options: Mapping[str, Any]) -> None:
    """Raise unless the factory takes the common arguments and these options."""
    parameters = inspect.signature(factory).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    missing = [key for key in COMMON_ARGUMENTS if key not in parameters]
    if missing:
        raise ValueError(
            f"the network {name!r} does not take {', '.join(missing)}: a factory is "
            "called as factory(num_classes=..., dtype=..., bn_group_size=..., options)"
        )
    known = [k for k in parameters if k not in (*COMMON_ARGUMENTS, *FLAX_ARGUMENTS)]
    unknown = [key for key in options if key not in known]
    if unknown:
        raise ValueError(
            f"the network {name!r} has no option {', '.join(unknown)}: its options "
            f"are {', '.join(known) or 'none'}"
        )
    needed = [
        key for key in known if parameters[key].default is inspect.Parameter.empty
    ]
    absent = [key for key in needed if key not in options]
    if absent:
        raise ValueError(f"the network {name!r} needs the option {', '.join(absent)}")


def _check_network(name: str, network: Any) -> None:
    """Raise unless the factory's result can be called as this package's networks."""
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"the network {name!r} gave a {type(network).__name__}, not a Flax Linen "
            "module"
        )
    parameters = inspect.signature(type(network).__call__).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    missing = [key for key in CALL_ARGUMENTS if key not in parameters]
    if missing:
        raise ValueError(
            f"the network {name!r} cannot be called with {', '.join(missing)}: it is "
            "called as network(images, train=..., rows=...)"
        )
