"""How many kernels and bytes is a step or the augmentation, on an H100 not at hand?

    python -m benchmarks.train_step.roofline --sides=32,224,256
    python -m benchmarks.train_step.roofline --networks=wrn16x4 --sides=

By XLA's CUDA compiler (`plans.py`), nothing is run. A kernel's bytes are those of its
operands and results; of an operand that is only gathered or sliced from, what is taken.
The time is no less than the bytes at 3.35 TB/s, with 2 µs at least for each kernel, and
the operations at the peak. Writes JSON and a Markdown table to benchmarks/results/.
"""

import functools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from aaa_jax.experiments import floors
from benchmarks import measure, plans
from benchmarks.augment import engine
from benchmarks.augment.candidates import ROWS
from benchmarks.train_step import presets

DEVICE = "NVIDIA H100"
LAUNCH = 2e-6  # seconds that the smallest kernel takes
NO_KERNEL = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast"}
NO_KERNEL |= {"after-all", "opt-barrier", "copy-done"}
TAKES = ("gather", "dynamic-slice", "slice")  # a part of their first operand
WIDTHS = {"pred": 1, "bf16": 2}
SHAPE = re.compile(r"\b(pred|bf16|[a-z](8|16|32|64))\[([\d,]*)\]")
INSTRUCTION = re.compile(
    r"^\s*(?:ROOT )?%(\S+) = (\([^=]*\)|\S+) ([\w-]+)\((.*?)\)(?:, (.*))?$"
)


class Instruction(NamedTuple):
    """A line of optimised HLO; operands and attributes are text."""

    name: str
    shape: str
    opcode: str
    operands: str
    attributes: str


class Kernel(NamedTuple):
    """What is launched, how often, and the bytes that it moves each time."""

    kind: str
    times: int
    moved: int
    moved_float32: int


def main(command_line: Sequence[str] | None = None) -> None:
    parser = measure.parser(__doc__)
    networks = measure.some_of(["", *presets.NETWORKS])
    sides = measure.some_of(["", *map(str, ROWS)])
    parser.add_argument("--networks", type=networks, default=["wrn16x4"])
    parser.add_argument("--sides", type=sides, default=["32", "224", "256"])
    options = parser.parse_args(command_line)
    record = measure.started("train_step.roofline", command_line) | {"programs": []}
    with plans.target(is_h100=True) as sharding:
        record |= measure.place()
        record["machine"] |= plans.H100_MACHINE
        for name, operations, program, arguments, donated in _programs(options):
            seconds, compiled = plans.compile_for(
                sharding, program, arguments, donate_argnums=donated
            )
            made = {"name": name, "operations": operations, "compile_s": seconds}
            made["totals"] = totals(kernels(compiled.as_text()))
            record["programs"].append(made)
            text = measure.write(options.out, "roofline", record, markdown(record))
    print(text)


def _programs(options: Any) -> Iterator[tuple[Any, ...]]:
    """Name, operations of convolutions, program, arguments, those that are donated."""
    for side in map(int, filter(None, options.sides)):
        work = engine.make_work(side, ROWS[side])
        by_vmap = functools.partial(engine.by_driver, "vmap")
        program, arguments = engine.whole(work, by_vmap)
        shapes = jax.eval_shape(lambda arguments=arguments: arguments)
        name = f"augmentation, {ROWS[side]} rows of {side} px"
        yield name, 0.0, program, shapes, ()
    for network in filter(None, options.networks):
        config, spec = presets.network_config(network, "bfloat16")
        made = presets.full_step(config)
        num_rows = made.experiment.recipe.layout.num_rows
        of_row = floors.work(made.experiment.model, spec.image_size, "bfloat16")
        operations = num_rows * of_row.train_operations
        name = f"step of {network}, {num_rows} rows"
        yield name, operations, made.call, made.shapes(), 0


def kernels(hlo: str) -> Iterator[Kernel]:
    """The kernels of optimised HLO; a loop's as often as it turns."""
    computations: dict[str, list[Instruction]] = {}
    entry = ""
    for line in hlo.splitlines():
        if head := re.match(r"(ENTRY )?%(\S+) \(.*\{$", line):
            found = computations.setdefault(head[2], [])
            entry = head[2] if head[1] else entry
        elif match := INSTRUCTION.match(line):
            found.append(Instruction(*(part or "" for part in match.groups())))
    yield from _kernels_of(entry, 1, computations)


def _kernels_of(
    name: str, times: int, computations: dict[str, list[Instruction]]
) -> Iterator[Kernel]:
    shapes = {line.name: line.shape for line in computations[name]}
    for line in computations[name]:
        called = re.findall(r"(?:calls|to_apply|body)=%([\w.-]+)", line.attributes)
        if line.opcode in ("call", "while"):
            turns = re.search(r'known_trip_count":\{"n":"(\d+)"', line.attributes)
            more = times * int(turns[1] if turns else 1)
            yield from _kernels_of(called[0], more, computations)
        elif line.opcode not in NO_KERNEL:
            body = computations[called[0]] if line.opcode == "fusion" else []
            sizes = [line.shape]
            for place, operand in enumerate(re.findall(r"%([\w.-]+)", line.operands)):
                sizes.append(_taken(body, place) or shapes[operand])
            moved, moved_float32 = (
                sum(_num_bytes(shape, only) for shape in sizes) for only in ("", "f32")
            )
            yield Kernel(_kind(line), times, moved, moved_float32)


def _taken(body: Sequence[Instruction], place: int) -> str:
    """The shapes that a fusion takes of an operand, if it only takes parts of it."""
    parameter = ("parameter", str(place))
    names = [f"%{i.name}" for i in body if (i.opcode, i.operands) == parameter]
    uses = [i for i in body if {*names} & {*i.operands.split(", ")}]
    takes = [i for i in uses if i.opcode in TAKES and i.operands.startswith(names[0])]
    return " ".join(i.shape for i in takes) if takes == uses else ""


def _num_bytes(shape: str, only: str = "") -> int:
    total = 0
    for dtype, bits, sizes in SHAPE.findall(shape):
        if only in ("", dtype):
            width = WIDTHS.get(dtype) or int(bits) // 8
            total += width * math.prod(int(size) for size in sizes.split(",") if size)
    return total


def _kind(line: Instruction) -> str:
    if line.opcode == "custom-call":
        is_convolution = re.search(r'target="[^"]*[cC]onv', line.attributes)
        return "convolutions" if is_convolution else "other calls of libraries"
    return "fusions" if line.opcode == "fusion" else line.opcode


def markdown(record: dict[str, Any]) -> str:
    """The page: a row for each program, then for each kind of its kernels."""
    facts = f"no time is less than {1e6 * LAUNCH:g} µs a kernel"
    lines = measure.head("Kernels and bytes, planned", record, facts)
    heads = ["program", "kernels", "GB", "of it float32", "ms of bytes"]
    heads += ["ms at the peak", "compile, s"]
    rows: list[list[str]] = []
    for program in record["programs"]:
        peak = 1e3 * program["operations"] / (1e12 * floors.peak(DEVICE, "bfloat16"))
        whole, *parts = (
            [
                *(f"– {kind}", f"{times:,}", f"{moved / 1e9:.3f}"),
                *(f"{single / 1e9:.3f}", f"{1e3 * seconds:.3f}"),
            ]
            for kind, (times, moved, single, seconds) in program["totals"].items()
        )
        whole[0] = program["name"]
        rows.append([*whole, f"{peak:.1f}", f"{program['compile_s']:.0f}"])
        rows += parts
    return measure.page([*lines, "", *measure.table(heads, rows)])


def totals(found: Iterable[Kernel]) -> dict[str, list[float]]:
    """Kernels, bytes, those of float32 and seconds: of all, then of each kind."""
    sums: dict[str, list[float]] = {"all": [0, 0, 0, 0.0]}
    for kernel in found:
        seconds = max(kernel.moved / floors.BANDWIDTHS[DEVICE], LAUNCH)
        once = (1, kernel.moved, kernel.moved_float32, seconds)
        for kind in ("all", kernel.kind):
            have = sums.setdefault(kind, [0, 0, 0, 0.0])
            pairs = zip(have, once, strict=True)
            sums[kind] = [value + kernel.times * more for value, more in pairs]
    return sums


if __name__ == "__main__":
    main()
