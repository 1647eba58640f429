"""`run.json`."""

import pytest

from aaa_jax.workdir import run_facts


def test_facts_come_back_and_are_empty_where_there_are_none(tmp_path):
    assert run_facts.load_facts(tmp_path) == {}
    run_facts.save_facts(tmp_path, {"total_steps": 20, "device": "cpu"})
    assert run_facts.load_facts(tmp_path) == {"total_steps": 20, "device": "cpu"}
    wrong = ('{"round_steps": 0}', '{"total_steps": "9"}')
    for damage in ("{", "[]", "[" * 10**5, *wrong):
        (tmp_path / "run.json").write_text(damage)
        with pytest.raises(run_facts.RunFactsError, match=r"run\.json"):
            run_facts.load_facts(tmp_path)
