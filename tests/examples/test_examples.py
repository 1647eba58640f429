"""The example runs and learns."""

import pytest

from examples import own_loop

pytestmark = pytest.mark.usefixtures("light_compiler")


@pytest.fixture(scope="module")
def digits_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("datasets")


def test_the_own_loop_learns_the_digits(digits_folder, monkeypatch, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(digits_folder))
    own_loop.main(["--epochs=2", "--steps=15"])
    *epochs, last = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in epochs[-2:]] == [
        ["epoch", "0:"],
        ["epoch", "1:"],
    ]
    error = float(last.removeprefix("test error ").removesuffix(" %"))
    wrong = error / 100 * 599  # test images
    assert abs(wrong - round(wrong)) < 0.005 * 599 / 100
    assert error < 60  # guessing: 90
