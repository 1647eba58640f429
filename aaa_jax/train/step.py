"""The two steps of Algorithm 1 as pure functions: a mini-batch, the end of a round.

A step is a function of (state, data, policies, root key): what it draws depends on the
seed, the epoch, the step and the global row, never on a device. Nothing here maps over
devices: `compiled` does.
"""

import functools
from dataclasses import replace
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from aaa_jax import objective
from aaa_jax.augment import batch_layout
from aaa_jax.augment.pipeline import RowDraws, augment_rows, draw_rows, select_rows
from aaa_jax.augment.policies import Policies
from aaa_jax.data import gather
from aaa_jax.experiments.build import StepRecipe
from aaa_jax.runtime import randomness
from aaa_jax.search.policy_source import PolicySource, RoundOutcome

# Streams of randomness: fold_in(root key, STREAM) begins every derived key.
INIT_STREAM, DATA_STREAM, POLICY_STREAM, CONTROLLER_STREAM, STEP_STREAM = range(5)
# The network's noise: fold_in(step key, this); `pipeline` folds in smaller numbers.
_NOISE = 100


@flax.struct.dataclass
class TrainState:
    """What the target network's training needs to go on; arrays only."""

    step: jax.Array  # int32 [], steps done since the start of the run
    params: Any  # the target network's parameters, w
    batch_stats: Any  # its running BatchNorm statistics
    opt_state: Any  # the optimiser's state
    loss_average: objective.LossAverage  # the average of L_m over the current round
    # float32 [2], sum of the large batch's loss over the epoch's steps, and how many
    # steps; those left out do not count
    epoch_loss: jax.Array
    first_bad_step: jax.Array  # int32 [], the step whose loss was not finite; -1: none
    skipped_steps: jax.Array  # int32 [], updates left out because of such a loss
    # `loss_average` of each sub-policy; None where none is asked for
    sub_policy_average: objective.LossAverage | None = None
    # parameters and batch_stats at the start of the round, where gains are the reward;
    # else None
    round_start: tuple[Any, Any] | None = None


class ResidentData(NamedTuple):
    """A data split that lives on the device, and this epoch's order."""

    images: jax.Array  # uint8 [n, H, W, 3]
    labels: jax.Array  # int32 [n]
    permutation: jax.Array  # int32 [n], the epoch's order


class StreamedRows(NamedTuple):
    """The rows of a large batch as the host made them, crop and flip done.

    A device gets its own share of them; R is M * N over the number of devices.
    """

    images: jax.Array  # uint8 [R, H, W, 3]
    labels: jax.Array  # int32 [R]


Data = ResidentData | StreamedRows


@randomness.drawing
def init_train_state(
    key: jax.Array,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    image_shape: tuple[int, ...],
    num_policies: int,
    num_sub_policies: int = 0,
    keeps_round_start: bool = False,
) -> TrainState:
    """A fresh state: step 0, initialised network, empty averages.

    Args:
        key: of the initialisation.
        model: the target network.
        optimizer: its optimiser.
        image_shape: (H, W, C).
        num_policies: M.
        num_sub_policies: Q, where their losses are asked for.
        keeps_round_start: whether gains are.
    """
    images = jnp.zeros((1, *image_shape), jnp.float32)
    variables = model.init({"params": key, "noise": key}, images, train=False)
    params, stats = variables["params"], variables.get("batch_stats", {})
    return TrainState(
        step=jnp.int32(0),
        params=params,
        batch_stats=stats,
        opt_state=optimizer.init(params),
        loss_average=objective.init_average(num_policies),
        epoch_loss=jnp.zeros(2, jnp.float32),
        first_bad_step=jnp.int32(-1),
        skipped_steps=jnp.int32(0),
        sub_policy_average=objective.init_average(num_policies, num_sub_policies)
        if num_sub_policies
        else None,
        # Not the same buffers: a donated argument must not hold one twice.
        round_start=jax.tree.map(jnp.zeros_like, (params, stats))
        if keeps_round_start
        else None,
    )


def step_key(root: jax.Array, step: jax.Array, steps_per_epoch: int) -> jax.Array:
    """The key of a step: root, stream, epoch, step in the epoch."""
    key = jax.random.fold_in(root, STEP_STREAM)
    key = jax.random.fold_in(key, step // steps_per_epoch)
    return jax.random.fold_in(key, step % steps_per_epoch)


def train_step(
    state: TrainState,
    data: Data,
    policies: Policies,
    root: jax.Array,
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    recipe: StepRecipe,
    axis_name: str | None,
    num_devices: int = 1,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One mini-batch of Algorithm 1: lines 5 to 7, Eqs. 4 to 6.

    Args:
        state: before the step; may be donated.
        data: the train split and the epoch's order, or this device's share of the
            step's rows.
        policies: of the current round.
        root: the run's root key.
        model: the target network.
        optimizer: its optimiser.
        recipe: sizes and choices.
        axis_name: of the devices that share the groups; None: one device has all.
        num_devices: how many devices share the groups.

    Returns:
        The state after the step, and ``loss`` float32 [] and ``losses`` float32 [M]
        (L_m, Eq. 5) of the large batch.
    """
    if recipe.is_gain:
        state = replace(state, round_start=_round_start(state, recipe))
    key = step_key(root, state.step, recipe.steps_per_epoch)
    draws = draw_rows(key, policies, recipe.rows, *data.images.shape[1:3])
    device = 0 if axis_name is None else jax.lax.axis_index(axis_name)
    rows_per_pass = recipe.layout.num_rows // (num_devices * recipe.num_passes)

    def one_pass(index: jax.Array) -> tuple[Any, ...]:
        first = (device * recipe.num_passes + index) * rows_per_pass
        rows = first + jnp.arange(rows_per_pass, dtype=jnp.int32)
        batch = _read_rows(data, state.step, rows, index * rows_per_pass, recipe)
        return _pass_gradients(
            state, batch, policies, key, draws, rows, model=model, recipe=recipe
        )

    sums = _sum_over_passes(one_pass, recipe)
    if axis_name is not None:
        sums = jax.lax.psum(sums, axis_name)
    gradients, stats, loss_sums, row_values = sums
    parts = num_devices * recipe.num_passes
    stats = jax.tree.map(lambda leaf: leaf / parts, stats)
    losses, squares = loss_sums / recipe.layout.num_images
    sub_policies = None
    if recipe.num_sub_policies:
        sub_policies = _sub_policy_means(row_values, draws.policy.sub_policy, recipe)
        if recipe.is_gain:  # which only the round's last step has seen
            means, mean_squares, counts = sub_policies
            is_last = (state.step + 1) % recipe.round_steps == 0
            sub_policies = means, mean_squares, jnp.where(is_last, counts, 0.0)
    return _apply(
        state, gradients, stats, losses, squares, sub_policies, optimizer, recipe
    )


def controller_step(
    state: Any, policies: Policies, train: TrainState, *, source: PolicySource
) -> tuple[Any, dict[str, jax.Array]]:
    """The end of a round of Algorithm 1: lines 8 to 10, Eq. 9.

    Every device computes the same, since the averages are all-reduced already. After a
    loss that was not finite nothing changes, as in `train_step`; nor does it after a
    round of which every step was left out, whose L̂_m nobody knows.

    Args:
        state: the policy source's.
        policies: of the round.
        train: after the round's last step.
        source: where the policies come from.

    Returns:
        The source's next state, and its ``info`` with the fields of `RoundOutcome` that
        are known; NaN in a round of which nothing is.
    """
    average, of_sub_policies = train.loss_average, train.sub_policy_average
    measured = [objective.average_losses(average), objective.standard_errors(average)]
    if of_sub_policies is not None:
        measured += _sub_policy_losses(of_sub_policies)
    is_known = average.weight > 0
    outcome = RoundOutcome(*(jnp.where(is_known, x, jnp.nan) for x in measured))
    updated, info = source.update(state, policies, outcome)
    good = is_known & (train.first_bad_step < 0)
    updated = jax.tree.map(lambda new, old: jnp.where(good, new, old), updated, state)
    known = {k: leaf for k, leaf in outcome._asdict().items() if leaf is not None}
    if train.round_start is not None:
        known["gains"] = jnp.mean(known["sub_policy_losses"], axis=1)
    return updated, info | known


def _sub_policy_losses(average: objective.LossAverage) -> tuple[jax.Array, jax.Array]:
    """Losses of the sub-policies and their errors, see `RoundOutcome`."""
    losses, is_drawn = objective.average_losses(average), average.weight > 0
    drawn = jnp.maximum(jnp.sum(is_drawn), 1)
    mean = jnp.sum(jnp.where(is_drawn, losses, 0.0)) / drawn
    return jnp.where(is_drawn, losses, mean), objective.standard_errors(average)


def _read_rows(
    data: Data, step: jax.Array, rows: jax.Array, start: jax.Array, recipe: StepRecipe
) -> tuple[jax.Array, jax.Array]:
    """The images and labels of ``rows``, which begin at ``start`` of the share."""
    if isinstance(data, StreamedRows):
        images, labels = (
            jax.lax.dynamic_slice_in_dim(leaf, start, len(rows)) for leaf in data
        )
        return images, labels
    layout = recipe.layout
    image = jnp.asarray(batch_layout.image_of_row(layout))[rows]
    first = (step % recipe.steps_per_epoch) * layout.num_images
    return gather(data.images, data.labels, data.permutation[first + image])


def _pass_gradients(
    state: TrainState,
    batch: tuple[jax.Array, jax.Array],
    policies: Policies,
    key: jax.Array,
    draws: RowDraws,
    rows: jax.Array,
    *,
    model: nn.Module,
    recipe: StepRecipe,
) -> tuple[Any, Any, jax.Array, jax.Array | None]:
    """Gradient of the large batch's mean loss through ``rows``, global indices.

    Returns:
        Gradients, updated batch_stats, float32 [2, M]: sums of losses and of their
        squares for each policy; and, where sub-policies are rewarded, the losses or
        gains of these rows in a float32 [M * N] of all.
    """
    layout = recipe.layout
    images, labels = batch
    policy_of_row = jnp.asarray(batch_layout.policy_of_row(layout))[rows]
    floats = augment_rows(
        images, policies, policy_of_row, select_rows(draws, rows), recipe.rows
    )

    def loss(params: Any) -> tuple[jax.Array, tuple[Any, jax.Array]]:
        logits, updated = model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            floats,
            train=True,
            rows=rows,
            rngs={"noise": jax.random.fold_in(key, _NOISE)},
            mutable=["batch_stats"],
        )
        losses = objective.cross_entropy(logits, labels)
        # Silent: batch_stats is absent from networks without BatchNorm.
        stats = updated.get("batch_stats", state.batch_stats)
        return jnp.sum(losses) / layout.num_rows, (stats, losses)

    gradients, (stats, losses) = jax.grad(loss, has_aux=True)(state.params)
    sums = [
        objective.per_policy_sums(values, policy_of_row, layout.num_policies)
        for values in (losses, losses**2)
    ]
    of_all = None
    if recipe.num_sub_policies:
        if recipe.is_gain:
            losses = _gains(state, floats, labels, rows, model, recipe)
        of_all = jnp.zeros(layout.num_rows, jnp.float32).at[rows].set(losses)
    return gradients, stats, jnp.stack(sums), of_all


def _round_start(state: TrainState, recipe: StepRecipe) -> tuple[Any, Any]:
    """Parameters and statistics at the start of the round that a step is in."""
    is_first = state.step % recipe.round_steps == 0
    return jax.tree.map(
        lambda now, kept: jnp.where(is_first, now, kept),
        (state.params, state.batch_stats),
        state.round_start,
    )


def _gains(
    state: TrainState,
    floats: jax.Array,
    labels: jax.Array,
    rows: jax.Array,
    model: nn.Module,
    recipe: StepRecipe,
) -> jax.Array:
    """What the round has taken off the loss of each row, float32 [rows].

    The rows of a round's last step are the probe, before they are trained on: new
    images under the round's policies, the same pixels for the network at the round's
    start and for the present one, both in evaluation mode. In other steps it is 0.
    """

    def loss(params: Any, stats: Any) -> jax.Array:
        variables = {"params": params, "batch_stats": stats}
        logits: Any = model.apply(variables, floats, train=False, rows=rows)
        return objective.cross_entropy(logits, labels)

    assert state.round_start is not None
    start = state.round_start
    return jax.lax.cond(
        (state.step + 1) % recipe.round_steps == 0,
        lambda: loss(*start) - loss(state.params, state.batch_stats),
        lambda: jnp.zeros(len(labels), jnp.float32),
    )


def _sub_policy_means(
    row_losses: jax.Array, sub_policy: jax.Array, recipe: StepRecipe
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean loss and mean square of each sub-policy's rows, and their number: [M, Q]."""
    layout = recipe.layout
    shape = layout.num_policies, recipe.num_sub_policies
    if recipe.less_image_means:
        rows_of_image = jnp.asarray(batch_layout.rows_of_image(layout))
        row_losses = objective.less_image_means(row_losses, rows_of_image)
    place = jnp.asarray(batch_layout.policy_of_row(layout)) * shape[1] + sub_policy
    losses, squares, counts = (
        objective.per_policy_sums(values, place, shape[0] * shape[1]).reshape(shape)
        for values in (row_losses, row_losses**2, jnp.ones_like(row_losses))
    )
    drawn = jnp.maximum(counts, 1.0)
    return losses / drawn, squares / drawn, counts


def _sum_over_passes(one_pass: Any, recipe: StepRecipe) -> Any:
    """Adds up ``one_pass(0) … one_pass(num_passes - 1)``."""
    if recipe.num_passes == 1:
        return one_pass(jnp.int32(0))
    if recipe.unroll:
        results = [one_pass(jnp.int32(p)) for p in range(recipe.num_passes)]
        return jax.tree.map(lambda *leaves: sum(leaves), *results)

    def add(total: Any, index: jax.Array) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, one_pass(index)), None

    shapes = jax.eval_shape(one_pass, jax.ShapeDtypeStruct((), jnp.int32))
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return jax.lax.scan(add, zeros, jnp.arange(recipe.num_passes))[0]


def _apply(
    state: TrainState,
    gradients: Any,
    stats: Any,
    losses: jax.Array,
    squares: jax.Array,
    sub_policies: tuple[jax.Array, jax.Array, jax.Array] | None,
    optimizer: optax.GradientTransformation,
    recipe: StepRecipe,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One SGD step (Eq. 6) and the average of L_m, unless the loss is not finite."""
    loss = objective.large_batch_loss(losses)
    fresh_round = state.step % recipe.round_steps == 0  # Alg. 1, line 2
    average, own_average = jax.tree.map(
        lambda leaf: jnp.where(fresh_round, jnp.zeros_like(leaf), leaf),
        (state.loss_average, state.sub_policy_average),
    )
    fresh_epoch = state.step % recipe.steps_per_epoch == 0
    epoch_loss = jnp.where(fresh_epoch, 0.0, state.epoch_loss)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    update = functools.partial(objective.update_average, decay=recipe.average_decay)
    updated = replace(
        state,
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=stats,
        opt_state=opt_state,
        loss_average=update(average, losses, squares, recipe.layout.num_images),
        epoch_loss=epoch_loss + jnp.stack([loss, jnp.float32(1)]),
        sub_policy_average=update(own_average, *sub_policies) if sub_policies else None,
    )
    # An overflowing gradient would poison the parameters one step before the loss.
    good = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(gradients))
    if recipe.skip_nonfinite:
        # A round or an epoch begins anew with a step that is left out, too.
        kept = replace(
            state,
            step=state.step + 1,
            skipped_steps=state.skipped_steps + 1,
            loss_average=average,
            epoch_loss=epoch_loss,
            sub_policy_average=own_average,
        )
    else:
        first = jnp.where(state.first_bad_step < 0, state.step, state.first_bad_step)
        good &= state.first_bad_step < 0
        kept = replace(state, first_bad_step=first)
    state = jax.tree.map(lambda new, old: jnp.where(good, new, old), updated, kept)
    return state, {"loss": loss, "losses": losses}
