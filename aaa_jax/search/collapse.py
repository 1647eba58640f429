"""Whether the controller collapses: what a run reports about each round's policies.

Pure functions on the host, cheap enough for every round.
"""

import math
from collections.abc import Mapping

import chex
import numpy as np
from numpy.typing import ArrayLike

from aaa_jax.augment import ops
from aaa_jax.augment.magnitudes import NUM_MAGNITUDES
from aaa_jax.augment.policies import Policies

STATES = ("uniform", "ok", "narrowing", "collapsed")
UNIFORM = 0.98  # of the maximal entropy: above, the controller has not moved


def summarize(
    policies: Policies,
    losses: ArrayLike,
    standard_errors: ArrayLike,
    info: Mapping[str, ArrayLike],
) -> dict[str, float]:
    """Numbers that tell a healthy round from a collapsing one, for the log.

    In a round that learned nothing the losses are NaN, and so is what follows from
    them.

    Args:
        policies: the M policies of the round.
        losses: [M], L̂_m.
        standard_errors: [M], of `losses`.
        info: what the source's update returned, see `PolicySource`.

    Returns:
        op_entropy, magnitude_entropy: entropy of the distribution that the policies
            were drawn from, as fractions of the maximum.
        entropy: `joint_entropy` of the two.
        top_op_share, top_magnitude_share: expected share of the likeliest op, and of
            the strongest magnitude (not of the likeliest).
        repeated_ops: see `repeated_ops`.
        loss_spread: standard deviation of the M losses.
        loss_spread_ratio: the spread in standard errors; about 1 if the policies differ
            by noise alone, 0 if the errors are 0.
        loss_log_prob_correlation: above 0 if the controller prefers what is hard; 0 if
            either is constant.
        kl, gradient_norm, entropy_weight: of the controller's update.
        op_share/NAME, magnitude_share/NUMBER: the expected shares.
    """
    arrays = {name: np.asarray(value, np.float64) for name, value in info.items()}
    losses = np.asarray(losses, np.float64)
    errors = np.asarray(standard_errors, np.float64)
    chex.assert_shape([losses, errors], (policies.num_policies,))
    op_shares, magnitude_shares = arrays["op_shares"], arrays["magnitude_shares"]
    spread, error = losses.std(), math.sqrt(np.mean(errors**2))
    summary = {
        "entropy": joint_entropy(
            float(arrays["op_entropy"]), float(arrays["magnitude_entropy"])
        ),
        "op_entropy": arrays["op_entropy"],
        "magnitude_entropy": arrays["magnitude_entropy"],
        "top_op_share": op_shares.max(),
        "top_magnitude_share": magnitude_shares[-1],
        "repeated_ops": repeated_ops(policies),
        "loss_spread": spread,
        "loss_spread_ratio": 0.0 if error == 0 else spread / error,
        "loss_log_prob_correlation": correlation(losses, arrays["log_probs"]),
        "kl": arrays["kl"],
        "gradient_norm": arrays["gradient_norm"],
        "entropy_weight": arrays["entropy_weight"],
    }
    for op, share in zip(ops.OPS, op_shares, strict=True):
        summary[f"op_share/{op.name}"] = share
    for magnitude, share in enumerate(magnitude_shares):
        summary[f"magnitude_share/{magnitude}"] = share
    return {name: float(value) for name, value in summary.items()}


def collapse_state(summary: Mapping[str, float]) -> str:
    """How far the controller has gone towards a deterministic policy.

    Args:
        summary: what `summarize` returned for a source that learns.

    Returns:
        "uniform": more than 0.98 of the maximal entropy is left, as before the
        controller has learned; "collapsed": less than 0.3 is left; "narrowing": less
        than 0.5 is left, or P(strongest magnitude) > 0.7, or P(likeliest op) > 0.5;
        else "ok".
    """
    if summary["entropy"] > UNIFORM:
        return "uniform"
    if summary["entropy"] < 0.3:
        return "collapsed"
    is_narrow = (
        summary["entropy"] < 0.5
        or summary["top_magnitude_share"] > 0.7
        or summary["top_op_share"] > 0.5
    )
    return "narrowing" if is_narrow else "ok"


def joint_entropy(op_entropy: float, magnitude_entropy: float) -> float:
    """Entropy of both heads as a fraction of the maximum, ln 16 + ln 10 per op."""
    of_ops, of_magnitudes = math.log(ops.NUM_SEARCH_OPS), math.log(NUM_MAGNITUDES)
    nats = (
        np.float64(op_entropy) * of_ops + np.float64(magnitude_entropy) * of_magnitudes
    )
    return float(nats / (of_ops + of_magnitudes))


def op_shares(policies: Policies) -> np.ndarray:
    """Share of each of `ops.OPS` among the ops of the policies: float64 [17]."""
    return _shares(np.asarray(policies.ops), len(ops.OPS))


def magnitude_shares(
    policies: Policies, num_magnitudes: int = NUM_MAGNITUDES
) -> np.ndarray:
    """Share of each magnitude among ops other than Identity: float64 [magnitudes]."""
    is_op = np.asarray(policies.ops) < ops.NUM_SEARCH_OPS
    return _shares(np.asarray(policies.magnitudes)[is_op], num_magnitudes)


def repeated_ops(policies: Policies) -> float:
    """Share of sub-policies in which an op other than Identity comes twice.

    It is 1/16 for uniform sub-policies of two ops.
    """
    chains = np.sort(np.asarray(policies.ops).reshape(-1, policies.chain_length))
    is_repeat = (chains[:, 1:] == chains[:, :-1]) & (chains[:, 1:] < ops.NUM_SEARCH_OPS)
    return float(np.mean(np.any(is_repeat, axis=1)))


def correlation(losses: ArrayLike, log_probs: ArrayLike) -> float:
    """Pearson's correlation of two [M]; 0 if either is constant."""
    x, y = np.asarray(losses, np.float64), np.asarray(log_probs, np.float64)
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(np.sum(x**2) * np.sum(y**2))
    return 0.0 if scale == 0 else float(np.sum(x * y) / scale)


def _shares(values: np.ndarray, width: int) -> np.ndarray:
    counts = np.bincount(values.reshape(-1), minlength=width)
    return counts / max(int(counts.sum()), 1)
