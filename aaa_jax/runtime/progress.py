"""What a person sees of a run: a bar on a terminal, plain lines elsewhere.

The bar is one line on stderr that is written over; lines that should stay (the end of
an epoch, messages) go to stdout. Where stderr is no terminal, the bar becomes a
plain line every `interval` seconds. Nothing here is written to the run directory.
"""

import contextlib
import math
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Self, TextIO

_BAR_WIDTH = 20
_LEAST_BAR_WIDTH = 5
_BAR_INTERVAL = 0.25
_RATE_SPAN = 30.0
_ERASE_LINE = "\r\x1b[K"


class Progress:
    """Shows how far a run is. A class because it remembers when the steps were done.

    The rate is over the last half minute of training, the time left from the mean pace
    with everything between the steps; neither counts the first step, which
    compiles. Ask `due` before fetching a loss from the device only to show it.

    Args:
        total_steps: steps of the whole run.
        steps_per_epoch: steps of one epoch.
        images_per_step: rows of the large batch: N·M.
        interval: seconds between plain lines.
        bar: where the bar goes; its lines when it is no terminal.
        lines: where lines go that should stay.
        clock: seconds, for tests.
        quiet: show nothing, as every process but the first.
    """

    def __init__(
        self,
        *,
        total_steps: int,
        steps_per_epoch: int,
        images_per_step: int,
        interval: float = 30.0,
        bar: TextIO | None = None,
        lines: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        quiet: bool = False,
    ) -> None:
        self._quiet = quiet
        self._total_steps = total_steps
        self._steps_per_epoch = steps_per_epoch
        self._images_per_step = images_per_step
        self._bar = sys.stderr if bar is None else bar
        self._lines = sys.stdout if lines is None else lines
        self._clock = clock
        self._is_terminal = self._bar.isatty()
        self._interval = _BAR_INTERVAL if self._is_terminal else interval
        self._step = 0
        self._values: dict[str, float] = {}
        self._idle = 0.0
        self._marks: deque[tuple[float, int]] = deque()
        self._first: tuple[float, int] | None = None
        self._shown_at = -math.inf
        self._bar_is_visible = False

    def due(self) -> bool:
        """Whether `update` would show something now."""
        return not self._quiet and self._clock() - self._shown_at >= self._interval

    def update(
        self, step: int, *, loss: float | None = None, entropy: float | None = None
    ) -> None:
        """Notes that `step` steps are done, and shows it when it is due.

        Args:
            step: steps done since the beginning of the run.
            loss: mean training loss of a late step; the last one given is shown.
            entropy: what the policy source expects, of ops and magnitudes together, as
                a fraction of the maximum; likewise.
        """
        now = self._clock()
        self._step = step
        for name, value in (("loss", loss), ("entropy", entropy)):
            if value is not None:
                self._values[name] = float(value)
        self._first = self._first or (now, step)
        trained = now - self._idle
        self._marks.append((trained, step))
        while len(self._marks) > 2 and trained - self._marks[1][0] > _RATE_SPAN:
            self._marks.popleft()
        if self.due():
            self._shown_at = now
            self._show()

    def images_per_second(self) -> float | None:
        """Augmented images trained on per second of late; None when not known yet."""
        if len(self._marks) < 2:
            return None
        (start, first), (end, last) = self._marks[0], self._marks[-1]
        if end <= start:
            return None
        return (last - first) * self._images_per_step / (end - start)

    def epoch_line(
        self,
        epoch: int,
        *,
        train_loss: float | None,
        test_error: float | None = None,
        op_entropy: float | None = None,
        magnitude_entropy: float | None = None,
        state: str | None = None,
        skipped: int = 0,
    ) -> None:
        """Prints the line that sums up an epoch.

        Args:
            epoch: epochs done, 1 after the first.
            train_loss: mean over the epoch, nats; None when every step was left out.
            test_error: fraction of test images, 0 to 1; None when not evaluated.
            op_entropy: mean over the decisions on ops, as a fraction of the maximum.
            magnitude_entropy: the same of the decisions on magnitudes.
            state: of the controller, how far it has collapsed; None: nothing learns.
            skipped: steps left out since the beginning of the run; shown if any were.
        """
        loss = "n/a" if train_loss is None else f"{train_loss:.4f}"
        parts = [f"epoch {epoch}/{self._num_epochs()}", f"train loss {loss}"]
        if test_error is not None:
            parts.append(f"test error {100 * test_error:.2f} %")
        if op_entropy is not None:
            parts.append(f"op entropy {op_entropy:.3f}")
        if magnitude_entropy is not None:
            parts.append(f"magnitude entropy {magnitude_entropy:.3f}")
        if state is not None:
            parts.append(f"controller {state}")
        if skipped:
            parts.append(f"skipped {skipped}")
        self.message("  ".join(parts))

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Keeps what happens inside, an evaluation or a save, out of the rate."""
        start = self._clock()
        try:
            yield
        finally:
            self._idle += self._clock() - start

    def message(self, text: str) -> None:
        """Prints a line that stays, without harm to the bar."""
        if self._quiet:
            return
        self._erase_bar()
        print(text, file=self._lines, flush=True)

    def close(self) -> None:
        """Takes the bar away."""
        self._erase_bar()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _show(self) -> None:
        parts = self._parts()
        if not self._is_terminal:
            print("  ".join(parts), file=self._bar, flush=True)
            return
        columns = shutil.get_terminal_size().columns - 1
        width = min(_BAR_WIDTH, columns - len(" ".join(parts)) - len(" []"))
        if width >= _LEAST_BAR_WIDTH:
            done = self._step * width // max(self._total_steps, 1)
            parts.insert(1, "[" + "#" * done + "-" * (width - done) + "]")
        self._bar.write(_ERASE_LINE + " ".join(parts)[:columns])
        self._bar.flush()
        self._bar_is_visible = True

    def _erase_bar(self) -> None:
        if self._bar_is_visible:
            self._bar.write(_ERASE_LINE)
            self._bar.flush()
            self._bar_is_visible = False
            self._shown_at = -math.inf

    def _parts(self) -> list[str]:
        running = min(self._step // self._steps_per_epoch + 1, self._num_epochs())
        parts = [
            f"epoch {running}/{self._num_epochs()}",
            f"step {self._step}/{self._total_steps}",
        ]
        rate = self.images_per_second()
        if rate is not None:
            parts.append(f"{rate:.{0 if rate >= 100 else 1}f} img/s")
        left = self._seconds_left()
        if left is not None:
            parts.append(f"{_duration(left)} left")
        return parts + [f"{name} {value:.3f}" for name, value in self._values.items()]

    def _seconds_left(self) -> float | None:
        if self._first is None or self._step <= self._first[1]:
            return None
        start, first = self._first
        pace = (self._clock() - start) / (self._step - first)
        return pace * (self._total_steps - self._step)

    def _num_epochs(self) -> int:
        return math.ceil(self._total_steps / self._steps_per_epoch)


def _duration(seconds: float) -> str:
    """Hours, minutes and seconds: 3725 is `1:02:05`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
