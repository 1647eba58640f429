"""What TensorBoard is given, read back by its own reader."""

import io

import numpy as np
import PIL.Image
import pytest

from aaa_jax.workdir import tensorboard
from aaa_jax.workdir.run_directory import RunDirectory
from tests.support.events import read_events

CONFIG = {"seed": 3, "network": {"name": "wide_resnet"}, "epochs": 2}
PICTURE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
LINE = {
    "epoch": 1,
    "learning_rate": 0.1,
    "train_loss": 2.0,
    "test_error": 50.0,
    "test_images": 599,
    "entropy": 1.0,
    "op_share/Rotate": 0.25,
    "magnitude_share/3": 0.125,
    "state": "ok",
    "flag": True,
    "bad": None,
    "nested": {"op": 2},
}


def _write_run(path) -> None:
    """Three epochs, of which the last two are lost; the clock is set back; two more."""
    with RunDirectory(path, CONFIG) as run:
        run.truncate_after(None)
        for step in (10, 20, 30):
            run.write_metrics(step, LINE | {"test_error": 60.0 + step})
            run.write_timing(step, {"images_per_second": 5.0})
            run.write_pictures(step, {"policies/sheet": PICTURE})
    with RunDirectory(path, CONFIG) as run:
        run.truncate_after(10)
        for step in (20, 40):
            run.write_metrics(step, LINE | {"test_error": 1.0 + step})


def test_numbers_have_tags_in_groups():
    assert tensorboard.scalars("metrics", LINE) == {
        "train/learning_rate": 0.1,
        "train/loss": 2.0,
        "test/error": 50.0,
        "controller/entropy": 1.0,
        "controller/share/Rotate": 0.25,
        "controller/magnitude_share/3": 0.125,
        "controller/nested/op": 2,
    }
    timing = {"images_per_second": 7.0, "steps": 4, "devices": 2}
    assert tensorboard.scalars("timing", timing) == {"speed/images_per_second": 7.0}


def test_events_follow_the_lines_whatever_the_clock_says(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard.time, "time", lambda: 2e9)
    _write_run(tmp_path)
    monkeypatch.setattr(tensorboard.time, "time", lambda: 1e9)  # set back
    with RunDirectory(tmp_path, CONFIG) as run:
        run.truncate_after(40)
        run.write_metrics(50, LINE)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 3
    found = read_events(tmp_path)["test/error"]
    assert found == [(10, 70.0), (20, 21.0), (40, 41.0), (50, 50.0)]


def test_an_event_that_was_cut_off_is_no_obstacle(tmp_path):
    _write_run(tmp_path)
    first = min((tmp_path / "tensorboard").iterdir())
    whole = first.read_bytes()
    first.write_bytes(whole + whole[:20])
    with RunDirectory(tmp_path, CONFIG) as run:
        run.truncate_after(40)
    assert first.read_bytes() == whole


@pytest.mark.slow
def test_tensorboards_own_reader_finds_all(tmp_path):
    from tensorboard.backend.event_processing import event_accumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    _write_run(tmp_path)
    found = event_accumulator.EventAccumulator(
        str(tmp_path / "tensorboard"), size_guidance={"images": 0, "tensors": 0}
    )
    found.Reload()
    errors = [(event.step, event.value) for event in found.Scalars("test/error")]
    assert errors == [(10, 70.0), (20, 21.0), (40, 41.0)]
    assert [e.step for e in found.Scalars("speed/images_per_second")] == [10]
    [image] = found.Images("policies/sheet")
    pixels = PIL.Image.open(io.BytesIO(image.encoded_image_string))
    np.testing.assert_array_equal(np.asarray(pixels), PICTURE)
    [text] = found.Tensors("config/text_summary")
    assert b'"name": "wide_resnet"' in text.tensor_proto.string_val[0]
    assert found.Tensors("custom_scalars__config__")
    content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    data = plugin_data_pb2.HParamsPluginData.FromString(content)
    hparams = data.session_start_info.hparams
    assert hparams["network.name"].string_value == "wide_resnet"
    assert hparams["seed"].number_value == 3
