"""What can go wrong with a dataset. Each message can be understood without a traceback.

All errors are DatasetErrors, so that a program catches one type and prints one line.
"""


class DatasetError(RuntimeError):
    """A dataset is unknown, unreadable, empty or not what it must be."""


class DatasetNotPrepared(DatasetError):
    """A dataset is not on this machine, and could not be put there now."""


class BadRecord(DatasetError):
    """A record is damaged or not of the form that is needed; the message names it."""


class DownloadFailed(DatasetError):
    """A file did not arrive, or only a part of it."""
