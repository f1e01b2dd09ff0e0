"""ACE potentials, evaluated by python-ace."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.errors import MissingExtraError, TeacherError
from synthzoo.teachers.teacher import Teacher, files_sha256, isolated_atoms

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray

BASIS_SUFFIX = ".yaml"
ACTIVE_SET_SUFFIX = ".asi"
GRADE_NAME = "ace_extrapolation_grade"


def ace_sha256(what: str) -> str:
    """Return the hash of an ACE file and of its active set, if it has one.

    ``what``: path of the file; the active set of a ``.yaml`` file lies beside it
    (``.asi``).
    """
    active_set = _active_set(what)
    return files_sha256(
        [Path(what)] if active_set is None else [Path(what), active_set]
    )


def load_ace(reference: str, what: str, sha256: str) -> Teacher:
    """Return an ACE teacher; its uncertainty is the extrapolation grade.

    Labels of a compiled potential (``.yace``) come from the recursive evaluator, which
    shares products of the basis functions and needs little more than half the time.
    Dynamics keep the plain one: the two differ by rounding, which chaos would turn into
    other structures than those that recipes have made before.
    """
    try:
        from pyace import PyACECalculator
    except ImportError as error:
        raise MissingExtraError(
            "ACE teachers need python-ace: pip install 'synthzoo[ace]'."
        ) from error
    active_set = _active_set(what)
    graded = active_set is not None
    try:
        calculator: Any = PyACECalculator(
            what, recursive_evaluator=True, recursive=True
        )
        elements = tuple(str(name) for name in calculator.basis.elements_name)
        if active_set is not None:
            calculator.set_active_set(str(active_set))
    except Exception as error:  # native code raises whatever it likes
        raise TeacherError(
            f"{what} cannot be loaded as an ACE file: {error}"
        ) from error
    return Teacher(
        reference=reference,
        software=f"python-ace {version('python-ace')}",
        sha256=sha256,
        elements=elements,
        calculator=calculator,
        isolated_atom_energies_eV=isolated_atoms(calculator, elements),
        uncertainty_name=GRADE_NAME if graded else None,
        uncertainty=_extrapolation_grade if graded else None,
        forces_only=lambda: PyACECalculator(what),
    )


def _active_set(what: str) -> Path | None:
    """Return the active set, which python-ace uses for ``.yaml`` files only."""
    path = Path(what).with_suffix(ACTIVE_SET_SUFFIX)
    return path if what.endswith(BASIS_SUFFIX) and path.is_file() else None


def _extrapolation_grade(calculator: Calculator) -> NDArray[np.float64]:
    return np.array(calculator.results["gamma"], dtype=float)
