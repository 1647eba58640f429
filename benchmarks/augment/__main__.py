"""How many images per second does the augmentation make, this engine and others?

    python -m benchmarks.augment            every candidate, one core and all cores
    python -m benchmarks.augment --quick    a second of everything: does it run?

The work (`work.py`): M = 8 policies, Q = 5 sub-policies of 2 ops; random numbers drawn,
ops applied, output normalised to float32; 1024 rows of 32 px, 128 of 224 px and, with
--sides=32,224,256, 512 of 256 px. Candidates take turns; a number is the median of the
rounds. Each core setting is a process of its own, pinned before Python starts and with
glibc told to keep memory (a page fault costs more than an op). On one core CPU seconds
are counted, which other processes on the machine do not lengthen; on all cores, seconds
of the clock. On a GPU, libraries that take many images in a call run there too.
Writes JSON and a Markdown table to benchmarks/results/.
"""

import argparse
import os
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks import measure
from benchmarks.augment import candidates

ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
    "MALLOC_ARENA_MAX": "1",
}


def main(command_line: Sequence[str] | None = None) -> None:
    parser = measure.parser(__doc__)
    names, settings = candidates.CANDIDATES, ("one", "all")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cores", type=measure.some_of(settings), default=settings)
    parser.add_argument("--only", type=measure.some_of(names), default=names)
    sides = measure.some_of(map(str, candidates.ROWS))
    parser.add_argument("--sides", type=sides, default=["32", "224"], help="pixels")
    options = parser.parse_args(command_line)
    if options.quick:
        options.rounds = 1
    record = measure.started("augment", command_line) | {"settings": {}}
    for cores in options.cores:
        result = _in_own_process(cores, options)
        record |= {key: result.pop(key) for key in ("machine", "versions")}
        record["settings"][cores] = result
    print(measure.write(options.out, "augment", record, markdown(record)))


def _in_own_process(cores: str, options: argparse.Namespace) -> dict[str, Any]:
    """`measure_sizes` on these cores; one XLA device per core, as far as they divide M.

    Affinity is inherited; it and the allocator are set before Python starts.
    """
    allowed = os.sched_getaffinity(0)
    chosen = {max(allowed)} if cores == "one" else allowed
    devices = max(number for number in (1, 2, 4, 8) if number <= len(chosen))
    flag = f" --xla_force_host_platform_device_count={devices}"
    environment = ALLOCATOR | {"XLA_FLAGS": os.environ.get("XLA_FLAGS", "") + flag}
    os.sched_setaffinity(0, chosen)
    try:
        setting = {"is_spread": cores == "all", "options": options}
        return measure.in_own_process(candidates.measure_sizes, environment, **setting)
    finally:
        os.sched_setaffinity(0, allowed)


def markdown(record: dict[str, Any]) -> str:
    """Device and versions, then for each size the table and what bounds the engine."""
    settings = record["settings"]
    facts = [
        f'"{name}": {s["cores"]} core(s), {s["devices"]} XLA device(s), counted in '
        f"{s['clock']}; libraries called in batches run on {s['torch']}"
        for name, s in settings.items()
    ]
    lines = measure.head("Speed of the augmentation", record, *facts)
    for side in next(iter(settings.values()))["sizes"]:
        sizes = {name: setting["sizes"][side] for name, setting in settings.items()}
        lines += ["", *_section(side, sizes)]
    return measure.page(lines)


def _section(side: str, sizes: dict[str, dict[str, Any]]) -> Iterable[str]:
    """One size: a row per candidate, two columns per core setting."""
    first = next(iter(sizes.values()))
    by_name = [{c["name"]: c for c in size["candidates"]} for size in sizes.values()]
    speeds = [head for name in sizes for head in (f"{name}: images/s", "× Pillow")]
    yield f"## {side} px, {first['rows']} rows"
    yield ""
    yield from measure.table(
        ["candidate", *speeds, "images equal to Pillow's"],
        [_row(name, by_name) for name in by_name[0]],
    )
    yield ""
    for candidate in first["candidates"]:
        if "temporary_bytes" in candidate.get("facts", {}):
            yield _bounds(candidate, first["bandwidth"])


def _row(name: str, by_name: Sequence[dict[str, dict[str, Any]]]) -> list[str]:
    cells = [name]
    for candidates_here in by_name:
        candidate = candidates_here[name]
        if "why" in candidate:
            cells += [candidate["why"], "–"]
            continue
        speed = candidate["images_per_s"]
        pillow = candidates_here.get("Pillow", {}).get("images_per_s")
        cells += [f"{speed:,.0f}", f"{speed / pillow:.2f}" if pillow else "–"]
    equal = [here[name]["equal"] for here in by_name if "equal" in here[name]]
    shares = ("–" if share is None else f"{100 * share:.1f} %" for share in equal[:1])
    return [*cells, *shares]


def _bounds(candidate: dict[str, Any], bandwidth: float) -> str:
    """What a program needs, and how near it is to the bandwidth of a plain kernel."""
    facts = candidate["facts"]
    batch = facts["output_bytes"] / 4  # float32 out, uint8 inside
    microseconds = 1e6 * facts["rows"] / candidate["images_per_s"]
    moved = facts["bytes_accessed"]
    return (
        f"- {candidate['name']}: compiles in {facts['compile_s']:.1f} s; temporaries "
        f"{facts['temporary_bytes'] / batch:.2f} × the uint8 batch; "
        f"{moved / batch:.1f} × the uint8 batch moved, by XLA's count, which takes "
        f"{1e6 * moved / bandwidth:.0f} of its {microseconds:.0f} µs at the "
        f"{bandwidth / 1e9:.0f} GB/s of a plain kernel"
    )


if __name__ == "__main__":
    main()
