"""The written Python file applies policies as the program does, without JAX."""

import random
import runpy
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import aaa_jax
from aaa_jax.augment import large_batch
from aaa_jax.search import export
from tests.oracles.pillow_ops import NAMES, pictures, some_policies

pytestmark = pytest.mark.usefixtures("light_compiler")

SIZE = (32, 32)
FILL = (1, 2, 3)


def module_of(text, folder):
    path = folder / "policy.py"
    path.write_text(text, encoding="utf-8")
    return types.SimpleNamespace(**runpy.run_path(path))


def value_at(values, sign):
    return values[0 if sign > 0 else -1] if values else 0.0


@pytest.mark.parametrize("ranges", ["monotone", "release", "randaugment"])
def test_five_hundred_draws_are_bit_for_bit_those_of_the_program(ranges, tmp_path):
    policies = some_policies((8, 5, 2), probs=(0.7, 1), seed=len(ranges))
    record = aaa_jax.to_json(policies, ranges=ranges, fill=FILL, image_size=SIZE)
    module = module_of(export.to_pillow(record), tmp_path)
    assert {op for p in module.POLICIES for q in p for op, *_ in q} == set(NAMES)
    rows = np.resize(pictures(*SIZE), (500, *SIZE, 3))
    of_row = np.arange(500) % 8
    options = {"height": 32, "width": 32}
    draws = large_batch.draw(jax.random.key(1), policies, of_row, **options)
    ours = aaa_jax.apply_policies(
        draws, rows, policies, of_row, ranges=ranges, fill=FILL
    )
    draws = jax.tree.map(np.asarray, draws)
    for i, row in enumerate(rows):
        picture = Image.fromarray(row)
        for s in np.flatnonzero(draws.applied[i]):
            name, _, values = module.POLICIES[of_row[i]][draws.sub_policy[i]][s]
            center = tuple(draws.center[i, s].tolist())
            partner = Image.fromarray(rows[draws.partner[i, s]])
            call = (name, value_at(values, draws.sign[i, s]), center)
            picture = module.apply(picture, [call], partner)
        np.testing.assert_array_equal(np.asarray(picture), ours[i])


def rotations(tmp_path, **options):
    """A file of two policies: a Rotate that is surely applied, and SamplePairing."""
    policies = some_policies((2, 1, 1))
    names = jnp.array([[[n == "Rotate"]] for n in ("Rotate", "")])
    policies = policies.replace(
        ops=jnp.where(names, NAMES.index("Rotate"), NAMES.index("SamplePairing")),
        magnitudes=jnp.full((2, 1, 1), 9, jnp.int32),
    )
    options = {"image_size": (5, 6), "fill": FILL} | options
    return module_of(export.to_pillow(aaa_jax.to_json(policies, **options)), tmp_path)


def test_the_transform_draws_values_and_mixes_in_the_image_before(tmp_path):
    module = rotations(tmp_path)
    first, second = (Image.fromarray(image) for image in pictures(5, 6)[:2])
    random.seed(0)
    turned = [module.Policy(0)(first).tobytes() for _ in range(20)]
    both = [first.rotate(angle, fillcolor=FILL).tobytes() for angle in (30, -30)]
    assert set(turned) == set(both)
    random.seed(0)
    assert [module.Policy(0)(first).tobytes() for _ in range(20)] == turned
    transform = module.Policy(1)
    assert transform(first).tobytes() == first.tobytes()
    mixed = Image.blend(second, first, 0.4)
    assert transform(second).tobytes() == mixed.tobytes()
    array = transform(np.asarray(second), np.asarray(first))
    np.testing.assert_array_equal(array, mixed)
    with pytest.raises(ValueError, match=r"5 x 5 pixels: .* are for 5 x 6"):
        transform(first.crop((0, 0, 5, 5)))


def test_the_file_needs_nothing_of_this_package(tmp_path):
    rotations(tmp_path)
    code = (
        "import sys, numpy, PIL; sys.path.insert(0, sys.argv[1]); import policy;"
        "policy.Policy()(numpy.zeros((5, 6, 3), numpy.uint8));"
        "assert not {'jax', 'aaa_jax', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-I", "-c", code, tmp_path], check=True)


def test_what_a_picture_cannot_have_is_refused():
    policies = some_policies((1, 1, 1))
    for options, message in (
        ({}, "give --size"),
        ({"image_size": (5, 6), "alpha": True}, "fill is alpha"),
    ):
        with pytest.raises(ValueError, match=message):
            export.to_pillow(aaa_jax.to_json(policies, **options))
