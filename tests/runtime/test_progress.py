"""What a person sees, with a clock and streams of the test's own."""

import fcntl
import io
import os
import pty
import re
import select
import struct
import termios

import pytest
from tqdm import std

from aaa_jax.runtime import progress
from aaa_jax.runtime.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """Seconds, which only the test lets pass."""

    class Clock:
        now = 100.0

        def time(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(std, "time", clock.time)
    monkeypatch.setattr(progress, "time", clock)
    return clock


class _Terminal(io.TextIOWrapper):
    """One that is `columns` wide; `shown` is all that was ever written to it."""

    def __init__(self, columns: int) -> None:
        self._reading, writing = pty.openpty()
        size = struct.pack("HHHH", 30, columns, 0, 0)
        fcntl.ioctl(writing, termios.TIOCSWINSZ, size)
        super().__init__(os.fdopen(writing, "wb"))

    def shown(self) -> str:
        self.flush()
        content = b""
        while select.select([self._reading], [], [], 0.2)[0]:  # it comes in parts
            content += os.read(self._reading, 100_000)
        return content.decode()


def _progress(bar, **options):
    lines = io.StringIO()
    sizes = {"total_steps": 40, "steps_per_epoch": 10, "images_per_step": 1024}
    return Progress(bar=bar, lines=lines, **sizes | options), lines


def test_plain_lines_come_at_intervals_and_say_everything(clock):
    bar = io.StringIO()
    shown, lines = _progress(bar)
    for step in range(1, 25):
        clock.now += 4.0
        shown.update(step, loss=10.0 / step, entropy=0.9 if step > 2 else None)
    found = bar.getvalue().splitlines()
    # The first step is shown at once, then every 30 s: 8 steps of 4 s.
    assert [re.search(r"step (\d+)/40", line)[1] for line in found] == ["1", "9", "17"]
    assert found[0] == "epoch 1/4  step 1/40  ? rows/s  ? left, loss 10.000"
    assert found[2] == (
        f"epoch 2/4  step 17/40  {1024 / 4:.0f} rows/s  01:32 left"
        f", loss {10 / 17:.3f}, entropy 0.900"
    )
    shown.message("a message")
    shown.close()
    assert lines.getvalue() == "a message\n"
    assert bar.getvalue().splitlines() == found


@pytest.mark.parametrize("columns", [40, 90])
def test_a_terminal_has_one_bar_of_its_width_written_over(columns, clock):
    _before = _progress(io.StringIO())  # of a run in this process that nobody closed
    with _Terminal(columns) as bar:
        shown, lines = _progress(bar)
        for step in (1, 2, 20):
            clock.now += 1.0
            shown.update(step, loss=1.5)
        written = bar.shown()
        assert "\n" not in written
        last = written.split("\r")[-1]
        assert last.startswith("epoch 3/4  step 20/40:  50%|")
        assert len(last) <= columns
        assert last.endswith("loss 1.500]") == (columns > 80)
        shown.message("a message")
        assert bar.shown().strip("\r ") == ""  # the bar is taken away first
        assert lines.getvalue() == "a message\n"
        clock.now += 1.0
        shown.update(21)
        assert "step 21/40" in bar.shown()
        shown.close()
        assert bar.shown().strip("\r ") == ""


def test_a_loss_needs_fetching_only_when_due(clock):
    shown, _ = _progress(io.StringIO())
    assert shown.due()
    shown.update(1)
    assert not shown.due()
    clock.now += 29.9
    assert not shown.due()
    clock.now += 0.2
    assert shown.due()


def test_an_evaluation_has_a_line_of_its_own_and_counts_in_the_time_left(clock):
    bar = io.StringIO()
    shown, _ = _progress(bar, steps_per_test=10, interval=5.0)
    for step in range(1, 11):
        clock.now += 1.0
        shown.update(step, loss=1.0)
    with shown.evaluation():
        for batch in range(1, 11):
            clock.now += 1.0
            shown.testing(batch, 10)
    shown.update(11)
    tested = [x for x in bar.getvalue().splitlines() if "testing" in x]
    batches = [re.search(r"batch \S+", line)[0] for line in tested]
    assert batches == ["batch 1/10", "batch 6/10"]
    for step in range(12, 17):
        clock.now += 1.0
        shown.update(step)
    last = bar.getvalue().splitlines()[-1]
    # 28 steps of about 1 s, and three evaluations of 10 s are to come.
    assert "step 12/40" in last
    assert 50 <= int(re.search(r"00:(\d+) left", last)[1]) <= 60
    assert "testing" not in last


def test_the_rate_is_of_late_without_compilation_and_pauses(clock):
    bar = io.StringIO()
    shown, _ = _progress(bar, total_steps=1001, interval=1.0)
    clock.now += 60.0  # compiles
    shown.update(6)  # of a run that goes on
    for step in range(7, 307):
        clock.now += 10.0 if step < 107 else 1.0
        shown.update(step)
        with shown.pause():
            clock.now += 25.0
    found = bar.getvalue().splitlines()
    assert "epoch 1/101  step 6/1001  ? rows/s" in found[0]
    assert "step 7/1001  102 rows/s  2:45:40 left" in found[1]
    assert "epoch 31/101  step 306/1001  1.02k rows/s  11:35 left" in found[-1]


def test_output_that_fails_or_is_unwanted_is_dropped(capsys):
    closed = io.StringIO()
    shown, other = _progress(closed)
    closed.close()
    other.close()
    quiet, lines = _progress(None, quiet=True)
    for one in (shown, quiet):
        one.message("a message")
        one.update(1, loss=1.0)
        with one.pause():
            one.update(2)
        one.close()
    assert lines.getvalue() == ""
    assert capsys.readouterr() == ("", "")
