"""What a run is fed: resident and streamed splits, on any number of devices."""

import jax
import numpy as np
import pytest

from aaa_jax.experiments.build import ConfigError, build, check_config
from aaa_jax.experiments.splits import open_splits
from aaa_jax.train.batches import make_feed
from aaa_jax.train.compiled import compile_program, init_run_state
from aaa_jax.train.resume import fingerprint
from tests.support.small_runs import small_config

pytestmark = pytest.mark.usefixtures("digits_here", "light_compiler")

# The digits, streamed: 5 steps an epoch.
STREAMED = {
    "data.loader": "stream",
    "data.image_size": 32,
    "data.num_threads": 2,
    "evaluation.resize": 32,
}


def _config(**changes):
    return small_config(**STREAMED | changes)


def _parts(count, mapping, **changes):
    """A config's splits, program, feed and first state on so many devices."""
    config = _config(**{"devices.num_devices": count} | changes)
    check_config(config)
    splits = open_splits(config)
    experiment = build(config, splits.spec, splits.num_images)
    used = jax.devices()[:count]
    program = compile_program(
        experiment, used, mapping, splits.num_images, streamed=splits.is_streamed
    )
    feed = make_feed(experiment, splits, program, used)
    root = program.place(jax.random.key(config.seed))
    state = init_run_state(experiment, root, splits.image_shape)
    return program, feed, root, program.place(state)


def _three_steps(count, mapping, **changes):
    program, feed, root, state = _parts(count, mapping, **changes)
    policies = program.sample(state.source, root, np.int32(0))
    batches, losses, trained = [], [], state.train
    for batch in feed.epoch(root, 0, 0, 3):
        batches.append([np.asarray(leaf).reshape(16, -1) for leaf in batch])
        trained, info = program.step(trained, batch, policies, root)
        losses.append(np.asarray(info["losses"]))
    sums = jax.device_get(list(feed.test(trained)))
    return batches, losses, sums


@pytest.fixture(scope="module")
def on_one_device():
    return _three_steps(1, "jit")


@pytest.mark.parametrize(("count", "mapping"), [(2, "pmap"), (4, "shard_map")])
def test_a_streamed_run_does_not_depend_on_the_devices(count, mapping, on_one_device):
    batches, losses, sums = _three_steps(count, mapping)
    jax.tree.map(np.testing.assert_array_equal, batches, on_one_device[0])
    np.testing.assert_allclose(losses, on_one_device[1], atol=1e-4, rtol=0)
    # 599 images over 4 devices: the last batch is padded.
    assert sum(int(s["count"]) for s in sums) == 599
    for name in ("count", "top1", "top5"):
        totals = [sum(int(s[name]) for s in part) for part in (sums, on_one_device[2])]
        # A logit may change places with its neighbour by rounding.
        assert abs(totals[0] - totals[1]) <= (0 if name == "count" else 2)


def test_passes_take_their_rows_of_a_share(on_one_device):
    _, losses, _ = _three_steps(2, "shard_map", num_passes=2)
    np.testing.assert_allclose(losses, on_one_device[1], atol=1e-4, rtol=0)


def test_a_streamed_evaluation_equals_the_resident_one():
    """Where nothing is resized, the same images reach the same network."""
    results = []
    for loader in ("stream", "resident"):
        program, feed, _, state = _parts(1, "jit", **{"data.loader": loader})
        sums = jax.device_get(list(feed.test(state.train)))
        results.append({k: sum(float(s[k]) for s in sums) for k in sums[0]})
    assert results[0]["count"] == results[1]["count"] == 599
    assert results[0]["top1"] == results[1]["top1"]
    np.testing.assert_allclose(results[0]["loss"], results[1]["loss"], rtol=1e-5)


def test_a_fingerprint_tells_what_of_the_data_is_other():
    def differing(one, other):
        one, other = fingerprint(one), fingerprint(other)
        assert one.keys() == other.keys()
        return {name for name in one if one[name] != other[name]}

    streamed = open_splits(_config())
    assert not differing(streamed, open_splits(_config()))
    assert differing(streamed, open_splits(_config(seed=1))) == {
        f"the {what} of the train split" for what in ("choice of images", "records")
    }
    renamed = streamed.test._replace(class_names=("other",))
    renamed = streamed._replace(test=renamed)
    assert differing(streamed, renamed) == {"the class names of the test split"}
    resident = open_splits(_config(**{"data.loader": "resident"}))
    for field in ("images", "labels"):
        array = getattr(resident.test, field).copy()
        array.flat[-1] ^= 1
        changed = resident._replace(test=resident.test._replace(**{field: array}))
        assert differing(resident, changed) == {f"the {field} of the test split"}


def test_a_policy_cannot_come_before_the_crop_of_a_stream():
    config = _config(**{"policies.order": "policy_first"})
    splits = open_splits(config)
    with pytest.raises(ConfigError, match="order is 'policy_first'"):
        build(config, splits.spec, splits.num_images)
