"""The sentence and the recipe at the top of a report."""

import json

import pytest

from aaa_jax.report import first_screen, grouping, runs
from tests.support.run_folders import write_run


def screen_of(folder):
    found = runs.read_runs([folder])
    return first_screen.first_screen("", [], found, grouping.make_families(found))


@pytest.mark.parametrize(
    ("errors", "falls", "words"),
    [
        # Two updates an epoch; entropy below 0.5 is narrow, below 0.3 collapsed.
        ((9.0, 4.0), 0.0, "the controller has not moved in 4 updates: ours is random"),
        ((9.0, 4.0), 0.1, "the controller began to move at update 3 and now draws "),
        ((9.0, 4.0), 0.6, "the controller began to narrow at update 3 and now draws "),
        ((9.0, 4.0), 0.8, "the controller collapsed at update 3 and now draws "),
    ],
)
def test_one_run_is_told_by_its_error_and_its_controller(
    tmp_path, errors, falls, words
):
    run = write_run(tmp_path / "run", errors=errors, entropy_falls=falls)
    screen = screen_of(tmp_path)
    assert screen.headlines[0][:2] == ("4.00 %", "")
    (sentence,) = screen.verdicts
    assert sentence.startswith(f"4.00 % after 2 epochs; {words}")
    last = json.loads((run / "policies.jsonl").read_text().splitlines()[-1])
    share = f"{100 * max(last['op_shares']):.0f} % of its ops"
    assert (share in sentence) == (falls > 0)


def test_a_run_that_goes_on_is_not_given_as_a_result(tmp_path):
    write_run(tmp_path / "run", "random", errors=(9.0, 4.0, None), epochs=5)
    screen = screen_of(tmp_path)
    assert screen.headlines[0].label == "random, after 3 of 5 epochs, not finished"
    assert screen.verdicts == ("4.00 % after 3 of 5 epochs, not finished.",)


@pytest.mark.parametrize(
    ("ours", "words"),
    [
        ((1.0, 2.1, 3.0), "ours is better than random (-2.00 points, 95 % interval "),
        ((5.0, 6.1, 7.0), "ours is worse than random (+2.00 points, 95 % interval "),
        ((3.1, 4.0, 4.9), "ours cannot be told from random (-0.03 points, 95 % "),
        ((1.0,), "ours differs from random by -2.00 points in one pair of runs, which"),
    ],
)
def test_the_verdict_follows_the_interval(tmp_path, ours, words):
    for argument, finals in {"random": (3.0, 4.1, 5.0), "ours": ours}.items():
        for seed, final in enumerate(finals):
            name = f"{argument}{seed}"
            write_run(tmp_path / name, argument, seed=seed, errors=(9.0, final))
    (sentence,) = screen_of(tmp_path).verdicts
    assert sentence.startswith(words)
    assert f"{len(ours)} ok" in sentence


def test_how_to_reproduce_is_what_the_runs_recorded(tmp_path):
    for seed in (0, 1):
        run = write_run(tmp_path / str(seed), seed=seed)
        facts = json.loads((run / "run.json").read_text())
        facts["origin"]["command"] = f"python launch.py --config.seed={seed}"
        facts["versions"] = {"jax": "0.10.2", "python": "3.11.7"}
        (run / "run.json").write_text(json.dumps(facts))
    recipe = dict(screen_of(tmp_path).recipe)
    commands = tuple(f"python launch.py --config.seed={seed}" for seed in (0, 1))
    assert recipe["command"] == commands
    assert recipe["versions"] == ("jax 0.10.2, python 3.11.7",)
    assert recipe["devices"] == ("2 x cpu",)
    # Two epochs of 36 s and tests of 5 s each.
    each = "1 min 22 s"
    text = f"2 min 44 s of training and tests in 2 runs, {each} to {each} each"
    assert recipe["wall time"] == (text,)
    assert recipe["not recorded"] == ("commit",)


def test_a_table_of_many_groups_has_one_number_for_each_network(tmp_path):
    for argument in ("baseline", "cutout", "fixed", "random", "ours"):
        for depth in (10, 16):
            options = [("model.options.depth", depth)]
            write_run(tmp_path / f"{argument}{depth}", argument, override=options)
    screen = screen_of(tmp_path)
    assert ["of ours" in each.label for each in screen.headlines] == [True, True]
    assert len(screen.verdicts) == 2


def test_durations_are_told_in_two_units():
    told = [first_screen.duration(seconds) for seconds in (41, 161, 11220)]
    assert told == ["41 s", "2 min 41 s", "3 h 7 min"]
