"""What a person sees of a run: a bar on a terminal, plain lines elsewhere.

The bar is tqdm's, on stderr; messages that should stay go to stdout. Where stderr is no
terminal, the bar becomes a plain line every `interval` seconds. Nothing here is written
to the run directory, and output that fails is dropped: the run does not depend on it.
"""

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from typing import Any, Self, TextIO

from tqdm import tqdm

_BAR_INTERVAL = 0.25
_PLAIN = "{desc}  {rate_fmt}  {left} left{postfix}"
_ONE_LINE = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{left}, {rate_fmt}{postfix}]"
_DROPPED = (OSError, ValueError)  # what printing raises: a full disk, a closed file


class Progress:
    """Shows how far a run is. A class because it remembers when the steps were done.

    Rows (augmented images) per second are of late, without pauses and without the first
    step, which compiles. The time left counts the evaluations to come, each as long as
    the last one was. Ask `due` before fetching a loss from the device only to show it.

    Args:
        total_steps: steps of the whole run.
        steps_per_epoch: steps of one epoch.
        images_per_step: rows of the large batch: N·M.
        steps_per_test: steps from one evaluation to the next; 0: there are none.
        interval: seconds between plain lines.
        bar: where the bar goes, or the plain lines instead of it; None: stderr.
        lines: where messages go; None: stdout.
        quiet: show nothing, as every process except the first.
    """

    def __init__(
        self,
        *,
        total_steps: int,
        steps_per_epoch: int,
        images_per_step: int,
        steps_per_test: int = 0,
        interval: float = 30.0,
        bar: TextIO | None = None,
        lines: TextIO | None = None,
        quiet: bool = False,
    ) -> None:
        self._quiet = quiet
        self._total_steps = total_steps
        self._steps_per_epoch = steps_per_epoch
        self._images_per_step = images_per_step
        self._steps_per_test = steps_per_test
        self._test_seconds = 0.0
        self._tested_at = -math.inf
        self._lines = sys.stdout if lines is None else lines
        self._values: dict[str, float] = {}
        self._bar = _Bar(
            file=sys.stderr if bar is None else bar,
            interval=interval,
            total=total_steps * images_per_step,
        )
        self._bar.disable = quiet

    def due(self) -> bool:
        """Whether `update` would show something now."""
        late = time.time() - self._bar.last_print_t >= self._bar.mininterval
        return late and not self._quiet

    def update(self, step: int, **values: float | None) -> None:
        """Notes that so many steps of the run are done, and shows it when it is due.

        Beside it stand numbers such as the loss: of each the last that was not None.
        """
        if self._quiet:
            return
        bar, epochs = self._bar, math.ceil(self._total_steps / self._steps_per_epoch)
        epoch = min(step // self._steps_per_epoch + 1, epochs)
        bar.desc = f"epoch {epoch}/{epochs}  step {step}/{self._total_steps}"
        self._values |= {k: float(v) for k, v in values.items() if v is not None}
        bar.postfix = ", ".join(f"{k} {v:.3f}" for k, v in self._values.items())
        if self._steps_per_test:
            tests = math.ceil(self._total_steps / self._steps_per_test)
            left = tests - step // self._steps_per_test
            bar.seconds_besides = left * self._test_seconds
        images = step * self._images_per_step
        with contextlib.suppress(*_DROPPED):
            if bar.last_print_t == -math.inf:
                bar.initial = bar.n = bar.last_print_n = images
                bar.start_t = bar.last_print_t = time.time()
                bar.refresh()
            else:
                bar.update(images - bar.n)

    @contextlib.contextmanager
    def evaluation(self) -> Iterator[None]:
        """Keeps an evaluation out of the rate, and notes how long it takes."""
        start = time.time()
        with self.pause():
            yield
        self._test_seconds = time.time() - start

    def testing(self, batch: int, num_batches: int) -> None:
        """Shows how far an evaluation is, when it is due."""
        now = time.time()
        if self._quiet or now - self._tested_at < self._bar.mininterval:
            return
        self._tested_at = now
        training = self._bar.desc
        self._bar.desc = f"{training}  testing: batch {batch}/{num_batches}"
        with contextlib.suppress(*_DROPPED):
            self._bar.refresh()
        self._bar.desc = training

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Keeps what happens inside, an evaluation or a save, out of the rate."""
        start = time.time()
        try:
            yield
        finally:
            idle = time.time() - start
            self._bar.start_t += idle
            self._bar.last_print_t += idle

    def message(self, text: str) -> None:
        """Prints a line that stays; the bar comes again below it."""
        if self._quiet:
            return
        with contextlib.suppress(*_DROPPED):
            self._bar.clear()
            print(text, file=self._lines, flush=True)

    def close(self) -> None:
        """Takes the bar away."""
        with contextlib.suppress(*_DROPPED):
            self._bar.clear()
        self._bar.disable = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Bar(tqdm):
    """tqdm's bar; where its file is no terminal, a line for each state."""

    monitor_interval = 0  # no thread of its own
    seconds_besides = 0.0  # what the rate says nothing of

    def __init__(self, file: TextIO, interval: float, total: int) -> None:
        self._is_terminal = file.isatty()
        self._is_visible = False
        super().__init__(
            file=file,
            unit=" rows",
            unit_scale=True,  # 1.2k rather than 1234
            mininterval=_BAR_INTERVAL if self._is_terminal else interval,
            miniters=1,
            delay=1e-9,  # tqdm shows nothing before the first step
            bar_format=_ONE_LINE if self._is_terminal else _PLAIN,
            dynamic_ncols=True,
            position=0,  # also beside the bar of another run in this process
            total=total,
        )
        self.last_print_t = -math.inf

    @property
    def format_dict(self) -> dict[str, Any]:
        """What a format may name: tqdm's fields, and `left`."""
        fields = super().format_dict
        rate, left = fields["rate"], "?"
        if rate:
            seconds = (self.total - self.n) / rate + self.seconds_besides
            left = self.format_interval(seconds)
        return fields | {"left": left}

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Shows the present state."""
        if self._is_terminal:
            self._is_visible = True
            return super().display(msg, pos)
        print(self, file=self.fp, flush=True)
        return True

    def clear(self, nolock: bool = False) -> None:
        """Takes the bar off the terminal, if it is there."""
        if self._is_visible:
            self._is_visible = False
            super().clear(nolock)
