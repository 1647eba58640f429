"""One mini-batch of Algorithm 1, against NumPy and against itself cut differently."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aaa_jax import objective
from aaa_jax.augment import batch_layout, pipeline, standard
from aaa_jax.augment.policies import identity_policies
from aaa_jax.experiments import optimizer as optim
from aaa_jax.experiments.build import StepRecipe
from aaa_jax.models.batch_norm import GroupBatchNorm
from aaa_jax.runtime import devices
from aaa_jax.search import sources
from aaa_jax.train import step

pytestmark = pytest.mark.usefixtures("light_compiler")

NUM_CLASSES = 4
IMAGES = 16  # of the split: two steps an epoch
N, M, SIDE = 8, 4, 12


def _data(seed: int = 0) -> step.ResidentData:
    rng = np.random.default_rng(seed)
    return step.ResidentData(
        images=rng.integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8),
        labels=rng.integers(0, NUM_CLASSES, IMAGES).astype(np.int32),
        permutation=rng.permutation(IMAGES).astype(np.int32),
    )


def _recipe(**changes) -> StepRecipe:
    rows = pipeline.RowRecipe(
        layout=batch_layout.group_layout(N, M, 4),
        padding=2,
        flip=True,
        shared_crops=False,
        policy_first=False,
        ranges="monotone",
        fill=(125, 123, 114),
        alpha=False,
        cutout_size=4,
        mean=(0.5, 0.4, 0.3),
        std=(0.25, 0.2, 0.3),
    )
    plain = StepRecipe(
        rows=rows._replace(**{k: v for k, v in changes.items() if k in rows._fields}),
        steps_per_epoch=IMAGES // N,
        round_steps=IMAGES // N,
        num_passes=1,
        average_decay=None,
        skip_nonfinite=False,
        unroll=True,
    )
    return plain._replace(**{k: v for k, v in changes.items() if k not in rows._fields})


class Linear(nn.Module):
    """Logits = flattened pixels times a matrix."""

    @nn.compact
    def __call__(self, images, *, train, rows=None):
        return nn.Dense(NUM_CLASSES)(images.reshape(images.shape[0], -1))


class Convolutional(nn.Module):
    """A convolution, BatchNorm in groups, and a linear layer: compiles in a second."""

    group_size: int = 4

    @nn.compact
    def __call__(self, images, *, train, rows=None):
        x = nn.Conv(8, (3, 3), strides=2, use_bias=False)(images)
        x = nn.relu(GroupBatchNorm(self.group_size)(x, train=train))
        return nn.Dense(NUM_CLASSES)(x.mean(axis=(1, 2)))


def _optimizer(learning_rate: float = 0.05) -> optax.GradientTransformation:
    schedule = optim.learning_rate_schedule("cosine", learning_rate, 100)
    return optim.sgd(schedule, weight_decay=5e-4, clip_norm=5.0)


def _init(model, optimizer, recipe) -> step.TrainState:
    init = functools.partial(
        step.init_train_state,
        model=model,
        optimizer=optimizer,
        image_shape=(SIDE, SIDE, 3),
        num_policies=recipe.layout.num_policies,
        num_sub_policies=recipe.num_sub_policies,
        keeps_round_start=recipe.is_gain,
    )
    return jax.jit(init)(jax.random.key(1))


def _bound(model, optimizer, recipe, **more):
    return functools.partial(
        step.train_step, model=model, optimizer=optimizer, recipe=recipe, **more
    )


def _alone(model, optimizer, recipe):
    return jax.jit(_bound(model, optimizer, recipe, axis_name=None))


@functools.cache
def _policies():
    source = sources.random_source(M)
    return jax.jit(source.sample)(jax.random.key(5), (), 0.0)


def test_a_step_of_a_linear_model_equals_numpy_sgd():
    """Two steps of Nesterov SGD on M plain copies of each image, in double."""
    recipe = _recipe(padding=0, flip=False, cutout_size=0)
    rate, momentum = 0.1, 0.9
    model, tx = Linear(), optax.sgd(rate, momentum=momentum, nesterov=True)
    state, data = _init(model, tx, recipe), _data()
    run = _alone(model, tx, recipe)
    kernel = np.asarray(state.params["Dense_0"]["kernel"], np.float64)
    bias = np.asarray(state.params["Dense_0"]["bias"], np.float64)
    trace = [np.zeros_like(kernel), np.zeros_like(bias)]
    for index in range(2):
        chosen = data.permutation[index * N : (index + 1) * N]
        pixels = data.images[chosen].astype(np.float64) / 255
        x = ((pixels - recipe.rows.mean) / recipe.rows.std).reshape(N, -1)
        logits = x @ kernel + bias
        shifted = logits - logits.max(1, keepdims=True)
        probs = np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)
        loss = -np.log(probs[np.arange(N), data.labels[chosen]])
        error = (probs - np.eye(NUM_CLASSES)[data.labels[chosen]]) / N
        trace = [
            momentum * t + g
            for t, g in zip(trace, [x.T @ error, error.sum(0)], strict=True)
        ]
        kernel -= rate * (momentum * trace[0] + x.T @ error)
        bias -= rate * (momentum * trace[1] + error.sum(0))
        state, result = run(state, data, identity_policies(M), jax.random.key(0))
        # float32 sums of a few hundred products
        np.testing.assert_allclose(result["losses"], np.full(M, loss.mean()), rtol=2e-5)
    np.testing.assert_allclose(
        state.params["Dense_0"]["kernel"], kernel, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(state.params["Dense_0"]["bias"], bias, rtol=1e-4)
    assert int(state.step) == 2
    np.testing.assert_allclose(
        objective.average_losses(state.loss_average)[0],
        state.epoch_loss[0] / state.epoch_loss[1],
        rtol=1e-6,
    )


def test_losses_are_those_of_each_policy_wherever_its_rows_lie():
    """L_m from the mixed rows equals Eq. 5 on the large batch sorted by policy."""
    recipe = _recipe()
    model, tx = Linear(), optax.sgd(0.1)
    state = _init(model, tx, recipe)
    losses, places, images = _rows(recipe, 0, state.params)
    order = sorted(range(N * M), key=lambda row: (places[row][0], images[row]))
    expected = losses[order].reshape(M, N).mean(axis=1)
    run = _alone(model, tx, recipe)
    _, result = run(state, _data(), _policies(), jax.random.key(3))
    np.testing.assert_allclose(result["losses"], expected, rtol=1e-5)
    np.testing.assert_allclose(result["loss"], np.mean(expected), rtol=1e-5)


def _rows(recipe, index, params):
    """Losses of a step's rows under a linear model, their (m, q) and their images."""
    layout, data, policies = recipe.layout, _data(), _policies()
    policy = batch_layout.policy_of_row(layout)
    key = step.step_key(jax.random.key(3), jnp.int32(index), 2)
    draws = pipeline.draw_rows(key, policies, recipe.rows, SIDE, SIDE)
    shown = data.permutation[index * N + batch_layout.image_of_row(layout)]
    floats = pipeline.augment_rows(
        data.images[shown], policies, policy, draws, recipe.rows
    )
    logits = Linear().apply({"params": params}, floats, train=True)
    losses = np.asarray(objective.cross_entropy(logits, data.labels[shown]))
    places = list(zip(policy, np.asarray(draws.policy.sub_policy), strict=True))
    return losses, places, shown


def _mean_of_each(values, places):
    """Means and standard errors of the rows of each (m, q), see `RoundOutcome`."""
    own = {p: values[[q == p for q in places]] for p in set(places)}
    means = np.full((M, 5), np.mean([rows.mean() for rows in own.values()]))
    errors = np.zeros((M, 5))
    for place, rows in own.items():
        means[place], errors[place] = rows.mean(), rows.std() / np.sqrt(len(rows))
    return means, errors


def _two_steps(recipe, rate):
    """The states of a round of two steps, and what its end says."""
    model, tx = Linear(), optax.sgd(rate)
    states = [_init(model, tx, recipe)]
    run = _alone(model, tx, recipe)
    for _ in range(2):
        states.append(run(states[-1], _data(), _policies(), jax.random.key(3))[0])
    source = sources.adversarial_source(M, credit="sub_policy")
    start = source.init(jax.random.key(0))
    _, info = step.controller_step(start, _policies(), states[-1], source=source)
    return states, info


@pytest.mark.parametrize("less_image_means", [False, True])
def test_losses_of_sub_policies_are_those_of_their_own_rows(less_image_means):
    """Over a round of two steps, whole and in passes, against a loop over the rows."""
    recipe = _recipe(num_sub_policies=5, less_image_means=less_image_means)
    for passes in (1, 2):
        # Rate 0, so that losses are those of the start.
        states, info = _two_steps(recipe._replace(num_passes=passes), 0.0)
        each = [_rows(recipe, index, states[0].params) for index in range(2)]
        losses, places, images = (
            np.concatenate([np.asarray(step[part]) for step in each])
            for part in range(3)
        )
        if less_image_means:
            losses = losses - [losses[images == n].mean() for n in images]
        expected, errors = _mean_of_each(losses, list(map(tuple, places.tolist())))
        np.testing.assert_allclose(info["sub_policy_losses"], expected, atol=1e-5)
        np.testing.assert_allclose(info["sub_policy_errors"], errors, atol=1e-3)
        rewards = (expected - expected.mean()) / (expected.std() + 1e-5)
        np.testing.assert_allclose(info["rewards"], rewards, atol=1e-3)


def test_a_gain_is_what_a_round_took_off_the_loss_of_rows_it_has_not_seen():
    """Of the second step's rows: the loss at the start less that after one step."""
    recipe = _recipe(num_sub_policies=5, is_gain=True, num_passes=2)
    states, info = _two_steps(recipe, 0.1)
    before, places, _ = _rows(recipe, 1, states[0].params)
    after, _, _ = _rows(recipe, 1, states[1].params)
    expected, errors = _mean_of_each(before - after, places)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(info["sub_policy_losses"], expected, atol=1e-5)
    np.testing.assert_allclose(info["sub_policy_errors"], errors, atol=1e-3)
    np.testing.assert_allclose(info["gains"], expected.mean(axis=1), atol=1e-5)


@pytest.mark.parametrize("grouping", ["mixed", "per_policy"])
def test_passes_of_accumulation_change_nothing_but_rounding(grouping):
    """Gradients within 1e-6 in 1, 2 and M passes, unrolled and in a scan."""
    layout = batch_layout.group_layout(N, M, 4, grouping)
    model, tx = Convolutional(), optax.sgd(1.0)  # params move by minus the gradient
    start = _init(model, tx, _recipe(layout=layout)).params
    results = []
    for passes, unroll in [(1, True), (2, True), (M, False)]:
        recipe = _recipe(layout=layout, num_passes=passes, unroll=unroll)
        state, run = _init(model, tx, recipe), _alone(model, tx, recipe)
        stepped = run(state, _data(), _policies(), jax.random.key(0))
        results.append(jax.device_get(stepped))
    (whole, losses), *cut = results
    for state, other in cut:
        np.testing.assert_allclose(other["losses"], losses["losses"], rtol=1e-6)
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
            state.batch_stats,
            whole.batch_stats,
        )
        gradients = [jax.tree.map(np.subtract, start, s.params) for s in (state, whole)]
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradients[1])) > 0.01
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-6), *gradients
        )


def _ten_steps(count: int, mapping: str):
    recipe = _recipe(round_steps=5, num_sub_policies=5, less_image_means=True)
    model, tx = Convolutional(), _optimizer()
    used = devices.pick_devices(count)
    mapped = devices.map_over_devices(
        _bound(model, tx, recipe, num_devices=count), used, mapping, donate=True
    )
    state = devices.replicate(_init(model, tx, recipe), used)
    inputs = devices.replicate((_data(), _policies(), jax.random.key(0)), used)
    losses = []
    for _ in range(10):
        state, result = mapped(state, *inputs)
        losses.append(jax.device_get(result["losses"]))
    return np.stack(losses), jax.device_get(state)


@pytest.fixture(scope="module")
def one_device():
    return _ten_steps(1, "jit")


def test_two_and_four_devices_equal_one(one_device):
    for count in (2, 4):
        losses, state = _ten_steps(count, "pmap")
        np.testing.assert_allclose(losses, one_device[0], atol=1e-4)
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, atol=1e-3),
            (state.params, state.sub_policy_average),
            (one_device[1].params, one_device[1].sub_policy_average),
        )


def test_pmap_equals_shard_map_bit_for_bit():
    pmap, shard_map = _ten_steps(2, "pmap"), _ten_steps(2, "shard_map")
    jax.tree.map(np.testing.assert_array_equal, pmap, shard_map)


def test_cutout_at_one_policy_is_plain_training_with_cutout():
    """`:cutout` step for step against a loop without policies, groups or averages."""
    recipe = _recipe(layout=batch_layout.group_layout(N, 1, N))
    model, tx = Convolutional(N), _optimizer()
    data, root = _data(), jax.random.key(2)
    state = _init(model, tx, recipe)
    params, stats, momentum = state.params, state.batch_stats, tx.init(state.params)
    run = _alone(model, tx, recipe)

    @jax.jit
    def plain_step(params, stats, momentum, images, labels, crops, centers):
        rows = standard.apply_crops(crops, images, padding=2)
        x = standard.normalize(rows, recipe.rows.mean, recipe.rows.std)
        x = standard.fixed_cutout(x, centers, size=4)

        def loss(params):
            variables = {"params": params, "batch_stats": stats}
            logits, new = model.apply(variables, x, train=True, mutable=["batch_stats"])
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean(), new["batch_stats"]

        (value, stats_), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        updates, momentum_ = tx.update(gradient, momentum, params)
        return optax.apply_updates(params, updates), stats_, momentum_, value

    policies = identity_policies(1)
    for index in range(4):
        draws = pipeline.draw_rows(
            step.step_key(root, jnp.int32(index), 2), policies, recipe.rows, SIDE, SIDE
        )
        chosen = data.permutation[(index % 2) * N :][:N]
        shown = data.images[chosen], data.labels[chosen], draws.crops, draws.cutout
        params, stats, momentum, value = plain_step(params, stats, momentum, *shown)
        state, result = run(state, data, policies, root)
        np.testing.assert_allclose(result["loss"], value, rtol=1e-5)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, state.params, params)
    jax.tree.map(close, state.batch_stats, stats)


def _with_bad_label(of_step: int = 1) -> step.ResidentData:
    """That step of an epoch meets a label that no network can predict."""
    data = _data()
    data.labels[data.permutation[of_step * N]] = NUM_CLASSES + 3
    return data


def _controller():
    """A controller that would move also without a loss, and the end of a round."""
    source = sources.adversarial_source(M, entropy_weight=0.01)
    close = functools.partial(step.controller_step, source=source)
    return jax.jit(source.init)(jax.random.key(0)), jax.jit(close)


def _differ(one, other) -> bool:
    return not np.array_equal(one, other)


def test_a_nonfinite_loss_freezes_the_state_before_its_step():
    recipe = _recipe()
    model, tx = Linear(), _optimizer()
    run = _alone(model, tx, recipe)
    inputs = _with_bad_label(), _policies(), jax.random.key(0)
    good, _ = run(_init(model, tx, recipe), *inputs)
    frozen, result = run(good, *inputs)
    assert not np.isfinite(result["loss"])
    assert int(frozen.first_bad_step) == 1
    same = good.replace(first_bad_step=jnp.int32(1))
    jax.tree.map(np.testing.assert_array_equal, frozen, same)
    later, _ = run(frozen, *inputs)
    jax.tree.map(np.testing.assert_array_equal, later, same)
    controller, close_round = _controller()
    kept, _ = close_round(controller, _policies(), frozen)
    jax.tree.map(np.testing.assert_array_equal, kept, controller)
    moved, _ = close_round(controller, _policies(), good)
    assert any(jax.tree.leaves(jax.tree.map(_differ, moved, controller)))


def test_a_round_and_an_epoch_that_begin_with_a_step_left_out_begin_anew():
    """Steps 4, 6 and 7 are bad: the third round's first, and the fourth round whole."""
    recipe = _recipe(skip_nonfinite=True)
    model, tx = Linear(), _optimizer()
    run = _alone(model, tx, recipe)
    rest = _policies(), jax.random.key(0)
    state, seen = _init(model, tx, recipe), []
    for _ in range(4):
        state, result = run(state, _data(), *rest)
        seen.append(np.asarray(result["losses"]))
    assert float(state.loss_average.weight) == 2 * N
    average = objective.average_losses(state.loss_average)
    np.testing.assert_allclose(average, np.mean(seen[2:], axis=0), rtol=1e-6)
    before = state
    state, result = run(state, _with_bad_label(of_step=0), *rest)
    assert not np.isfinite(result["loss"])
    jax.tree.map(np.testing.assert_array_equal, state.params, before.params)
    state, result = run(state, _with_bad_label(of_step=0), *rest)
    np.testing.assert_allclose(
        objective.average_losses(state.loss_average), result["losses"], rtol=1e-6
    )
    assert float(state.loss_average.weight) == N
    np.testing.assert_allclose(state.epoch_loss, [result["loss"], 1], rtol=1e-6)
    for bad in range(2):
        state, _ = run(state, _with_bad_label(of_step=bad), *rest)
    assert (int(state.step), int(state.skipped_steps)) == (8, 3)
    assert int(state.first_bad_step) == -1
    np.testing.assert_array_equal(state.epoch_loss, [0, 0])
    controller, close_round = _controller()
    kept, info = close_round(controller, rest[0], state)
    jax.tree.map(np.testing.assert_array_equal, kept, controller)
    assert np.isnan(info["losses"]).all()
    assert np.isnan(info["standard_errors"]).all()
    for name in ("rewards", "kl", "gradient_norm"):
        np.testing.assert_array_equal(info[name], 0)
    assert np.isfinite(info["op_shares"]).all()


@pytest.mark.parametrize("shared", [False, True])
def test_crops_are_independent_or_shared_by_the_instances_of_an_image(shared):
    recipe, key = _recipe(shared_crops=shared), jax.random.key(0)
    draws = pipeline.draw_rows(key, identity_policies(M), recipe.rows, SIDE, SIDE)
    image = batch_layout.image_of_row(recipe.layout)
    offsets = [np.asarray(draws.crops.offset)[image == n] for n in range(N)]
    assert all(len(np.unique(each, axis=0)) == 1 for each in offsets) is shared
