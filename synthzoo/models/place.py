"""Where a network computes, and what makes it faster there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Literal

from synthzoo.errors import InputError, MissingExtraError
from synthzoo.models.devices import find_device

Kernels = Literal["openequivariance", "cuequivariance"]

PACKAGES: dict[Kernels, str] = {
    "openequivariance": "openequivariance",
    "cuequivariance": "cuequivariance_torch",
}
"""What each needs."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where to compute with a network.

    ``device``: ``cpu``, ``cuda``, ``cuda:1`` …, or ``auto`` for CUDA where there is
    one.
    ``compiled``: whether torch compiles the network for this device; on the CPU that is
    only done for networks that the engine does not know.
    ``kernels``: other kernels for the tensor products of the network, on a GPU.
    """

    device: str = "auto"
    compiled: bool = False
    kernels: Kernels | None = None


ANYWHERE = Place()


def find_place(place: Place) -> Place:
    """Return a place with its device found out; refuse one that is not there."""
    device = find_device(place.device)
    if place.kernels is not None:
        check_kernels(place.kernels, device)
    return replace(place, device=device)


def check_kernels(kernels: Kernels, device: str) -> None:
    """Refuse kernels that are not installed, or not for this device."""
    if kernels not in PACKAGES:
        raise InputError(
            f"kernels must be one of {', '.join(PACKAGES)}, not {kernels!r}."
        )
    if device == "cpu":
        raise InputError(
            f"The kernels of {kernels} are for GPUs, but the network would run on the "
            "CPU."
        )
    package = PACKAGES[kernels]
    if find_spec(package) is None:
        raise MissingExtraError(
            f"The kernels need the package {package}: see "
            f"https://nequip.readthedocs.io/en/latest/guide/accelerations/{kernels}.html"
        )
