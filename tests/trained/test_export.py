"""A file of weights is the network, for this program and for others."""

import json
import subprocess
import sys

import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors import safe_open
from safetensors.numpy import load_file

from aaa_jax import models
from aaa_jax.trained import export
from aaa_jax.trained import run as trained
from tests.oracles.models_numpy import random_variables
from tests.oracles.timm_here import require_timm
from tests.support.small_runs import ROOT

pytestmark = pytest.mark.usefixtures("light_compiler")

# Flax and the network's own code, and nothing of the run.
ELSEWHERE = """
import json, sys
import numpy as np
from flax.traverse_util import unflatten_dict
from safetensors import safe_open
from safetensors.numpy import load_file
from aaa_jax import models

with safe_open(sys.argv[1], "numpy") as file:
    facts = {name: value for name, value in file.metadata().items() if name != "format"}
facts = {name: json.loads(value) for name, value in facts.items()}
variables = unflatten_dict(load_file(sys.argv[1]), sep=".")
network = models.create(
    facts["network"], num_classes=len(facts["class_names"]), **facts["options"]
)
images = (np.load(sys.argv[2]) / 255 - facts["mean"]) / facts["std"]
logits = network.apply(variables, images.astype("float32"), train=False)
np.save(sys.argv[3], logits)
"""


def test_another_process_has_the_same_network_from_the_file(run, tmp_path, capsys):
    weights = tmp_path / "tiny.safetensors"
    assert export.main([str(run[0]), f"--weights={weights}"]) == 0
    assert "7 arrays of step 4" in capsys.readouterr().out
    loaded = trained.load_run(run[0])
    images = trained.load_images(loaded, 20).images
    np.save(tmp_path / "images.npy", images)
    words = [str(weights), str(tmp_path / "images.npy"), str(tmp_path / "logits.npy")]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *words], cwd=ROOT, check=True)
    logits = np.load(tmp_path / "logits.npy")
    expected = loaded.predict(images).probabilities
    odds = np.exp(logits - logits.max(1, keepdims=True))
    # The other process normalises in double.
    np.testing.assert_allclose(odds / odds.sum(1, keepdims=True), expected, atol=1e-5)


def test_the_file_has_every_bit_and_says_what_the_network_must_be_shown(run, tmp_path):
    weights = tmp_path / "tiny.safetensors"
    loaded = trained.load_run(run[0])
    export.export(loaded, weights)
    found, expected = load_file(weights), flatten_dict(loaded.variables, sep=".")
    assert found.keys() == expected.keys()
    for name, leaf in expected.items():
        np.testing.assert_array_equal(found[name], leaf)
    with safe_open(weights, "numpy") as file:
        metadata = file.metadata()
    assert json.loads(metadata["class_names"]) == list("0123456789")
    assert json.loads(metadata["mean"]) == [0.3058] * 3
    assert (metadata["image_size"], metadata["resize"]) == ("32", "32")


def with_resnet(run, **options) -> trained.TrainedRun:
    network = models.create("resnet", num_classes=10, **options)
    variables = random_variables(network)
    return trained.load_run(run[0])._replace(model=network, variables=variables)


def test_of_a_resnet_timms_names_are_written(run, tmp_path):
    resnet = with_resnet(run, depth=14)
    export.export(resnet, tmp_path / "x.safetensors", "timm")
    found = load_file(tmp_path / "x.safetensors")
    kernel = np.asarray(resnet.variables["params"]["stem_conv1"]["kernel"])
    np.testing.assert_array_equal(found["conv1.weight"], kernel.transpose(3, 2, 0, 1))


def test_what_cannot_be_exported_is_refused(run, tmp_path, capsys):
    place = f"--weights={tmp_path / 'x.safetensors'}"
    assert export.main([str(run[0]), place, "--layout=timm"]) == 2
    assert "is for a resnet of width 64" in capsys.readouterr().err
    with pytest.raises(trained.TrainedError, match="width 64"):
        export.export(with_resnet(run, depth=14, width=32), tmp_path / "x", "timm")
    assert export.main([str(run[0]), f"--weights={tmp_path}/no/x.safetensors"]) == 2
    assert "cannot write" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        export.main([str(run[0]), "--weights=x.pt"])
    assert ended.value.code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "side"),
    [
        ("resnet50", {"depth": 50}, 96),
        ("resnet50d", {"depth": 50, "variant": "d"}, 97),
        ("resnet200", {"depth": 200}, 64),
    ],
)
def test_timm_reads_the_file_and_has_our_logits(name, options, side, run, tmp_path):
    timm = require_timm()
    import torch
    from safetensors.torch import load_file as load_for_torch

    resnet = with_resnet(run, **options)
    path = tmp_path / f"{name}.safetensors"
    export.export(resnet, path, "timm")
    theirs = timm.create_model(name, num_classes=10)
    theirs.load_state_dict(load_for_torch(path), strict=True)
    images = np.random.default_rng(1).normal(size=(3, side, side, 3)).astype("float32")
    ours = resnet.model.apply(resnet.variables, images, train=False)
    with torch.no_grad():
        found = theirs.eval()(torch.tensor(images.transpose(0, 3, 1, 2))).numpy()
    difference = np.linalg.norm(found - ours) / np.linalg.norm(ours)
    # Both in float32; a wrong stride or place is of order 1.
    assert difference < 1e-3
