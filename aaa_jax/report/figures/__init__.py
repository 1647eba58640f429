"""Figures: functions from groups of runs to pictures."""

import contextlib
import os
import sys

if "matplotlib" not in sys.modules:
    # matplotlib cannot be imported where MPLBACKEND names a backend that is not
    # installed, as a notebook does for its child processes. Figures here need none.
    _backend = os.environ.pop("MPLBACKEND", None)
    import matplotlib

    if _backend is not None:
        os.environ["MPLBACKEND"] = _backend
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = _backend
