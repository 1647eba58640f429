"""How much memory does the augmentation need above its input and output?

    python -m benchmarks.augment.memory            the backend's compiler and driver
    python -m benchmarks.augment.memory --h100     planned for one that is not here
    python -m benchmarks.augment.memory --quick    one small batch

By the compiler's plan: `augment.large_batch` under M = 8 policies of 5 sub-policies of
2 ops is compiled from shapes; nothing is run or allocated. Goal: temporaries at most 3
times the uint8 batch; exit code 1 where they are more, unless tiny. Writes JSON and a
Markdown table to benchmarks/results/.
"""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from aaa_jax.augment import large_batch
from aaa_jax.augment.policies import Policies
from benchmarks import measure, plans
from benchmarks.augment.engine import CHAIN_LENGTH, NUM_POLICIES, NUM_SUB_POLICIES

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
    """Compile, print, write; 1 where the goal is missed."""
    parser = measure.parser(__doc__)
    parser.add_argument("--h100", action="store_true", help="described, not present")
    options = parser.parse_args(command_line)
    record = measure.started("augment.memory", command_line)
    sizes = ((8, 16),) if options.quick else SIZES
    with plans.target(is_h100=options.h100) as sharding:
        made = [plan(side, rows, sharding) for side, rows in sizes]
    record |= measure.place() | {"plans": made}
    if options.h100:
        record["machine"] |= plans.H100_MACHINE
    print(measure.write(options.out, "augment_memory", record, markdown(record)))
    return int(not options.quick and any(p.times_batch > GOAL for p in made))


def plan(
    side: int, num_rows: int, sharding: jax.sharding.Sharding | None = None
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
    arguments = (key, images, policies)
    seconds, compiled = plans.compile_for(sharding, large_batch.large_batch, arguments)
    memory = compiled.memory_analysis()
    output, temporary = memory.output_size_in_bytes, memory.temp_size_in_bytes
    return Plan(side, num_rows, output, temporary, seconds)


def markdown(record: dict[str, Any]) -> str:
    heads = ["side", "rows", "output, MiB", "temporaries, MiB", "× the uint8 batch"]
    heads += [f"goal: {GOAL:g} ×", "compile, s"]
    rows = [
        [
            *(p.side, p.num_rows),
            *(f"{size / 2**20:.1f}" for size in (p.output, p.temporary)),
            f"{p.times_batch:.2f}",
            "reached" if p.times_batch <= GOAL else "missed",
            f"{p.seconds:.1f}",
        ]
        for p in record["plans"]
    ]
    lines = measure.head("Memory of the augmentation", record)
    return measure.page([*lines, "", *measure.table(heads, rows)])


if __name__ == "__main__":
    sys.exit(main())
