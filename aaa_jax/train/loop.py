"""Algorithm 1: the loop of a run, from a config to the last epoch's test error.

`step` does one mini-batch, `compiled` maps it over the devices, `batches` feeds it,
`records` says what is written, `resume` what of an earlier start is kept.
"""

import collections
import contextlib
import functools
import itertools
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from aaa_jax import data
from aaa_jax.augment.policies import Policies
from aaa_jax.experiments import initial_weights, memory, sizes
from aaa_jax.experiments.build import (
    ConfigError,
    Experiment,
    build,
    changeable_keys,
    check_config,
    pick_devices,
    require_shares,
)
from aaa_jax.experiments.splits import Splits, open_splits
from aaa_jax.runtime import devices, processes, randomness
from aaa_jax.runtime.progress import Progress
from aaa_jax.runtime.signals import RunInterrupted, noted_signals
from aaa_jax.runtime.watchdog import Watchdog
from aaa_jax.train import evaluate, pictures, records, resume
from aaa_jax.train.batches import Feed, make_feed
from aaa_jax.train.compiled import (
    Program,
    Round,
    RunState,
    choose_passes,
    compile_program,
    init_run_state,
)
from aaa_jax.train.errors import GO_ON, NonFiniteLoss, RunFailed, failing_in_mid_run
from aaa_jax.train.step import Data
from aaa_jax.workdir import run_directory
from aaa_jax.workdir.checkpoints import Checkpoints

__all__ = [
    "ConfigError",
    "NonFiniteLoss",
    "RunFailed",
    "RunInterrupted",
    "RunState",
    "train_and_evaluate",
    "train_epoch",
]

Rounds = list[tuple[int, Round]]  # over after so many steps, not written yet
HANG_HINT = "Saved steps are untouched: the same command goes on from the newest."


class Run(NamedTuple):
    """What the loop holds: the functions, the data and where things are written."""

    config: ml_collections.ConfigDict
    splits: Splits
    fingerprint: Mapping[str, int]  # of the data; empty except in process 0
    experiment: Experiment
    devices: Sequence[jax.Device]
    program: Program
    root: jax.Array
    feed: Feed
    directory: run_directory.RunDirectory
    checkpoints: Checkpoints
    progress: Progress
    watchdog: Watchdog
    stop: processes.Stop  # whether a signal asked the run to stop


def train_and_evaluate(
    config: ml_collections.ConfigDict,
    workdir: str,
    origin: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Trains a target network against its policy source (Algorithm 1) and tests it.

    The same call again in the same workdir goes on where the last one was saved, or
    reports the result if the run is finished.

    Args:
        config: every key of `configs/default.py`.
        workdir: the run's directory, made if need be.
        origin: what a report is told of the run, as ``launch.py`` knows it: preset,
            argument, overrides and command; table, row and column of a table's cell.

    Returns:
        The last epoch's line of ``metrics.jsonl``.

    Raises:
        ConfigError: a value that cannot work; nothing has been touched.
        data.DatasetError: the dataset is missing or damaged.
        run_directory.RunDirectoryError: the workdir cannot be used, or belongs to a
            run with another config.
        checkpoints.CheckpointError: the checkpoints cannot be read, or none is sound.
        RunFailed: something cannot be written, after training has begun.
        processes.ProcessError: the processes of the run do not fit together.
        NonFiniteLoss: training diverged.
        RunInterrupted: after a signal, when the run was saved.
    """
    check_config(config)
    workdir = os.fspath(run_directory.resolve(workdir))
    if config.compilation_cache:
        devices.keep_compiled_programs()
    used, mapping = pick_devices(config)
    # Process 0 first: a dataset that is missing is prepared by one only.
    splits = processes.first_then_others(functools.partial(open_splits, config))
    config = sizes.filled_in(config, splits.num_images, splits.spec)
    resume.require_equal_processes(config, splits, workdir)
    experiment = build(config, splits.spec, splits.num_images)
    if config.num_passes == 0:
        resident = 0 if splits.is_streamed else splits.num_images
        passes = choose_passes(experiment, used, splits.image_shape, resident)
        experiment = experiment.in_passes(passes)
    require_shares(experiment, len(used))
    weights = None
    if config.model.init_from and not resume.has_begun(workdir):
        weights = initial_weights.read(
            config, splits.train.class_names, splits.image_shape
        )
    while True:
        try:
            return _train(
                config, workdir, origin, splits, experiment, used, mapping, weights
            )
        except jax.errors.JaxRuntimeError as error:
            experiment = _in_more_passes(config, experiment, len(used), error)


def _train(
    config: ml_collections.ConfigDict,
    workdir: str,
    origin: Mapping[str, Any] | None,
    splits: Splits,
    experiment: Experiment,
    used: Sequence[jax.Device],
    mapping: str,
    weights: initial_weights.InitialWeights | None,
) -> dict[str, Any]:
    """The run of an experiment, from its newest checkpoint to its end."""
    with _opened(config, workdir, splits, experiment, used, mapping) as run:
        path = run.directory.path
        begins = records.beginning(experiment, config.data.name, used, mapping)
        run.progress.message(f"{begins}\n{splits.counted()}\nin {path}")
        state = _initial_state(run, weights)
        state, said = resume.restore(state, run.checkpoints, run.directory, experiment)
        if said:
            run.progress.message(said)
        epochs = resume.epochs_left(path, experiment, int(state.train.step))
        if epochs:
            records.write_facts(
                path, experiment, used, splits, run.fingerprint, origin or {}
            )
        with failing_in_mid_run():
            for epoch in epochs:  # Alg. 1, line 1
                state = train_epoch(run, state, epoch)
            run.checkpoints.wait()
        line = processes.from_first(
            lambda: run_directory.read_lines(path, "metrics")[-1]
        )
        run.progress.message(records.ending(line, workdir, was_finished=not epochs))
        return line


@contextlib.contextmanager
def _opened(
    config: ml_collections.ConfigDict,
    workdir: str,
    splits: Splits,
    experiment: Experiment,
    used: Sequence[jax.Device],
    mapping: str,
) -> Iterator[Run]:
    """A run with all that it writes to, watched until it ends."""
    program = compile_program(
        experiment, used, mapping, splits.num_images, streamed=splits.is_streamed
    )
    with (
        processes.first_then_others(
            lambda: run_directory.RunDirectory(
                workdir,
                config.to_dict(),
                may_change=changeable_keys(config, streamed=splits.is_streamed),
                stands_for=experiment.stands_for(),
            )
        ) as directory,
        Checkpoints(
            directory.path / run_directory.CHECKPOINTS, keep=config.checkpoint.keep
        ) as checkpoints,
        Progress(
            total_steps=experiment.total_steps,
            steps_per_epoch=experiment.recipe.steps_per_epoch,
            images_per_step=experiment.recipe.layout.num_rows,
            steps_per_test=experiment.test_every_steps,
            interval=config.log.every_seconds,
            quiet=not processes.is_first(),
        ) as progress,
        Watchdog(config.devices.hang_seconds, hint=HANG_HINT) as watchdog,
        noted_signals() as signals,
    ):
        resume.require_shared_directory(directory.path)
        fingerprint = resume.require_same_data(directory.path, splits)
        program = Program(*(watchdog.skip_first_call(f) for f in program))
        program = program._replace(step=_say_compiling(program.step, progress))
        yield Run(
            config=config,
            splits=splits,
            fingerprint=fingerprint,
            experiment=experiment,
            devices=used,
            program=program,
            root=program.place(randomness.key_of_seed(config.seed)),
            feed=make_feed(experiment, splits, program, used),
            directory=directory,
            checkpoints=checkpoints,
            progress=progress,
            watchdog=watchdog,
            stop=processes.Stop(signals),
        )


def _in_more_passes(
    config: ml_collections.ConfigDict,
    experiment: Experiment,
    num_devices: int,
    error: jax.errors.JaxRuntimeError,
) -> Experiment:
    """The experiment in twice the passes, where the device ran out of memory.

    Raises:
        JaxRuntimeError: the error itself, where passes are not chosen automatically,
            cannot be more, or it is about something else.
    """
    passes = experiment.recipe.num_passes
    more = memory.more_passes(experiment.recipe.layout, num_devices, passes)
    is_ours = "RESOURCE_EXHAUSTED" in str(error) and config.num_passes == 0
    if not is_ours or more is None or processes.count() > 1:
        raise error
    # Its frames hold the arrays of the run that failed.
    traceback.clear_frames(error.__traceback__)
    print(
        f"the device ran out of memory with num_passes {passes}: going on with {more}",
        flush=True,
    )
    return experiment.in_passes(more)


def _say_compiling(step: Callable[..., Any], progress: Progress) -> Callable[..., Any]:
    """A step whose first call, which compiles, says so and how long it took."""
    calls = itertools.count()

    def announced(*arguments: Any) -> Any:
        if next(calls):
            return step(*arguments)
        progress.message("compiling the step …")
        started = time.monotonic()
        result = step(*arguments)
        progress.message(f"compiled in {time.monotonic() - started:.0f} s")
        return result

    return announced


def _initial_state(
    run: Run, weights: initial_weights.InitialWeights | None
) -> RunState:
    """The state before the first step, on the devices."""
    with run.watchdog.pause():  # it compiles; what it computes is waited for below
        fresh = init_run_state(run.experiment, run.root, run.splits.image_shape)
    if weights is not None:
        run.progress.message(weights.said)
        variables = {k: getattr(fresh.train, k) for k in ("params", "batch_stats")}
        chosen = initial_weights.put_into(weights, variables)
        fresh = replace(fresh, train=replace(fresh.train, **chosen))
    state = run.program.place(fresh)
    run.watchdog.beat("the initial state")
    return state


def train_epoch(run: Run, state: RunState, epoch: int) -> RunState:
    """What is left of an epoch, then its evaluation and its checkpoint.

    The epoch is saved before it is announced.
    """
    experiment, layout = run.experiment, run.experiment.recipe.layout
    first = int(state.train.step)
    last = min((epoch + 1) * experiment.recipe.steps_per_epoch, experiment.total_steps)
    save_every = run.config.checkpoint.every_steps  # besides the end; 0: only there
    rounds: Rounds = []
    in_flight: collections.deque[jax.Array] = collections.deque()
    started = time.monotonic()
    with contextlib.closing(run.feed.epoch(run.root, epoch, first, last)) as batches:
        for index, batch in enumerate(batches, start=first):  # Alg. 1, line 4
            state, loss = _one_step(run, state, batch, index, rounds)
            in_flight.append(loss)
            if len(in_flight) > run.config.devices.steps_in_flight:
                in_flight.popleft().block_until_ready()
                run.watchdog.beat(f"step {index}")
            done = index + 1
            _show(run, state, done, in_flight[0])
            is_due = save_every > 0 and done % save_every == 0
            if (run.stop.is_due() or is_due) and done < last:
                _save(run, state, rounds)
                _leave_on_signal(run, done)
    jax.block_until_ready(list(in_flight))
    run.watchdog.beat(f"step {last}")
    spent, steps = time.monotonic() - started, last - first
    seconds = {
        "train_seconds": spent,
        "steps": steps,
        "images_per_second": steps * layout.num_images / spent,
        "rows_per_second": steps * layout.num_rows / spent,
        "controller_seconds": records.search_seconds(
            run.program, experiment, run.root, state, first
        ),
    }
    if bad_images := run.feed.num_bad_images():
        seconds["bad_images"] = bad_images
    line = _write_epoch(run, state, rounds, epoch, seconds)
    _save(run, state, rounds)
    if line:
        run.progress.message(records.epoch_message(line, run.experiment))
    _leave_on_signal(run, last)
    return state


def _one_step(
    run: Run, state: RunState, batch: Data, index: int, rounds: Rounds
) -> tuple[RunState, jax.Array]:
    """One mini-batch, and the round's beginning or end where they fall on it."""
    round_steps = run.experiment.recipe.round_steps
    if index % round_steps == 0:
        # Alg. 1, lines 2 and 3; the averages start anew inside the step.
        number = np.int32(index // round_steps)
        policies = run.program.sample(state.source, run.root, number)
        state = replace(state, policies=policies)
    # Alg. 1, lines 5 to 7.
    train, losses = run.program.step(state.train, batch, state.policies, run.root)
    state = replace(state, train=train)
    if (index + 1) % round_steps == 0:
        # Alg. 1, lines 8 to 10.
        source, closed = run.program.close_round(state.source, state.policies, train)
        state = replace(state, source=source, last_round=closed)
        rounds.append((index + 1, closed))
    return state, losses["loss"]


def _show(run: Run, state: RunState, done: int, loss: jax.Array) -> None:
    """The progress line; only when it is due are numbers fetched from the device."""
    if not run.progress.due():
        run.progress.update(done)
        return
    first_round_over = done >= run.experiment.recipe.round_steps
    run.progress.update(
        done,
        loss=float(loss),
        entropy=records.entropy(state.last_round) if first_round_over else None,
    )


def _save(run: Run, state: RunState, rounds: Rounds) -> None:
    """Writes the lines of all rounds that are over, then the checkpoint."""
    _write_rounds(run, state, rounds)
    step = int(state.train.step)
    run.checkpoints.save(step, state)
    run.watchdog.beat(f"saving step {step}")


def _leave_on_signal(run: Run, step: int) -> None:
    """Ends the run, which is saved at this step, if a signal asked for it."""
    if number := run.stop.signal():
        run.checkpoints.wait()
        name = signal.Signals(number).name
        raise RunInterrupted(
            f"stopped by {name}; saved at step {step} of {run.experiment.total_steps}. "
            f"{GO_ON}",
            number,
        )


def _write_rounds(run: Run, state: RunState, rounds: Rounds) -> None:
    """A line of ``policies.jsonl`` for every round that is over."""
    first_bad = int(state.train.first_bad_step)
    sound = [entry for entry in rounds if first_bad < 0 or entry[0] <= first_bad]
    for done, closed in jax.device_get(sound):
        line = records.round_line(done, closed, run.experiment)
        run.directory.write_policies(done, line)
    rounds.clear()
    if first_bad >= 0:
        _stop_on_bad_loss(run, state, first_bad)


def _stop_on_bad_loss(run: Run, state: RunState, step: int) -> None:
    """Saves the state before the bad step, writes its policies, and raises."""
    recipe = run.experiment.recipe
    number = np.int32(step // recipe.round_steps)
    policies = run.program.sample(state.source, run.root, number)
    epoch = step // recipe.steps_per_epoch + 1
    line = {"epoch": epoch, "nonfinite_loss": True}
    line |= records.policies_entry(policies, run.experiment)
    run.directory.write_policies(step, line)
    train = replace(state.train, first_bad_step=jax.numpy.int32(-1))
    before = replace(state, train=train, policies=policies)
    run.checkpoints.save(step, run.program.place(before))
    run.checkpoints.wait()
    raise NonFiniteLoss(
        f"the loss is not finite in epoch {epoch}, after step {step}; the state before "
        f"is saved in {run.directory.path}, the active policies are the last line of "
        "policies.jsonl. A lower optimizer.learning_rate or optimizer.clip_norm may "
        "help in a new workdir; --config.on_nonfinite_loss=skip goes on here."
    )


def _write_epoch(
    run: Run, state: RunState, rounds: Rounds, epoch: int, seconds: dict[str, float]
) -> dict[str, Any]:
    """Evaluates where it is due, writes the epoch's lines and returns that of metrics.

    A signal during the evaluation ends it: no line of the epoch is written, an empty
    one is returned, and the run that goes on begins with the evaluation.
    """
    _write_rounds(run, state, rounds)
    step = int(state.train.step)
    tested: dict[str, float] = {}
    started = time.monotonic()
    if run.experiment.is_tested(step):
        with run.progress.evaluation():
            sums = _test(run, state)
        if sums is None:
            return {}
        tested = evaluate.error_rates(sums, run.splits.spec.num_classes)
    seconds["evaluation_seconds"] = time.monotonic() - started
    small = replace(state.train, params=(), batch_stats=(), opt_state=())
    fetched = jax.device_get(replace(state, train=small, source=()))
    line = records.epoch_line(epoch, fetched, run.experiment, tested)
    records.save_snapshot(run.directory.path, run.experiment, state)
    run.directory.write_metrics(step, line)
    _write_pictures(run, fetched.policies, step)
    where = {"epoch": epoch + 1, "devices": len(run.devices)}
    run.directory.write_timing(step, where | seconds)
    return line


def _write_pictures(run: Run, policies: Policies, step: int) -> None:
    """TensorBoard's pictures of an epoch that is over, where they are wanted."""
    if not (run.config.log.pictures and processes.is_first()):
        return
    train, rows = run.splits.train, run.experiment.recipe.rows
    with run.watchdog.pause(), run.progress.pause():
        lines = run_directory.read_lines(run.directory.path, "metrics")
        drawn = pictures.draw_shares(lines)
        is_short = policies.num_sub_policies <= records.MOST_CHAINS
        if is_short and isinstance(train, data.Dataset):  # of a stream none is at hand
            sheet = pictures.draw_sheet(policies, train.images, rows.ranges, rows.fill)
            drawn["policies/contact_sheet"] = sheet
        run.directory.write_pictures(step, drawn)


def _test(run: Run, state: RunState) -> list[dict[str, Any]] | None:
    """The sums of every batch of the test split; None if a signal came before."""
    sums: list[dict[str, Any]] = []
    ahead = run.config.devices.steps_in_flight
    for number, batch in enumerate(run.feed.test(state.train), start=1):
        sums.append(batch)
        run.progress.testing(number, run.feed.num_test_batches)
        if number > ahead:
            sums[-1 - ahead]["count"].block_until_ready()
            run.watchdog.beat(f"test batch {number}")
        if run.stop.is_due():
            return None
    return jax.device_get(sums)
