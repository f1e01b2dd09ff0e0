"""Optional packages: a test that needs one is skipped without it, in CI it fails."""

import importlib.util
import os

import pytest


def need(module: str, extra: str) -> None:
    """Go on only if a module of an optional extra is installed."""
    if importlib.util.find_spec(module) is not None:
        return
    message = f"{module} is not installed: pip install 'synthzoo[{extra}]'"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
