"""Nobody need read what a program prints."""

import pathlib
import subprocess
import sys

import pytest

from aaa_jax.runtime import output

PRINTING = f"""
import contextlib, os, runpy, sys
output = runpy.run_path({output.__file__!r})
output["drop_what_fails"]()
for number in range(5000):
    print("a line \\u03b1", number)
    print("an error", file=sys.stderr)
with open(sys.argv[1], "w") as file:
    with contextlib.suppress(OSError):
        os.write(2, b"what C++ says")
    print(file.fileno() > 2, file=file)
"""


@pytest.mark.parametrize(
    "redirected", [">/dev/full 2>&1", ">&- 2>&-", "2>&- | head -1", "2>&1 | head -1"]
)
def test_output_that_fails_stops_no_program(redirected, tmp_path):
    path = tmp_path / "written"
    script = f'{{ "$@"; echo $? >{tmp_path}/code; }} {redirected}'
    subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, "-c", PRINTING, path],
        check=True,
        timeout=60,
        stdout=subprocess.DEVNULL,
    )
    assert path.read_text() == "True\n"
    assert pathlib.Path(tmp_path / "code").read_text() == "0\n"


def test_what_an_encoding_lacks_is_spelled_out(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PRINTING, tmp_path / "written"],
        env={"LC_ALL": "C", "PYTHONUTF8": "0"},
        check=True,
        capture_output=True,
    )
    assert done.stdout.startswith(b"a line \\u03b1 0\n")
    assert done.stderr.endswith(b"an error\nwhat C++ says")
