"""The Markdown tables of a record of `train_step.py`."""

from typing import Any

from benchmarks.augment.page import provenance

COLUMNS = (
    *("candidate", "images/s", "× PyTorch", "TFLOP/s", "of the peak"),
    *("compile, s", "with cache, s", "memory, GiB"),
)


def markdown(record: dict[str, Any]) -> str:
    """Device, versions, command, then one table per network and type."""
    lines = [
        "# Speed of the training step",
        "",
        f"Made by `{record['command']}`; what is measured is said in "
        "`benchmarks/train_step`.",
        "",
        *provenance(record["machine"], record["versions"]),
        f"- load average at the start: {record['load_average']:.1f}",
        "- TFLOP/s: operations of convolutions and matrix products counted by formula, "
        "without recomputation and augmentation (`benchmarks/train_step/flops.py`)",
        "- memory: of our programs by XLA's plan, of PyTorch the allocator's peak",
        "- BatchNorm: groups of b rows in ours, all rows in PyTorch's",
    ]
    for table in record["networks"]:
        lines += ["", *_table(table)]
    return "\n".join(lines) + "\n"


def _table(table: dict[str, Any]) -> list[str]:
    options = ", ".join(f"{key} {value}" for key, value in table["options"].items())
    head = (
        f"## {table['network']} ({options}), {table['dtype']}, {table['num_rows']} "
        f"rows of {table['side']} px, b = {table['group_size']}"
    )
    rows = {row["name"]: row for row in table["rows"]}
    torch = next((row for name, row in rows.items() if name.startswith("PyTorch")), {})
    lines = [
        head,
        "",
        f"| {' | '.join(COLUMNS)} |",
        "| --- " + "| ---: " * (len(COLUMNS) - 1) + "|",
        *(_line(row, torch.get("images_per_s"), table) for row in rows.values()),
    ]
    notes = [*_share(rows)]
    if "jax_peak_bytes" in table:
        peak = table["jax_peak_bytes"] / 2**30
        notes.append(f"- JAX's peak on the device so far: {peak:.1f} GiB")
    return [*lines, "", *notes] if notes else lines


def _line(row: dict[str, Any], torch: float | None, table: dict[str, Any]) -> str:
    if "why" in row:
        return f"| {row['name']} | {row['why']} {'| – ' * (len(COLUMNS) - 2)}|"
    speed, peak = row["images_per_s"], table["peak_tflops"]
    cells = [
        row["name"],
        f"{speed:,.0f}" if speed >= 100 else f"{speed:.1f}",
        f"{speed / torch:.2f}" if torch else "–",
        f"{row['tflops']:.3g}",
        f"{100 * row['tflops'] / peak:.1f} %" if peak else "–",
        _number(row.get("compile_cold_s"), 1),
        _number(row.get("compile_warm_s"), 1),
        _number(row.get("memory_bytes"), 2**30),
    ]
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, unit: float) -> str:
    return "–" if value is None else f"{value / unit:.2f}"


def _share(rows: dict[str, dict[str, Any]]) -> list[str]:
    """How much of the AAA step the network's step does not explain."""
    whole = rows.get("AAA step", {}).get("images_per_s")
    alone = rows.get("network's step alone", {}).get("images_per_s")
    if not whole or not alone:
        return []
    share = 100 * (1 - whole / alone)
    return [f"- augmentation and averages: {share:.1f} % of the AAA step"]
