"""What XLA's compiler plans for a program: seconds and memory, nothing is run.

Also for a GPU that is not here, from its description: without cuDNN's workspaces and
autotuning, which need the device. That takes JAX's CUDA plugin
(`pip install 'jax[cuda13]'`), no GPU.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import jax
from jax.experimental import topologies

H100 = Path(__file__).with_name("h100.pbtxt")
H100_MACHINE = {  # of a record
    "device": "NVIDIA H100, described to the compiler",
    "slug": "h100-plan",
}


@contextlib.contextmanager
def target(*, is_h100: bool) -> Iterator[jax.sharding.Sharding | None]:
    """Where programs are compiled for: None for the default device, or an H100.

    Within the latter, code that asks for the backend hears of a GPU. What is compiled
    for it cannot be called.

    Raises:
        SystemExit: JAX's CUDA plugin is not installed.
    """
    if not is_h100:
        yield None
        return
    # Read when JAX looks for devices: the plugin asks the driver for its version.
    os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")
    try:
        device = topologies.get_topology_desc(
            "h100", platform="cuda", target_config=H100.read_text(), topology="1x1x1"
        ).devices[0]
    except RuntimeError as error:
        raise SystemExit(
            f"no compiler for CUDA: pip install 'jax[cuda13]', a GPU is not needed "
            f"({error})"
        ) from error
    with mock.patch.object(jax, "default_backend", return_value="gpu"):
        yield jax.sharding.SingleDeviceSharding(device)


def compile_for(
    sharding: jax.sharding.Sharding | None,
    function: Callable[..., Any],
    arguments: Sequence[Any],
    **options: Any,
) -> tuple[float, Any]:
    """Seconds to trace, lower and compile for a `target`, and the program.

    Arguments may be shapes; options are those of `jax.jit`.
    """
    if sharding is not None:
        options |= {"in_shardings": sharding, "out_shardings": sharding}
    start = time.perf_counter()
    compiled = jax.jit(function, **options).lower(*arguments).compile()
    return time.perf_counter() - start, compiled


def planned_bytes(compiled: Any) -> int:
    """What a compiled program has on the device, by the compiler's plan."""
    memory = compiled.memory_analysis()
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
