"""What the host can decode, on made-up images."""

import cv2
import numpy as np

from aaa_jax.data import host_speed


def test_a_made_up_image_is_as_large_as_those_of_imagenet():
    encoded = host_speed.made_up_jpeg(np.random.default_rng(0))
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    assert pixels.shape == (375, 500, 3)
    assert 80_000 < len(encoded) < 200_000


def test_more_rows_of_an_image_take_longer():
    def speed(rows):
        return host_speed.images_per_second(rows, 64, "area", 1, seconds=0.2)

    assert speed(1) > speed(32) > 0
