"""SevenNet, a universal potential: weights of the package sevenn, or a file."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from pathlib import Path

from ase.data import chemical_symbols

from synthzoo.errors import InputError, TeacherError
from synthzoo.runs.files import is_there
from synthzoo.teachers.networks import (
    NetworkCalculator,
    installed_folder,
    made_apart,
    network_teacher,
)
from synthzoo.teachers.teacher import Teacher, file_sha256, text_sha256

EXTRA = "sevennet"
WEIGHTS = {
    "7net-0": "SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth",
    "7net-0_22may2024": "SevenNet_0__22May2024/checkpoint_sevennet_0.pth",
    "7net-l3i5": "SevenNet_l3i5/checkpoint_l3i5.pth",
    "7net-mf-0:PBE": "SevenNet_MF_0/checkpoint_sevennet_mf_0.pth",
    "7net-mf-0:R2SCAN": "SevenNet_MF_0/checkpoint_sevennet_mf_0.pth",
}
"""Files in the package by what is to follow ``sevennet:``."""

HARMLESS = {
    "numpy.ndarray",
    "numpy.dtype",
    *(
        f"numpy.{core}.multiarray.{name}"
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    ),
}
"""What a pickle of SevenNet calls beside torch to make arrays."""


def sevennet_sha256(what: str) -> str:
    """Return the hash of a file of weights, and of what is asked of it."""
    weights, head = _weights(what)
    sha256 = file_sha256(weights)
    return text_sha256(sha256, head) if head else sha256


def load_sevennet(reference: str, what: str, sha256: str) -> Teacher:
    """Return a SevenNet as a teacher, pre-trained or from a file that it saved."""
    weights, head = _weights(what)
    _refuse_code(weights)
    make = partial(_make, weights, head)
    calculator, elements = made_apart(make, extra=EXTRA, reference=reference)
    return network_teacher(
        calculator,
        elements,
        reference=reference,
        software=f"sevenn {version('sevenn')}",
        sha256=sha256,
    )


def _make(weights: Path, head: str | None) -> tuple[NetworkCalculator, tuple[str, ...]]:
    """Return a calculator and its elements.

    ``head``: level of theory of a network that knows several.
    """
    from sevenn.calculator import SevenNetCalculator

    theirs = SevenNetCalculator(str(weights), device="cpu", modal=head)
    elements = tuple(chemical_symbols[number] for number in sorted(theirs.type_map))
    return NetworkCalculator(theirs), elements


def _weights(what: str) -> tuple[Path, str | None]:
    """Return a file of weights and the level of theory that is asked of it."""
    if what in WEIGHTS:
        folder = installed_folder("sevenn", extra=EXTRA) / "pretrained_potentials"
        return folder / WEIGHTS[what], what.partition(":")[2] or None
    if is_there(Path(what)):
        return Path(what), None
    raise InputError(
        f"There is no SevenNet {what!r} here, nor a file of that name; known: "
        f"{', '.join(WEIGHTS)}."
    )


def _refuse_code(weights: Path) -> None:
    """Raise an error if a file calls more than is needed to make numbers.

    It is a pickle, and SevenNet executes whatever it holds.
    """
    from torch.serialization import get_unsafe_globals_in_checkpoint

    try:
        found = get_unsafe_globals_in_checkpoint(weights)
    except ValueError as error:
        raise TeacherError(f"{weights} is no file of SevenNet: {error}.") from error
    if called := set(found) - HARMLESS:
        raise TeacherError(
            f"{weights} calls {', '.join(sorted(called))}: it could run code, so it is "
            "not loaded. Files of SevenNet hold numbers alone."
        )
