"""The table of networks: what every row must do, and how wrong names are refused."""

import functools
import sys
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax import models
from aaa_jax.models.batch_norm import GroupBatchNorm
from tests.oracles.models_numpy import count, random_variables

pytestmark = pytest.mark.usefixtures("light_compiler")

# The smallest network of each family; a row of MODELS without one fails.
TINY = {
    "wide_resnet": {"depth": 10, "width": 1},
    "shake_shake": {"depth": 8, "width": 8},
    "pyramidnet": {"depth": 11, "widening": 12},
    "resnet": {"depth": 14, "width": 8},
}
NOISY = {"shake_shake", "pyramidnet"}
NUM_CLASSES, GROUP = 5, 3
EVERY = pytest.mark.parametrize("name", models.MODELS)
NOISE = jax.random.key(7)


def tiny(name, **options):
    sizes = {"num_classes": NUM_CLASSES, "bn_group_size": GROUP}
    return models.create(name, **sizes | TINY[name] | options)


def images_of(name, rows):
    # A ResNet halves five times: 64 pixels leave 2 x 2 to its last statistics.
    size = (64, 48) if name == "resnet" else (16, 12)
    return jax.random.normal(jax.random.key(1), (rows, *size, 3))


def forward(network, variables, images, rows):
    options = {"train": True, "rngs": {"noise": NOISE}, "mutable": ["batch_stats"]}
    return network.apply(variables, images, rows=rows, **options)


@functools.cache
def training_pass(name, **options):
    """Jitted: (variables, images, rows) to logits, new statistics, gradients."""
    network = tiny(name, **options)

    def loss(params, variables, images, rows):
        variables = {**variables, "params": params}
        logits, updates = forward(network, variables, images, rows)
        return jnp.square(logits - 1).mean(), (logits, updates["batch_stats"])

    def call(variables, images, rows):
        gradients, aux = jax.grad(loss, has_aux=True)(
            variables["params"], variables, images, rows
        )
        return *aux, gradients

    return jax.jit(call)


@pytest.mark.parametrize(
    ("name", "options", "num_classes", "published"),
    [
        ("wide_resnet", {"depth": 28, "width": 10}, 10, 36_479_194),
        ("wide_resnet", {"depth": 40, "width": 2}, 10, 2_243_546),
        # Gastaldi's Table 1: millions
        ("shake_shake", {"width": 32}, 10, 2.9e6),
        ("shake_shake", {"width": 64}, 10, 11.7e6),
        ("shake_shake", {"width": 96}, 10, 26.2e6),
        ("resnet", {"depth": 18}, 1000, 11_689_512),
        ("resnet", {"depth": 34}, 1000, 21_797_672),
        ("resnet", {"depth": 50}, 1000, 25_557_032),
        ("resnet", {"depth": 50, "variant": "d"}, 1000, 25_576_264),
        ("resnet", {"depth": 101}, 1000, 44_549_160),
        ("resnet", {"depth": 152}, 1000, 60_192_808),
        ("resnet", {"depth": 200}, 1000, 64_673_832),
        # timm says 25.55 M: v1.5 without the norms of the shortcuts.
        ("resnet", {"depth": 50, "variant": "pre_activation"}, 1000, 25_549_352),
        ("resnet", {"depth": 200, "variant": "pre_activation"}, 1000, 64_666_152),
    ],
)
def test_the_number_of_parameters_is_the_published_one(
    name, options, num_classes, published
):
    number = count(models.create(name, num_classes=num_classes, **options))
    assert published == (number if isinstance(published, int) else round(number, -5))


def assert_trees_close(ours, theirs, tolerance):
    """Relative to each leaf's largest value."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance * max(np.abs(b).max(), 1e-3))


@pytest.mark.parametrize(
    "name",  # a ResNet takes its time, and is what a Wide-ResNet is in this
    [
        pytest.param(name, marks=pytest.mark.slow) if name == "resnet" else name
        for name in models.MODELS
    ],
)
def test_shares_of_the_groups_make_the_result_of_the_whole_large_batch(name):
    """Devices and passes: 4 groups at once, and 2 + 2 of them."""
    images, rows = images_of(name, 4 * GROUP), jnp.arange(4 * GROUP)
    variables = random_variables(tiny(name))
    call = training_pass(name)
    whole = call(variables, images, rows)
    shares = zip(jnp.split(images, 2), jnp.split(rows, 2), strict=True)
    halves = [call(variables, *share) for share in shares]
    joined = jnp.concatenate([half[0] for half in halves])
    mean = jax.tree.map(lambda a, b: (a + b) / 2, halves[0][1:], halves[1][1:])
    assert joined.shape == (4 * GROUP, NUM_CLASSES)
    # Sums in another order, in float32.
    assert_trees_close((joined, *mean), whole, 2e-5)


@EVERY
def test_recomputing_blocks_in_the_backward_pass_changes_nothing(name):
    images, rows = images_of(name, 2 * GROUP), jnp.arange(5, 5 + 2 * GROUP)
    variables = random_variables(tiny(name))
    plain = training_pass(name)(variables, images, rows)
    recomputed = training_pass(name, remat=True)(variables, images, rows)
    # XLA fuses the recomputed values differently.
    assert_trees_close(recomputed, plain, 2e-5)


@EVERY
def test_a_bfloat16_network_convolves_in_it_and_keeps_all_else_in_float32(name):
    images, rows = images_of(name, GROUP), jnp.arange(GROUP)
    network = tiny(name, dtype="bfloat16")
    variables = random_variables(network)
    lowered = jax.jit(lambda v: forward(network, v, images, rows)).lower(variables)
    leaves = jax.tree.leaves((variables, lowered.out_info))
    assert {leaf.dtype.name for leaf in leaves} == {"float32"}
    lines = lowered.as_text().splitlines()
    convolutions = [line for line in lines if "stablehlo.convolution" in line]
    assert len(convolutions) > 3
    assert all("bf16" in line and "f32" not in line for line in convolutions)


@EVERY
def test_a_bfloat16_network_evaluates_as_a_float32_one_but_for_rounding(name):
    # jax 0.11 and 0.12 made NaN of a Wide-ResNet on CPUs.
    images = images_of(name, 2 * GROUP)
    variables = random_variables(tiny(name))

    def evaluate(dtype):
        network = tiny(name, dtype=dtype)
        call = jax.jit(lambda v, x: network.apply(v, x, train=False))
        return np.asarray(call(variables, images))

    half, whole = evaluate("bfloat16"), evaluate("float32")
    scale = np.abs(whole).max()
    np.testing.assert_allclose(half, whole, rtol=0, atol=0.05 * scale)


@EVERY
def test_evaluation_needs_no_noise_and_does_not_mix_rows(name):
    network = tiny(name)
    variables = random_variables(network)
    call = jax.jit(lambda images: network.apply(variables, images, train=False))
    images = images_of(name, 2 * GROUP)
    whole = call(images)
    # Another composition of the batch, another order of float32 sums at most.
    turned = call(jnp.roll(images, 1, 0))
    np.testing.assert_allclose(jnp.roll(turned, -1, 0), whole, atol=1e-5)


@EVERY
def test_the_noise_is_a_function_of_the_global_row(name):
    images, rows = images_of(name, 2 * GROUP), jnp.arange(2 * GROUP)
    variables = random_variables(tiny(name))
    call = training_pass(name)
    first, again, other = (
        call(variables, images, rows + shift)[0] for shift in (0, 0, 1)
    )
    np.testing.assert_array_equal(again, first)
    assert np.allclose(first, other) is (name not in NOISY)


@pytest.mark.parametrize("name", sorted(NOISY))
def test_a_network_with_noise_says_when_its_key_is_missing(name):
    network, images = tiny(name), images_of(name, GROUP)
    with pytest.raises(Exception, match="noise"):
        jax.eval_shape(
            lambda v: network.apply(v, images, train=True, mutable=["batch_stats"]),
            random_variables(network),
        )


@EVERY
def test_an_unknown_option_is_refused_with_those_there_are(name):
    with pytest.raises(ValueError, match=r"unexpected .* 'deepness'") as error:
        tiny(name, deepness=3)
    for option in (*TINY[name], "remat"):
        assert option in str(error.value)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet50", {}, "'resnet50'.*wide_resnet.*package.module:factory"),
        ("resnet", {"num_classes": 0}, "at least one class: 0"),
        ("resnet", {"dtype": jnp.float16}, "float32.*bfloat16"),
        ("resnet", {"dtype": "fp8"}, "float32.*bfloat16.*'fp8'"),
        ("resnet", {"bn_group_size": 0}, "bn_group_size.*: 0"),
        *[("wide_resnet", {"depth": n}, rf"6n \+ 4.*: {n}") for n in (9, 12, 4, 27)],
        ("wide_resnet", {"width": 0}, "at least 1: 0"),
        ("wide_resnet", {"stem_stride": 0}, "stem_stride is at least 1: 0"),
        ("shake_shake", {"depth": 27}, r"6n \+ 2.*: 27"),
        ("shake_shake", {"width": 33}, "even.*: 33"),
        ("pyramidnet", {"depth": 111}, r"9n \+ 2.*: 111"),
        ("pyramidnet", {"widening": -1}, "widening.*: -1"),
        ("pyramidnet", {"last_gate": 1.5}, "last_gate.*: 1.5"),
        ("resnet", {"depth": 19}, "depth is one of.*18.*50.*: 19"),
        ("resnet", {"variant": "D"}, "variant is one of.*: 'D'"),
        ("resnet", {"depth": 18, "variant": "pre_activation"}, "activation.* depth is"),
        ("resnet", {"width": 0}, "width.*: 0"),
    ],
)
def test_wrong_arguments_are_refused_with_the_allowed_ones(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        models.create(name, **{"num_classes": 10, **arguments})


class Linear(nn.Module):
    """A user's own network, by its constructor."""

    num_classes: int
    dtype: jnp.dtype
    bn_group_size: int | None
    scale: float = 1.0

    @nn.compact
    def __call__(self, images, *, train, rows=None):
        x = GroupBatchNorm(self.bn_group_size)(images, train)
        return nn.Dense(self.num_classes)(x.reshape(len(x), -1)) * self.scale


class NoRows(nn.Module):
    @nn.compact
    def __call__(self, images, *, train):
        return images


@pytest.fixture
def own(monkeypatch):
    module = types.ModuleType("own_networks")
    module.Linear = Linear
    module.linear = lambda *, num_classes, dtype, bn_group_size: Linear(
        num_classes, dtype, bn_group_size
    )
    module.anything = lambda **options: Linear(**options)
    module.no_dtype = lambda *, num_classes, bn_group_size: None
    module.no_module = lambda *, num_classes, dtype, bn_group_size: 3
    module.no_rows = lambda *, num_classes, dtype, bn_group_size: NoRows()
    module.needy = lambda *, num_classes, dtype, bn_group_size, depth: NoRows()
    module.number = 3
    monkeypatch.setitem(sys.modules, "own_networks", module)


@pytest.mark.parametrize("factory", ["Linear", "linear", "anything"])
def test_a_network_of_ones_own_is_imported(own, factory):
    network = models.create(f"own_networks:{factory}", num_classes=4, bn_group_size=2)
    assert isinstance(network, Linear)
    assert (network.num_classes, network.bn_group_size) == (4, 2)
    assert models.create("own_networks:Linear", num_classes=4, scale=0.5).scale == 0.5


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("no_such_package:net", {}, "cannot be imported.*no_such_package"),
        ("own_networks:missing", {}, "cannot be imported.* no attribute 'missing'"),
        ("own_networks:number", {}, "'own_networks:number' is 3, which is no callable"),
        (":net", {}, "package.module:factory"),
        ("own_networks:no_dtype", {}, "unexpected keyword argument 'dtype'"),
        ("own_networks:no_module", {}, "gave a int, not a Flax Linen module"),
        ("own_networks:no_rows", {}, "cannot be called as .* argument 'rows'"),
        ("own_networks:linear", {"depth": 3}, "'depth'. Its options are none;"),
        ("own_networks:Linear", {"depth": 3}, "'depth'. Its options are scale;"),
        ("own_networks:needy", {}, "missing a required .*'depth'"),
    ],
)
def test_a_network_of_ones_own_that_does_not_fit_is_refused(
    own, name, options, message
):
    with pytest.raises(ValueError, match=message):
        models.create(name, num_classes=4, **options)
