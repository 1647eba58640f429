import collections
import json
import math
import statistics

import numpy as np
import pytest

from aaa_jax.augment import ops, policy_json
from aaa_jax.experiments import build, paper_tables, table_cells
from aaa_jax.report import (
    ReportError,
    accounts,
    csv_file,
    grouping,
    paper_comparison,
    result_tables,
    runs,
    series,
    write,
)
from aaa_jax.report import statistics as estimates
from aaa_jax.report.__main__ import main
from aaa_jax.report.figures import (
    comparisons,
    efficiency,
    health,
    pictures,
    robustness,
    style,
)
from aaa_jax.workdir import snapshots
from configs import arguments, digits
from tests.support.run_folders import write_corruption, write_probe, write_run

FINAL = {"random": (2.0, 3.0, 2.5), "ours": (1.5, 2.75, 2.5)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three finished seeds of two methods, and one of ours that is not finished."""
    path = tmp_path_factory.mktemp("runs")
    for argument, finals in FINAL.items():
        for seed, final in enumerate(finals):
            errors = (60.0, None, 9.0, final)
            write_run(path / f"{argument}-{seed}", argument, seed=seed, errors=errors)
    write_run(path / "ours-3", "ours", seed=3, errors=(70.0, None), epochs=4)
    return path


@pytest.fixture(scope="module")
def family(folder):
    (found,) = grouping.make_families(runs.read_runs([folder]))
    return found


def policy_lines(path):
    text = (path / "policies.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_the_mean_and_its_spread_are_those_of_the_statistics_module():
    values = [1.5, 2.75, 2.5, 9.0]
    found = estimates.estimate(values)
    assert found.mean == pytest.approx(statistics.mean(values), rel=1e-12)
    assert found.std == pytest.approx(statistics.stdev(values), rel=1e-12)
    assert estimates.show_estimate(found) == "3.94 ± 3.42 (n = 4)"


def test_one_run_has_no_spread_and_none_has_no_mean():
    assert estimates.show_estimate(estimates.estimate([2.0])) == "2.00 (n = 1)"
    assert estimates.show_estimate(estimates.estimate([])) == ""


def test_the_t_interval_of_two_and_three_values_is_the_closed_form():
    # The quantile of Student's t is closed with one and two degrees of freedom.
    p = 0.975
    one = math.tan(math.pi * (p - 0.5))
    two = (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    pair, three = [1.0, 4.0], [1.0, 4.0, 2.0]
    assert estimates.t_half_width(pair) == pytest.approx(
        one * statistics.stdev(pair) / math.sqrt(2), rel=1e-9
    )
    assert estimates.t_half_width(three) == pytest.approx(
        two * statistics.stdev(three) / math.sqrt(3), rel=1e-9
    )


def test_differences_are_paired_by_the_seeds_that_both_have():
    found = estimates.paired_difference({0: 1.0, 1: 5.0, 7: 9.0}, {1: 4.0, 0: 2.0})
    assert found.seeds == (0, 1)
    assert found.mean == 0.0
    assert found.high == pytest.approx(math.tan(math.pi * 0.475), rel=1e-9)
    assert found.low == -found.high
    assert estimates.paired_difference({0: 1.0}, {1: 1.0}) is None


def test_a_method_is_told_by_its_config():
    for argument in arguments.ARGUMENTS:
        if argument != "transfer":  # which needs a run to replay
            found = grouping.method(digits.get_config(argument).to_dict())
            assert found == argument


def test_seeds_make_a_group_and_unfinished_runs_are_not_averaged(family):
    assert [group.label for group in family.groups] == ["random", "ours"]
    ours = family.group("ours")
    assert [run.seed for run in ours.runs] == [0, 1, 2, 3]
    assert [run.seed for run in ours.unfinished] == [3]
    found = comparisons.final_error(ours)
    assert found.num_runs == 3
    assert found.mean == pytest.approx(statistics.mean(FINAL["ours"]), rel=1e-12)


def test_runs_that_differ_in_what_changes_no_number_are_one_group(tmp_path):
    """The keys with which a run may go on, except its end."""
    config = digits.get_config()
    keys = {*build.changeable_keys(config), "deterministic"} - {"max_steps"}
    flat = {key: _other(config[key]) for key in keys if "." not in key}
    for key in keys - flat.keys():
        room, name = key.split(".")
        flat[key] = _other(config[room][name])
    write_run(tmp_path / "one")
    write_run(tmp_path / "other", seed=1, override=list(flat.items()))
    (family,) = grouping.make_families(runs.read_runs([tmp_path]))
    assert [group.label for group in family.groups] == ["ours"]
    assert {"data.num_threads", "data.prefetch", "evaluation.batch_size"} <= keys


def _other(value):
    """Another value of the same type."""
    return value + "x" if isinstance(value, str) else type(value)(not value)


def test_groups_that_differ_get_labels_that_say_in_what(tmp_path):
    for count in (2, 8):
        override = [("policies.num_policies", count)]
        write_run(tmp_path / str(count), seed=count, override=override)
    override = [("controller.temperature", 2.0), ("data.prefetch", 9)]
    write_run(tmp_path / "warm", override=override)
    (family,) = grouping.make_families(runs.read_runs([tmp_path]))
    assert [group.label for group in family.groups] == [
        "ours, M = 2, temperature = 1.0",
        "ours, M = 8, temperature = 1.0",
        "ours, M = 8, temperature = 2.0",
    ]


def test_the_table_of_results_has_paired_differences_and_names_what_is_open(family):
    sheet = result_tables.results(family)
    rows = {row[0]: dict(zip(sheet.header, row, strict=True)) for row in sheet.rows}
    pairs = zip(FINAL["ours"], FINAL["random"], strict=True)
    differences = [own - other for own, other in pairs]
    half = 4.302652729911275 * statistics.stdev(differences) / math.sqrt(3)
    mean = statistics.mean(differences)
    low, high = mean - half, mean + half
    assert rows["ours"]["less random's (95 % interval)"] == (
        f"{mean:+.2f} [{low:+.2f}, {high:+.2f}] (n = 3)"
    )
    assert rows["random"]["less random's (95 % interval)"] == ""
    assert rows["ours"]["not finished"] == "seed 3 (epoch 2 of 4)"
    assert "mean corruption error (%)" not in sheet.header  # nobody measured it


def test_sampled_shares_count_the_ops_of_the_file(folder, family):
    run = family.group("ours").runs[1]
    lines = policy_lines(folder / "ours-1")
    for number, line in enumerate(lines):
        entries = [e for policy in line["policies"] for chain in policy for e in chain]
        names = collections.Counter(name for name, _, _ in entries)
        levels = collections.Counter(level for _, level, _ in entries)
        assert len(entries) == 80
        for place, op in enumerate(ops.OPS):
            share = run.rounds.sampled_ops[number, place]
            assert share == pytest.approx(names[op.name] / 80, abs=1e-12)
        for level in range(10):
            share = run.rounds.sampled_magnitudes[number, level]
            assert share == pytest.approx(levels[level] / 80, abs=1e-12)


def test_rounds_belong_to_the_epoch_in_which_they_end(family):
    run = family.groups[0].runs[0]
    assert run.rounds.epochs.tolist() == [1, 1, 2, 2, 3, 3, 4, 4]


def test_windows_are_means_of_five_epochs_and_the_last_may_be_shorter():
    epochs = np.repeat(np.arange(1, 13), 2)
    values = np.random.RandomState(0).rand(24, 3)
    values[5] = np.nan  # a line that lacks them
    found = series.window_means(epochs, values, 5, 12)
    assert found.edges.tolist() == [0, 5, 10, 12]
    for window, (first, last) in enumerate(((1, 5), (6, 10), (11, 12))):
        rows = [
            values[i]
            for i in range(24)
            if first <= epochs[i] <= last and not np.isnan(values[i]).any()
        ]
        assert found.means[window] == pytest.approx(np.mean(rows, axis=0), abs=1e-12)
    assert series.window_size(34) == 5
    assert series.window_size(10) == 1


def test_shares_of_several_seeds_weigh_every_seed_alike(family):
    members = list(family.group("ours").finished)
    found = series.mean_windows(members, "expected_ops")
    each = [run.rounds.expected_ops[2:4].mean(axis=0) for run in members]
    assert found.size == 1
    assert found.means[1] == pytest.approx(np.mean(each, axis=0), abs=1e-12)
    assert found.means.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-9)


def test_curves_average_where_all_runs_have_a_value(family):
    ours = family.group("ours")
    found = series.metric_curves(ours.finished, "test_error")
    assert found.x.tolist() == [1, 3, 4]
    assert found.mean[-1] == pytest.approx(statistics.mean(FINAL["ours"]), rel=1e-12)
    shorter = series.metric_curves(ours.runs, "test_error")
    assert shorter.x.tolist() == [1]


def test_states_are_dated_by_the_update_that_brought_them(tmp_path):
    write_run(tmp_path / "run", errors=(50.0, 40.0, 30.0, 20.0, 10.0))
    (run,) = runs.read_runs([tmp_path / "run"])
    # Entropy 1, 0.8, 0.6, 0.4, 0.2 in the five epochs of two updates each.
    assert health.first_update(run, ("narrowing", "collapsed")) == 7
    assert health.first_update(run, ("collapsed",)) == 9
    assert health.state_at_end(run) == "collapsed"


def test_figure_2_shows_the_hardest_and_the_easiest_policy(folder, family):
    samples = pictures._samples(family.group("ours").runs[0], [2])
    line = policy_lines(folder / "ours-0")[3]  # the last of epoch 2
    for sample, choose in zip(samples, (max, min), strict=True):
        place = line["losses"].index(choose(line["losses"]))
        found = policy_json.to_json(sample.saved.policies, ranges="monotone")[
            "policies"
        ]
        assert found == [line["policies"][place]]
        assert f"{line['losses'][place]:.2f} nats" in sample.name


def test_epochs_to_show_are_four_over_the_run_or_those_asked_for():
    assert pictures.choose_epochs((), 34) == [1, 8, 17, 34]
    assert pictures.choose_epochs((), 1) == [1]
    assert pictures.choose_epochs((90, 30, 400), 120) == [30, 90]


def test_a_table_compares_with_the_paper_and_leaves_empty_what_did_not_run(tmp_path):
    whole = [("data.name", "cifar10"), ("data.num_train_images", 0)]
    path = tmp_path / "table1"
    for seed, final in enumerate((2.0, 2.4)):
        write_run(
            path / "wrn28x10" / "ours" / f"seed{seed}",
            seed=seed,
            errors=(9.0, final),
            override=whole,
        )
    (path / "wrn28x10" / "notes").mkdir()
    members = runs.read_runs([path])
    table = paper_comparison.identify(path, members)
    assert table is paper_tables.TABLES["table1"]
    cells = {
        (cell.row, cell.column): cell for cell in paper_comparison.fill(table, members)
    }
    assert len(cells) == len(table.rows) * len(table.columns)
    ours = cells["wrn28x10", "ours"]
    assert ours.differences[0] == pytest.approx((2.0 + 2.4) / 2 - 1.90, abs=1e-9)
    other = cells["wrn28x10", "cutout"]
    assert (other.ours, other.differences) == ((None,), (None,))
    sheet = paper_comparison.sheet(
        table, list(cells.values()), paper_comparison.remarks(table, members)
    )
    here = dict(zip(sheet.header, sheet.rows[1], strict=True))
    assert here["Ours"] == "2.20 ± 0.28 (n = 2)"
    assert here["Cutout"] == ""
    assert dict(zip(sheet.header, sheet.rows[0], strict=True))["Ours"] == "1.90 ± 0.15"
    assert not any(paper_comparison.PREFIX in note for note in sheet.notes)
    line = csv_file.table_records(table, [other])[0]
    assert dict(zip(csv_file.HEADER, line, strict=True))["paper"] == "3.08"


def test_a_run_on_other_data_is_not_compared_with_the_paper(tmp_path):
    run = tmp_path / "table3" / "resnet50" / "ours" / "seed0"
    write_run(run, override=[("scale", 0.25)])
    members = runs.read_runs([tmp_path / "table3"])
    table = paper_comparison.identify(tmp_path / "table3", members)
    filled = paper_comparison.fill(table, members)
    ours = next(cell for cell in filled if cell.column == "ours")
    assert ours.ours[0].mean == 9.0
    assert ours.ours[1].mean == 9.0 / 4  # top-5
    assert ours.differences == (None, None)
    assert paper_comparison.remarks(table, members) == [
        "NOT THE PAPER'S EXPERIMENT, ResNet-50: 300 training images, epochs and "
        "network SCALED by 0.25, trained on digits, not on imagenet2012."
    ]


def test_runs_on_other_data_under_the_same_name_are_named(tmp_path):
    test, train = "the images of the test split", "the images of the train split"
    for name, seed, data in (
        ("a", 0, {test: 1, train: 5}),
        ("b", 1, {test: 1, train: 6}),  # another seed, so another subset
        ("c", 0, {test: 2, train: 7}),
        ("d", 0, None),
        ("e", 0, {test: 1, train: 5}),
    ):
        write_run(tmp_path / name, seed=seed)
        facts = {"total_steps": 12} | ({"data": data} if data else {})
        snapshots.save_facts(tmp_path / name, facts)
    assert write._warnings(runs.read_runs([tmp_path])) == [
        f"NOT THE SAME DATA under the name digits: {test} differ between (a, b, e) and "
        "(c). Their numbers cannot be compared.",
        "NOT THE SAME DATA under the name digits, 300 images of seed 0: "
        f"{train} differ between (a, e) and (c). Their numbers cannot be compared.",
    ]
    same = [tmp_path / name for name in "abde"]
    assert grouping.other_data(runs.read_runs(same)) == []


def test_efficiency_is_relative_to_autoaugment(tmp_path):
    write_run(tmp_path / "a", "autoaugment", errors=(20.0,))
    write_run(tmp_path / "b", "ours", errors=(10.0, 4.0))
    (family,) = grouping.make_families(runs.read_runs([tmp_path]))
    # An epoch of 36 s on 2 devices, one for AutoAugment and two for ours.
    found = efficiency.device_hours(family.group("ours"))
    assert found.mean == pytest.approx(2 * 2 * 36 / 3600, rel=1e-12)
    ratios = efficiency.relative_efficiency(
        family.group("ours"), family.group("autoaugment")
    )
    assert ratios == pytest.approx((96 / 80, 1 / 2, 1 / 2), rel=1e-12)
    # Table 5's 12 times less computing and 11 times less time.
    _, computing, time = efficiency.paper_efficiency()
    assert computing == pytest.approx(15160 / 1280)
    assert time == 11


def test_labels_keep_their_distance_and_stay_inside():
    random = np.random.RandomState(0)
    for count in (1, 3, 16, 40):
        positions = sorted(100 * random.rand(count))
        places = style.spread(positions, 5.0, 0, 100)
        gaps = np.diff(places)
        least = min(5.0, 100 / max(count - 1, 1))
        assert (gaps >= least - 1e-9).all()
        assert min(places) >= 0
        assert max(places) <= 100 + 1e-9
    assert style.spread([10.0, 50.0], 5, 0, 100) == [10.0, 50.0]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("probe.json", "{", "is not JSON"),
        ("probe.json", '{"version": 1}', "lacks step, num_images, ops, accuracy"),
        (
            "corruption.json",
            '{"version": 2, "step": 1, "num_images": 1, "clean_error": 1,'
            ' "mean_error": 1, "errors": {}}',
            "has version 2",
        ),
        ("config.json", "[]", "config"),
        ("metrics.jsonl", "no\n", "damaged"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, text, message):
    run = write_run(tmp_path / "run")
    (run / name).write_text(text)
    with pytest.raises(ReportError, match=message) as caught:
        runs.read_runs([run])
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_probe_of_another_shape_is_refused(tmp_path):
    run = write_run(tmp_path / "run")
    write_probe(run, [[0.5] * 9] * 16)
    (family,) = grouping.make_families(runs.read_runs([run]))
    with pytest.raises(ReportError, match=r"probe.json has 16 ops and a table of"):
        robustness.probe_map(family, family.groups[0])


def test_corruption_errors_are_compared_in_pairs(tmp_path):
    for seed, (own, other) in enumerate(((20.0, 22.0), (30.0, 31.0))):
        for argument, value in (("ours", own), ("random", other)):
            run = write_run(tmp_path / f"{argument}{seed}", argument, seed=seed)
            write_corruption(run, {"fog": [value] * 5, "snow": [value + 2] * 5})
    (family,) = grouping.make_families(runs.read_runs([tmp_path]))
    found = result_tables.corruption_to_reference(family, family.group("ours"))
    assert found.mean == pytest.approx(-1.5, abs=1e-9)
    rows = [
        dict(zip(csv_file.HEADER, line, strict=True))
        for line in csv_file.family_records(family)
    ]
    (line,) = [
        row
        for row in rows
        if row["column"] == "ours" and row["measure"] == "mean_corruption_error"
    ]
    assert line["mean"] == "26"  # of 21 and 31
    assert line["seeds"] == "0 1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "'nowhere' holds no run"),
        (["--epochs=0", "x"], "whole numbers from 1"),
        (["--epochs=three", "x"], "whole numbers from 1"),
        ([], "required: RUN"),
    ],
)
def test_wrong_input_ends_with_2_and_says_why(arguments, message, capsys):
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert message in capsys.readouterr().err


def _row(family, column, measure="mean_corruption_error"):
    rows = [
        dict(zip(csv_file.HEADER, line, strict=True))
        for line in csv_file.family_records(family)
    ]
    return next(r for r in rows if (r["column"], r["measure"]) == (column, measure))


def test_corruptions_that_not_all_runs_have_are_left_out_by_name(tmp_path):
    """Means are over what all have, and what is left out stands on the page."""
    of_ours = {"fog": [10.0] * 5, "snow": [90.0] * 5, "pixelate": [4.0] * 5}
    sides = {"fog": 224, "snow": 224, "pixelate": 32}
    ours = write_run(tmp_path / "ours", "ours")
    write_corruption(ours, of_ours, side=sides, left_out={"frost": "why"})
    random = write_run(tmp_path / "random", "random")
    of_random = {"fog": [8.0] * 5, "pixelate": [2.0] * 5, "contrast": [3.0] * 5}
    sides = {"fog": 224, "pixelate": 224, "contrast": 32}
    write_corruption(random, of_random, side=sides, left_out={"frost": "", "snow": ""})
    (family,) = grouping.make_families(runs.read_runs([tmp_path]))
    assert _row(family, "ours")["mean"] == "10"
    assert _row(family, "ours")["difference_to_random"] == "2"
    said = [
        "Not measured alike in all runs, and left out: pixelate, contrast, snow.",
        "Not measured: frost.",
    ]
    picture = robustness.corruption_bars(family)
    sheet = result_tables.results(family)
    for text in said:
        assert text in picture.caption
        assert any(text in note for note in sheet.notes)
    assert "over 1 corruptions of 5 severities, 50 test images" in " ".join(sheet.notes)
    write_corruption(ours, {"fog": [9.0] * 4})
    (family,) = grouping.make_families(runs.read_runs([tmp_path]))
    with pytest.raises(ReportError, match=r"corruption\.json has 4 severities of fog"):
        robustness.corruption_bars(family)


def test_measurements_on_other_images_or_steps_are_named_and_not_averaged(tmp_path):
    measured = ((10.0, {}), (20.0, {}), (90.0, {"num_images": 9}), (80.0, {"step": 6}))
    measured += ((70.0, {"published": "CIFAR-10-C"}),)
    for seed, (error, more) in enumerate(measured):
        run = write_run(tmp_path / f"ours{seed}", seed=seed)
        write_corruption(run, {"fog": [error] * 5}, **more)
        write_probe(run, [[error / 100] * 10] * 16, **more)
    (run,) = (tmp_path / "ours5",)
    write_run(run, seed=5, errors=(50.0,), epochs=2)  # not finished
    write_probe(run, [[1.0] * 10] * 16)
    (family,) = grouping.make_families(runs.read_runs([tmp_path]))
    line = _row(family, "ours")
    assert (line["n"], line["seeds"], line["mean"]) == ("2", "0 1", "15")
    bars = robustness.corruption_bars(family)
    heat = robustness.probe_map(family, family.groups[0])
    assert "the lowest is 15.0 %" in heat.alternative
    for caption in (bars.caption, heat.caption):
        assert "Measured before the last step, and in no mean: ours3." in caption
        others = "ours2 (9), ours4 (50 of CIFAR-10-C)"
        assert f"On other images, and in no mean: {others}." in caption
    assert "50 test images under one op each, after step 12; n = 2, seeds 0, 1" in (
        heat.caption
    )
    assert "ours (n = 2, seeds 0, 1)" in bars.svg.decode()
    assert "50 test images;" in bars.caption


def test_the_csv_names_the_seeds_that_gave_each_number(tmp_path):
    for seed in range(3):
        run = write_run(tmp_path / f"ours{seed}", seed=seed)
        if seed != 1:
            write_corruption(run, {"fog": [9.0] * 5})
        if seed == 0:
            (run / "timing.jsonl").write_text("")
    (family,) = grouping.make_families(runs.read_runs([tmp_path]))
    assert _row(family, "ours")["seeds"] == "0 2"
    assert _row(family, "ours", "search_and_training_time")["seeds"] == "1 2"
    assert _row(family, "ours", "final_entropy")["seeds"] == "0 1 2"
    assert _row(family, "ours", "test_error")["seeds"] == "0 1 2"


def test_a_table_is_known_by_what_its_runs_recorded(tmp_path, capsys):
    """`resnet50/baseline` is a cell of Tables 3 and 4."""
    path = tmp_path / "mine"
    run = write_run(path / "resnet50" / "baseline" / "seed0", "baseline")
    assert main([str(path), f"--output={tmp_path / 'out'}"]) == 0
    said = "may be cells of table3, table4. Give the folder a name that begins"
    assert said in capsys.readouterr().err
    assert said in (tmp_path / "out" / "results.md").read_text()
    table_cells.record_table(run, "table4")
    members = runs.read_runs([path])
    assert paper_comparison.identify(path, members) is paper_tables.TABLES["table4"]
    assert paper_comparison.unclear(path, members) == ""
    # What a run says counts more than a folder's name.
    assert paper_comparison.identify(tmp_path / "table3", members).name == "table4"
    (run / "table.json").write_text("[]")
    with pytest.raises(ReportError, match=r"table\.json is not .*: remove it"):
        runs.read_runs([path])


def test_table_5_counts_the_hours_of_the_runs_that_are_there(tmp_path):
    for seed, errors in enumerate(((9.0,), (9.0, 8.0, 7.0))):
        run = tmp_path / "table3" / "resnet50" / "autoaugment" / f"seed{seed}"
        write_run(run, "autoaugment", seed=seed, errors=errors)
    members = runs.read_runs([tmp_path / "table3"])
    sheet = accounts.cost_sheet(paper_tables.TABLES["table3"], members)
    rows = {row[:2]: dict(zip(sheet.header, row, strict=True)) for row in sheet.rows}
    here = rows["AutoAugment", "here"]
    # One epoch and three, of 36 s on 2 devices: two epochs in the mean.
    assert float(here["training (device h)"]) == pytest.approx(2 * 2 * 36 / 3600)
    assert float(here["training (d)"]) == pytest.approx(2 * 36 / 86400, rel=1e-2)
    assert here["runs"] == "2"
    assert here["search (device h)"] == ""  # done by others
    assert rows["AutoAugment", "paper"]["total (device h)"] == "15160"
    assert not any(list(rows["Ours", "here"].values())[2:])
    assert accounts.cost_sheet(paper_tables.TABLES["table1"], []) is None


def test_the_csv_has_the_numbers_of_every_group(family):
    lines = [
        dict(zip(csv_file.HEADER, line, strict=True))
        for line in csv_file.family_records(family)
    ]
    rows = {line["column"]: line for line in lines if line["measure"] == "test_error"}
    assert rows.keys() == {"random", "ours"}
    for name, finals in FINAL.items():
        row = rows[name]
        assert row["n"] == "3"
        assert row["seeds"] == "0 1 2"
        assert float(row["mean"]) == pytest.approx(statistics.mean(finals), rel=1e-6)
        assert float(row["std"]) == pytest.approx(statistics.stdev(finals), rel=1e-6)
    assert rows["ours"]["unfinished_seeds"] == "3"
    assert rows["ours"]["paper"] == ""
