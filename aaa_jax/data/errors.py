"""What can go wrong with a dataset. Each message stands alone, in plain words.

All are DatasetError, so that a program catches one type and prints one line.
"""


class DatasetError(RuntimeError):
    """A dataset is unknown, unreadable, empty or not what it must be."""


class DatasetNotPrepared(DatasetError):
    """A dataset is not on this machine, and could not be put there now."""


class BadRecord(DatasetError):
    """One record is damaged or outside what is allowed; the message names it."""


class DownloadFailed(DatasetError):
    """A file did not arrive, or not whole."""
