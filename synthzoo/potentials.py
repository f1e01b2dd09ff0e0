"""What is put to the test: a model of the zoo, a teacher, or any ASE calculator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.data import unconstrained
from synthzoo.errors import InputError
from synthzoo.runs.provenance import installed_versions

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

Model = Any
"""A model's name, folder or hub reference, a teacher's reference, or a calculator."""


@dataclass(frozen=True, kw_only=True)
class Potential:
    """A calculator, and where it comes from.

    Attributes
    ----------
    calculator
        ASE calculator.
    elements
        Chemical symbols that it knows; None if it does not say.
    all_images
        Whether it is known to count all images of an atom in a small cell.
    provenance
        What tells it from another one: kind, hashes, versions.
    """

    calculator: Calculator
    elements: tuple[str, ...] | None
    all_images: bool
    provenance: dict[str, Any]


def is_reference(model: Model) -> bool:
    """Return whether a model is named, and not a calculator.

    Parameters
    ----------
    model
        See `Model`.
    """
    return isinstance(model, str | Path)


def is_checkpoint(model: Model) -> bool:
    """Return whether a model is a network of ours, by reference or as a calculator.

    Parameters
    ----------
    model
        See `Model`.
    """
    if is_reference(model):
        return not _is_teacher(str(model))
    return type(model).__module__ == "synthzoo.models.calculator"  # which loads torch


def _is_teacher(reference: str) -> bool:
    from synthzoo.teachers.loading import KINDS

    return reference.partition(":")[0] in KINDS


def model_name(model: Model) -> str:
    """Return what a model is called in results.

    Parameters
    ----------
    model
        See `Model`.
    """
    return str(model) if is_reference(model) else type(model).__name__


def load_potential(model: Model, *, device: str = "auto") -> Potential:
    """Return a potential, ready for dynamics.

    Parameters
    ----------
    model
        See `Model`.
    device
        Where a model of the zoo computes.

    Raises
    ------
    InputError
        If it is only a starting point for fine-tuning, or no ASE calculator.
    SynthzooError
        If it cannot be loaded.
    """
    if not is_reference(model):
        return _given(model)
    name = str(model)
    if _is_teacher(name):
        return _teacher(name)
    return _checkpoint(name, device)


def _given(calculator: Any) -> Potential:
    if not callable(getattr(calculator, "get_potential_energy", None)):
        raise InputError(
            f"{calculator!r} is neither the name of a model nor an ASE calculator."
        )
    if is_checkpoint(calculator):
        return Potential(
            calculator=calculator,
            elements=tuple(calculator.config.elements),
            all_images=True,
            provenance={"weights_sha256": calculator.config.weights_sha256},
        )
    kind = type(calculator)
    return Potential(
        calculator=calculator,
        elements=None,
        all_images=False,
        provenance={"calculator": f"{kind.__module__}.{kind.__qualname__}"},
    )


def _teacher(reference: str) -> Potential:
    from synthzoo.teachers.loading import open_teacher

    teacher = open_teacher(reference)
    return Potential(
        calculator=teacher.calculator,
        elements=teacher.elements,
        all_images=True,
        provenance=dict(teacher.provenance),
    )


def _checkpoint(name: str, device: str) -> Potential:
    from synthzoo.models.checkpoint import read_config
    from synthzoo.zoo.find import find_folder

    folder = find_folder(name)
    config = read_config(folder)
    if config.kind == "starting-point":
        raise InputError(
            f"{name} is a starting point for fine-tuning, not yet a potential; there "
            "is nothing to test before it is fine-tuned."
        )
    from synthzoo.zoo.load import load_calculator

    return Potential(
        calculator=load_calculator(folder, device=device),
        elements=tuple(config.elements),
        all_images=True,
        provenance={
            "weights_sha256": config.weights_sha256,
            "versions": installed_versions(),
        },
    )


def forget(calculator: Calculator) -> None:
    """Let no result depend, in its last digits, on what was computed before.

    Some calculators go on with the neighbour list of a similar structure.

    Parameters
    ----------
    calculator
        Any; only those that can be reset are.
    """
    reset = getattr(calculator, "reset", None)
    if callable(reset):
        reset()


def gives_stress(potential: Potential, atoms: Atoms) -> bool:
    """Return whether a potential has the stress that a barostat needs.

    Parameters
    ----------
    potential
        What to ask.
    atoms
        Structure.
    """
    from ase.calculators.calculator import PropertyNotImplementedError

    tried = atoms.copy()
    tried.calc = potential.calculator
    try:
        unconstrained.stress_eV_A3(tried)
    except (PropertyNotImplementedError, NotImplementedError):
        return False
    return True
