"""Every test runs on 4 virtual CPU devices, with silent broadcasting forbidden.

What one test has compiled, others load, in all workers and child processes, and in the
next run of the suite: `.pytest_cache/compiled` holds it.
"""

import os
import pathlib
from collections.abc import Iterator

import pytest

# Read when JAX is imported; a cache set after the first compilation is never used.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(
    pathlib.Path(__file__).resolve().parent.parent / ".pytest_cache" / "compiled"
)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
)

import jax
import jax.monitoring

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="module")
def digits_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    """The digits are prepared once for all tests, and found by their name."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(shared / "digits"))
        yield shared / "digits"


@pytest.fixture
def compiled() -> Iterator[list[float]]:
    """Grows by one entry with every program that is compiled."""
    durations: list[float] = []

    def listen(event: str, duration: float, **_: object) -> None:
        if event.endswith("backend_compile_duration"):
            durations.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield durations
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture(scope="module")
def light_compiler() -> Iterator[None]:
    """For modules that compile whole runs: half the time, by leaving out LLVM's passes.

    Equal programs stay equal, only the code is slower. Where exactness itself is tested
    the compiler is the users', and `JAX_DISABLE_MOST_OPTIMIZATIONS=0` makes it so
    everywhere, as `make test-all` does.
    """
    name = "JAX_DISABLE_MOST_OPTIMIZATIONS"
    if name in os.environ:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, "1")  # for child processes
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()  # no later module shall find these programs
