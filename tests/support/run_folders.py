"""Small run directories, in the format of a run, without running anything."""

import json
import pathlib
import shutil

import numpy as np

from aaa_jax.augment import ops, policies, policy_json
from aaa_jax.experiments.paper_tables import TABLES
from aaa_jax.report import grouping, runs
from aaa_jax.search import collapse
from configs import digits

EARLIER_RUN = pathlib.Path(__file__).parent / "earlier_run.tar.xz"
STEPS_PER_EPOCH = 6
ROUNDS_PER_EPOCH = 2
RESTS = {"num_images": 50, "version": 1}


def unpack_earlier_run(folder):
    """A cell of `table4_digits` as commit 7c0c0c0 wrote it, ended by max_steps = 4.

    A tiny Shake-Shake and a controller of 4 units; of 6 steps without max_steps.
    `went_on.jsonl` beside it is the line that the same commit wrote for the last epoch
    when it went on to the end.
    """
    shutil.unpack_archive(EARLIER_RUN, folder, filter="data")
    return folder / "table4_digits" / "digits" / "ours" / "seed0"


def family_of(folder):
    (family,) = grouping.make_families(runs.read_runs([folder]))
    return family


def write_cell(folder, table, row, column, *, seed=0, **more):
    """A run of a table's cell, in the directory of the table."""
    cell = {"table": table, "row": row, "column": column}
    path = folder / row / column / f"seed{seed}"
    argument = TABLES[table].arguments[column]
    return write_run(path, argument, seed=seed, cell=cell, **more)


def write_run(
    path,
    argument="ours",
    *,
    seed=0,
    errors=(50.0, 9.0),
    epochs=None,
    override=(),
    cell=None,
    data=None,
    entropy_falls=0.2,
    has_loss=True,
):
    """A run of which an epoch is done for each error; None: it was not tested then.

    Policies are drawn with NumPy from the seed; the controller's entropy falls from 1
    by `entropy_falls` every epoch. An epoch took 36 s on 2 devices.
    """
    config = digits.get_config(argument)
    config.seed = seed
    config.epochs = epochs or len(errors)
    with config.unlocked():
        for key, value in override:
            config.update_from_flattened_dict({key: value})
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config.to_dict()))
    overrides = [key for key, _ in override]
    origin = {"preset": "digits", "argument": argument, "overrides": overrides}
    facts = {"origin": origin | (cell or {}), "data": data or {}, "device": "cpu"}
    facts["steps_per_epoch"] = STEPS_PER_EPOCH
    facts["total_steps"] = STEPS_PER_EPOCH * config.epochs
    (path / "run.json").write_text(json.dumps(facts))
    learned = config.policies.source == "adversarial"
    metrics, timing, rounds = [], [], []
    random = np.random.RandomState(seed)
    for epoch, error in enumerate(errors, start=1):
        step = epoch * STEPS_PER_EPOCH
        line = {"step": step, "epoch": epoch, "train_loss": 2.0 / epoch}
        if error is not None:
            line |= {"test_error": error, "test_top5_error": error / 4}
            line |= {"test_loss": error / 32} if has_loss else {}
        metrics.append(line)
        spent = {"train_seconds": 36.0, "evaluation_seconds": 5.0}
        of_epoch = {"step": step, "epoch": epoch, "steps": STEPS_PER_EPOCH}
        timing.append(of_epoch | {"devices": 2} | spent)
        for number in range(ROUNDS_PER_EPOCH):
            ends = STEPS_PER_EPOCH // ROUNDS_PER_EPOCH * (number + 1)
            count = config.policies.num_policies
            at = step - STEPS_PER_EPOCH + ends
            entropy = 1 - entropy_falls * (epoch - 1)
            rounds.append(_round(random, at, entropy, count, learned))
    for name, lines in (("metrics", metrics), ("timing", timing), ("policies", rounds)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (path / f"{name}.jsonl").write_text(text)
    return path


def write_probe(path, accuracy, **more):
    names = [op.name for op in ops.OPS[: ops.NUM_SEARCH_OPS]]
    record = {"clean_accuracy": 0.9, "ops": names, "accuracy": accuracy}
    _write_extra(path, "probe", record | more)


def write_corruption(path, errors, **more):
    mean = float(np.mean(list(errors.values())))
    record = {"clean_error": 5.0, "mean_error": mean, "errors": errors}
    _write_extra(path, "corruption", record | more)


def _write_extra(path, name, record):
    """Measured after the run's last step, if `record` does not say otherwise."""
    last = json.loads((path / "metrics.jsonl").read_text().splitlines()[-1])
    record = RESTS | {"step": last["step"]} | record
    (path / f"{name}.json").write_text(json.dumps(record))


def _round(random, step, entropy, count, learned):
    shape = (count, 5, 2)
    drawn = policies.Policies(
        ops=random.randint(16, size=shape).astype(np.int32),
        magnitudes=random.randint(10, size=shape).astype(np.int32),
        probs=np.ones(shape, np.float32),
    )
    losses = random.uniform(1, 2, count)
    op_shares = np.append(random.dirichlet(np.ones(16)), 0.0)
    numbers = {
        "op_entropy": entropy,
        "magnitude_entropy": entropy,
        "entropy": entropy,
        "loss_spread": float(losses.std()),
        "kl": 0.01,
        "gradient_norm": 2.0,
        "loss_log_prob_correlation": 0.5,
        "repeated_ops": 0.1,
    }
    shares = {"top_magnitude_share": 0.1, "top_op_share": 0.1}
    state = collapse.collapse_state({"entropy": entropy} | shares)
    return (
        {"step": step, "round": 0}
        | policy_json.to_json(drawn, ranges="monotone")
        | numbers
        | {
            "losses": losses.tolist(),
            "standard_errors": [0.3] * count,
            "op_shares": op_shares.tolist(),
            "magnitude_shares": random.dirichlet(np.ones(10)).tolist(),
        }
        | ({"state": state} if learned else {})
    )
