"""What a report reads of run directories, of today and of earlier versions."""

import collections

import pytest

from aaa_jax.augment import ops, policy_json
from aaa_jax.report import ReportError, earlier_runs, runs
from aaa_jax.report.__main__ import main
from aaa_jax.report.figures import pictures
from aaa_jax.workdir.run_directory import read_lines
from configs import arguments, digits
from tests.support.run_folders import unpack_earlier_run, write_run


def test_sampled_shares_count_the_ops_of_the_file(folder, family):
    run = family.group("ours").runs[1]
    for number, line in enumerate(read_lines(folder / "ours-1", "policies")):
        entries = [e for policy in line["policies"] for chain in policy for e in chain]
        names = collections.Counter(name for name, _, _ in entries)
        levels = collections.Counter(level for _, level, _ in entries)
        assert len(entries) == 80
        found = run.rounds.shares["sampled_ops"][number]
        assert found == pytest.approx([names[op.name] / 80 for op in ops.OPS])
        found = run.rounds.shares["sampled_magnitudes"][number]
        assert found == pytest.approx([levels[level] / 80 for level in range(10)])


def test_rounds_belong_to_the_epoch_in_which_they_end(family):
    run = family.groups[0].runs[0]
    assert run.rounds.epochs.tolist() == [1, 1, 2, 2, 3, 3, 4, 4]


def test_figure_2_shows_the_hardest_and_the_easiest_policy(folder, family):
    samples = pictures._samples(family.group("ours").runs[0], [2])
    line = read_lines(folder / "ours-0", "policies")[3]  # the last of epoch 2
    for (name, saved), choose in zip(samples.items(), (max, min), strict=True):
        place = line["losses"].index(choose(line["losses"]))
        found = policy_json.to_json(saved.policies, ranges="monotone")
        assert found["policies"] == [line["policies"][place]]
        assert f"{line['losses'][place]:.2f} nats" in name


def test_epochs_to_show_are_four_over_the_run_or_those_asked_for():
    assert pictures.choose_epochs((), 34) == [1, 8, 17, 34]
    assert pictures.choose_epochs((), 1) == [1]
    assert pictures.choose_epochs((90, 30, 400), 120) == [30, 90]


def test_a_run_of_an_earlier_version_is_told_by_what_it_left(tmp_path):
    path = unpack_earlier_run(tmp_path)
    table = path.parents[2]
    (run,) = runs.read_runs([table])
    assert (run.method, run.origin["table"]) == ("ours", "table4_digits")
    assert run.cell == ("digits", "ours")
    assert (run.is_finished, run.is_shortened) == (True, True)
    assert run.origin["overrides"] == ["max_steps"]
    assert run.rounds.epochs.tolist() == [1, 1, 2, 2]
    # Before that, no table.json: the folder's name is the table's. No run.json either.
    for name in ("table.json", "run.json"):
        (path / name).unlink()
    assert runs.read_runs([table])[0].origin == run.origin
    (run,) = runs.read_runs([table.rename(tmp_path / "mine")])
    assert "table" not in run.origin
    assert (run.is_finished, run.facts["total_steps"]) == (True, 4)


def test_an_argument_is_told_by_the_values_of_the_config():
    later = {"fast", "gain"}  # than `run.json`, which says them
    for argument in arguments.ARGUMENTS.keys() - later:
        config = digits.get_config(argument).to_dict()
        assert earlier_runs._argument(config) == argument


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("probe.json", "{", "is not a JSON object"),
        ("corruption.json", '{"version": 2}', "has version 2"),
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
