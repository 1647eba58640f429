"""Exact evaluation: every test image counts once, on any number of devices.

The test split lives on the device or is streamed to it, padded to whole batches with
rows that count for nothing.
"""

from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax import objective
from aaa_jax.augment import standard

PADDING_LABEL = -1


class EvaluationData(NamedTuple):
    """A test split cut in batches; padding rows carry the label -1."""

    images: Any  # uint8 [batches, B, H, W, 3], of NumPy until they are placed
    labels: Any  # int32 [batches, B]


def evaluation_data(
    images: np.ndarray, labels: np.ndarray, *, batch_size: int, num_devices: int
) -> EvaluationData:
    """Cuts a test split in batches that ``num_devices`` devices can share.

    Args:
        images: uint8 [n, H, W, 3], n >= 1.
        labels: int [n], 0 and up.
        batch_size: images of a batch over all devices; rounded up to a multiple of
            ``num_devices``, and down to the split's size.
        num_devices: that share a batch.
    """
    batch_size = min(batch_size, len(images))
    batch_size = -(-batch_size // num_devices) * num_devices
    batches = -(-len(images) // batch_size)
    missing = batches * batch_size - len(images)
    padded = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)])
    marks = np.full(missing, PADDING_LABEL, np.int32)
    return EvaluationData(
        padded.reshape(batches, batch_size, *images.shape[1:]),
        np.concatenate([labels.astype(np.int32), marks]).reshape(batches, batch_size),
    )


def eval_step(
    variables: Any,
    data: EvaluationData | tuple[jax.Array, jax.Array],
    batch: jax.Array | None = None,
    *,
    model: nn.Module,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    axis_name: str | None,
    num_devices: int = 1,
) -> dict[str, jax.Array]:
    """Sums over one batch of test images, all-reduced over the devices.

    Args:
        variables: ``params`` and ``batch_stats`` of the target network.
        data: the test split; or this device's share of a streamed batch, uint8
            [B, H, W, 3] and int32 [B], -1 where a row counts for nothing.
        batch: int32 [], which batch of the split; None: streamed.
        model: the target network, applied in evaluation mode.
        mean: of the dataset's channels, 0..1.
        std: of the dataset's channels, 0..1.
        axis_name: of the devices that share a batch; None: one device has all.
        num_devices: how many.

    Returns:
        ``count``, ``top1``, ``top5`` int32 [] (images, and correct ones) and ``loss``
        float32 [] (summed cross-entropy).
    """
    images, labels = data
    if batch is not None:
        device = 0 if axis_name is None else jax.lax.axis_index(axis_name)
        share = labels.shape[1] // num_devices
        images, labels = (
            jax.lax.dynamic_slice_in_dim(leaf[batch], device * share, share)
            for leaf in data
        )
    floats = standard.normalize(images, mean, std)
    logits: Any = model.apply(variables, floats, train=False)
    sums = batch_sums(logits, labels)
    return sums if axis_name is None else jax.lax.psum(sums, axis_name)


def batch_sums(logits: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
    """Counts of images and correct ones, and the summed loss.

    Args:
        logits: float [B, K].
        labels: int32 [B]; a row labelled -1 counts for nothing.

    Returns:
        ``count``, ``top1``, ``top5`` int32 [], ``loss`` float32 []. A tie for the
        highest logit counts as an error, so that constant logits are no success.
    """
    chex.assert_rank([logits, labels], [2, 1])
    counted = labels != PADDING_LABEL
    safe = jnp.where(counted, labels, 0)
    rank = jnp.where(counted, ranks(logits, safe), 0)
    losses = jnp.where(counted, objective.cross_entropy(logits, safe), 0.0)
    return {
        "count": jnp.sum(counted, dtype=jnp.int32),
        "top1": jnp.sum((rank >= 1) & (rank <= 1), dtype=jnp.int32),
        "top5": jnp.sum((rank >= 1) & (rank <= 5), dtype=jnp.int32),
        "loss": jnp.sum(losses, dtype=jnp.float32),
    }


def ranks(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The place of each label's logit of float [B, K], int32 [B]: 1 is the highest.

    Labels are int32 [B], 0 to K - 1. Where a logit is NaN the place is 0.
    """
    own = jnp.take_along_axis(logits, labels[:, None], axis=1)
    return jnp.sum(logits >= own, axis=1)


def error_rates(sums: list[dict[str, Any]], num_classes: int) -> dict[str, float]:
    """Errors of a whole split from the sums of its batches.

    Args:
        sums: of ``batch_sums``, on the host.
        num_classes: K; the top-5 error is given where K > 5.

    Returns:
        ``test_error`` and ``test_top5_error`` in percent, ``test_loss`` (mean
        cross-entropy, nats), ``test_images`` (how many were counted).
    """
    count = sum(int(batch["count"]) for batch in sums)
    rates = {
        "test_error": 100.0 * (1 - sum(int(b["top1"]) for b in sums) / count),
        "test_loss": sum(float(batch["loss"]) for batch in sums) / count,
        "test_images": count,
    }
    if num_classes > 5:
        top5 = sum(int(batch["top5"]) for batch in sums)
        rates["test_top5_error"] = 100.0 * (1 - top5 / count)
    return rates
