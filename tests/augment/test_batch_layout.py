"""The layout of a large batch: who shows which image under which policy."""

import numpy as np
import pytest

from aaa_jax.augment import batch_layout

LAYOUTS = [
    batch_layout.group_layout(12, 3, 4, "mixed"),
    batch_layout.group_layout(12, 5, 3, "mixed"),
    batch_layout.group_layout(12, 3, 4, "per_policy"),
    batch_layout.group_layout(6, 4, 3, "full"),
    batch_layout.group_layout(8, 1, 8, "mixed"),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_image_meets_every_policy_exactly_once(layout: batch_layout.GroupLayout):
    columns = (batch_layout.image_of_row(layout), batch_layout.policy_of_row(layout))
    pairs = sorted(zip(*(column.tolist() for column in columns), strict=True))
    assert pairs == list(np.ndindex(layout.num_images, layout.num_policies))


def test_a_mixed_group_has_each_image_of_its_block_once_and_rotated_policies():
    layout = batch_layout.group_layout(12, 3, 4, "mixed")
    images = batch_layout.image_of_row(layout).reshape(-1, 4)
    policies = batch_layout.policy_of_row(layout).reshape(-1, 4)
    for group in range(9):
        block, place = divmod(group, 3)
        np.testing.assert_array_equal(images[group], block * 4 + np.arange(4))
        np.testing.assert_array_equal(policies[group], (place + np.arange(4)) % 3)


def test_rows_of_one_policy_stand_together_unless_policies_are_mixed():
    layout = batch_layout.group_layout(12, 3, 4, "per_policy")
    policies = batch_layout.policy_of_row(layout).reshape(3, 3, 4)
    np.testing.assert_array_equal(policies, np.indices((3, 3, 4))[1])
    layout = batch_layout.group_layout(12, 3, 4, "full")
    policies, images = np.indices((3, 12)).reshape(2, -1)
    np.testing.assert_array_equal(batch_layout.policy_of_row(layout), policies)
    np.testing.assert_array_equal(batch_layout.image_of_row(layout), images)


def test_shares_that_do_not_divide_are_refused_with_what_would_do():
    layout = batch_layout.group_layout(128, 8, 128)
    for devices, passes in [(1, 1), (8, 1), (2, 4), (1, 8)]:
        batch_layout.check_shares(layout, devices, passes)
    said = r"would do: \[1, 2, 4, 8\] \(devices\.num_devices, num_passes\); or group"
    for devices, passes in [(3, 1), (1, 16), (16, 1), (5, 2)]:
        with pytest.raises(ValueError, match=said):
            batch_layout.check_shares(layout, devices, passes)


def test_the_group_sizes_named_in_the_refusal_do_work():
    layout = batch_layout.group_layout(128, 1, 128)
    with pytest.raises(ValueError, match=r"group sizes: \[1, 2, 4, 8, 16, 32\]"):
        batch_layout.check_shares(layout, 4, 1)
    batch_layout.check_shares(batch_layout.group_layout(128, 1, 32), 4, 1)


def test_one_full_group_cannot_be_shared():
    with pytest.raises(ValueError, match="'full' needs one device"):
        batch_layout.check_shares(batch_layout.group_layout(16, 2, 16, "full"), 2, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((128, 8, 100, "mixed"), "100 does not divide batch_size 128"),
        ((128, 8, 128, "blended"), "'blended'; allowed: mixed, per_policy, full"),
        ((0, 8, 128, "mixed"), "batch_size is 0"),
        ((128, 0, 128, "mixed"), "num_policies is 0"),
        ((128, 8, -1, "mixed"), "group_size is -1"),
    ],
)
def test_impossible_layouts_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        batch_layout.group_layout(*arguments)
