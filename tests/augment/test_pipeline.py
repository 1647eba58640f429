"""What the rows of a step become, against Pillow and NumPy, in either order."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.augment import batch_layout, pipeline
from tests.oracles.pillow_ops import FILL, crop, pictures, replay, some_policies

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


def by_hand(images, some, policy_of_row, draws, recipe):
    """The rows and how many of their pixels are invalid."""
    draws = jax.tree.map(np.asarray, draws)

    def crops(images):
        drawn = zip(images, *draws.crops, strict=True)
        return np.stack([crop(image, *how, PADDING) for image, *how in drawn])

    def policy(images):
        group = recipe.layout.rows_per_group
        arguments = (draws.policy, images, some, policy_of_row, group, "release")
        options = {"fill": recipe.fill, "with_validity": recipe.alpha}
        return replay(*arguments, **options)

    made = crops(policy(images)) if recipe.policy_first else policy(crops(images))
    floats = (made[..., :3] / 255 - np.array(MEAN)) / np.array(STD)
    invalid = made[..., -1] == 0 if recipe.alpha else np.zeros(made.shape[:3], bool)
    floats[invalid] = 0
    for image, (y, x) in zip(floats, draws.cutout, strict=True):
        half = CUTOUT // 2
        image[max(y - half, 0) : y + half, max(x - half, 0) : x + half] = 0
    return floats, invalid.mean()


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("order", ["standard_first", "policy_first"])
def test_rows_are_those_of_pillow_and_numpy(order, alpha) -> None:
    """AutoAugment's CIFAR code is (policy_first, alpha)."""
    recipe = recipe_of(order, alpha)
    without = ("SamplePairing",) if alpha else ()  # the release does not have it
    some = some_policies((M, 17, 3), probs=(0.8,), without=without)
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
