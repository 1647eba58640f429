"""What a command would do and how long it would take; nothing is trained or written.

Known datasets need not be there. Times are estimates: the floors of
`experiments.floors`, below which no program comes, by the data sheet of a device, or by
what a convolution reached here.
"""

import functools
import json
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from aaa_jax import data, models
from aaa_jax.commands.columns import in_columns
from aaa_jax.data import host_speed
from aaa_jax.experiments import floors, memory, sizes, table_cells
from aaa_jax.experiments.build import (
    Experiment,
    build,
    check_config,
    pick_devices,
    require_shares,
)
from aaa_jax.experiments.splits import open_splits
from aaa_jax.runtime import devices, randomness
from aaa_jax.train import compiled, records

H100 = "NVIDIA H100"
GIB, MIB = 2**30, 2**20


class Facts(NamedTuple):
    """What a plan knows of a dataset."""

    spec: data.DatasetSpec
    num_train: int
    num_test: int

    @property
    def is_streamed(self) -> bool:
        """Whether the host decodes images at every step."""
        return self.spec.loader == "stream"


def plan_run(config: ConfigDict, workdir: str) -> list[str]:
    """What a run would do, a line for each thing.

    Raises:
        ConfigError: the run cannot work.
        data.DatasetError: its dataset is not known, and cannot be opened.
    """
    check_config(config)
    used, mapping = pick_devices(config)
    config, facts, experiment = _build(config)
    resident = 0 if facts.is_streamed else facts.num_train
    shape = (facts.spec.image_size, facts.spec.image_size, 3)
    if config.num_passes == 0:
        passes = compiled.choose_passes(experiment, used, shape, resident)
        experiment = experiment.in_passes(passes)
    require_shares(experiment, len(used))
    rows = [
        ("run", f"{workdir}: {table_cells.read_state(workdir, config).text}"),
        ("data", _describe_data(config, facts)),
        ("devices", _describe_devices(experiment, used, mapping)),
        ("memory", _describe_memory(experiment, used, shape, resident)),
        ("steps", _describe_steps(experiment)),
        ("policies", _describe_policies(experiment)),
        ("checkpoint", _describe_checkpoint(config, experiment, shape)),
        *_describe_time(config, experiment, facts, used),
    ]
    return [f"{name:11} {text}" for name, text in rows]


def plan_table(config: ConfigDict, workdir: str) -> list[str]:
    """A line per row and column of a table, with runs, hours and a total.

    Raises:
        TableError: the command cannot work.
    """
    cells = table_cells.select_cells(config)
    table_cells.check_cells(config, cells)
    device = devices.all_devices()[0]
    here, there = f"hours, 1 x {device.device_kind}", f"hours, 1 x {H100}"
    rows: list[tuple[str, ...]] = [("cell", "runs", "steps", here, there)]
    totals = np.zeros(2)
    for row, column in dict.fromkeys((cell.row, cell.column) for cell in cells):
        of_cell = [c for c in cells if (c.row, c.column) == (row, column)]
        run, facts, experiment = _build(table_cells.cell_config(config, of_cell[0]))
        dtype = run.model.dtype
        hours = [
            len(of_cell) * _seconds(run, experiment, facts, rates) / 3600
            for rates in (_rates(device, dtype), _rates_of_h100(dtype))
        ]
        totals += hours
        counts = f"{len(of_cell)}", f"{experiment.total_steps:,}"
        rows.append((f"{row}/{column}", *counts, *map(_number, hours)))
    rows.append(("all", f"{len(cells)}", "", *map(_number, totals)))
    return [
        f"{table_cells.title(config)}; {len(cells)} cells in {workdir}",
        *in_columns(rows, numbers=True),
        "hours of all runs of a line, one after the other, by estimate, without what "
        "the host decodes;",
        _source_of(device),
    ]


def _build(config: ConfigDict) -> tuple[ConfigDict, Facts, Experiment]:
    """A run as its dataset makes it; a known dataset need not be there."""
    c = config.data
    if c.name in data.NUM_IMAGES:
        spec = data.describe(c.name, loader=c.loader, image_size=c.image_size)
        num_train, num_test = data.NUM_IMAGES[c.name]
        facts = Facts(spec, min(c.num_train_images or num_train, num_train), num_test)
    else:
        splits = open_splits(config)
        facts = Facts(splits.spec, splits.num_images, splits.test.num_images)
    config = sizes.filled_in(config, facts.num_train, facts.spec)
    return config, facts, build(config, facts.spec, facts.num_train)


def _describe_data(config: ConfigDict, facts: Facts) -> str:
    how = "streamed" if facts.is_streamed else "in memory"
    return (
        f"{config.data.name}: {facts.num_train:,} training and {facts.num_test:,} test "
        f"images, {facts.spec.num_classes:,} classes, {facts.spec.image_size} px, {how}"
    )


def _describe_devices(
    experiment: Experiment, used: Sequence[jax.Device], mapping: str
) -> str:
    layout, passes = experiment.recipe.layout, experiment.recipe.num_passes
    of_pass = layout.num_groups // len(used) // passes
    return (
        f"{len(used)} x {used[0].device_kind} ({mapping}); {layout.num_groups} groups "
        f"of {layout.rows_per_group} rows: {passes} "
        f"pass{'es' if passes > 1 else ''} of {of_pass} on each device"
    )


def _describe_memory(
    experiment: Experiment,
    used: Sequence[jax.Device],
    shape: tuple[int, int, int],
    resident: int,
) -> str:
    recipe = experiment.recipe
    rows = recipe.layout.num_rows // len(used) // recipe.num_passes
    needed = compiled.step_memory(experiment, len(used), shape, resident)(rows)
    whose = "each device's"
    if used[0].platform == "cpu":  # virtual devices share the machine
        needed, whose = len(used) * needed, "the machine's"
    limit = memory.device_bytes(used[0])
    of = f"of {limit / GIB:.3g} GiB" if limit else "which does not say what it has"
    more = "; MORE THAN THERE IS" if limit and needed > limit else ""
    gib = _number(needed / GIB)
    return f"about {gib} GiB in a step, {of} ({whose}; estimate){more}"


def _describe_steps(experiment: Experiment) -> str:
    recipe = experiment.recipe
    layout = recipe.layout
    return (
        f"{experiment.total_steps:,}, {recipe.steps_per_epoch:,} an epoch; each "
        f"{layout.num_rows:,} rows: N = {layout.num_images:,} images under "
        f"M = {layout.num_policies}"
    )


def _describe_policies(experiment: Experiment) -> str:
    source, recipe = experiment.source, experiment.recipe
    if not source.is_learned:
        return f"{source.name}; nothing is learned"
    updates = experiment.total_steps // recipe.round_steps
    fewest = records.FEWEST_UPDATES
    first = fewest * recipe.round_steps
    epoch = -(-first // recipe.steps_per_epoch)
    when = (
        f"at step {first:,}, in epoch {epoch:,}"
        if updates >= fewest
        else "never: they stay uniform, as `random` draws them"
    )
    return (
        f"{source.name}: {updates:,} controller updates, one every "
        f"{recipe.round_steps:,} steps; it can have moved after about {fewest}, {when}"
    )


def _describe_checkpoint(
    config: ConfigDict, experiment: Experiment, shape: tuple[int, int, int]
) -> str:
    state = jax.eval_shape(
        lambda root: compiled.init_run_state(experiment, root, shape),
        randomness.key_of_seed(0),
    )
    size = memory.bytes_of_tree(state)
    return f"{size / MIB:,.3g} MiB, the newest {config.checkpoint.keep} are kept"


def _describe_time(
    config: ConfigDict, experiment: Experiment, facts: Facts, used: Sequence[jax.Device]
) -> list[tuple[str, str]]:
    """What the host must decode, and the hours here and on one H100."""
    dtype = config.model.dtype
    # Virtual devices share the machine that was measured.
    share = 1 if used[0].platform == "cpu" else len(used)
    here = _seconds(config, experiment, facts, _rates(used[0], dtype)) / share
    there = _seconds(config, experiment, facts, _rates_of_h100(dtype))
    rows = []
    if facts.is_streamed:
        layout, options = experiment.recipe.layout, experiment.stream
        can = host_speed.images_per_second(
            layout.num_policies,
            options.image_size,
            options.resample,
            options.num_threads,
        )
        images = experiment.total_steps * layout.num_images
        images += _num_tests(experiment) * facts.num_test
        text = (
            f"decodes {_number(images / here)} images/s to keep up here, "
            f"{_number(images / there)} with one H100; this machine can about "
            f"{_number(can)} (measured on made-up JPEGs)"
        )
        rows.append(("host", text))
        here = max(here, images / can)
    least = "at least" if _is_known(used[0]) else "about"
    text = f"{least} {_duration(here)} here, at least {_duration(there)} on one H100"
    return [*rows, ("time", f"{text}, by estimate"), ("", _source_of(used[0]))]


def _seconds(
    config: ConfigDict, experiment: Experiment, facts: Facts, rates: floors.Rates
) -> float:
    """The least that a run takes on one device: training and tests."""
    options = json.dumps(config.model.options.to_dict())
    network = config.model.name, options, config.model.dtype
    of_image = _work(*network, facts.spec.num_classes, facts.spec.image_size)
    rows = experiment.total_steps * experiment.recipe.layout.num_rows
    tested = _num_tests(experiment) * facts.num_test
    return rows * of_image.train_seconds(rates) + tested * of_image.test_seconds(rates)


def _num_tests(experiment: Experiment) -> int:
    return -(-experiment.total_steps // experiment.test_every_steps)


@functools.cache
def _work(
    name: str, options: str, dtype: str, num_classes: int, side: int
) -> floors.Work:
    network = models.create(
        name,
        num_classes=num_classes,
        dtype=dtype,
        bn_group_size=None,
        **json.loads(options),
    )
    return floors.work(network, side, dtype)


def _rates_of_h100(dtype: str) -> floors.Rates:
    rates = floors.known_rates(H100, dtype)
    assert rates is not None  # a row of the tables
    return rates


def _rates(device: jax.Device, dtype: str) -> floors.Rates:
    known = floors.known_rates(device.device_kind, dtype)
    return known or floors.measured_rates(device, dtype)


def _is_known(device: jax.Device) -> bool:
    return floors.known_rates(device.device_kind, "bfloat16") is not None


def _source_of(device: jax.Device) -> str:
    measured = f"what the {device.device_kind} does was measured now, "
    return (
        f"{'' if _is_known(device) else measured}what an {H100} does is of its data "
        "sheet; steps on an H200 took 1.5 to 1.7 times that (benchmarks/NOTES.md)"
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.2g} s"
    if seconds < 5400:
        return f"{seconds / 60:.2g} min"
    return f"{_number(seconds / 3600)} h"


def _number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
