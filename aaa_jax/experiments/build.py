"""From a config to the objects of a run: the border below which nobody sees a config.

`check_config` refuses a wrong value before any device is touched or any file written;
`build` makes what the room `train` needs.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import flax.linen as nn
import jax
import ml_collections
import optax
from flax.traverse_util import flatten_dict

from aaa_jax import data, models
from aaa_jax.augment import batch_layout, coefficients
from aaa_jax.augment.magnitudes import NUM_MAGNITUDES, RANGES
from aaa_jax.augment.pipeline import RowRecipe
from aaa_jax.experiments import optimizer as optim
from aaa_jax.experiments import sizes
from aaa_jax.experiments.config_rules import (
    FILLS,
    RULES,
    ConfigError,
    changes_numbers,
    unknown_keys,
    wrong_values,
)
from aaa_jax.runtime import devices
from aaa_jax.search import replay, sources

# What a source reads: the key of its place, and what must be there.
_READ_BY = {
    "replay": ("replay_run", "the directory of a finished run"),
    "file": ("file", "a JSON file of policies"),
}
# An epoch of so many steps tells every warm-up from the training's end.
STEPS_TO_CHECK = 2**20

T = TypeVar("T")


class EvaluationView(NamedTuple):
    """How test images are batched and, where they are streamed, cut."""

    batch_size: int  # images, over all devices
    resize: int  # the short side in pixels before the centre crop
    image_size: int  # side of the centre crop
    max_images: int = 0  # of the test split, for a quick look; 0: all


class StepRecipe(NamedTuple):
    """The static part of a training step: sizes and choices, hashable."""

    rows: RowRecipe  # how the rows of the large batch are made
    steps_per_epoch: int  # T
    round_steps: int  # steps between two controller updates
    num_passes: int  # passes of accumulation over each device's groups
    average_decay: float | None  # of the average of L_m; None: running mean
    skip_nonfinite: bool  # leave out an update whose loss is not finite and go on
    unroll: bool  # unroll the passes (convolution gradients in loops are slow on CPUs)
    num_sub_policies: int = 0  # Q, where sub-policies are rewarded; else 0
    less_image_means: bool = False  # reward them by losses less the mean of their image
    is_gain: bool = False  # reward them by what the round took off their loss

    @property
    def layout(self) -> batch_layout.GroupLayout:
        """How rows lie in groups."""
        return self.rows.layout


class Experiment(NamedTuple):
    """What a config stands for."""

    model: nn.Module  # the target network
    optimizer: optax.GradientTransformation  # its optimiser
    schedule: optax.Schedule  # its learning rate as a function of the step
    source: sources.PolicySource  # where each round's policies come from
    recipe: StepRecipe  # the static part of a training step
    total_steps: int  # of the whole run
    # what the schedules run over (``max_steps`` does not shorten it)
    planned_steps: int
    stream: data.StreamOptions  # how the records of a streamed train split become rows
    evaluation_view: EvaluationView  # how test images are batched and cut
    test_every_steps: int  # steps between two tests, whole epochs
    # below 1 for a cell of a shrunken table, which every output tells
    scale: float = 1.0

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch is over after so many steps; the last may be cut short."""
        return step == self.total_steps or step % self.recipe.steps_per_epoch == 0

    def in_passes(self, num_passes: int) -> "Experiment":
        """The same with so many passes of accumulation."""
        return self._replace(recipe=self.recipe._replace(num_passes=num_passes))

    def stands_for(self) -> dict[str, Any]:
        """What automatic values stand for in this run, by the key of the config."""
        return {
            "batch_norm.group_size": self.recipe.layout.group_size,
            "policies.round_steps": self.recipe.round_steps,
            "evaluation.resize": self.evaluation_view.resize,
        }

    def is_tested(self, step: int) -> bool:
        """Whether the epoch that is over after so many steps is evaluated."""
        return step == self.total_steps or step % self.test_every_steps == 0


def check_config(config: ml_collections.ConfigDict) -> None:
    """Refuses values that cannot work, before any device or file is touched.

    Raises:
        ConfigError: a line for each problem, naming key, value, what is allowed.
    """
    wrong = wrong_values(config, RULES)
    if not wrong.keys() & {"batch_size", "epochs"}:
        config = sizes.filled_in(config, sizes.MOST_IMAGES**2)
    # Each with the keys that it reads: it is left out where one has a wrong value.
    checks = {
        _check_model: ("model", "batch", "policies.num_policies", "data"),
        _check_ranges: ("policies",),
        build_source: ("policies", "controller"),
        _check_warmup: ("optimizer", "epochs"),
    }
    problems = [*wrong.values(), *unknown_keys(config)]
    problems += _problems(
        functools.partial(check, config)
        for check, keys in checks.items()
        if not any(key.startswith(keys) for key in wrong)
    )
    if problems:
        raise ConfigError(*problems)


def _problems(checks: Iterable[Callable[[], object]]) -> list[str]:
    """What all checks that fail say; not the first only."""
    problems: list[str] = []
    for check in checks:
        try:
            check()
        except ConfigError as error:
            problems += error.args
    return problems


def build(
    config: ml_collections.ConfigDict, info: data.DatasetSpec, num_images: int
) -> Experiment:
    """The objects of a run on a train split of ``num_images`` images.

    Raises:
        ConfigError: a line for each problem, such as a split that is smaller than a
            mini-batch, or test images that are cut to more than they are resized to.
    """
    source = build_source(config)
    checks = (
        functools.partial(_check_steps, config, num_images),
        functools.partial(_check_sizes, config, info),
        functools.partial(_check_order, config, info, source),
    )
    if problems := _problems(checks):
        raise ConfigError(*problems)
    steps_per_epoch = num_images // config.batch_size
    planned = steps_per_epoch * config.epochs
    schedule, optimizer = _in_section(
        "optimizer", _build_optimizer, config, steps_per_epoch
    )
    recipe = _recipe(config, info, source, steps_per_epoch)
    if recipe.is_gain and recipe.round_steps < 2:
        raise ConfigError(
            "controller.reward is 'gain', what the steps of a round before its last "
            "achieve, but a round has 1: set policies.round_steps to at least 2"
        )
    return Experiment(
        model=build_model(config, info.num_classes, recipe.layout),
        optimizer=optimizer,
        schedule=schedule,
        source=source,
        recipe=recipe,
        total_steps=min(planned, config.max_steps or planned),
        planned_steps=planned,
        stream=_stream_options(config, info),
        evaluation_view=evaluation_view(config, info),
        test_every_steps=config.evaluation.every_epochs * steps_per_epoch,
        scale=config.scale,
    )


def _check_steps(config: ml_collections.ConfigDict, num_images: int) -> None:
    """Refuses an epoch without a step, and more steps than can be counted."""
    steps_per_epoch = num_images // config.batch_size
    if steps_per_epoch == 0:
        raise ConfigError(
            f"batch_size {config.batch_size} is larger than the {num_images} training "
            f"images of {config.data.name}; set batch_size to at most {num_images}"
        )
    planned = steps_per_epoch * config.epochs
    if planned >= 2**31:
        raise ConfigError(
            f"epochs {config.epochs} of {steps_per_epoch} steps are {planned} steps; "
            f"fewer than 2**31 can be counted: set epochs below "
            f"{2**31 // steps_per_epoch}"
        )


def _check_model(config: ml_collections.ConfigDict) -> None:
    """Refuses a network that cannot be made, or groups of rows that do not divide."""
    _in_section("model", build_model, config, 2)


def _check_sizes(config: ml_collections.ConfigDict, info: data.DatasetSpec) -> None:
    """Refuses sizes of images that do not fit together, or that nobody would read."""
    _in_section("data", coefficients.check_size, info.image_size, info.image_size)
    if info.loader != "stream":
        for key in ("data.image_size", "evaluation.image_size"):
            part, name = key.split(".")
            if config[part][name] not in (0, info.image_size):
                raise ConfigError(
                    f"{key} is {config[part][name]}, but the images of "
                    f"{config.data.name} are kept in memory as they are stored, with "
                    f"{info.image_size} pixels: set it to 0, or data.loader=stream"
                )
        return
    side = config.evaluation.image_size or info.image_size
    if 0 < config.evaluation.resize < side:
        raise ConfigError(
            f"evaluation.resize is {config.evaluation.resize}, smaller than the "
            f"{side} pixels that are cut from the middle: set it to at least {side}, "
            f"such as {sizes.resized_side(side)}, or to 0"
        )


def _check_order(
    config: ml_collections.ConfigDict,
    info: data.DatasetSpec,
    source: sources.PolicySource,
) -> None:
    """Refuses policies before crops where the host makes the crops."""
    order = source.order or config.policies.order
    if info.loader != "stream" or order != "policy_first":
        return
    why = "the images of a stream are cropped before they reach the device"
    if source.order is None:
        raise ConfigError(
            f"policies.order is 'policy_first', but {why}; use 'standard_first'"
        )
    helps = {
        "published": "set policies.published=imagenet, which comes after the crop",
        "schedule": "PBA's schedule is for images that are kept in memory",
        "replay": "replay a run that was recorded with 'standard_first'",
        "file": "give a file whose order is 'standard_first'",
    }
    raise ConfigError(
        f"policies.source {config.policies.source!r} has the order 'policy_first' of "
        f"its own, whatever policies.order says, but {why}: "
        f"{helps[config.policies.source]}; or choose another source, or, if the images "
        "are of one size, data.loader=resident"
    )


def _check_ranges(config: ml_collections.ConfigDict) -> None:
    """Refuses a range table of other magnitudes than a source draws."""
    p = config.policies
    fitting = [n for n, r in RANGES.items() if r.num_magnitudes == NUM_MAGNITUDES]
    if p.source in ("adversarial", "random") and p.ranges not in fitting:
        raise ConfigError(
            f"policies.ranges is {p.ranges!r}, which has "
            f"{RANGES[p.ranges].num_magnitudes} magnitudes, but policies.source "
            f"{p.source!r} draws {NUM_MAGNITUDES}, 0 to {NUM_MAGNITUDES - 1}: use one "
            f"of {', '.join(fitting)}"
        )


def _check_warmup(config: ml_collections.ConfigDict) -> None:
    """Refuses what is wrong with the optimiser however many steps an epoch has."""
    o = config.optimizer
    if o.warmup_epochs >= config.epochs:
        raise ConfigError(
            f"optimizer.warmup_epochs is {o.warmup_epochs:g}, not shorter than the "
            f"training of {config.epochs} epochs: set it below epochs"
        )
    _in_section("optimizer", _build_optimizer, config, STEPS_TO_CHECK)


def pick_devices(config: ml_collections.ConfigDict) -> tuple[list[jax.Device], str]:
    """The devices of a run and how steps are mapped over them.

    Where the config leaves their number open, one process takes as many as can share
    the groups of the large batch.

    Raises:
        ConfigError: when there are fewer, or they cannot share out the groups.
    """
    try:
        used = devices.pick_devices(config.devices.num_devices)
        layout = sizes.layout(config)
        if config.devices.num_devices == 0 and jax.process_count() == 1:
            used = used[: batch_layout.largest_divisor(layout.num_groups, len(used))]
        mapping = devices.resolve_mapping(config.devices.mapping, len(used))
        batch_layout.check_shares(layout, len(used), config.num_passes or 1)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return used, mapping


def changeable_keys(
    config: ml_collections.ConfigDict, *, streamed: bool = True
) -> list[str]:
    """Every dotted key that may differ when a run goes on.

    Of images that are not streamed, ``evaluation.resize`` is not read.
    """
    free = {"max_steps"} if streamed else {"max_steps", "evaluation.resize"}
    keys = flatten_dict(config.to_dict(), sep=".")
    return [key for key in keys if key in free or not changes_numbers(key)]


def require_shares(experiment: Experiment, num_devices: int) -> None:
    """Refuses groups that the devices and passes cannot share, once the data are known.

    `pick_devices` has only guessed the loader of a dataset outside the table.
    """
    recipe = experiment.recipe
    try:
        batch_layout.check_shares(recipe.layout, num_devices, recipe.num_passes)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def require_steps_left(experiment: Experiment, step: int) -> None:
    """Refuses to end a run before the step that it has done already."""
    total = experiment.total_steps
    if step > total:
        raise ConfigError(
            f"max_steps is {total}, but the run is at step {step} already: set it to "
            f"at least {step}, or to 0"
        )


def build_model(
    config: ml_collections.ConfigDict,
    num_classes: int,
    layout: batch_layout.GroupLayout | None = None,
) -> nn.Module:
    """The target network of a config, for rows that lie in groups as given."""
    layout = layout or sizes.layout(config)
    return models.create(
        config.model.name,
        num_classes=num_classes,
        dtype=config.model.dtype,
        bn_group_size=None if layout.grouping == "full" else layout.rows_per_group,
        **config.model.options.to_dict(),
    )


def evaluation_view(
    config: ml_collections.ConfigDict, info: data.DatasetSpec
) -> EvaluationView:
    """How test images are batched and, where they are streamed, cut."""
    c = config.evaluation
    side = c.image_size or info.image_size
    resize = c.resize or sizes.resized_side(side)
    return EvaluationView(c.batch_size, resize, side, c.max_images)


def build_source(config: ml_collections.ConfigDict) -> sources.PolicySource:
    """The policy source of a config.

    Raises:
        ConfigError: a value that the source refuses.
    """
    c, p = config.controller, config.policies
    key, what = _READ_BY.get(p.source, ("source", ""))
    if not p[key]:
        raise ConfigError(f"policies.{key} is empty: set policies.{key} to {what}")
    shape = {"num_policies": p.num_policies, "num_sub_policies": p.num_sub_policies}
    requested = replay.Requested(ranges=p.ranges, order=p.order, fill=p.fill)
    recorded = {"num_policies": p.num_policies, "requested": requested}
    options: dict[str, dict[str, Any]] = {
        "adversarial": {
            **shape,
            "hidden_size": c.hidden_size,
            "embedding_size": c.embedding_size,
            "learning_rate": c.learning_rate,
            "entropy_weight": c.entropy_weight,
            "reset_per_sub_policy": c.reset_per_sub_policy,
            "normalization": c.normalization,
            "tanh_constant": c.tanh_constant or None,
            "temperature": c.temperature,
            "entropy_target": c.entropy_target or None,
            "kl_cap": c.kl_cap or None,
            "reward": c.reward,
            "credit": c.credit,
            "steps_per_round": c.steps_per_round,
        },
        "random": shape,
        "fixed": {"num_policies": p.num_policies},
        "published": {"policy": p.published, "num_policies": p.num_policies},
        "schedule": {"num_policies": p.num_policies},
        "randaugment": {
            "num_policies": p.num_policies,
            "num_ops": p.randaugment_num_ops,
            "magnitude": p.randaugment_magnitude,
            "scale": p.randaugment_scale,
        },
        "trivialaugment": {"num_policies": p.num_policies},
        "replay": {"run": p.replay_run, "selection": p.replay_selection} | recorded,
        "file": {"path": p.file} | recorded,
    }
    section = "policies or controller" if p.source == "adversarial" else "policies"
    make = functools.partial(sources.SOURCES[p.source], **options[p.source])
    return _in_section(section, make)


def _recipe(
    config: ml_collections.ConfigDict,
    info: data.DatasetSpec,
    source: sources.PolicySource,
    steps_per_epoch: int,
) -> StepRecipe:
    # The loader of a stream makes its crops and flips.
    streamed = info.loader == "stream"
    rows = RowRecipe(
        layout=_in_section("batch_norm", sizes.layout, config, info.loader),
        padding=0 if streamed else config.augment.padding,
        flip=_flips(config, info) and not streamed,
        shared_crops=config.augment.crops == "shared",
        policy_first=(source.order or config.policies.order) == "policy_first",
        ranges=source.ranges or config.policies.ranges,
        fill=source.fill or FILLS.get(config.policies.fill, info.fill),
        alpha=config.policies.fill == "alpha",
        cutout_size=config.augment.cutout_size,
        mean=info.mean,
        std=info.std,
    )
    return StepRecipe(
        rows=rows,
        steps_per_epoch=steps_per_epoch,
        round_steps=sizes.round_steps(config, steps_per_epoch),
        num_passes=config.num_passes or 1,
        average_decay=config.controller.average_decay or None,
        skip_nonfinite=config.on_nonfinite_loss == "skip",
        unroll=jax.default_backend() == "cpu",
        num_sub_policies=0
        if (source.reward, source.credit) == ("loss", "policy")
        else config.policies.num_sub_policies,
        less_image_means=source.credit == "sub_policy_less_image_mean",
        is_gain=source.reward == "gain",
    )


def _stream_options(
    config: ml_collections.ConfigDict, info: data.DatasetSpec
) -> data.StreamOptions:
    return data.StreamOptions(
        image_size=info.image_size,
        flip=_flips(config, info),
        shared_crops=config.augment.crops == "shared",
        resample=config.data.resample,
        seed=config.seed,
        on_bad_image=config.data.on_bad_image,
        num_threads=config.data.num_threads,
        prefetch=config.data.prefetch,
    )


def _flips(config: ml_collections.ConfigDict, info: data.DatasetSpec) -> bool:
    """Whether the standard augmentation mirrors images."""
    flip = config.augment.flip
    return info.flip if flip == "dataset" else flip == "yes"


def _build_optimizer(
    config: ml_collections.ConfigDict, steps_per_epoch: int
) -> tuple[optax.Schedule, optax.GradientTransformation]:
    o = config.optimizer
    schedule = optim.learning_rate_schedule(
        o.schedule,
        o.learning_rate,
        config.epochs * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        milestones=o.milestones,
        factor=o.factor,
        warmup_steps=round(o.warmup_epochs * steps_per_epoch),
    )
    optimizer = optim.sgd(
        schedule,
        momentum=o.momentum,
        nesterov=o.nesterov,
        weight_decay=o.weight_decay,
        decay_norm_and_bias=o.decay_norm_and_bias,
        clip_norm=o.clip_norm or None,
    )
    return schedule, optimizer


def _in_section(section: str, build_part: Callable[..., T], *args: Any) -> T:
    """What a function makes; its refusal as one line that names the config's part."""
    try:
        return build_part(*args)
    except (ValueError, TypeError, ArithmeticError) as error:
        message = " ".join(str(error).split())
        raise ConfigError(f"{section}: {message}") from error
