"""Where the time of the AAA step goes: kernels by `jax.profiler`, memory by the plan.

    python -m benchmarks.train_step.profile --networks=wrn28x10,r50
    python -m benchmarks.train_step.profile --quick

Three steps of a network in bfloat16 are traced, after one that is not. The page has the
kernels that take most, by what they are, and the compiled program's memory; the traces
(for TensorBoard or Perfetto) and the optimised HLO lie beside it, in profile/.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from benchmarks.augment.__main__ import ROOT, machine, versions
from benchmarks.augment.page import provenance
from benchmarks.train_step import presets
from benchmarks.train_step.__main__ import NETWORKS, make_config

STEPS = 3
MOST = 25  # kernels that are named
KINDS = {  # what a kernel is, by its name; the first that fits
    "convolutions and matrix products": r"conv|gemm|cutlass|nvjet|cudnn|xmma|wgrad|dot",
    "copies": r"memcpy|memset|copy|transpose",
    "fusions of XLA": r"fusion|reduce|scatter|sort|loop|input_",
}


def main(command_line: Sequence[str] | None = None) -> None:
    """Trace each network, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default="wrn28x10")
    parser.add_argument("--rows", type=int, default=0, help="N M; 0: per network")
    parser.add_argument("--quick", action="store_true", help="tiny, for tests")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(command_line)
    networks = options.networks.split(",")
    if unknown := set(networks) - set(NETWORKS):
        known = ", ".join(NETWORKS)
        parser.error(f"--networks {', '.join(sorted(unknown))}: use {known}")
    here = machine()
    lines = [
        "# Where the time of a training step goes",
        "",
        "Made by `python -m benchmarks.train_step.profile "
        f"--networks={options.networks}`.",
        "",
        *provenance(here, versions()),
    ]
    for network in networks:
        folder = options.out / "profile" / network
        lines += ["", *profile(network, folder, options.rows, options.quick)]
    text = "\n".join(lines) + "\n"
    (options.out / f"profile-{here['slug']}.md").write_text(text)
    print(text)


def profile(network: str, folder: Path, rows: int, is_quick: bool) -> list[str]:
    """A network's section; its trace and HLO go into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    dtype = "float32" if is_quick else "bfloat16"
    config, spec = make_config(network, dtype, 16 if is_quick else rows, is_quick)
    num_images = 4 * config.batch_size
    made = presets.make_step(config, spec, num_images, num_images)
    state, *rest = jax.jit(made.make_arguments)()
    compiled = jax.jit(made.call, donate_argnums=0).lower(state, *rest).compile()
    (folder / "step.hlo.txt").write_text(compiled.as_text())
    state, info = compiled(state, *rest)
    jax.block_until_ready(info)
    with jax.profiler.trace(str(folder)):
        for _ in range(STEPS):
            state, info = compiled(state, *rest)
        jax.block_until_ready((state, info))
    newest = max(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    kernels = kernel_seconds(jax.profiler.ProfileData.from_file(str(newest)))
    num_rows = config.batch_size * config.policies.num_policies
    return [
        f"## {network}, {dtype}, {num_rows} rows of {spec.image_size} px",
        "",
        _memory(compiled.memory_analysis()),
        "",
        *tables(kernels, STEPS),
    ]


def kernel_seconds(trace: Any) -> dict[str, float]:
    """Seconds of each kernel on the GPUs; of each operation of XLA's on a CPU."""
    seconds: dict[str, float] = defaultdict(float)
    planes = list(trace.planes)
    on_gpu = [plane for plane in planes if plane.name.startswith("/device:GPU")]
    for plane in on_gpu or planes:
        for line in plane.lines:
            if on_gpu and not line.name.startswith("Stream"):
                continue
            for event in line.events:
                if on_gpu or "hlo_op" in dict(event.stats):
                    seconds[event.name] += event.duration_ns / 1e9
    return dict(seconds)


def kind(name: str) -> str:
    """What a kernel is, by its name: a key of `KINDS`, or "others"."""
    for label, pattern in KINDS.items():
        if re.search(pattern, name, re.IGNORECASE):
            return label
    return "others"


def tables(kernels: dict[str, float], steps: int) -> list[str]:
    """Milliseconds of a step by kind, then by kernel."""
    total = sum(kernels.values()) or float("nan")
    kinds: dict[str, float] = defaultdict(float)
    for name, seconds in kernels.items():
        kinds[kind(name)] += seconds

    def rows(values: dict[str, float]) -> list[str]:
        ordered = sorted(values.items(), key=lambda item: -item[1])[:MOST]
        return [
            f"| {name.replace('|', '/')[:90]} | {1e3 * seconds / steps:.3f} | "
            f"{100 * seconds / total:.1f} % |"
            for name, seconds in ordered
        ]

    head = "| ms a step | share |", "| --- | ---: | ---: |"
    return [
        f"{len(kernels)} kernels, {1e3 * total / steps:.2f} ms a step in all, "
        "counted one after the other.",
        "",
        f"| kind {head[0]}",
        head[1],
        *rows(kinds),
        "",
        f"| kernel {head[0]}",
        head[1],
        *rows(kernels),
    ]


def _memory(plan: Any) -> str:
    """The compiled program's plan in a line."""
    parts = {
        "arguments": plan.argument_size_in_bytes,
        "output": plan.output_size_in_bytes,
        "of it in the arguments' place": plan.alias_size_in_bytes,
        "temporaries": plan.temp_size_in_bytes,
        "code": plan.generated_code_size_in_bytes,
    }
    sizes = ", ".join(f"{name} {size / 2**30:.3f}" for name, size in parts.items())
    return f"Memory in GiB by XLA's plan: {sizes}."


if __name__ == "__main__":
    main()
