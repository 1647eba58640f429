"""The sheet holds what `large_batch` makes, where it belongs, with the right words."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax.augment import contact_sheet
from aaa_jax.augment.contact_sheet import draw_contact_sheet
from aaa_jax.augment.large_batch import large_batch
from aaa_jax.augment.policies import Policies
from aaa_jax.augment.policy_json import from_json

KEY = jax.random.key(5)
SHAPE = (3, 11, 13, 3)  # N, H, W, C
IMAGES = np.random.RandomState(0).randint(0, 256, SHAPE).astype(np.uint8)


def policies_of(*chains, prob=1.0):
    """One policy of one sub-policy per chain of (name, magnitude) pairs."""
    header = {"version": 1, "ranges": "monotone", "order": "standard_first"}
    entries = [[[[*pair, prob] for pair in chain]] for chain in chains]
    return from_json(header | {"fill": [0, 0, 0], "policies": entries}).policies


TWO = policies_of([("Rotate", 9), ("Invert", 3)], [("SamplePairing", 7), ("Color", 8)])


def places(sheet, block):
    """All (y, x) at which the block occurs exactly; a plain search."""
    height, width, _ = block.shape
    first = np.argwhere((sheet == block[0, 0]).all(-1))
    return [
        (int(y), int(x))
        for y, x in first
        if np.array_equal(sheet[y : y + height, x : x + width], block)
    ]


def ink(text, style):
    """The text as OpenCV draws it, cut to what is not white."""
    canvas = np.full((40, 400, 3), 255, np.uint8)
    font, scale, color = style
    cv2.putText(canvas, text, (10, 25), font, scale, color, 1, cv2.LINE_AA)
    rows, columns = np.nonzero((canvas != 255).any(-1))
    return canvas[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def enlarged(image, factor):
    return np.kron(image, np.ones((factor, factor, 1), np.uint8))


def test_rows_are_policies_and_columns_are_images_of_the_large_batch():
    sheet = draw_contact_sheet(KEY, IMAGES, TWO, side=26)
    batch = np.asarray(large_batch(KEY, IMAGES, TWO))
    shown = np.concatenate([IMAGES[None], batch])
    found = [[places(sheet, enlarged(image, 2)) for image in row] for row in shown]
    assert all(len(place) == 1 for row in found for place in row)
    y, x = np.moveaxis(np.array(found)[:, :, 0], -1, 0)
    assert (y == y[:, :1]).all()
    assert (x == x[:1]).all()
    assert (np.diff(y[:, 0]) > 22).all()
    assert (np.diff(x[0]) > 26).all()


def test_instances_of_each_policy_may_be_given():
    instances = np.stack([IMAGES, IMAGES[::-1]])
    sheet = draw_contact_sheet(KEY, instances, TWO, side=13)
    for row in np.asarray(large_batch(KEY, jnp.asarray(instances), TWO)):
        for image in row:
            assert len(places(sheet, image)) == 1
    assert not places(sheet, IMAGES[0])  # there is no one first row


def test_each_picture_stands_over_its_ops_and_each_policy_beside_its_sub_policies():
    sheet = draw_contact_sheet(KEY, IMAGES, TWO, names=["mild", "wild"], side=26)
    batch = np.asarray(large_batch(KEY, IMAGES, TWO))
    expected = [("Rotate 9", "Invert"), ("SamplePairing 7", "Color 8")]
    for m, name in enumerate(["mild", "wild"]):
        heading = places(sheet, ink(name, contact_sheet.NAME))
        chain = places(sheet, ink(" > ".join(expected[m]), contact_sheet.TEXT))
        assert len(heading) == len(chain) == 1
        for n in range(len(IMAGES)):
            ((y, x),) = places(sheet, enlarged(batch[m, n], 2))
            under = sheet[y + 22 :, x : x + 120]
            lines = [places(under, ink(t, contact_sheet.TEXT)) for t in expected[m]]
            assert 0 < lines[0][0][0] < lines[1][0][0] < 40
            assert heading[0][0] < chain[0][0] < y + 22
            assert chain[0][1] < x


def test_an_op_that_was_not_applied_is_faint_and_its_probability_is_written():
    never = policies_of([("Rotate", 9), ("Invert", 0)], prob=0.0)
    sheet = draw_contact_sheet(KEY, IMAGES, never, side=26)
    assert all(len(places(sheet, enlarged(image, 2))) == 2 for image in IMAGES)
    assert len(places(sheet, ink("Rotate 9", contact_sheet.FAINT))) == len(IMAGES)
    described = ink("Rotate 9 (0) > Invert (0)", contact_sheet.TEXT)
    ((_, x),) = places(sheet, described)
    beside = sheet[:, x + described.shape[1] :]
    assert not places(beside, ink("Rotate 9", contact_sheet.TEXT))


def test_padding_with_identity_is_not_described():
    padded = policies_of([("Color", 4), ("Identity", 0)], [("Identity", 0)] * 2)
    sheet = draw_contact_sheet(KEY, IMAGES[:1], padded, side=26)
    assert not places(sheet, ink("Color 4 > Identity", contact_sheet.TEXT))
    # Alone in the panel of the second policy; under the pictures it may stand.
    assert len(places(sheet[:, :60], ink("Identity", contact_sheet.TEXT))) == 1


def test_large_images_are_reduced_to_the_side():
    large = np.full((1, 60, 120, 3), (10, 200, 90), np.uint8)
    unchanged = policies_of([("Identity", 0)])
    sheet = draw_contact_sheet(KEY, large, unchanged, side=50)
    rows, columns = np.nonzero((sheet == large[0, 0, 0]).all(-1))
    assert len(rows) == 2 * 25 * 50
    assert columns.max() - columns.min() + 1 == 50


def test_many_sub_policies_do_not_lengthen_the_sheet():
    chain = jnp.tile(TWO.ops[:1], (1, 200, 1))
    many = Policies(chain, jnp.zeros_like(chain), jnp.ones(chain.shape, jnp.float32))
    few = jax.tree.map(lambda leaf: leaf[:, :1], many)
    long, short = (draw_contact_sheet(KEY, IMAGES, p, side=96) for p in (many, few))
    assert long.shape == short.shape
    # A picture of 7 * 11 pixels and 2 lines under it have room for a name, 5 lines
    # and the one that counts the others.
    assert len(places(long, ink("and 195 more", contact_sheet.FAINT))) == 1


def test_title_and_footer_are_written_whole():
    words = "a line that is longer than three small pictures with their panel"
    sheet = draw_contact_sheet(KEY, IMAGES, TWO, side=13, title=words, footer=words)
    assert len(places(sheet, ink(words, contact_sheet.HEADING))) == 1
    assert len(places(sheet, ink(words, contact_sheet.FAINT))) == 1
