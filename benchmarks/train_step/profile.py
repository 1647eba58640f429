"""Where does the time of the AAA step go? Kernels by `jax.profiler`, planned memory.

    python -m benchmarks.train_step.profile --networks=wrn28x10,r50
    python -m benchmarks.train_step.profile --quick

Three steps of a network in bfloat16 are traced, after one that is not. The page has the
kernels that take most, by what they are, and the compiled program's memory; the traces
(for TensorBoard or Perfetto) and the optimised HLO lie beside it, in profile/. Writes
JSON and Markdown tables to benchmarks/results/.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from benchmarks import measure, plans
from benchmarks.train_step import jax_steps, presets

STEPS = 3
MOST = 25  # kernels that are named
KINDS = {  # what a kernel is, by its name; the first that fits
    "convolutions and matrix products": r"conv|gemm|cutlass|nvjet|cudnn|xmma|wgrad|dot",
    "copies": r"memcpy|memset|copy|transpose",
    "fusions of XLA": r"fusion|reduce|scatter|sort|loop|input_",
}


def main(command_line: Sequence[str] | None = None) -> None:
    parser = measure.parser(__doc__)
    names = measure.some_of(presets.NETWORKS)
    parser.add_argument("--networks", type=names, default=["wrn28x10"])
    options = parser.parse_args(command_line)
    record = measure.started("train_step.profile", command_line) | measure.place()
    rows = 16 if options.quick else 0
    record["networks"] = [
        profile(name, options.out / "profile" / name, rows, is_quick=options.quick)
        for name in options.networks
    ]
    print(measure.write(options.out, "profile", record, markdown(record)))


def profile(network: str, folder: Path, rows: int, *, is_quick: bool) -> dict[str, Any]:
    """A network's kernels and plan; its trace and HLO go into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    dtype = "float32" if is_quick else "bfloat16"
    config, spec = presets.network_config(network, dtype, rows, is_quick=is_quick)
    step, (state, *rest) = jax_steps.aaa_step(config, spec)
    _, compiled = plans.compile_for(None, step, (state, *rest), donate_argnums=0)
    (folder / "step.hlo.txt").write_text(compiled.as_text())
    state, info = compiled(state, *rest)
    jax.block_until_ready(info)
    with jax.profiler.trace(str(folder)):
        for _ in range(STEPS):
            state, info = compiled(state, *rest)
        jax.block_until_ready((state, info))
    newest = max(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    num_rows = config.batch_size * config.policies.num_policies
    return {
        "title": f"{network}, {dtype}, {num_rows} rows of {spec.image_size} px",
        "kernels": kernel_seconds(jax.profiler.ProfileData.from_file(str(newest))),
        "memory": plans.planned_bytes(compiled),
    }


def kernel_seconds(trace: Any) -> dict[str, float]:
    """Seconds of each kernel on the GPUs; of each operation of XLA's on a CPU."""
    seconds: Counter[str] = Counter()
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


def markdown(record: dict[str, Any]) -> str:
    lines = measure.head("Where the time of a training step goes", record)
    for made in record["networks"]:
        lines += ["", f"## {made['title']}", ""]
        lines += [f"Memory by XLA's plan: {made['memory'] / 2**30:.3f} GiB.", ""]
        lines += tables(made["kernels"], STEPS)
    return measure.page(lines)


def kind(name: str) -> str:
    """What a kernel is, by its name: a key of `KINDS`, or "others"."""
    for label, pattern in KINDS.items():
        if re.search(pattern, name, re.IGNORECASE):
            return label
    return "others"


def tables(kernels: Mapping[str, float], steps: int) -> Iterable[str]:
    """Milliseconds of a step by kind, then by kernel."""
    total = sum(kernels.values()) or float("nan")
    kinds: Counter[str] = Counter()
    for name, seconds in kernels.items():
        kinds[kind(name)] += seconds
    yield (
        f"{len(kernels)} kernels, {1e3 * total / steps:.2f} ms a step in all, "
        "counted one after the other."
    )
    for what, values in (("kind", kinds), ("kernel", Counter(kernels))):
        rows = [
            [
                name.replace("|", "/")[:90],
                f"{1e3 * seconds / steps:.3f}",
                f"{100 * seconds / total:.1f} %",
            ]
            for name, seconds in values.most_common(MOST)
        ]
        yield ""
        yield from measure.table([what, "ms a step", "share"], rows)


if __name__ == "__main__":
    main()
