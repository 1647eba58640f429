"""What `pip install` gets: one package, with the presets, the types and the command."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.support.small_runs import ROOT

SOURCES = ("aaa_jax", "configs", "pyproject.toml", "requirements.txt", "README.md")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, since setuptools leaves folders in the sources."""
    pytest.importorskip("setuptools", minversion="77")  # of pyproject.toml
    checkout = tmp_path_factory.mktemp("checkout")
    for name in (*SOURCES, "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        more = {"symlinks": True} if copy is shutil.copytree else {}
        copy(ROOT / name, checkout / name, **more)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(checkout)]
    subprocess.run([*command, f"--wheel-dir={checkout}"], check=True)
    [path] = checkout.glob("*.whl")
    return path


def test_the_wheel_has_one_package_with_presets_types_and_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [command] = [name for name in names if name.endswith("entry_points.txt")]
        assert b"aaa-jax = aaa_jax.__main__:main" in archive.read(command)
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"aaa_jax"}
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "aaa_jax").rglob("*.py")}
    modules |= {f"aaa_jax/{p.relative_to(ROOT)}" for p in ROOT.glob("configs/*.py")}
    modules |= {"aaa_jax/py.typed", "aaa_jax/__init__.pyi"}
    assert modules == {name for name in names if name.startswith("aaa_jax/")}


def test_the_wheel_trains_the_presets_from_any_folder(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "here").mkdir()
    given = ["--config=table4_digits:digits/ours", "--list=commands"]
    done = subprocess.run(
        [sys.executable, "-m", "aaa_jax", "train", *given],
        cwd=tmp_path / "here",
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    command = "-m aaa_jax train --config=table4_digits:digits/ours/seed4"
    assert command in done.stdout
    assert not any((tmp_path / "here").iterdir())
