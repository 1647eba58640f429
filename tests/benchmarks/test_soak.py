"""The soak's table says of memory and time what the run did."""

import numpy as np

from benchmarks.soak import __main__ as soak
from tests.support.benchmark_records import PLACE


def test_quarters_are_compared_and_growth_is_measured():
    epochs = [{"steps": 10, "train_seconds": s} for s in (0.9, 0.1, 0.1, 0.1, 0.3)]
    memory = 100 + np.array([0.0, 50, 50, 50, 50, 60, 70, 80, 90])
    page = soak.report(PLACE, epochs, memory)
    assert "50 steps in 5 epochs" in page
    assert "| 1 | 150 | 50.0 | 50.0 |" in page  # of 90 and 10 ms
    assert "| 4 | 190 | 30.0 | 30.0 |" in page
    # 10 MiB from note to note, which are 50 / 8 steps apart.
    assert "+1600.00 MiB per 1000 steps (least squares), from 150 to 190" in page


def test_memory_is_noted_while_the_context_lasts():
    with soak.noted_memory() as noted:
        assert noted[0] > 1
