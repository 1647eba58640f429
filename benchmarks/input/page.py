"""The page of `benchmarks.input`, and what `benchmarks.scaling` reads of its record."""

from typing import Any

from aaa_jax import data
from aaa_jax.data import crops
from benchmarks import measure

GOAL = 375  # distinct images/s on two cores: a GPU at 3000 augmented images/s
GOAL_CORES = 2
DEFAULT = data.StreamOptions().resample


def markdown(record: dict[str, Any]) -> str:
    policies = record["num_policies"]
    lines = measure.head(
        "Speed of the input pipeline",
        record,
        f"{record['name']}, {record['num_images']} images; M = {policies} crops of "
        f"{record['size']} px",
    )
    heads = ["loader", "threads", "distinct images/s", "augmented images/s"]
    heads += ["distinct per CPU second", "augmented per CPU second"]
    rows = []
    for row in record["candidates"]:
        speeds = (row["images_per_s"], row["images_per_cpu_s"])
        cells = [f"{n * speed:.0f}" for speed in speeds for n in (1, policies)]
        rows.append([row["name"], row["threads"], *cells])
    lines += ["", *measure.table(heads, rows), "", *_parts(record["parts"]), ""]
    if "to_device" in record:
        moved = record["to_device"]
        lines += [
            f"To the device: {1e3 * moved['s']:.1f} ms for {moved['rows']} rows, "
            f"{moved['bytes'] / moved['s'] / 1e9:.1f} GB/s. A step that takes more "
            "rows a second than the loader makes on all cores waits for it.",
            "",
        ]
    return measure.page([*lines, *verdicts(record)])


def _parts(parts: dict[str, float]) -> list[str]:
    """What an image costs; shares are of a loader with the default resampling."""
    others = tuple(f"crops, {name}" for name in crops.RESAMPLINGS if name != DEFAULT)
    counted = {name: ms for name, ms in parts.items() if not name.endswith(others)}
    total = sum(counted.values())
    shares = {name: f"{100 * ms / total:.0f} %" for name, ms in counted.items()}
    rows = [[n, f"{ms:.2f}", shares.get(n, "–")] for n, ms in parts.items()]
    heads = ["part, one thread", "ms of CPU per distinct image", "share"]
    return measure.table(heads, rows)


def verdicts(record: dict[str, Any]) -> list[str]:
    """Whether the goal is reached, for each resampling of this loader.

    By CPU seconds, with as many threads as the goal has cores where that was measured.
    """
    lines = [f"Goal: {GOAL} distinct images/s on {GOAL_CORES} cores. By CPU seconds:"]
    lines.append("")
    for resample in crops.RESAMPLINGS:
        row = loader_row(record, resample, GOAL_CORES)
        if row is not None:
            reached = GOAL_CORES * row["images_per_cpu_s"]
            lines.append(
                f"- {resample}{' (the default)' if resample == DEFAULT else ''}: "
                f"{reached:.0f}, {'reached' if reached >= GOAL else 'not reached'}"
            )
    return lines


def loader_row(
    record: dict[str, Any], resample: str, threads: int
) -> dict[str, Any] | None:
    """This loader's row of a resampling with the nearest number of threads."""
    name = f"this loader, {resample}"
    rows = [row for row in record["candidates"] if row["name"] == name]
    return min(rows, key=lambda row: abs(row["threads"] - threads), default=None)
