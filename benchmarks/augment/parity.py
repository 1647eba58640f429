"""Is the engine equal to Pillow, bit for bit, on this device?

    python -m benchmarks.augment.parity
    python -m benchmarks.augment.parity --quick    one size, one range table

Every op at every magnitude and sign of every range table, through `apply_ops` with each
driver and through the functions of `ops.py`, all jitted on the default backend; chains
of two ops through `apply_policies`. Compared with what Pillow makes on the host. The
programs compile at the same time, as many as there are cores. Prints a table, writes it
with JSON to benchmarks/results/, and exits with 1 if a single value differs.
"""

import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image

from aaa_jax.augment import large_batch
from aaa_jax.augment.magnitudes import RANGES, coefficient_rows, range_table
from aaa_jax.augment.ops import OPS
from aaa_jax.search.pillow_policy import FILL, apply_op
from benchmarks import measure
from benchmarks.augment import engine, libraries, work

DRIVERS, FUNCTIONS = ("map", "vmap"), "ops.py"
PATHS = (*DRIVERS, FUNCTIONS)
SIZES = {  # height and width, images per op, magnitude and sign; range tables
    (32, 32): (4, tuple(RANGES)),
    (37, 53): (2, ("monotone", "release")),
    (224, 224): (1, ("monotone", "autoaugment")),
}
QUICK_SIZES = {(32, 32): (1, ("monotone",))}


class Case(NamedTuple):
    """Ops to apply to images, B rows."""

    images: np.ndarray  # uint8 [B, H, W, 3]
    partners: np.ndarray  # uint8 [B, H, W, 3]
    ops: np.ndarray  # int32 [B]
    magnitudes: np.ndarray  # int32 [B]
    signs: np.ndarray  # int32 [B]
    centers: np.ndarray  # int32 [B, 2]


class Result(NamedTuple):
    """A line of the table: what was compared, of how many rows, equal rows by path."""

    what: str
    num_rows: int
    equal: dict[str, int]


def main(command_line: Sequence[str] | None = None) -> int:
    """Compare, print, write; 1 if anything differs."""
    options = measure.parser(__doc__).parse_args(command_line)
    record = measure.started("augment.parity", command_line) | measure.place()
    results: list[Result] = []
    record |= {"results": results, "is_whole": False}
    for result in compare(is_quick=options.quick):
        results.append(result)  # a run that is stopped leaves what it found
        measure.write(options.out, "parity", record, markdown(record))
    record["is_whole"] = True
    print(measure.write(options.out, "parity", record, markdown(record)))
    return int(any(set(r.equal.values()) != {r.num_rows} for r in results))


class Comparison(NamedTuple):
    """A line of the table to be: images uint8 [B, H, W, 3], made when called."""

    what: str
    expected: Callable[[], np.ndarray]
    made: dict[str, Callable[[], Any]]  # by path


def compare(*, is_quick: bool) -> Iterator[Result]:
    """All lines of the table, one after the other."""
    comparisons = [
        *op_comparisons(QUICK_SIZES if is_quick else SIZES),
        *chain_comparisons([(8, 16)] if is_quick else [(32, 1024), (224, 64)]),
    ]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        begun = [
            {path: pool.submit(make) for path, make in comparison.made.items()}
            for comparison in comparisons
        ]
        for comparison, made in zip(comparisons, begun, strict=True):
            expected = comparison.expected()
            equal = {path: _count(m.result(), expected) for path, m in made.items()}
            yield Result(comparison.what, len(expected), equal)


def op_comparisons(sizes: Mapping[tuple[int, int], Any]) -> Iterator[Comparison]:
    """Every op alone, on images of several kinds and sizes."""
    for (height, width), (num_images, tables) in sizes.items():
        images = pictures(num_images, height, width)
        for table in tables:
            case = every_op(images, table)
            made = {
                path: functools.partial(_jitted(path, table), *case) for path in PATHS
            }
            expected = functools.partial(by_pillow, case, table)
            yield Comparison(f"{table}, {height} x {width}", expected, made)


def chain_comparisons(sizes: Sequence[tuple[int, int]]) -> Iterator[Comparison]:
    """Two ops per image, drawn; `sizes`: (side, rows)."""
    for side, num_rows in sizes:
        batch = engine.make_work(side, num_rows)
        draws = work.draw(1, batch)
        pillow = libraries.pillow(batch).augment
        paths = {d: functools.partial(engine.by_driver, d) for d in DRIVERS}
        made = {
            path: functools.partial(engine.replay, batch, apply, draws)
            for path, apply in (paths | {FUNCTIONS: engine.naive}).items()
        }
        expected = functools.partial(pillow, draws, range(num_rows))
        yield Comparison(f"chains of two, {side} x {side}", expected, made)


def _count(images: Any, expected: np.ndarray) -> int:
    """How many images are equal in every value."""
    return int((np.asarray(images) == expected).all(axis=(1, 2, 3)).sum())


def pictures(num_images: int, height: int, width: int) -> np.ndarray:
    """Noise, a narrow range, few values, a gradient: n of them, uint8 [n, H, W, 3]."""
    random = np.random.default_rng(1)
    shape = (height, width, 3)
    ramp = np.linspace(0, 255, height * width * 3).reshape(shape)
    kinds = [
        random.integers(0, 256, shape),
        90 + random.integers(0, 60, shape) + 10 * np.arange(3),
        51 * random.integers(0, 6, shape),
        ramp + random.integers(-20, 20, shape),
    ]
    return np.clip(kinds[:num_images], 0, 255).astype(np.uint8)


def every_op(images: np.ndarray, table: str) -> Case:
    """Each op at each magnitude and sign on each image; partners are mirror images."""
    magnitudes = range_table(table).num_magnitudes
    counts = (len(OPS), magnitudes, 2, len(images))
    ops, magnitudes, signs, places = np.indices(counts, np.int32).reshape(4, -1)
    rows = images[places]
    random = np.random.default_rng(0)
    centers = random.integers(0, images.shape[1:3], (len(rows), 2), np.int32)
    return Case(rows, rows[:, :, ::-1], ops, magnitudes, 1 - 2 * signs, centers)


@functools.cache
def _jitted(path: str, ranges: str) -> Callable[..., jax.Array]:
    """The fields of a case -> uint8 [B, H, W, 3], by a driver or by `ops.py` itself."""

    def by_driver(images, partners, ops, magnitudes, signs, centers):
        draws = large_batch.OpDraws(signs, centers)
        options = {"ranges": ranges, "fill": FILL, "driver": path}
        return large_batch.apply_ops(
            images, ops, magnitudes, draws, partners=partners, **options
        )

    def by_functions(images, partners, ops, magnitudes, signs, centers):
        size = images.shape[1:3]
        rows = coefficient_rows(ops, magnitudes, signs, ranges, *size)
        return engine.by_switch(images, ops, rows, centers, partners)

    return jax.jit(by_functions if path == FUNCTIONS else by_driver)


def by_pillow(case: Case, ranges: str) -> np.ndarray:
    """The case through Pillow on the host: uint8 [B, H, W, 3]."""
    table = range_table(ranges)
    size = case.images.shape[1:3]
    made = []
    for image, partner, op, magnitude, sign, center in zip(*case, strict=True):
        name = OPS[op].name
        value = table.value(name, int(magnitude), int(sign), *size)
        pictures = Image.fromarray(image), Image.fromarray(partner)
        result = apply_op(pictures[0], name, value, center.tolist(), pictures[1])
        made.append(np.asarray(result))
    return np.stack(made)


def markdown(record: Mapping[str, Any]) -> str:
    """The device, the versions, the verdict, the table."""
    results = record["results"]
    total = sum(r.num_rows * len(r.equal) for r in results)
    equal = sum(sum(r.equal.values()) for r in results)
    rest = " (stopped before its end: the rest was not compared)"
    verdict = f"**{equal:,} of {total:,} comparisons: equal in every value**"
    lines = measure.head(
        "Equality with Pillow",
        record,
        "how many images are equal in every value, by driver, and by the functions of "
        "`ops.py` themselves",
        verdict + ("" if record["is_whole"] else rest),
    )
    rows = [
        [r.what, f"{r.num_rows:,}", *(f"{r.equal[path]:,}" for path in PATHS)]
        for r in results
    ]
    table = measure.table(["ops", "images", *PATHS], rows)
    return measure.page([*lines, "", *table])


if __name__ == "__main__":
    sys.exit(main())
