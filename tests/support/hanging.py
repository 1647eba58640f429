"""The tiny network, which can be told to hang on the device after some steps."""

import os
import time

import jax

from tests.support.tiny import Tiny

_steps = 0


class Hanging(Tiny):
    """Calls the host in every training step; from HANG_AT on it does not return."""

    def __call__(self, images, train, rows=None):
        if train:
            jax.debug.callback(_wait)
        return super().__call__(images, train, rows)


def _wait() -> None:
    global _steps
    _steps += 1
    if _steps >= int(os.environ.get("HANG_AT", "1000000")):
        time.sleep(600)


def factory(*, num_classes, dtype, bn_group_size):
    return Hanging(num_classes, bn_group_size, dtype)
