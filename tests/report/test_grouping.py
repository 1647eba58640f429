"""Which runs are averaged, what groups are called, and what is said of their data."""

import statistics

import pytest

from aaa_jax.experiments import build
from aaa_jax.report import grouping, runs, write
from aaa_jax.report.measures import TEST_ERROR
from configs import digits
from tests.support.run_folders import family_of, write_run


def labels(folder):
    return [group.label for group in family_of(folder).groups]


def test_seeds_make_a_group_and_unfinished_runs_are_not_averaged(family, final_errors):
    assert [group.label for group in family.groups] == ["random", "ours"]
    ours = family.group("ours")
    assert [run.seed for run in ours.runs] == [0, 1, 2, 3]
    assert [run.seed for run in ours.unfinished] == [3]
    found = TEST_ERROR.mean(family, ours)
    assert found.num_runs == 3
    mean = statistics.mean(final_errors["ours"])
    assert found.mean == pytest.approx(mean, rel=1e-12)


def test_runs_that_differ_in_what_changes_no_number_are_one_group(tmp_path):
    """The keys with which a run may go on, except its end."""
    config = digits.get_config()
    keys = {*build.changeable_keys(config), "deterministic"} - {"max_steps"}
    assert {"data.num_threads", "data.prefetch", "evaluation.batch_size"} <= keys
    override = []
    for key in sorted(keys):
        value = config
        for name in key.split("."):
            value = value[name]
        other = value + "x" if isinstance(value, str) else type(value)(not value)
        override.append((key, other))
    write_run(tmp_path / "one")
    write_run(tmp_path / "other", seed=1, override=override)
    assert labels(tmp_path) == ["ours"]


def test_groups_that_differ_get_labels_that_say_in_what(tmp_path):
    for count in (2, 8):
        override = [("policies.num_policies", count)]
        write_run(tmp_path / str(count), seed=count, override=override)
    override = [("controller.temperature", 2.0), ("data.prefetch", 9)]
    write_run(tmp_path / "warm", override=override)
    assert labels(tmp_path) == [
        "ours, M = 2, temperature = 1.0",
        "ours, M = 8, temperature = 1.0",
        "ours, M = 8, temperature = 2.0",
    ]


def test_what_the_command_changed_of_a_method_is_in_its_label(tmp_path):
    override = [("controller.tanh_constant", 2.0), ("epochs", 3), ("data.prefetch", 9)]
    write_run(tmp_path / "one", override=override)
    assert labels(tmp_path) == ["ours, tanh_constant = 2.0"]


def test_runs_on_other_data_under_the_same_name_are_named(tmp_path):
    test, train = "the images of the test split", "the images of the train split"
    for name, seed, data in (
        ("a", 0, {test: 1, train: 5}),
        ("b", 1, {test: 1, train: 6}),  # another seed, so another subset
        ("c", 0, {test: 2, train: 7}),
        ("d", 0, None),
        ("e", 0, {test: 1, train: 5}),
    ):
        write_run(tmp_path / name, seed=seed, data=data)
    assert write._warnings(runs.read_runs([tmp_path])) == [
        f"NOT THE SAME DATA under the name digits: {test} differ between (a, b, e) and "
        "(c). Their numbers cannot be compared.",
        "NOT THE SAME DATA under the name digits, 300 images of seed 0: "
        f"{train} differ between (a, e) and (c). Their numbers cannot be compared.",
    ]
    same = [tmp_path / name for name in "abde"]
    assert grouping.other_data(runs.read_runs(same)) == []
