"""The digits preset under several arguments, over paired seeds: error and entropy.

    python benchmarks/digits.py [--seeds=5] [--arguments=baseline,random,ours]

Each cell is `launch.py` in a process of its own, in `runs/digits/ARGUMENT-SEED`; a cell
that is finished is not run again, so that the table can be made in several goes. Seed s
means the same training images, initialisation and draws for every argument, so that the
differences are paired. Writes `benchmarks/results/digits.md`.
"""

import argparse
import json
import math
import pathlib
import platform
import statistics
import subprocess
import sys

import jax
from scipy import stats

ROOT = pathlib.Path(__file__).resolve().parent.parent
REFERENCE = "random"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--arguments", default="baseline,random,ours")
    parser.add_argument("--override", action="append", default=[])
    parser.add_argument("--runs", type=pathlib.Path, default=ROOT / "runs" / "digits")
    parser.add_argument(
        "--output", type=pathlib.Path, default=ROOT / "benchmarks/results/digits.md"
    )
    options = parser.parse_args()
    lines: dict[str, list[dict]] = {}
    for seed in range(options.seeds):
        for argument in options.arguments.split(","):
            line = run_cell(argument, seed, options.override, options.runs)
            lines.setdefault(argument, []).append(line)
            print(f"{argument} seed {seed}: {line['test_error']:.2f} %", flush=True)
    page = report(lines, options.override)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(page)
    print(page)


def run_cell(
    argument: str, seed: int, overrides: list[str], runs: pathlib.Path
) -> dict:
    """The last line of metrics of one run, trained now or before."""
    workdir = runs / f"{argument}-{seed}"
    command = [sys.executable, "launch.py", f"--config=configs/digits.py:{argument}"]
    command += [f"--config.seed={seed}", f"--workdir={workdir}"]
    command += [f"--config.{override}" for override in overrides]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])


def report(lines: dict[str, list[dict]], overrides: list[str]) -> str:
    """A Markdown page: a row per argument, differences to `random` per seed."""
    count = len(next(iter(lines.values())))
    rows = [
        "| argument | test error %, mean ± std | difference to random, 95 % interval "
        "| final entropy | states |",
        "| --- | --- | --- | --- | --- |",
    ]
    for argument, cells in lines.items():
        errors = [cell["test_error"] for cell in cells]
        learned = [cell for cell in cells if "state" in cell]
        entropy = mean_std([cell["entropy"] for cell in learned]) if learned else ""
        states = ", ".join(sorted({cell["state"] for cell in learned}))
        rows.append(
            f"| {argument} | {mean_std(errors)} | {difference(lines, argument)} | "
            f"{entropy} | {states} |"
        )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    settings = "".join(f" {override}" for override in overrides)
    return "\n".join(
        [
            "# Digits: does the controller help?",
            "",
            f"Preset `configs/digits.py`{settings}, last epoch, {count} paired seeds, "
            "599 test images. Entropy is the controller's, as a fraction of the "
            "maximum, averaged over type and magnitude heads.",
            "",
            *rows,
            "",
            f"{platform.machine()} CPU, {jax.device_count()} device, jax "
            f"{jax.__version__}, Python {platform.python_version()}, commit {commit}. "
            f"Command: `python benchmarks/digits.py --seeds={count} "
            f"--arguments={','.join(lines)}`",
            "",
        ]
    )


def mean_std(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else math.nan
    return f"{statistics.mean(values):.2f} ± {spread:.2f}"


def difference(lines: dict[str, list[dict]], argument: str) -> str:
    """Mean paired difference to the reference with its t interval."""
    if argument == REFERENCE or REFERENCE not in lines:
        return ""
    pairs = zip(lines[argument], lines[REFERENCE], strict=True)
    differences = [own["test_error"] - other["test_error"] for own, other in pairs]
    count = len(differences)
    mean = statistics.mean(differences)
    if count < 2:
        return f"{mean:+.2f}"
    error = statistics.stdev(differences) / math.sqrt(count)
    half = stats.t.ppf(0.975, count - 1) * error
    return f"{mean:+.2f} [{mean - half:+.2f}, {mean + half:+.2f}]"


if __name__ == "__main__":
    main()
