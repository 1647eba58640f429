"""What a person sees, with a clock and streams of the test's own."""

import io
import re

import pytest

from aaa_jax.runtime.progress import Progress


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _progress(bar, **options):
    clock = _Clock()
    options = {
        "total_steps": 40,
        "steps_per_epoch": 10,
        "images_per_step": 1024,
        "interval": 30.0,
        **options,
    }
    lines = io.StringIO()
    return Progress(bar=bar, lines=lines, clock=clock, **options), clock, lines


def test_plain_lines_come_at_intervals_and_say_everything():
    bar = io.StringIO()
    progress, clock, lines = _progress(bar)
    for step in range(1, 25):
        clock.now += 4.0
        progress.update(step, loss=10.0 / step, entropy=0.9)
    shown = bar.getvalue().splitlines()
    # The first step is shown at once, then every 30 s: 8 steps of 4 s.
    assert [re.search(r"step (\d+)/40", line)[1] for line in shown] == ["1", "9", "17"]
    assert shown[2] == (
        f"epoch 2/4  step 17/40  {1024 / 4:.0f} img/s  0:01:32 left"
        f"  loss {10 / 17:.3f}  entropy 0.900"
    )
    assert lines.getvalue() == ""
    assert "\x1b" not in bar.getvalue()


def test_a_terminal_has_one_line_written_over(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    bar = _Terminal()
    progress, clock, lines = _progress(bar)
    for step in (1, 2, 20):
        clock.now += 1.0
        progress.update(step, loss=1.5)
    assert "\n" not in bar.getvalue()
    last = bar.getvalue().split("\r\x1b[K")[-1]
    assert last.startswith("epoch 3/4 [##########----------] step 20/40")
    assert last.endswith("loss 1.500")
    progress.message("a message")
    assert bar.getvalue().endswith("\r\x1b[K")
    assert lines.getvalue() == "a message\n"
    assert progress.due()
    for columns, start in (
        (67, "epoch 3/4 [####----] step 20/40 "),
        (60, "epoch 3/4 step 20/40 "),
        (20, "epoch 3/4 step 20/4"),
    ):
        monkeypatch.setenv("COLUMNS", str(columns))
        clock.now += 1.0
        progress.update(20)
        last = bar.getvalue().split("\r\x1b[K")[-1]
        assert last.startswith(start), last
        assert len(last) < columns
    progress.close()
    assert bar.getvalue().endswith("\r\x1b[K")


def test_a_loss_needs_fetching_only_when_due():
    progress, clock, _ = _progress(io.StringIO())
    assert progress.due()
    progress.update(1)
    assert not progress.due()
    clock.now += 29.9
    assert not progress.due()
    clock.now += 0.2
    assert progress.due()


def test_the_rate_counts_neither_compilation_nor_pauses():
    progress, clock, _ = _progress(io.StringIO())
    assert progress.images_per_second() is None
    clock.now += 60.0  # compiles
    progress.update(6)
    assert progress.images_per_second() is None
    for step in (7, 8):
        clock.now += 0.5
        progress.update(step)
        with progress.pause():
            clock.now += 25.0
    assert progress.images_per_second() == pytest.approx(1024 / 0.5)


def test_the_rate_is_that_of_late():
    progress, clock, _ = _progress(io.StringIO(), total_steps=1000)
    for step in range(1, 301):
        clock.now += 10.0 if step < 100 else 1.0
        progress.update(step)
    assert progress.images_per_second() == pytest.approx(1024.0)


def test_the_time_left_counts_pauses():
    bar = io.StringIO()
    progress, clock, _ = _progress(bar, total_steps=3601, interval=0.0)
    progress.update(1)
    clock.now += 1.0
    with progress.pause():
        clock.now += 2.0
    progress.update(2)
    assert "2:59:57 left" in bar.getvalue()  # 3599 steps of 3 s


def test_the_epoch_line_has_loss_error_and_entropies():
    progress, _, lines = _progress(io.StringIO())
    progress.epoch_line(
        3,
        train_loss=1.23456,
        test_error=0.0265,
        op_entropy=0.7726,
        magnitude_entropy=0.3026,
        state="narrowing",
    )
    progress.epoch_line(4, train_loss=None, skipped=12)
    assert lines.getvalue() == (
        "epoch 3/4  train loss 1.2346  test error 2.65 %  op entropy 0.773"
        "  magnitude entropy 0.303  controller narrowing\n"
        "epoch 4/4  train loss n/a  skipped 12\n"
    )


def test_a_part_of_an_epoch_counts_as_one():
    bar = io.StringIO()
    progress, _, _ = _progress(bar, total_steps=41, interval=0.0)
    progress.update(41)
    assert "epoch 5/5  step 41/41" in bar.getvalue()
