"""The paper's tables as data: rows, columns, the presets that make them, its numbers.

Plain data, importing nothing of ours. Test errors are those of the last epoch in
percent. A cell that `Table.paper` lacks is one for which the paper gives no number.
What we measured never stands here. Which cells have run is in `table_cells`; the report
draws the tables.
"""

from typing import Any, NamedTuple


class Paper(NamedTuple):
    """The paper's number for a cell."""

    errors: tuple[float, ...]  # test error in %: top-1, or top-1 and top-5
    # standard deviation over five runs for each of `errors`; empty where the paper
    # gives none
    stds: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        """As the paper prints it: `1.90 ± 0.15`, or `23.69 / 6.92`."""
        stds = [f" ± {std:.2f}" for std in self.stds] or [""] * len(self.errors)
        pairs = zip(self.errors, stds, strict=True)
        return " / ".join(f"{error:.2f}{std}" for error, std in pairs)


class Table(NamedTuple):
    """A table or a figure: a cell is a row and a column, run once for each seed.

    A cell's run directory is `WORKDIR/ROW/COLUMN/seedS`.
    """

    name: str  # its key in `TABLES`
    title: str  # what it shows
    rows: dict[str, str]  # key -> label
    columns: dict[str, str]  # key -> label; the first ones are the paper's
    presets: dict[str, str]  # row key -> the preset in `configs/` that trains this row
    # column key -> the preset's argument; columns without one are quoted from the paper
    # and not run here
    arguments: dict[str, str]
    # (row key, column key) -> the paper's number
    paper: dict[tuple[str, str], Paper] = {}
    # column key -> dotted config key -> value, on top of the preset
    overrides: dict[str, dict[str, Any]] = {}
    notes: tuple[str, ...] = ()  # footnotes, for every place that shows the table


class Cost(NamedTuple):
    """What Table 5 says of a method: device hours and days on 64 NVIDIA Tesla V100."""

    search_hours: float
    training_hours: float
    search_days: float
    training_days: float


_LABELS = {
    "baseline": "Baseline",
    "cutout": "Cutout",
    "autoaugment": "AutoAugment",
    "pba": "PBA",
    "ours": "Ours",
    "randaugment": "RandAugment",
    "trivialaugment": "TrivialAugment",
    "fixed": "Fixed",
    "random": "Random",
    "guarded": "Guarded",
    "fast": "Fast",
    "gain": "Gain",
}
_IN_THE_PAPER = ("baseline", "cutout", "autoaugment", "pba", "ours")
_BEYOND = ("randaugment", "trivialaugment", "fixed", "random")
_CIFAR_NETWORKS = {
    "wrn28x10": "Wide-ResNet-28-10",
    "shake26_2x32d": "Shake-Shake (26 2x32d)",
    "shake26_2x96d": "Shake-Shake (26 2x96d)",
    "shake26_2x112d": "Shake-Shake (26 2x112d)",
    "pyramidnet": "PyramidNet + ShakeDrop",
}
_COPIED = (
    "The paper copied Cutout, AutoAugment and PBA from their own papers, with other "
    "epochs and learning rates. Departure: here every column has the network's row of "
    "Table 7."
)
_ADDED = (
    "RandAugment, TrivialAugment, Fixed and Random are not in the paper's table; they "
    "have the M of Ours."
)
_GUARDED = "Guarded is a departure: the controller restrained against collapse."
_FAST = "Fast and Gain are departures too, see docs/collapse.md."


def _columns(*arguments: str) -> dict[str, Any]:
    """Columns that are called like the preset's arguments which make them."""
    return {
        "columns": {argument: _LABELS[argument] for argument in arguments},
        "arguments": {argument: argument for argument in arguments},
    }


def _quoted(
    columns: tuple[str, ...], numbers: dict[str, tuple[float | Paper | None, ...]]
) -> dict[tuple[str, str], Paper]:
    """Rows of a printed table as cells; None is a cell without a number."""
    return {
        (row, column): value if isinstance(value, Paper) else Paper((value,))
        for row, values in numbers.items()
        for column, value in zip(columns, values, strict=True)
        if value is not None
    }


def _mean_of_five(*pairs: tuple[float, float]) -> Paper:
    """A mean over five runs and its standard deviation, for each error."""
    return Paper(tuple(mean for mean, _ in pairs), tuple(std for _, std in pairs))


_TABLE_1 = Table(
    name="table1",
    title="Table 1: test error on CIFAR-10",
    rows=_CIFAR_NETWORKS,
    presets={network: f"cifar10_{network}" for network in _CIFAR_NETWORKS},
    **_columns(*_IN_THE_PAPER, *_BEYOND),
    paper=_quoted(
        _IN_THE_PAPER,
        {
            "wrn28x10": (3.87, 3.08, 2.68, 2.58, _mean_of_five((1.90, 0.15))),
            "shake26_2x32d": (3.55, 3.02, 2.47, 2.54, _mean_of_five((2.36, 0.10))),
            "shake26_2x96d": (2.86, 2.56, 1.99, 2.03, _mean_of_five((1.85, 0.12))),
            "shake26_2x112d": (2.82, 2.57, 1.89, 2.03, _mean_of_five((1.78, 0.05))),
            "pyramidnet": (2.67, 2.31, 1.48, 1.46, _mean_of_five((1.36, 0.06))),
        },
    ),
    notes=(_COPIED, _ADDED),
)

_NETWORKS_2 = ("wrn28x10", "shake26_2x96d", "pyramidnet")
_TABLE_2 = Table(
    name="table2",
    title="Table 2: test error on CIFAR-100",
    rows={network: _CIFAR_NETWORKS[network] for network in _NETWORKS_2},
    presets={network: f"cifar100_{network}" for network in _NETWORKS_2},
    **_columns(*_IN_THE_PAPER, *_BEYOND),
    paper=_quoted(
        _IN_THE_PAPER,
        {
            "wrn28x10": (18.80, 18.41, 17.09, 16.73, _mean_of_five((15.49, 0.18))),
            "shake26_2x96d": (17.05, 16.00, 14.28, 15.31, _mean_of_five((14.10, 0.15))),
            "pyramidnet": (13.99, 12.19, 10.67, 10.94, _mean_of_five((10.42, 0.20))),
        },
    ),
    notes=(_COPIED, _ADDED),
)

_TABLE_3 = Table(
    name="table3",
    title="Table 3: test error on ImageNet, top-1 / top-5",
    rows={
        "resnet50": "ResNet-50",
        "resnet50d": "ResNet-50-D",
        "resnet200": "ResNet-200",
    },
    presets={
        "resnet50": "imagenet_r50",
        "resnet50d": "imagenet_r50d",
        "resnet200": "imagenet_r200",
    },
    **_columns("baseline", "autoaugment", "ours", *_BEYOND),
    paper=_quoted(
        ("baseline", "autoaugment", "ours"),
        {
            "resnet50": (
                Paper((23.69, 6.92)),
                Paper((22.37, 6.18)),
                _mean_of_five((20.60, 0.15), (5.53, 0.05)),
            ),
            "resnet50d": (
                Paper((22.84, 6.48)),
                None,
                _mean_of_five((20.00, 0.12), (5.25, 0.03)),
            ),
            "resnet200": (
                Paper((21.52, 5.85)),
                Paper((20.00, 4.90)),
                _mean_of_five((18.68, 0.18), (4.70, 0.05)),
            ),
        },
    ),
    notes=(
        "The fixed Cutout is for CIFAR only, and PBA published no schedule for "
        "ImageNet: no such columns.",
        "Departure: AutoAugment has the epochs and the learning rate of Table 7.",
        _ADDED,
    ),
)

_TABLE_4 = Table(
    name="table4",
    title="Table 4: test error of ResNet-50 on ImageNet, by augmentation method",
    rows={"resnet50": "ResNet-50"},
    presets={"resnet50": "imagenet_r50"},
    **_columns("baseline", "fixed", "random", "ours"),
    paper=_quoted(
        ("baseline", "fixed", "random", "ours"),
        {"resnet50": (23.69, 22.70, 21.68, 20.60)},
    ),
    notes=(
        "Baseline: standard augmentation, M = 1, step schedule. The others: M = 8, "
        "cosine; Fixed: standard augmentation; Random: random policies; Ours: "
        "adversarial policies.",
    ),
)

_TABLE_5 = Table(
    name="table5",
    title="Table 5: cost of ResNet-50 on ImageNet, device hours and days",
    rows={"resnet50": "ResNet-50"},
    presets={"resnet50": "imagenet_r50"},
    **_columns("autoaugment", "ours"),  # the paper's numbers are PAPER_COSTS
    notes=(
        "Its runs are those of Table 3: given Table 3's directory, it counts what is "
        "there.",
        "The search behind AutoAugment's published policy was not run here: that cell "
        "stays empty.",
    ),
)
# Table 5: column of `table5` -> estimated cost on 64 NVIDIA Tesla V100.
PAPER_COSTS = {
    "autoaugment": Cost(15000, 160, 10, 1),
    "ours": Cost(0, 1280, 0, 1),
}

_NETWORKS_6 = {
    "cifar10_wrn28x10": "Wide-ResNet-28-10, CIFAR-10",
    "cifar100_wrn28x10": "Wide-ResNet-28-10, CIFAR-100",
    "imagenet_r50d": "ResNet-50-D, ImageNet",
    "imagenet_r200": "ResNet-200, ImageNet",
}
_TABLE_6 = Table(
    name="table6",
    title="Table 6: test error with policies that ResNet-50 learned on ImageNet",
    rows=_NETWORKS_6,
    columns={
        "autoaugment": "AutoAugment",
        "ours": "Ours",
        "transfer": "Policy transfer",
    },
    presets={preset: preset for preset in _NETWORKS_6},
    arguments={"transfer": "transfer"},
    paper=_quoted(
        ("autoaugment", "ours", "transfer"),
        {
            "cifar10_wrn28x10": (2.68, 1.90, _mean_of_five((2.45, 0.13))),
            "cifar100_wrn28x10": (17.09, 15.49, _mean_of_five((16.48, 0.15))),
            "imagenet_r50d": (None, 20.00, _mean_of_five((20.20, 0.05))),
            "imagenet_r200": (20.00, 18.68, _mean_of_five((19.05, 0.10))),
        },
    ),
    notes=(
        "AutoAugment and Ours are cells of Tables 1 to 3 and are not run again here.",
        "Target epoch e replays source epoch floor(e * E_source / E_target), its five "
        "policies of highest loss as one of 25 sub-policies, M = 1.",
    ),
)

_NUMBERS_5 = {f"m{number}": number for number in (2, 4, 8, 16, 32)}
_FIGURE_5 = Table(
    name="figure5",
    title="Figure 5: test error of Wide-ResNet-28-10 on CIFAR-10 against M",
    rows={"wrn28x10": "Wide-ResNet-28-10"},
    columns={column: f"M = {number}" for column, number in _NUMBERS_5.items()},
    presets={"wrn28x10": "cifar10_wrn28x10"},
    arguments=dict.fromkeys(_NUMBERS_5, "ours"),
    overrides={
        # The rows of a pass, so the memory, stay those of M = 8.
        column: {"policies.num_policies": number}
        for column, number in _NUMBERS_5.items()
    },
    notes=(
        "The paper prints a curve without numbers: accuracy rises to M = 8, then stays "
        "about the same.",
    ),
)

_TABLE_4_DIGITS = Table(
    name="table4_digits",
    title="Table 4 scaled down: test error on handwritten digits",
    rows={"digits": "Wide-ResNet-10-1, 300 digits"},
    presets={"digits": "digits"},
    **_columns("baseline", "fixed", "random", "ours", "guarded"),
    notes=(
        "Not in the paper: other data, a small network, 204 controller updates of 3 "
        "steps each. Runs of one seed share the training images and the "
        "initialisation, so that columns are compared in pairs.",
        _GUARDED,
    ),
)

_COMPARE_DIGITS = Table(
    name="compare_digits",
    title="Policies compared: test error on handwritten digits, 250 for training",
    rows={"digits_few": "Wide-ResNet-10-1, 250 digits"},
    presets={"digits_few": "digits_few"},
    **_columns(
        *("baseline", "fixed", "random", "trivialaugment"),
        *("ours", "guarded", "fast", "gain"),
    ),
    notes=(
        "Not in the paper: other data, a small network, 200 controller updates of 3 "
        "steps each. Runs of one seed share the training images and the "
        "initialisation, so that columns are compared in pairs.",
        _GUARDED,
        _FAST,
    ),
)

_EQUAL_IMAGES = {"epochs": 800, "evaluation.every_epochs": 80}
_TABLE_4_CIFAR10 = Table(
    name="table4_cifar10",
    title="Table 4 scaled down: test error with 5,000 images of CIFAR-10",
    rows={"wrn16x4": "Wide-ResNet-16-4, 100 epochs"},
    presets={"wrn16x4": "cifar10_5000"},
    **_columns(
        *("baseline", "cutout", "fixed", "autoaugment", "trivialaugment"),
        *("random", "ours", "guarded", "fast", "gain"),
    ),
    overrides={
        "baseline": _EQUAL_IMAGES,
        "cutout": _EQUAL_IMAGES,
        "autoaugment": {"policies.num_policies": 8},
    },
    notes=(
        "Not in the paper: a small network, a stratified subset, 100 epochs, 205 "
        "controller updates of 19 steps each. Runs of one seed share the images, the "
        "initialisation and the order, so that columns are compared in pairs.",
        "M = 8, and equal epochs, N and learning rate, in every column but Baseline "
        "and Cutout: these have M = 1 and 8 times the epochs, so that they see as many "
        "images (and make 8 times the updates).",
        _GUARDED,
        _FAST,
    ),
)

TABLES = {
    table.name: table
    for table in (
        *(_TABLE_1, _TABLE_2, _TABLE_3, _TABLE_4, _TABLE_5, _TABLE_6),
        *(_FIGURE_5, _TABLE_4_DIGITS, _TABLE_4_CIFAR10, _COMPARE_DIGITS),
    )
}
