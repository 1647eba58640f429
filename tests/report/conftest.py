"""Runs that several tests read: three finished seeds of two methods, and one more."""

import pytest

from tests.support.run_folders import family_of, write_run

FINAL = {"random": (2.0, 3.0, 2.5), "ours": (1.5, 2.75, 2.5)}


@pytest.fixture(scope="session")
def final_errors():
    """Method -> the final test error of each finished seed."""
    return FINAL


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The runs of `final_errors`, and a seed of ours that is not finished."""
    path = tmp_path_factory.mktemp("runs")
    for argument, finals in FINAL.items():
        for seed, final in enumerate(finals):
            errors = (60.0, None, 9.0, final)
            write_run(path / f"{argument}-{seed}", argument, seed=seed, errors=errors)
    write_run(path / "ours-3", "ours", seed=3, errors=(70.0, None), epochs=4)
    return path


@pytest.fixture(scope="session")
def family(folder):
    return family_of(folder)
