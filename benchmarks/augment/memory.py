"""The augmentation's memory above its input and output, by the compiler's plan.

    python -m benchmarks.augment.memory            driver vmap, the backend's compiler
    python -m benchmarks.augment.memory --h100     planned for one that is not here
    python -m benchmarks.augment.memory --quick    one small batch

`augment.large_batch` under M = 8 policies of 5 sub-policies of 2 ops is compiled from
shapes; nothing is run or allocated. Goal: temporaries at most 3 times the uint8 batch.
Exit code 1 where they are more on an accelerator; on a CPU the driver `vmap` is not the
one that is used. Writes a Markdown table to benchmarks/results/.
"""

import argparse
import contextlib
import functools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from aaa_jax.augment import large_batch
from aaa_jax.augment.policies import Policies
from benchmarks import absent_gpu as described
from benchmarks.augment.__main__ import (
    CHAIN_LENGTH,
    NUM_POLICIES,
    NUM_SUB_POLICIES,
    ROOT,
    machine,
    versions,
)
from benchmarks.augment.page import provenance

GOAL = 3.0  # times the uint8 batch
SIZES = ((32, 1024), (32, 8192), (224, 128), (224, 1024))  # side, rows


class Plan(NamedTuple):
    """A compiled size; bytes, and seconds to compile."""

    side: int
    num_rows: int
    output: int
    temporary: int
    seconds: float

    @property
    def times_batch(self) -> float:
        """Temporaries over the uint8 batch."""
        return self.temporary / (self.num_rows * self.side**2 * 3)


def main(command_line: Sequence[str] | None = None) -> int:
    """Compile, print, write; 1 where the goal is missed on an accelerator."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--driver", choices=("vmap", "map"), default="vmap")
    parser.add_argument("--h100", action="store_true", help="described, not present")
    parser.add_argument("--quick", action="store_true", help="tiny, for tests")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(command_line)
    sizes = ((8, 16),) if options.quick else SIZES
    device: Any = described.h100() if options.h100 else contextlib.nullcontext()
    with device as sharding:
        plans = [plan(side, rows, options.driver, sharding) for side, rows in sizes]
    here = machine()
    if options.h100:
        named = {
            "device": "NVIDIA H100, described to the compiler",
            "slug": "h100-plan",
        }
        here = here | named
    words = f"--driver={options.driver}" + " --h100" * options.h100
    text = markdown(plans, words, here)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"augment_memory-{here['slug']}.md").write_text(text)
    print(text)
    is_missed = any(p.times_batch > GOAL for p in plans)
    return int(is_missed and (options.h100 or jax.default_backend() != "cpu"))


def plan(
    side: int, num_rows: int, driver: str, sharding: jax.sharding.Sharding | None = None
) -> Plan:
    """What the compiler needs for so many rows of a side."""
    shape = (NUM_POLICIES, NUM_SUB_POLICIES, CHAIN_LENGTH)
    policies = Policies(
        ops=jax.ShapeDtypeStruct(shape, jnp.int32),
        magnitudes=jax.ShapeDtypeStruct(shape, jnp.int32),
        probs=jax.ShapeDtypeStruct(shape, jnp.float32),
    )
    images = jax.ShapeDtypeStruct((num_rows // NUM_POLICIES, side, side, 3), jnp.uint8)
    key = jax.eval_shape(lambda: jax.random.key(0))
    call = functools.partial(large_batch.large_batch, driver=driver)
    function = jax.jit(call, **described.on(sharding))
    start = time.perf_counter()
    compiled: Any = function.lower(key, images, policies).compile()
    seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    return Plan(
        side,
        num_rows,
        memory.output_size_in_bytes,
        memory.temp_size_in_bytes,
        seconds,
    )


def markdown(plans: Sequence[Plan], words: str, here: dict[str, str]) -> str:
    """The page."""
    lines = [
        "# Memory of the augmentation",
        "",
        f"Made by `python -m benchmarks.augment.memory {words}`; what is measured is "
        "said there.",
        "",
        *provenance(here, versions()),
        "",
        "| side | rows | output, MiB | temporaries, MiB | × the uint8 batch | "
        f"goal: {GOAL:g} × | compile, s |",
        "| ---: | ---: | ---: | ---: | ---: | --- | ---: |",
    ]
    lines += [
        f"| {p.side} | {p.num_rows} | {p.output / 2**20:.1f} | "
        f"{p.temporary / 2**20:.1f} | {p.times_batch:.2f} | "
        f"{'reached' if p.times_batch <= GOAL else 'missed'} | {p.seconds:.1f} |"
        for p in plans
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
