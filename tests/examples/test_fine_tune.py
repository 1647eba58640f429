"""The example of fine-tuning learns pictures from a run of the digits."""

import cv2
import numpy as np
import pytest

from aaa_jax.train import loop
from aaa_jax.workdir import run_directory
from examples import fine_tune
from tests.support.small_runs import small_config

pytestmark = pytest.mark.usefixtures("digits_here", "light_compiler")


@pytest.mark.slow
def test_a_run_is_fine_tuned_on_pictures(tmp_path, capsys):
    loop.train_and_evaluate(small_config("fixed", epochs=1), tmp_path / "digits")
    random = np.random.default_rng(0)
    for split, count in (("train", 20), ("validation", 3)):
        for name, color in {"dark": 30, "light": 220}.items():
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            for k in range(count):
                noise = random.integers(-30, 30, (40 + k, 50, 3))
                cv2.imwrite(str(folder / f"{k}.png"), color + noise)
    words = [str(tmp_path / "digits"), str(tmp_path / "pictures"), "--epochs=3"]
    capsys.readouterr()
    fine_tune.main([*words, f"--workdir={tmp_path / 'mine'}"])
    printed = capsys.readouterr().out
    assert "5 leaves came (GroupBatchNorm_0, Conv_0); 2 begin anew" in printed
    assert "its 10 classes, '0' and so on, are not the 2 here" in printed
    assert len([line for line in printed.splitlines() if ".png: " in line]) == 6
    assert run_directory.read_lines(tmp_path / "mine", "metrics")[-1]["step"] == 15
