"""Weights of a trained network as a file for other programs.

    aaa-jax export RUN --weights=FILE.safetensors [--layout=flax|timm]

`flax`: the names and arrays of the Flax variables, such as `params.stem_conv1.kernel`;
`timm`: those of timm's ResNet of the same depth and variant. The file's metadata say in
JSON what the network is and what it must be shown: `network`, `options`, `class_names`,
`mean` and `std` of the pixels in 0..1, `image_size` and `resize` in pixels.
"""

import json
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
from flax.traverse_util import flatten_dict

from aaa_jax.models import timm_layout, weight_files
from aaa_jax.models.resnet import ResNet
from aaa_jax.runtime import paths
from aaa_jax.trained import run as trained
from aaa_jax.workdir import run_directory

LAYOUTS = ("flax", "timm")


def export(run: trained.TrainedRun, path: pathlib.Path, layout: str = "flax") -> int:
    """Writes the network's weights to a safetensors file; returns how many arrays.

    Args:
        run: the network.
        path: of the file, replaced if it is there.
        layout: one of `LAYOUTS`.

    Raises:
        TrainedError: timm has no such network, or the file cannot be written.
    """
    flat = flatten_dict(run.variables, sep=".")
    leaves = {name: np.asarray(leaf) for name, leaf in flat.items()}
    if layout == "timm":
        model = run.model
        width, variants = timm_layout.WIDTH, timm_layout.VARIANTS
        is_resnet = isinstance(model, ResNet) and model.width == width
        if not is_resnet or model.variant not in variants:
            raise trained.TrainedError(
                f"--layout=timm is for a resnet of width {width}, variant "
                f"{' or '.join(variants)}, and the network of {run.path} is not one: "
                "use --layout=flax"
            )
        leaves = timm_layout.to_timm(leaves, model.variant)
    network = run_directory.read_config(run.path)["model"]
    facts = {
        "network": network["name"],
        "options": network["options"],
        "layout": layout,
        "step": run.step,
        "class_names": run.class_names,
        "mean": run.spec.mean,
        "std": run.spec.std,
        "image_size": run.stream.image_size,
        "resize": run.resize,
    }
    metadata = {name: json.dumps(value) for name, value in facts.items()}
    kind = {"format": "pt" if layout == "timm" else "flax"}  # as its readers expect
    content = weight_files.to_bytes(leaves, metadata | kind)
    trained.write(path, content)
    return len(leaves)


def main(argv: Sequence[str] | None = None) -> int:
    """Exports one run; exit code 2 and one line if it cannot."""
    parser = trained.make_parser("export", __doc__)
    parser.add_argument("--weights", type=paths.local, required=True, help="the file")
    parser.add_argument(
        "--layout", choices=LAYOUTS, default="flax", help="of the names"
    )
    options = parser.parse_args(argv)
    if options.weights.suffix != weight_files.SAFETENSORS:
        parser.error(f"--weights={options.weights} must end in .safetensors")
    try:
        run = trained.load_run(options.run, data_dir=options.data_dir)
        count = export(run, options.weights, options.layout)
    except trained.ERRORS as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    print(
        f"{options.weights}: {count} arrays of step {run.step} of {run.path}, with the "
        f"names of {options.layout}"
    )
    return 0
