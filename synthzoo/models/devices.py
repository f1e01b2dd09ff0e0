"""Where to compute."""

from __future__ import annotations

import ctypes
import sys

from synthzoo.errors import InputError

DRIVERS = ("libcuda.so.1", "nvcuda.dll", "libamdhip64.so")
"""Libraries without which torch finds no GPU."""


def find_device(device: str) -> str:
    """Return the name of a device that is there, as torch calls it.

    torch is imported only where there may be a GPU.

    ``device``: ``cpu``, ``cuda``, ``cuda:1`` …, or ``auto``.
    """
    if device == "cpu":
        return device
    if device == "auto":
        return "cuda" if _may_have_gpu() and _count() else "cpu"
    kind, _, index = device.partition(":")
    if kind != "cuda" or not (index or "0").isdecimal() or device.endswith(":"):
        raise InputError(
            f"device must be auto, cpu, cuda or cuda:<index>, not {device!r}."
        )
    if int(index or 0) >= (count := _count()):
        import torch

        raise InputError(
            f"There is no device {device!r}: torch {torch.__version__} sees "
            f"{count} CUDA device(s). Use cpu, or auto."
        )
    return device


def _may_have_gpu() -> bool:
    """Return whether it is worth while to ask torch, which takes seconds to import."""
    return "torch" in sys.modules or any(map(_is_there, DRIVERS))


def _is_there(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _count() -> int:
    import torch

    return torch.cuda.device_count()
