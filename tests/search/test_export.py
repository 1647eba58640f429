"""Exported policies are those recorded, fit the documented schema, and come back."""

import json
import operator
import re

import jax
import numpy as np
import pytest

import aaa_jax
from aaa_jax.augment import magnitudes, ops, policy_json
from aaa_jax.search import export
from aaa_jax.workdir import run_directory, run_facts
from tests.support.small_runs import ROOT

SCHEMA = json.loads((ROOT / "docs" / "policies.schema.json").read_text())
NAMES = ["Rotate", "Invert", "Cutout", "Color", "ShearX", "Solarize"]
LOSSES = [0.5, 2.0, 1.0, 3.0, 0.1, 0.7]


def _entries(number):
    """Six policies of two sub-policies of two ops, telling where they come from."""
    return [
        [[[NAMES[m], number, 1.0], ["Identity", q, 0.5]] for q in range(2)]
        for m in range(6)
    ]


@pytest.fixture
def run(tmp_path):
    """Five rounds of 4 steps; an epoch has 8, so that two rounds end in each."""
    config = {"policies": {"source": "adversarial", "fill": "dataset"}}
    with run_directory.RunDirectory(tmp_path, config) as directory:
        for number in range(5):
            record = {"round": number, "losses": LOSSES, "version": 1}
            record |= {"ranges": "monotone", "order": "policy_first", "fill": [1, 2, 3]}
            record["policies"] = _entries(number)
            directory.write_policies(4 * (number + 1), record)
    run_facts.save_facts(
        tmp_path, {"steps_per_epoch": 8, "total_steps": 80, "round_steps": 4}
    )
    return tmp_path


def _fits(value, schema) -> bool:
    return all(FITS[keyword](value, wanted) for keyword, wanted in schema.items())


def _is_of_type(value, kind) -> bool:
    kinds = {"object": dict, "array": list, "integer": int, "number": (int, float)}
    if isinstance(value, bool):
        return kind == "boolean"
    return kind != "boolean" and isinstance(value, kinds[kind])


# Whether a value fits, by the few keywords of JSON Schema that ours has, in its order.
FITS = {
    **dict.fromkeys(("$schema", "title", "description"), lambda *_: True),
    "type": _is_of_type,
    "const": operator.eq,
    "enum": lambda value, allowed: value in allowed,
    "required": lambda value, keys: value.keys() >= set(keys),
    "minItems": lambda value, least: len(value) >= least,
    "maxItems": lambda value, most: len(value) <= most,
    "minimum": operator.ge,
    "maximum": operator.le,
    "properties": lambda value, parts: all(
        _fits(value[key], parts[key]) for key in parts.keys() & value.keys()
    ),
    "items": lambda value, part: all(_fits(item, part) for item in value),
    "prefixItems": lambda value, parts: all(map(_fits, value, parts)),
}


def test_the_schema_names_what_the_program_knows():
    properties = SCHEMA["properties"]
    assert properties["version"]["const"] == policy_json.SCHEMA_VERSION
    assert properties["ranges"]["enum"] == list(magnitudes.RANGES)
    assert properties["order"]["enum"] == list(policy_json.ORDERS)
    entry = properties["policies"]["items"]["items"]["items"]["prefixItems"]
    assert entry[0]["enum"] == [op.name for op in ops.OPS]
    most = max(table.num_magnitudes for table in magnitudes.RANGES.values())
    assert entry[1]["maximum"] == most - 1


def test_the_last_round_is_exported_as_recorded_and_comes_back(run):
    record = export.export(str(run))
    assert _fits(record, SCHEMA)
    assert record["policies"] == _entries(4)
    assert record["origin"] == {
        "round": 4,
        "step": 20,
        "source": "adversarial",
        "selection": "policies",
        "losses": LOSSES,
    }
    assert "alpha" not in record
    saved = policy_json.from_json(json.dumps(record))
    assert saved[1:4] == ("monotone", "policy_first", (1, 2, 3))
    assert saved.policies.ops.shape == (6, 2, 2)


@pytest.mark.parametrize(("epoch", "number"), [(1, 1), (2, 3), (3, 4)])
def test_an_epoch_is_its_last_round(epoch, number, run):
    record = export.export(str(run), epoch=epoch)
    assert record["policies"] == _entries(number)


def test_invalid_pixels_are_marked_as_alpha(run):
    (run / "config.json").write_text(
        json.dumps({"policies": {"source": "random", "fill": "alpha"}})
    )
    record = export.export(str(run))
    assert record["alpha"] is True
    assert _fits(record, SCHEMA)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"ranges": "wide"},
        {"fill": [0, 0]},
        {"fill": [0, 0, 256]},
        {"policies": []},
        {"policies": [[[["Blur", 1, 1.0]]]]},
        {"policies": [[[["Rotate", 1.5, 1.0]]]]},
        {"policies": [[[["Rotate", 1, 2.0]]]]},
        {"policies": [[[["Rotate", 1]]]]},
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(change, run):
    record = export.export(str(run)) | change
    assert not _fits(record, SCHEMA)
    with pytest.raises(ValueError):  # noqa: PT011 (each says something else)
        policy_json.from_json(record)


def test_the_command_prints_json_or_one_line(run, capsys):
    assert export.main([str(run), "--epoch=2", "--select=best5"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert _fits(printed, SCHEMA)
    recorded = _entries(3)
    # Losses 3.0, 2.0, 1.0, 0.7, 0.5.
    assert printed["policies"] == [[c for m in (3, 1, 2, 5, 0) for c in recorded[m]]]
    assert export.main([str(run), "--format=pillow"]) == 2
    assert "give --size" in capsys.readouterr().err
    assert export.main([str(run), "--format=pillow", "--size=32"]) == 0
    assert "SIZE = (32, 32)  #" in capsys.readouterr().out


def test_values_stand_beside_the_magnitudes_for_the_runs_images(run):
    facts = run_facts.load_facts(run)
    run_facts.save_facts(run, facts | {"dataset": {"image_size": 32}})
    record = export.export(str(run))
    assert _fits(record, SCHEMA)
    assert record["image_size"] == [32, 32]
    firsts = [policy[0][0] for policy in record["values"]]
    t = 4 / 9  # every entry of this round has the magnitude 4
    want = [[30 * t, -30 * t], [], [8], [1 + 0.9 * t, 1 - 0.9 * t]]
    want += [[0.3 * t, -0.3 * t], [256 * (1 - t)]]
    for found, expected in zip(firsts, want, strict=True):
        assert found == pytest.approx(expected)
    assert record["values"][0][0][1] == []  # Identity


def test_policies_are_saved_and_loaded_with_nothing_said(tmp_path):
    path = tmp_path / "policies.json"
    policies = aaa_jax.random_source(8).sample(jax.random.key(0), (), 0.0)
    aaa_jax.save_policies(path, policies)
    saved = aaa_jax.load_policies(path)
    jax.tree.map(np.testing.assert_array_equal, saved.policies.ops, policies.ops)
    assert saved[1:] == ("monotone", "standard_first", (125, 123, 114), False)
    assert aaa_jax.file_source(path).num_policies == 8
    wide = aaa_jax.trivialaugment_source(1).sample(jax.random.key(0), (), 0.0)
    assert aaa_jax.from_json(aaa_jax.to_json(wide)).ranges == "trivial_wide"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--epoch=0"], "no round of .* ended in epoch 0"),
        (["--epoch=4"], "no round of .* ended in epoch 4"),
        (["--round=5"], "has no round 5: it has rounds 0 to 4"),
        (["--round=1", "--epoch=1"], "not both"),
    ],
)
def test_a_round_or_epoch_that_is_missing_is_named(given, message, run, capsys):
    assert export.main([str(run), *given]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("aaa-jax policies: ")
    assert printed.count("\n") == 1
    assert re.search(message, printed)


def test_an_old_run_without_facts_asks_for_a_round(run, capsys):
    (run / "run.json").unlink()
    assert export.main([str(run), "--epoch=1"]) == 2
    assert "give --round" in capsys.readouterr().err
    assert export.main([str(run / "none")]) == 2
    assert "is not a directory" in capsys.readouterr().err
