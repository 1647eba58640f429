"""What the rows of a step become, against Pillow and NumPy, in either order."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.augment import batch_layout, ops, pipeline
from aaa_jax.augment.policies import Policies
from tests.oracles.pillow_ops import FILL, crop, pictures, release_rgba, replay

pytestmark = pytest.mark.usefixtures("light_compiler")

N, M, SIZE = 16, 2, (12, 10)
MEAN, STD, CUTOUT = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3), 4
PADDING = 3


def recipe_of(order: str, alpha: bool) -> pipeline.RowRecipe:
    return pipeline.RowRecipe(
        layout=batch_layout.group_layout(N, M, 8),
        padding=PADDING,
        flip=True,
        shared_crops=False,
        policy_first=order == "policy_first",
        ranges="release",
        fill=(125, 122, 113) if alpha else FILL,
        alpha=alpha,
        cutout_size=CUTOUT,
        mean=MEAN,
        std=STD,
    )


def every_op(alpha: bool) -> Policies:
    """Each op first and last of a chain; the release has no SamplePairing."""
    names = [op.name for op in ops.OPS if not (alpha and op.name == "SamplePairing")]
    first = np.array([ops.op_index(name) for name in names])
    chains = np.stack([first, np.roll(first, 5)], axis=-1)
    chains = np.stack([chains, chains[:, ::-1]])
    rng = np.random.default_rng(0)
    return Policies(
        ops=jnp.asarray(chains, jnp.int32),
        magnitudes=jnp.asarray(rng.integers(3, 10, chains.shape), jnp.int32),
        probs=jnp.full(chains.shape, 0.8, jnp.float32),
    )


def by_hand(images, some, policy_of_row, draws, recipe):
    """The rows and how many of their pixels are invalid."""
    draws = jax.tree.map(np.asarray, draws)

    def crops(images):
        drawn = zip(images, *draws.crops, strict=True)
        return np.stack([crop(image, *how, PADDING) for image, *how in drawn])

    def policy(images):
        if recipe.alpha:
            return release_rgba(draws.policy, images, some, policy_of_row)
        group = recipe.layout.rows_per_group
        arguments = (draws.policy, images, some, policy_of_row, group, "release")
        opaque = np.full((*images.shape[:3], 1), 255, np.uint8)
        return np.concatenate([replay(*arguments), opaque], axis=-1)

    made = crops(policy(images)) if recipe.policy_first else policy(crops(images))
    floats = (made[..., :3] / 255 - np.array(MEAN)) / np.array(STD)
    invalid = (made[..., 3] == 0) & recipe.alpha
    floats[invalid] = 0
    for image, (y, x) in zip(floats, draws.cutout, strict=True):
        half = CUTOUT // 2
        image[max(y - half, 0) : y + half, max(x - half, 0) : x + half] = 0
    return floats, invalid.mean()


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("order", ["standard_first", "policy_first"])
def test_rows_are_those_of_pillow_and_numpy(order, alpha) -> None:
    """AutoAugment's CIFAR code is (policy_first, alpha)."""
    recipe, some = recipe_of(order, alpha), every_op(alpha)
    policy_of_row = batch_layout.policy_of_row(recipe.layout)
    images = np.resize(pictures(*SIZE), (N * M, *SIZE, 3))
    draws = pipeline.draw_rows(jax.random.key(2), some, recipe, *SIZE)
    run = jax.jit(functools.partial(pipeline.augment_rows, recipe=recipe))
    got = run(images, some, jnp.asarray(policy_of_row), draws)
    want, share_invalid = by_hand(images, some, policy_of_row, draws, recipe)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, atol=1e-6)  # float32 against double
    # Besides what ops moved in, crops did: on average 3.4 of the 22 rows and columns.
    least = {"standard_first": 0.02, "policy_first": 0.2}[order]
    assert (least < share_invalid < 0.6) if alpha else share_invalid == 0
