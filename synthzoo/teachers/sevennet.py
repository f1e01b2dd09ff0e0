"""SevenNet, a universal potential whose weights come with the package sevenn."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from pathlib import Path

from ase.data import chemical_symbols

from synthzoo.errors import InputError
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


def sevennet_sha256(what: str) -> str:
    """Return the hash of a file of weights, and of what is asked of it."""
    sha256 = file_sha256(_weights(what))
    head = what.partition(":")[2]
    return text_sha256(sha256, head) if head else sha256


def load_sevennet(reference: str, what: str, sha256: str) -> Teacher:
    """Return a pre-trained SevenNet as a teacher."""
    make = partial(_make, _weights(what), what.partition(":")[2] or None)
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


def _weights(what: str) -> Path:
    if what not in WEIGHTS:
        raise InputError(
            f"There is no SevenNet {what!r} here; known: {', '.join(WEIGHTS)}."
        )
    folder = installed_folder("sevenn", extra=EXTRA) / "pretrained_potentials"
    return folder / WEIGHTS[what]
