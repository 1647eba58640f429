"""Every variable of a ResNet has its place in timm, and comes back from there."""

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from aaa_jax import models
from aaa_jax.models import timm_layout
from tests.oracles.models_numpy import shapes_of


@pytest.mark.parametrize(("depth", "variant"), [(14, "v1.5"), (26, "d")])
def test_there_and_back_is_the_same(depth, variant):
    network = models.create("resnet", num_classes=3, depth=depth, variant=variant)
    shapes = flatten_dict(shapes_of(network), sep=".")
    random = np.random.default_rng(0)
    leaves = {k: random.normal(size=leaf.shape) for k, leaf in shapes.items()}
    theirs = timm_layout.to_timm(leaves, variant)
    assert timm_layout.is_timm(theirs)
    assert not timm_layout.is_timm(leaves)
    assert len(theirs) == len(leaves)
    kernel = leaves["params.stage2_block1.conv2.kernel"]
    there = theirs["layer2.0.conv2.weight"]
    np.testing.assert_array_equal(there[5, 7], kernel[:, :, 7, 5])
    np.testing.assert_array_equal(
        theirs["fc.weight"], leaves["params.classifier.dense.kernel"].T
    )
    more = {"bn1.num_batches_tracked": np.int64(3), "global_pool.x": np.zeros(2)}
    back = timm_layout.from_timm(theirs | more, leaves, variant)
    assert back.keys() == leaves.keys() | {"global_pool.x"}
    for name, leaf in leaves.items():
        np.testing.assert_array_equal(back[name], leaf)
