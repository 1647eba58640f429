"""The command `contact-sheet`: any policies on any folder of pictures."""

import re

import cv2
import numpy as np
import PIL.Image
import pytest

from aaa_jax.commands import contact_sheet

pytestmark = pytest.mark.usefixtures("light_compiler")


def picture(path, height, width, **options):
    """Left half red, right half blue, the rest green where a square cuts it off."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:] = (0, 255, 0)
    side = min(height, width)
    y, x = (height - side) // 2, (width - side) // 2
    image[y : y + side, x : x + side // 2] = (255, 0, 0)
    image[y : y + side, x + side // 2 : x + side] = (0, 0, 255)
    PIL.Image.fromarray(image).save(path, **options)


def test_any_picture_becomes_the_square_in_its_middle(tmp_path):
    for height, width in ((40, 90), (90, 40), (20, 20), (64, 64)):
        picture(tmp_path / "one.png", height, width)
        square = contact_sheet.read_square(tmp_path / "one.png", 32)
        assert square.shape == (32, 32, 3)
        assert (square[:, :15] == (255, 0, 0)).all()
        assert (square[:, 17:] == (0, 0, 255)).all()


def test_a_folder_of_pictures_becomes_a_contact_sheet(tmp_path, capsys):
    picture(tmp_path / "a.png", 30, 50)
    picture(tmp_path / "b.jpg", 80, 60, quality=95)
    (tmp_path / "notes.txt").write_text("no picture")
    out = tmp_path / "sheet.png"
    options = ["--columns=3", "--rows=2", "--size=16", "--title=Two pictures"]
    contact_sheet.main([str(tmp_path), f"--output={out}", *options])
    assert "2 policies, 3 pictures" in capsys.readouterr().out
    sheet = cv2.imread(str(out))[..., ::-1]
    # The first row shows a.png, b.jpg, a.png as they are: 96 pixels, half of them red.
    is_red = (sheet == (255, 0, 0)).all(-1)
    assert is_red.sum(axis=1).max() >= 2 * 48
    assert is_red.sum() >= 2 * 48 * 96


def test_saved_policies_can_be_drawn(tmp_path):
    picture(tmp_path / "a.png", 16, 16)
    saved = tmp_path / "policies.json"
    saved.write_text(
        '{"version": 1, "ranges": "monotone", "order": "standard_first",'
        ' "fill": [1, 2, 3], "policies": [[[["Invert", 0, 1.0]]]]}'
    )
    out = tmp_path / "new" / "folder" / "sheet.png"  # made
    options = [f"--policies={saved}", f"--output={out}", "--columns=1", "--size=16"]
    contact_sheet.main([str(tmp_path), *options])
    sheet = cv2.imread(str(out))[..., ::-1]
    for color in ((255, 0, 0), (0, 255, 255)):  # the original and its negative
        assert (sheet == color).all(-1).sum() == 48 * 96


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["{0}/none"], r"error: .*none is not a folder: give one of pictures"),
        (["{0}/empty"], r"error: .*empty has no .*\.png"),
        (["{0}/broken"], r"error: .*bad\.png is not a picture"),
        (["{0}", "--columns=0"], r"--columns: '0' is not a whole number from 1"),
        (["{0}", "--rows=-1"], r"--rows: '-1' is not a whole number from 1"),
        (["{0}", "--size=x"], r"--size: 'x' is not a whole number from 1"),
        (["{0}", "--policies={0}/none"], r"--policies=.*none: .*No such file"),
        (["{0}", "--policies={0}/a.json"], r"--policies=.*a.json: saved policies lack"),
    ],
)
def test_wrong_commands_end_in_one_line(options, message, tmp_path, capsys):
    picture(tmp_path / "a.png", 4, 4)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "bad.png").write_bytes(b"not a picture")
    (tmp_path / "a.json").write_text("{}")
    out = f"--output={tmp_path}/new/sheet.png"
    with pytest.raises(SystemExit) as error:
        contact_sheet.main([out, *(option.format(tmp_path) for option in options)])
    assert error.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.search(message, last)
    assert not (tmp_path / "new").exists()
