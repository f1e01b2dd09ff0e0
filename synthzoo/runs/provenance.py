"""Which packages made a number: versions for the record."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import synthzoo

_VERSIONED_PACKAGES = ("synthzoo", "nequip", "e3nn", "torch")


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages on which a model's numbers depend."""
    return {name: _installed_version(name) for name in _VERSIONED_PACKAGES}


def _installed_version(package: str) -> str:
    if package == "synthzoo":
        return synthzoo.__version__
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
