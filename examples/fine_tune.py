"""Fine-tune the network of a run on pictures of yours, in code.

    python -m examples.fine_tune RUN PICTURES --workdir=runs/mine

PICTURES holds train/CLASS/* and validation/CLASS/*. The new run has RUN's settings, a
tenth of its learning rate, and its weights, except for a head that knows your classes.
"""

import argparse
import os

from ml_collections import ConfigDict

import aaa_jax
from aaa_jax.train.loop import train_and_evaluate
from aaa_jax.workdir import run_directory


def fine_tuning(run: str, pictures: str, epochs: int) -> ConfigDict:
    """The settings of a run, for these pictures and its weights."""
    config = ConfigDict(run_directory.read_config(run))
    config.model.init_from = run
    config.data.name = f"folder:{os.path.abspath(pictures)}"
    config.data.num_train_images = 0  # all
    config.data.loader = "stream"  # pictures of any sizes, random resized crops
    config.data.image_size = aaa_jax.load_run(run).spec.image_size
    config.augment.padding = 0
    config.policies.round_steps = -1  # 200 controller updates, if there are the steps
    config.epochs = epochs
    config.max_steps = 0
    config.optimizer.learning_rate /= 10
    return config


def main(command_line=None):
    """Fine-tune, then say what the network sees in the pictures to validate with."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a run directory")
    parser.add_argument("pictures", help="a folder with train/CLASS, validation/CLASS")
    parser.add_argument("--workdir", default="runs/mine", help="of the new run")
    parser.add_argument("--epochs", type=int, default=10)
    chosen = parser.parse_args(command_line)
    config = fine_tuning(chosen.run, chosen.pictures, chosen.epochs)
    train_and_evaluate(config, chosen.workdir)
    tuned = aaa_jax.load_run(chosen.workdir)
    found = tuned.predict(os.path.join(chosen.pictures, "validation"))
    for name, [(class_name, probability)] in zip(
        found.names, found.top(1), strict=True
    ):
        print(f"{name}: {class_name} {100 * probability:.0f} %")


if __name__ == "__main__":
    main()
