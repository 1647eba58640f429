"""A trained network's errors and loss: on its run's own test images, or on others.

    aaa-jax evaluate RUN [--data=NAME] [--data-dir=DIR]

Prints top-1 and top-5 error, mean cross-entropy and the error of every class. Without
--data they are those of the run's last line, from the same images. NAME is a dataset or
`folder:PATH` whose classes the network knows, by their names; its images of any size
are resized and cut as those of the run's tests. Images that cannot be read are named
and counted, and the others done. Exit codes: 0; 1 some image was bad; 2 the command
cannot work.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax import data
from aaa_jax.augment import standard
from aaa_jax.data.held_out import whole
from aaa_jax.runtime import devices
from aaa_jax.train import evaluate as train_evaluate
from aaa_jax.trained import run as trained
from aaa_jax.workdir import run_directory


class Evaluation(NamedTuple):
    """What a network gets wrong in a test split."""

    name: str  # of the dataset
    split: str
    test_error: float  # top-1, percent
    test_top5_error: float | None  # percent; None where there are at most five classes
    test_loss: float  # mean cross-entropy, nats
    test_images: int  # how many were counted
    class_errors: dict[str, tuple[int, int]]  # class -> images, and wrong ones
    bad_images: tuple[str, ...]  # what is wrong with each image that was left out


def evaluate(
    run: trained.TrainedRun,
    name: str = "",
    *,
    data_dir: str | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> Evaluation:
    """Errors and loss of a run's network; every image counts once.

    Args:
        run: the network.
        name: a dataset, see `data.open_stream`; "": that of the run.
        data_dir: folder of the datasets; None: as the run's config says.
        say: called with a line of what the split has, and what of it is left out.

    Raises:
        TrainedError: the network does not know the classes.
        DatasetError: the dataset cannot be read.
    """
    is_own = not name or name == run.spec.name
    name, where = name or run.spec.name, data_dir or run.data_dir
    split = run.spec.test_split
    if not is_own:
        # Of one without a test split every image is new to the network, not a part.
        split = whole(data.describe(name, data_dir=where, loader="stream").test_split)
    stream = data.open_stream(name, split, data_dir=where)
    say(data.counted(stream, split))
    places = _match_classes(run, name, stream.class_names, is_own)
    sums, counts, wrong = _sum_up(run, stream, places, is_own)
    count = sum(int(batch["count"]) for batch in sums)
    if not count:
        raise data.DatasetError(f"the split {split} of {name} has no image to test on")
    rates = train_evaluate.error_rates(sums, run.spec.num_classes)
    return Evaluation(
        name=name,
        split=str(split),
        test_error=rates["test_error"],
        test_top5_error=rates.get("test_top5_error"),
        test_loss=rates["test_loss"],
        test_images=count,
        class_errors={
            each: (int(counts[k]), int(wrong[k]))
            for each, k in zip(stream.class_names, places, strict=True)
        },
        bad_images=tuple(stream.bad_images.values()),
    )


def _match_classes(
    run: trained.TrainedRun, name: str, class_names: Sequence[str], is_own: bool
) -> np.ndarray:
    """The network's number for each class of a dataset."""
    if not run.class_names and is_own:  # which an earlier version did not record
        return np.arange(len(class_names))
    if not run.class_names:
        raise trained.TrainedError(trained.unnamed_classes(run))
    unknown = [each for each in class_names if each not in run.class_names]
    if unknown:
        raise trained.TrainedError(
            f"{name} has {len(unknown)} classes that the network of {run.path} does "
            f"not know, such as {unknown[0]!r}; it knows {run.spec.num_classes}, such "
            f"as {run.class_names[0]!r}. Give data with the same class names"
        )
    return np.array([run.class_names.index(each) for each in class_names])


def _sum_up(
    run: trained.TrainedRun, stream: data.Stream, places: np.ndarray, is_own: bool
) -> tuple[list[dict[str, Any]], np.ndarray, np.ndarray]:
    """The sums of every batch; images, and wrong ones, of each class [K]."""
    # Of the run's own data with its number of devices: sums in the same order.
    wanted = run.num_devices if is_own else 0
    used = devices.pick_devices(0)[: wanted or None]
    mapping = devices.resolve_mapping("auto", len(used))
    step = devices.map_over_devices(
        functools.partial(_step, run=run), used, mapping, split=True
    )
    variables = devices.replicate(run.variables, used)
    size = min(run.batch_size, stream.num_images)
    results = []
    with data.evaluation_batches(
        stream,
        run.stream._replace(on_bad_image="skip"),
        batch_size=-(-size // len(used)) * len(used),
        resize=run.resize,
    ) as batches:
        for images, labels, weights in batches:
            marked = np.where(weights > 0, places[labels], train_evaluate.PADDING_LABEL)
            rows = (images, marked.astype(np.int32))
            placed = devices.place_shares(rows, used, mapping)
            results.append(step(variables, placed))
    fetched = jax.device_get(results)
    counts, wrong = (np.sum([row[k] for row in fetched], axis=0) for k in (1, 2))
    return [row[0] for row in fetched], counts, wrong


def _step(
    variables: Any, rows: Any, *, run: trained.TrainedRun, axis_name: str | None
) -> Any:
    """Sums over one batch, as the run tests it; images and wrong ones of each class."""
    images, labels = rows
    floats = standard.normalize(images, run.spec.mean, run.spec.std)
    logits: Any = run.model.apply(variables, floats, train=False)
    is_wrong = train_evaluate.ranks(logits, labels) != 1
    # A row that fills up the batch, labelled -1, is of no class.
    of_class = jax.nn.one_hot(labels, run.spec.num_classes, dtype=jnp.int32)
    counts = jnp.sum(of_class, axis=0)
    wrong = jnp.sum(of_class * is_wrong[:, None], axis=0)
    sums = train_evaluate.batch_sums(logits, labels), counts, wrong
    return sums if axis_name is None else jax.lax.psum(sums, axis_name)


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluates one run; exit code 2 and one line if it cannot."""
    parser = trained.make_parser("evaluate", __doc__)
    parser.add_argument("--data", default="", help="dataset; default: the run's own")
    options = parser.parse_args(argv)
    try:
        run = trained.load_run(options.run, data_dir=options.data_dir)
        result = evaluate(run, options.data, say=print)
    except trained.ERRORS as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    _show(result)
    if not options.data:
        print(_compare(run, result))
    if result.bad_images:
        print(f"{len(result.bad_images)} images could not be read", file=sys.stderr)
    return 1 if result.bad_images else 0


def _show(result: Evaluation) -> None:
    """Prints the numbers in a line, and a line for each class."""
    top5 = result.test_top5_error
    print(
        f"{result.name}, split {result.split}: {result.test_images} images, "
        f"top-1 error {result.test_error:.2f} %, "
        + ("" if top5 is None else f"top-5 error {top5:.2f} %, ")
        + f"loss {result.test_loss:.4f}"
    )
    width = max(len(name) for name in ("class", *result.class_errors))
    print(f"{'class':{width}}  images  error %")
    for name, (count, wrong) in result.class_errors.items():
        print(f"{name:{width}}  {count:6}  {100 * wrong / max(count, 1):7.2f}")


def _compare(run: trained.TrainedRun, result: Evaluation) -> str:
    """Whether the numbers are those that the run wrote at the same step."""
    lines = run_directory.read_lines(run.path, "metrics")
    written = next((line for line in lines if line["step"] == run.step), {})
    if "test_error" not in written:
        return f"the run has no test at step {run.step}, from where its network is"
    differing = [
        f"{name} {written[name]} there, {found} here"
        for name, found in result._asdict().items()
        if name in written and written[name] != found
    ]
    place = f"as in the line of step {run.step} in metrics.jsonl"
    return f"not {place}: {'; '.join(differing)}" if differing else place
