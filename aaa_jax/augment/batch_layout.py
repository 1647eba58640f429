"""How the rows of a large batch are laid out in groups.

A group is the unit of everything that looks across rows: BatchNorm statistics,
SamplePairing partners, the share of a device, a pass of gradient accumulation. So the
result of a step does not depend on the number of devices or passes.
"""

import math
from typing import NamedTuple

import numpy as np

GROUPINGS = ("mixed", "per_policy", "full")


class GroupLayout(NamedTuple):
    """The rows of one large batch of ``num_images * num_policies`` rows.

    The mini-batch is cut into blocks of ``group_size`` images; a block under M policies
    makes M groups. Group g of a block holds image n of the block under policy
    ``(g + n) mod M`` (``mixed``: every group has all policies) or g (``per_policy``).
    ``full`` is one group of all rows.
    """

    num_images: int
    num_policies: int
    group_size: int
    grouping: str

    @property
    def num_rows(self) -> int:
        """M * N."""
        return self.num_images * self.num_policies

    @property
    def rows_per_group(self) -> int:
        """Rows that share BatchNorm statistics and SamplePairing partners."""
        return self.num_rows if self.grouping == "full" else self.group_size

    @property
    def images_per_block(self) -> int:
        """Images of a block; a full group is one block of all images."""
        return self.num_images if self.grouping == "full" else self.group_size

    @property
    def num_groups(self) -> int:
        """Groups in the large batch."""
        return self.num_rows // self.rows_per_group


def group_layout(
    num_images: int, num_policies: int, group_size: int, grouping: str = "mixed"
) -> GroupLayout:
    """Lays out the M * N rows of a large batch, see `GroupLayout`, or refuses to."""
    if grouping not in GROUPINGS:
        raise ValueError(
            f"batch_norm.grouping is {grouping!r}; allowed: {', '.join(GROUPINGS)}"
        )
    sizes = {
        "batch_size": num_images,
        "policies.num_policies": num_policies,
        "batch_norm.group_size": group_size,
    }
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    if num_images % group_size:
        raise ValueError(
            f"batch_norm.group_size {group_size} does not divide batch_size "
            f"{num_images}; group sizes that do: {_divisors(num_images)}"
        )
    return GroupLayout(num_images, num_policies, group_size, grouping)


def check_shares(layout: GroupLayout, num_devices: int, num_passes: int) -> None:
    """Refuses a layout whose groups cannot be shared out evenly, and says what can."""
    if num_passes < 1:
        raise ValueError(f"num_passes is {num_passes}; it must be at least 1")
    if layout.num_groups % (num_devices * num_passes) == 0:
        return
    if layout.grouping == "full":
        raise ValueError(
            "batch_norm.grouping 'full' needs one device and num_passes 1, not "
            f"{num_devices} devices x {num_passes} passes; use 'mixed', or set "
            "devices.num_devices and num_passes to 1"
        )
    finer = [
        size
        for size in _divisors(layout.num_images)
        if (layout.num_rows // size) % (num_devices * num_passes) == 0
    ]
    raise ValueError(
        f"{layout.num_groups} groups (batch_size {layout.num_images} / "
        f"batch_norm.group_size {layout.group_size} x {layout.num_policies} policies) "
        f"do not divide over {num_devices} devices x {num_passes} passes; devices x "
        f"passes that would do: {_divisors(layout.num_groups)} (devices.num_devices, "
        f"num_passes); or group sizes: {finer or 'none'} (batch_norm.group_size, which "
        "changes the statistics)"
    )


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is at most ``most``, at least 1."""
    return max(d for d in _divisors(number) if d <= max(most, 1))


def image_of_row(layout: GroupLayout) -> np.ndarray:
    """The image 0..N-1 of the mini-batch that each row shows, int32 [M * N]."""
    block, _, image = _block_policy_image(layout)
    return (block * layout.images_per_block + image).astype(np.int32)


def policy_of_row(layout: GroupLayout) -> np.ndarray:
    """The policy 0..M-1 that each row undergoes, int32 [M * N]."""
    _, policy, image = _block_policy_image(layout)
    if layout.grouping == "mixed":
        policy = (policy + image) % layout.num_policies
    return policy.astype(np.int32)


def rows_of_image(layout: GroupLayout) -> np.ndarray:
    """The M rows that show each image, int32 [N, M]: `image_of_row`, inverted."""
    in_order = np.argsort(image_of_row(layout), kind="stable").astype(np.int32)
    return in_order.reshape(layout.num_images, layout.num_policies)


def _block_policy_image(layout: GroupLayout) -> tuple[np.ndarray, ...]:
    """The block of each row, its policy before any mixing, its image in the block."""
    size = layout.images_per_block
    shape = (layout.num_images // size, layout.num_policies, size)
    return tuple(index.reshape(-1) for index in np.indices(shape))


def _divisors(number: int) -> list[int]:
    low = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return sorted({*low, *(number // d for d in low)})
