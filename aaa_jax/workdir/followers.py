"""A run directory in which a process other than the first writes nothing.

All processes of a run go through the same loop; only process 0 has the directory of
`metrics`.
"""

from collections.abc import Mapping
from typing import Any

from etils import epath

from aaa_jax.workdir import run_directory


class SilentRunDirectory(run_directory.RunDirectory):
    """Has a run directory's path and methods, and touches no file.

    Args:
        workdir: the directory that process 0 has opened.
    """

    def __init__(self, workdir: epath.PathLike) -> None:
        self.path = epath.Path(workdir).expanduser()
        self._lock = None
        self._events = None
        self._purge_step = None

    def write_metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def write_timing(self, step: int, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def write_policies(self, step: int, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def truncate_after(
        self, step: int | None, *, is_stale: run_directory.IsStale = lambda *_: False
    ) -> dict[str, int]:
        """Nothing."""
        return {}
