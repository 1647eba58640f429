"""Figure 2: policies that were drawn at chosen epochs, and what they do to images."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax import data
from aaa_jax.augment import policy_json
from aaa_jax.augment.contact_sheet import draw_contact_sheet
from aaa_jax.augment.policy_json import SavedPolicies
from aaa_jax.data.tfds_folder import data_folder, find_prepared
from aaa_jax.report.figures import style
from aaa_jax.report.figures.style import Picture
from aaa_jax.report.grouping import Family, Group, slug
from aaa_jax.report.runs import Run
from aaa_jax.runtime import randomness
from aaa_jax.workdir import run_directory

NUM_IMAGES = 5
SIDE = 96  # pixels of a picture on the sheet
PHOTOGRAPH_SIZE = 224  # where a dataset does not fix a size


def sampled_policies(
    family: Family, group: Group, epochs: Sequence[int] = ()
) -> Picture | None:
    """The hardest and the easiest policy of a round in each chosen epoch.

    Of the group's first finished run, else of its first; see `choose_epochs`. None
    where no policies were written.
    """
    run = (group.finished or group.runs)[0]
    chosen = choose_epochs(epochs, run.epochs_done)
    samples = _samples(run, chosen)
    if not samples:
        return None
    images, origin = example_images(run.settings)
    first, *_ = samples.values()
    parts = [saved.policies for saved in samples.values()]
    light, dark = (
        draw_contact_sheet(
            randomness.key_of_seed(0),
            jnp.asarray(images),
            jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts),
            ranges=first.ranges,
            fill=first.fill,
            names=list(samples),
            side=SIDE,
            dark=dark,
        )
        for dark in (False, True)
    )
    seed = f"seed {run.seed}{'' if run.is_finished else ', NOT FINISHED'}"
    return Picture(
        name=f"{family.prefix}policies-{slug(group.label)}",
        title=f"Figure 2: sampled policies, {group.label}",
        caption=(
            f"{seed.capitalize()}; after epochs {', '.join(map(str, chosen))} of "
            f"{run.settings['epochs']}, the policies with the highest and the lowest "
            "loss L̂_m among the M of that update. Left: the five sub-policies, op and "
            "magnitude (0 to 9); under each picture the sub-policy that made it. "
            f"Images: {origin}, without crop, flip and the fixed Cutout."
        ),
        alternative="Pictures under sampled policies. "
        + " ".join(f"{name}: {_in_words(saved)}." for name, saved in samples.items()),
        png=style.encode(light, exact=True),
        svg=None,
        dark_png=style.encode(dark, exact=True),
    )


def choose_epochs(wanted: Sequence[int], num_epochs: int) -> list[int]:
    """The epochs to show, ascending: those wanted that exist, or four over the run."""
    quarters = (1, num_epochs // 4, num_epochs // 2, num_epochs)
    return sorted({e for e in wanted or quarters if 1 <= e <= num_epochs})


def example_images(settings: Mapping[str, Any]) -> tuple[np.ndarray, str]:
    """Test images of a run's dataset if it is on this machine, else other images.

    Returns:
        uint8 [N, H, W, 3], and what they are in words.
    """
    name, place = settings["data"]["name"], settings["data"]["dir"] or None
    try:
        if find_prepared(name, data_folder(place)) is not None:
            split = f"{data.describe(name, data_dir=place).test_split}[:{NUM_IMAGES}]"
            found = data.load(name, split, data_dir=place).images
            return found, f"the first test images of {name}"
    except data.DatasetError:
        pass  # damaged, or of many sizes: another picture serves as well
    if name == "digits":
        return _digits(), "the first digits of scikit-learn's set"
    size = data.DATASETS[name].image_size if name in data.DATASETS else 0
    origin = f"photographs that come with scikit-learn ({name} is not on this machine)"
    return _photographs(size or PHOTOGRAPH_SIZE), origin


def _samples(run: Run, epochs: Sequence[int]) -> dict[str, SavedPolicies]:
    """The policies of highest and lowest loss in an epoch's last round, by words."""
    found: dict[int, dict[str, Any]] = {}
    for line in run_directory.read_lines(run.path, "policies"):
        if "policies" in line and "losses" in line:
            found[-(-line["step"] // run.facts["steps_per_epoch"])] = line
    samples = {}
    for epoch in (epoch for epoch in epochs if epoch in found):
        saved = policy_json.from_json(found[epoch])
        losses = np.array(found[epoch]["losses"], np.float64)
        ranks = {"highest": int(np.argmax(losses)), "lowest": int(np.argmin(losses))}
        if len(losses) == 1:
            ranks = {"only": 0}
        for rank, place in ranks.items():
            one = jax.tree.map(lambda leaf, m=place: leaf[m : m + 1], saved.policies)
            name = f"Epoch {epoch}: {rank} loss, {losses[place]:.2f} nats"
            samples[name] = saved._replace(policies=one)
    return samples


def _in_words(saved: SavedPolicies) -> str:
    entries = policy_json.to_json(saved.policies, ranges=saved.ranges)["policies"][0]
    return "; ".join(
        " then ".join(f"{name} {magnitude}" for name, magnitude, _ in chain)
        for chain in entries
    )


def _digits() -> np.ndarray:
    from sklearn.datasets import load_digits

    from aaa_jax.data.prepare.digits import upscale

    grey = load_digits().images[:NUM_IMAGES].astype(np.int64)
    return np.repeat(upscale(grey)[..., None], 3, axis=-1)


def _photographs(size: int) -> np.ndarray:
    """Squares of two photographs, uint8 [N, size, size, 3]."""
    from sklearn.datasets import load_sample_images

    squares = []
    for number in range(NUM_IMAGES):
        whole = load_sample_images().images[number % 2]
        side = min(whole.shape[:2])
        offset = (whole.shape[1] - side) * (number // 2) // (NUM_IMAGES // 2)
        square = whole[:side, offset : offset + side]
        squares.append(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA))
    return np.stack(squares)
