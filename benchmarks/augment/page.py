"""The Markdown table of a record of `augment.py`."""

from typing import Any


def markdown(record: dict[str, Any]) -> str:
    """Device and versions, then for each size the table and what bounds the engine."""
    machine, versions = record["machine"], record["versions"]
    settings = record["settings"]
    lines = [
        "# Speed of the augmentation",
        "",
        "Made by `python -m benchmarks.augment`; what is measured is said there.",
        "",
        *provenance(machine, versions),
        *(
            f'- "{name}": {s["cores"]} core(s), {s["devices"]} XLA device(s), '
            f"counted in {s['clock']}"
            for name, s in settings.items()
        ),
        f"- load average at the start: {record['load_average']:.1f}",
    ]
    for side in next(iter(settings.values()))["sizes"]:
        lines += ["", *_table(side, settings)]
    return "\n".join(lines) + "\n"


def provenance(machine: dict[str, str], versions: dict[str, str]) -> list[str]:
    """Two lines: the device, the commit; the versions."""
    names = ", ".join(f"{name} {version}" for name, version in versions.items())
    return [
        f"- device: {machine['device']}; host: {machine['cpu']}, {machine['cores']} "
        f"cores, {machine['os']}; commit {machine['commit']}",
        f"- versions: {names}",
    ]


def _table(side: str, settings: dict[str, Any]) -> list[str]:
    """One size: a row per candidate, two columns per core setting."""
    sizes = {name: setting["sizes"][side] for name, setting in settings.items()}
    first = next(iter(sizes.values()))
    heads = [f"{name}: images/s | × Pillow" for name in sizes]
    lines = [
        f"## {side} px, {first['rows']} rows",
        "",
        f"| candidate | {' | '.join(heads)} | images equal to Pillow's |",
        "| --- " + "| ---: " * (2 * len(sizes) + 1) + "|",
    ]
    by_name = [{c["name"]: c for c in size["candidates"]} for size in sizes.values()]
    for name in by_name[0]:
        cells = [name]
        for candidates in by_name:
            cells += _cells(candidates[name], candidates.get("Pillow", {}))
        measured = [candidates[name].get("equal") for candidates in by_name]
        equal = next((share for share in measured if share is not None), None)
        cells.append("–" if equal is None else f"{100 * equal:.1f} %")
        lines.append(f"| {' | '.join(cells)} |")
    bounds = [
        _bounds(c, first)
        for c in first["candidates"]
        if "temporary_bytes" in c.get("facts", {})
    ]
    return [*lines, "", *bounds]


def _cells(candidate: dict[str, Any], pillow: dict[str, Any]) -> list[str]:
    if "why" in candidate:
        return [candidate["why"], "–"]
    speed = candidate["images_per_s"]
    reference = pillow.get("images_per_s")
    return [f"{speed:,.0f}", f"{speed / reference:.2f}" if reference else "–"]


def _bounds(candidate: dict[str, Any], size: dict[str, Any]) -> str:
    """Memory and compile time of a program; bandwidth and share where measured."""
    facts = candidate["facts"]
    batch = facts["output_bytes"] / 4  # float32 out, uint8 inside
    seconds = facts["rows"] / candidate["images_per_s"]
    moved = facts["bytes_accessed"]
    parts = [
        f"compiles in {facts['compile_s']:.1f} s",
        f"temporaries {facts['temporary_bytes'] / batch:.2f} × the uint8 batch",
        f"{moved / batch:.1f} × the uint8 batch moved, by XLA's count",
    ]
    if "step_s" in size:
        step, bandwidth = size["step_s"], size["bandwidth"]
        parts += [
            f"{100 * seconds / step:.2f} % of a {size['step']} step on as many rows "
            f"({1000 * step:.2f} ms)",
            f"at the {bandwidth / 1e9:.0f} GB/s of a plain kernel the bytes alone take "
            f"{1e6 * moved / bandwidth:.0f} of its {1e6 * seconds:.0f} µs",
        ]
    return f"- {candidate['name']}: {'; '.join(parts)}"
