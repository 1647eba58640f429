import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.augment import standard
from tests.oracles.pillow_ops import crop, pictures

KEY = jax.random.key(7)


def with_validity(images: np.ndarray) -> np.ndarray:
    """Images [B, H, W, 4] of which a half of the pixels is invalid."""
    valid = np.random.default_rng(0).choice([0, 255], (*images.shape[:3], 1))
    return np.concatenate([images, valid.astype(np.uint8)], axis=-1)


@pytest.mark.parametrize(
    ("size", "padding", "channels"),
    [
        ((32, 32), 0, 3),
        ((32, 32), 4, 3),
        ((5, 9), 0, 3),
        ((5, 9), 4, 3),
        ((5, 9), 4, 4),
    ],
)
def test_crops_are_those_of_numpy(size, padding, channels) -> None:
    """Validity is cropped like a colour: the padding is invalid."""
    images = with_validity(np.tile(pictures(*size), (4, 1, 1, 1)))[..., :channels]
    crops = standard.draw_crops(KEY, len(images), padding=padding, flip=True)
    apply = jax.jit(standard.apply_crops, static_argnames="padding")
    got = apply(crops, images, padding=padding)
    assert got.dtype == jnp.uint8
    assert 0 < np.asarray(crops.flip).sum() < len(images)
    for i, image in enumerate(images):
        offset, flip = np.asarray(crops.offset[i]), bool(crops.flip[i])
        np.testing.assert_array_equal(got[i], crop(image, offset, flip, padding))
    if channels == 3:
        both = standard.standard_augment(KEY, jnp.asarray(images), padding=padding)
        np.testing.assert_array_equal(both, got)


def test_drawn_crops_are_uniform_and_flips_are_a_half() -> None:
    crops = standard.draw_crops(KEY, 18000, padding=4, flip=True)
    for axis in (0, 1):
        counts = np.bincount(crops.offset[:, axis], minlength=9)
        assert counts.shape == (9,)
        assert np.abs(counts / 18000 - 1 / 9).max() < 5 * np.sqrt(8 / 81 / 18000)
    assert abs(np.mean(crops.flip) - 0.5) < 5 * np.sqrt(0.25 / 18000)
    assert not standard.draw_crops(KEY, 100, padding=4, flip=False).flip.any()


def test_whole_numbers_stay_below_the_limit() -> None:
    """The largest float32 that `uniform` can return is 1 - 2^-23."""
    largest = jnp.float32(1 - 2**-23)
    for limit in (*range(1, 300), 999, 4095, 4097, 8192, 10**6):
        assert standard.integers_below(limit, largest) == limit - 1
        assert standard.integers_below(limit, jnp.float32(0)) == 0


def test_normalize_takes_away_the_mean_and_divides_by_the_deviation() -> None:
    images, mean, std = pictures(32, 32), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    got = jax.jit(lambda x: standard.normalize(x, mean, std))(images)
    assert got.dtype == jnp.float32
    want = (images / 255 - mean) / std
    np.testing.assert_allclose(got, want, atol=1e-6)  # float32 against double


@pytest.mark.parametrize("wrong", [0.0, -0.2, float("nan")])
def test_a_deviation_that_is_not_above_zero_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match="each must be above 0; give 1 for"):
        standard.normalize(jnp.asarray(pictures(5, 9)), (0.5,) * 3, (0.2, wrong, 0.2))


def test_fixed_cutout_zeroes_a_square_cut_at_the_borders() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(40, 32, 24, 3)).astype(np.float32)
    centers = np.array(standard.draw_centers(KEY, 40, 32, 24))
    assert (centers >= 0).all()
    assert (centers < (32, 24)).all()
    centers[:4] = [(0, 0), (31, 23), (0, 23), (16, 12)]
    want = images.copy()
    for image, (y, x) in zip(want, centers, strict=True):
        image[max(y - 8, 0) : y + 8, max(x - 8, 0) : x + 8] = 0
    got = jax.jit(standard.fixed_cutout)(images, jnp.asarray(centers))
    np.testing.assert_array_equal(got, want)
    half = standard.fixed_cutout(
        jnp.asarray(images, jnp.bfloat16), jnp.asarray(centers)
    )
    assert half.dtype == jnp.bfloat16


def test_centers_cover_all_pixels() -> None:
    centers = np.asarray(standard.draw_centers(KEY, 4000, 3, 5))
    counts = np.zeros((3, 5))
    np.add.at(counts, tuple(centers.T), 1)
    assert np.abs(counts / 4000 - 1 / 15).max() < 5 * np.sqrt(1 / 15 / 4000)


def test_wrong_shapes_and_dtypes_are_refused() -> None:
    images = jnp.asarray(pictures(5, 9))
    crops = standard.draw_crops(KEY, len(images), padding=4, flip=True)
    floats = images.astype(jnp.float32)
    for call in (
        lambda: standard.apply_crops(crops, floats, padding=4),
        lambda: standard.standard_augment(KEY, floats),
        lambda: standard.normalize(floats, (0.5,) * 3, (0.5,) * 3),
    ):
        with pytest.raises(ValueError, match=r"images are float32.*: uint8 "):
            call()
    for call in (
        lambda: standard.apply_crops(crops, images[:3], padding=4),
        lambda: standard.fixed_cutout(floats, crops.offset[:3]),
    ):
        with pytest.raises(AssertionError):
            call()
