"""Is the engine equal to Pillow, bit for bit, on this device?

    python -m benchmarks.augment.parity

Every op at every magnitude and sign of every range table, through `apply_ops` with each
driver and through the functions of `ops.py`, all jitted on the default backend; chains
of two ops through `apply_policies`. The goldens are the check sums in `goldens.json`
and, where Pillow is installed, what it makes on the host. Prints a table, writes it to
benchmarks/results/, and exits with 1 if a single value differs.
"""

import argparse
import functools
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax.augment import large_batch
from aaa_jax.augment.magnitudes import RANGES, coefficient_rows, range_table
from aaa_jax.augment.ops import OPS, Inputs, op_index
from benchmarks.augment import engine, libraries, work
from benchmarks.augment.__main__ import ROOT, machine, make_work, versions
from benchmarks.augment.page import provenance

GOLDENS = Path(__file__).with_name("goldens.json")
BLACK, COLOR = (0, 0, 0), (125, 123, 114)
PATHS = ("map", "vmap", "ops.py")
SIZES = {  # height and width, images per op, magnitude and sign; range tables
    (32, 32): (4, tuple(RANGES)),
    (37, 53): (2, ("monotone", "release")),
    (224, 224): (1, ("monotone", "autoaugment")),
}
QUICK_SIZES = {(32, 32): (1, ("monotone",))}  # the check sums' size: compiles once


class Case(NamedTuple):
    """Ops to apply to images, B rows.

    Attributes:
        images: uint8 [B, H, W, 3].
        partners: likewise.
        ops: int32 [B].
        magnitudes: int32 [B].
        signs: int32 [B].
        centers: int32 [B, 2].
        ranges: name of the range table.
        fill: colour.
    """

    images: np.ndarray
    partners: np.ndarray
    ops: np.ndarray
    magnitudes: np.ndarray
    signs: np.ndarray
    centers: np.ndarray
    ranges: str
    fill: tuple[int, int, int]


class Result(NamedTuple):
    """A line of the table: what was compared, of how many rows, equal rows by path."""

    what: str
    num_rows: int
    equal: dict[str, int]


def main(command_line: Sequence[str] | None = None) -> int:
    """Compare, print, write; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="a little of it, for tests"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(command_line)
    options.out.mkdir(parents=True, exist_ok=True)
    page = options.out / f"parity-{machine()['slug']}.md"
    results = []
    for result in compare(is_quick=options.quick):
        results.append(result)
        # A run that is stopped leaves what it found.
        page.write_text(markdown(results, is_whole=False))
    text = markdown(results)
    page.write_text(text)
    print(text)
    return int(any(n != r.num_rows for r in results for n in r.equal.values()))


def compare(*, is_quick: bool) -> Iterator[Result]:
    """All lines of the table, one after the other."""
    yield from golden_results(("monotone",) if is_quick else None)
    if _has_pillow():
        yield from pillow_results(QUICK_SIZES if is_quick else SIZES)
        yield from chain_results([[8, 16]] if is_quick else [[32, 1024], [224, 64]])


def golden_image() -> np.ndarray:
    """The image that the check sums are of: uint8 [32, 32, 3]."""
    y, x, c = np.meshgrid(*map(np.arange, (32, 32, 3)), indexing="ij")
    values = 3 * x**2 + 5 * y**2 + 7 * (c + 1) * x * y + 11 * c * y + 40
    return (20 + values % 200).astype(np.uint8)


def golden_results(tables: Sequence[str] | None = None) -> Iterator[Result]:
    """Check sums of one image; `tables`: names, or None for all there are."""
    goldens = json.loads(GOLDENS.read_text())
    image = golden_image()
    if f"{zlib.crc32(image.tobytes()):08x}" != goldens["input"]:
        raise AssertionError("the golden image is not the one the check sums are of")
    for table, lines in goldens["tables"].items():
        if tables is not None and table not in tables:
            continue
        case = every_op(image[None], table, BLACK, center=(3, 29))
        expected = [_golden_of(lines, *row) for row in _rows_of(case)]
        # Moved-in pixels are black there, the Cutout patch is not.
        is_cutout = case.ops == op_index("Cutout")
        equal = {}
        for path in PATHS:
            made = apply(case, path)
            made[is_cutout] = apply(case._replace(fill=COLOR), path)[is_cutout]
            sums = [f"{zlib.crc32(i.tobytes()):08x}" for i in made]
            equal[path] = sum(a == b for a, b in zip(sums, expected, strict=True))
        yield Result(f"check sums, {table}, 32 x 32", len(expected), equal)


def _golden_of(lines: dict[str, str], name: str, magnitude: int, sign: int) -> str:
    """The check sum of an op; the sign counts only where there are lines for it."""
    if name == "Identity":
        return json.loads(GOLDENS.read_text())["input"]
    line = lines.get(name) or lines[f"{name} {'+' if sign > 0 else '-'}"]
    sums = line.split()
    return sums[magnitude] if len(sums) > 1 else sums[0]


def pillow_results(sizes: dict[tuple[int, int], Any]) -> Iterator[Result]:
    """Pillow on the host, on images of several kinds and sizes."""
    for (height, width), (num_images, tables) in sizes.items():
        images = pictures(num_images, height, width)
        for table in tables:
            case = every_op(images, table, COLOR)
            expected = by_pillow(case)
            equal = {
                path: int((apply(case, path) == expected).all(axis=(1, 2, 3)).sum())
                for path in PATHS
            }
            what = f"Pillow, {table}, {height} x {width}"
            yield Result(what, len(expected), equal)


def chain_results(sizes: Sequence[Sequence[int]]) -> Iterator[Result]:
    """Two ops per image, drawn; `sizes`: [side, rows]."""
    for side, num_rows in sizes:
        batch = make_work(side, num_rows)
        draws = work.draw(1, batch)
        expected = libraries.pillow(batch).augment(draws, range(batch.num_rows))
        paths = {driver: engine.engine(batch, driver) for driver in ("map", "vmap")}
        paths["ops.py"] = engine.naive(batch)
        equal = {}
        for path, function in paths.items():
            rows = engine.replay(batch, function, draws)
            equal[path] = int((rows == expected).all(axis=(1, 2, 3)).sum())
        what = f"Pillow, chains of two, {side} x {side}"
        yield Result(what, batch.num_rows, equal)


def every_op(
    images: np.ndarray,
    table: str,
    fill: tuple[int, int, int],
    center: tuple[int, int] | None = None,
) -> Case:
    """Each op at each magnitude and sign on each image; partners are mirror images."""
    random = np.random.default_rng(0)
    num_magnitudes = range_table(table).num_magnitudes
    grid = np.meshgrid(
        np.arange(len(OPS)),
        np.arange(num_magnitudes),
        np.array([1, -1]),
        np.arange(len(images)),
        indexing="ij",
    )
    ops, magnitudes, signs, places = (
        axis.reshape(-1).astype(np.int32) for axis in grid
    )
    drawn = random.integers(0, images.shape[1:3], (len(ops), 2))
    centers = drawn if center is None else np.tile(center, (len(ops), 1))
    rows = images[places]
    return Case(
        images=rows,
        partners=rows[:, :, ::-1],
        ops=ops,
        magnitudes=magnitudes,
        signs=signs,
        centers=centers.astype(np.int32),
        ranges=table,
        fill=fill,
    )


def pictures(num_images: int, height: int, width: int) -> np.ndarray:
    """Noise, a narrow range, few values, a gradient: uint8 [n, H, W, 3]."""
    random = np.random.default_rng(1)
    shape = (height, width, 3)
    ramp = np.linspace(0, 255, height * width * 3).reshape(shape)
    kinds: list[Callable[[], np.ndarray]] = [
        lambda: random.integers(0, 256, shape),
        lambda: 90 + random.integers(0, 60, shape) + 10 * np.arange(3),
        lambda: 51 * random.integers(0, 6, shape),
        lambda: ramp + random.integers(-20, 20, shape),
    ]
    made = [kinds[i % len(kinds)]() for i in range(num_images)]
    return np.clip(made, 0, 255).astype(np.uint8)


def apply(case: Case, path: str) -> np.ndarray:
    """The case through a driver, or through `ops.py` itself: uint8 [B, H, W, 3]."""
    return np.array(_jitted(path, case.ranges, case.fill)(*case[:6]))


@functools.cache
def _jitted(
    path: str, ranges: str, fill: tuple[int, int, int]
) -> Callable[..., jax.Array]:
    if path == "ops.py":
        return jax.jit(functools.partial(_by_ops, ranges, fill))
    return jax.jit(functools.partial(_by_driver, path, ranges, fill))


def _by_driver(driver: str, ranges: str, fill: Any, *fields: jax.Array) -> jax.Array:
    images, partners, ops, magnitudes, signs, centers = fields
    draws = large_batch.OpDraws(signs, centers)
    options = {"ranges": ranges, "fill": fill, "driver": driver}
    return large_batch.apply_ops(
        images, ops, magnitudes, draws, partners=partners, **options
    )


def _by_ops(ranges: str, fill: Any, *fields: jax.Array) -> jax.Array:
    images, partners, ops, magnitudes, signs, centers = fields
    size = images.shape[1:3]
    rows = coefficient_rows(ops, magnitudes, signs, ranges, *size)
    branches = [op.apply for op in OPS]
    color = jnp.array(fill, jnp.uint8)

    def one(image, op, row, center, partner):
        return jax.lax.switch(op, branches, image, row, Inputs(center, partner, color))

    return jax.vmap(one)(images, ops, rows, centers, partners)


def by_pillow(case: Case) -> np.ndarray:
    """The case through Pillow on the host: uint8 [B, H, W, 3]."""
    from PIL import Image

    ops, table = libraries.pillow_ops(), range_table(case.ranges)
    height, width = case.images.shape[1:3]
    made = []
    for i, (name, magnitude, sign) in enumerate(_rows_of(case)):
        value = table.value(name, magnitude, sign, height, width)
        image, partner = map(Image.fromarray, (case.images[i], case.partners[i]))
        center = case.centers[i].tolist()
        made.append(np.asarray(ops[name](image, value, center, partner, case.fill)))
    return np.stack(made)


def _rows_of(case: Case) -> list[tuple[str, int, int]]:
    """(op, magnitude, sign) of each row."""
    columns = (case.ops, case.magnitudes, case.signs)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [(OPS[op].name, magnitude, sign) for op, magnitude, sign in rows]


def _has_pillow() -> bool:
    try:
        libraries.pillow_ops()
    except ImportError:
        return False
    return True


def markdown(results: Sequence[Result], *, is_whole: bool = True) -> str:
    """The device, the versions, the table, the verdict."""
    total = sum(r.num_rows * len(r.equal) for r in results)
    equal = sum(sum(r.equal.values()) for r in results)
    lines = [
        "# Equality with Pillow",
        "",
        "Made by `python -m benchmarks.augment.parity`: how many images are equal in",
        "every value, by driver, and by the functions of `ops.py` themselves.",
        "",
        *provenance(machine(), versions()),
        f"- **{equal:,} of {total:,} comparisons: equal in every value**"
        + ("" if is_whole else " (stopped before its end: the rest was not compared)"),
        "",
        f"| golden | images | {' | '.join(PATHS)} |",
        "| --- " + "| ---: " * (1 + len(PATHS)) + "|",
    ]
    for result in results:
        counts = [f"{result.equal[path]:,}" for path in PATHS]
        lines.append(f"| {result.what} | {result.num_rows:,} | {' | '.join(counts)} |")
    if not any("Pillow" in r.what for r in results):
        lines += ["", "Pillow is not installed here: check sums only."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
