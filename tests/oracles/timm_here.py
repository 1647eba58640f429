"""timm and PyTorch, where they are installed and can be imported."""

import types

import pytest

INSTALL = "pip install -r requirements-oracles.txt"


def require_timm() -> types.ModuleType:
    """The module; the test is left out where it cannot be had."""
    pytest.importorskip("torch", reason=f"PyTorch is not installed: {INSTALL}")
    try:
        import timm
    except Exception as error:
        reason = f"timm cannot be imported ({error}): {INSTALL}"
        pytest.skip(reason.replace("\n", " "))
    return timm
