"""What does a step cost on D devices, on paper? From counts and measured pieces.

    python -m benchmarks.scaling            prints the tables
    python -m benchmarks.scaling --write    puts them into docs/scaling.md

Counted here: floating-point operations, bytes of gradients, statistics and images,
groups. Measured elsewhere, on a CPU: what a host takes to decode an image (read from
the record of `benchmarks.input`) and to start a step. From data sheets: what devices
and networks can do at most. Nothing was run on more than one accelerator: what share of
the peak a step reaches is a stated range.
"""

import argparse
import functools
import json
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from aaa_jax.augment import batch_layout
from aaa_jax.experiments import floors
from benchmarks import measure
from benchmarks.input.page import DEFAULT, loader_row
from benchmarks.train_step import presets

PAGE = measure.ROOT / "docs" / "scaling.md"
BEGIN, END = "<!-- benchmarks.scaling -->\n", "<!-- end -->\n"
PRESETS = ("imagenet_r50", "imagenet_r200", "cifar10_wrn28x10")
DEVICES = (8, 64, 512)
INPUT = measure.RESULTS / "input-cpu-amd-epyc.json"


def decode_ms(resample: str) -> float:
    """CPU milliseconds for an image with its M rows, the whole loader, on all cores."""
    record = json.loads(INPUT.read_text())
    row = loader_row(record, resample, int(record["machine"]["cores"]))
    assert row is not None, resample
    return round(1e3 / row["images_per_cpu_s"], 1)


class Site(NamedTuple):
    """What a step runs on."""

    device: str = "NVIDIA H100"  # a row of `floors.PEAKS`, bfloat16
    # Least and most share of the peak that a step reaches; not measured.
    utilization: tuple[float, float] = (0.3, 0.5)
    devices_per_host: int = 8  # with one process
    decode_ms: float = decode_ms(DEFAULT)
    dispatch_us: float = 1.4  # of the host to start a step, for each array of the state
    link_gb: float = 450.0  # GB/s that a device can send to others of its host
    network_gb: float = 50.0  # GB/s that a device can send to other hosts


class Work(NamedTuple):
    """What a step of a preset has to do, on however many devices."""

    name: str  # of the preset
    num_images: int  # N
    num_policies: int  # M
    group_size: int  # b, rows that share BatchNorm statistics
    row_flops: float  # operations to train on one row
    reduced_bytes: int  # what every device adds up with the others
    row_bytes: int  # of a row on its way to the device; 0 where the data are resident
    leaves: int  # arrays of the train state

    @property
    def num_rows(self) -> int:
        """N * M."""
        return self.num_images * self.num_policies


class Cost(NamedTuple):
    """A step on so many devices; seconds unless said otherwise."""

    devices: int  # D
    hosts: int
    group_size: int  # the largest b up to the preset's that gives every device a group
    device_rows: int
    compute: tuple[float, float]  # most and least, by the utilisation
    all_reduce: float  # of the gradients, not overlapped with anything
    decoded: int  # images that a host decodes
    decode: float  # CPU seconds of a host; 0 where nothing is streamed
    cores: float  # of a host that keep up with the faster compute
    sent_bytes: float  # to a device


@functools.cache
def work(preset: str) -> Work:
    """Counts the step of a preset at full size, from shapes."""
    config = presets.get_config(preset)
    made = presets.full_step(config)
    train = made.shapes()[0]
    layout = made.experiment.recipe.layout
    side = presets.describe(config).image_size or 224
    leaves = jax.tree.leaves((train.params, train.batch_stats))
    reduced = sum(leaf.size for leaf in leaves) + 2 * layout.num_policies
    is_streamed = config.data.name == "imagenet2012"
    of_row = floors.work(made.experiment.model, side, "bfloat16")
    return Work(
        name=preset,
        num_images=layout.num_images,
        num_policies=layout.num_policies,
        group_size=layout.group_size,
        row_flops=of_row.train_operations,
        reduced_bytes=4 * reduced,
        row_bytes=side * side * 3 if is_streamed else 0,
        leaves=len(jax.tree.leaves(train)),
    )


def cost(task: Work, devices: int, site: Site) -> Cost:
    """A step on D devices that share whole groups, one process per host."""
    hosts = -(-devices // site.devices_per_host)
    group_size = largest_group(task, devices)
    device_rows = task.num_rows // devices
    peak = floors.peak(site.device, "bfloat16")
    assert peak is not None, site.device
    whole = device_rows * task.row_flops / (peak * 1e12)
    compute = (whole / site.utilization[0], whole / site.utilization[1])
    speed = (site.link_gb if hosts == 1 else site.network_gb) * 1e9
    reduce = 2 * (devices - 1) / devices * task.reduced_bytes / speed
    decoded = images_of_host(task, group_size, devices, hosts) if task.row_bytes else 0
    decode = decoded * site.decode_ms / 1e3
    cores, sent = decode / (compute[1] + reduce), device_rows * task.row_bytes
    shares = (devices, hosts, group_size, device_rows)
    return Cost(*shares, compute, reduce, decoded, decode, cores, sent)


def largest_group(task: Work, devices: int) -> int:
    """The largest b up to the preset's that divides N and gives D whole groups each."""
    for size in range(task.group_size, 0, -1):
        if task.num_images % size == 0:
            layout = _layout(task, size)
            if layout.num_rows // layout.rows_per_group % devices == 0:
                return size
    raise ValueError(f"{task.name}: {task.num_rows} rows are too few for {devices}")


def images_of_host(task: Work, size: int, devices: int, hosts: int) -> int:
    """Distinct images among the rows of the first host's devices."""
    assert devices % hosts == 0
    rows = np.asarray(batch_layout.image_of_row(_layout(task, size)))
    return len(np.unique(rows[: task.num_rows // hosts]))


def _layout(task: Work, size: int) -> batch_layout.GroupLayout:
    numbers = task.num_images, task.num_policies, size
    return batch_layout.group_layout(*numbers, "mixed")


def table(task: Work, site: Site) -> str:
    """Markdown: a row per number of devices."""
    costs = [cost(task, devices, site) for devices in DEVICES]
    least, most = (round(100 * share) for share in site.utilization)
    heads = ["devices", "hosts", "b", "rows a device"]
    heads += [f"compute, ms at {most}–{least} %", "all-reduce, ms"]
    heads += ["images a host decodes", "cores it needs", "MB to a device"]
    rows = []
    for c in costs:
        streamed = [c.decoded, f"{c.cores:.0f}", f"{c.sent_bytes / 1e6:.0f}"]
        rows.append(
            [
                *(c.devices, c.hosts, c.group_size, c.device_rows),
                f"{1e3 * c.compute[1]:.1f}–{1e3 * c.compute[0]:.1f}",
                f"{1e3 * c.all_reduce:.2f}",
                *(streamed if task.row_bytes else []),
            ]
        )
    head = (
        f"**`{task.name}`**: N·M = {task.num_images}·{task.num_policies} rows, "
        f"{task.row_flops / 1e9:.1f} GFLOP each; {task.reduced_bytes / 1e6:.0f} MB to "
        f"add up; a host takes about {task.leaves * site.dispatch_us / 1e3:.1f} ms to "
        "start a step."
    )
    return measure.page([head, "", *measure.table(heads, rows, texts=0)])


def page_tables(site: Site) -> str:
    """All tables, as they stand in the page."""
    return "\n".join(table(work(preset), site) for preset in PRESETS)


def main(command_line: Sequence[str] | None = None) -> None:
    defaults = Site()._asdict()
    defaults.pop("utilization")  # a range
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in defaults.items():
        options = {f"--{name.replace('_', '-')}", f"--{name}"}
        parser.add_argument(*sorted(options), type=type(value), default=value)
    parser.add_argument("--write", action="store_true", help="into docs/scaling.md")
    given = vars(parser.parse_args(command_line))
    is_written = given.pop("write")
    tables = page_tables(Site(**given))
    if not is_written:
        print(tables)
        return
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{tables}\n{END}{after}")


if __name__ == "__main__":
    main()
