"""What becomes of one structure under a teacher: labels, a filter or a failure."""

from __future__ import annotations

import io
import socket
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from synthzoo.errors import InputError, TeacherError
from synthzoo.recipes import RelabelRecipe, recipe_hash
from synthzoo.structures import check_structure, min_distance_A
from synthzoo.teachers import cached_teacher
from synthzoo.xyz_writing import write_frame

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.raw_frames import RawFrame

LABELLED, LEFT_OUT, FAILED = "labelled", "left out", "failed"
BAD_STRUCTURE, BAD_LABEL = "not a usable structure", "not a number"


class Record(NamedTuple):
    """What became of one structure.

    Attributes
    ----------
    outcome
        `LABELLED`, `LEFT_OUT` or `FAILED`.
    cause
        Name of the filter, or kind of failure.
    text
        The labelled structure, or the one that failed with its reason, as extended
        XYZ.
    """

    outcome: str
    cause: str
    text: str


class Labeller:
    """Labels structures; it is made and called in the child.

    Parameters
    ----------
    recipe
        Teacher and filters.
    provenance
        What the teacher must say about itself.

    Raises
    ------
    TeacherError
        If another teacher, or another version of it, is found here.
    """

    def __init__(self, recipe: RelabelRecipe, provenance: dict[str, str]) -> None:
        sha256 = provenance["teacher_sha256"]
        self._teacher = cached_teacher(recipe.teacher, sha256)
        found = self._teacher.provenance
        if found != provenance:
            raise TeacherError(
                f"The worker on {socket.gethostname()} has another teacher: {found}, "
                f"but the run was started with {provenance}. Install the same versions."
            )
        self._recipe = recipe
        self._marks = found | {"relabel_recipe": recipe_hash(recipe)[:12]}

    def __call__(self, frame: RawFrame) -> Record:
        """Return what became of a structure.

        Parameters
        ----------
        frame
            The structure.

        Raises
        ------
        InputError
            If it cannot be parsed.
        """
        atoms = frame.parse()
        try:
            check_structure(atoms, elements=self._teacher.elements)
            self._forget()
            labelled = self._teacher.label(atoms)
        except InputError as error:
            return failed_record(atoms, BAD_STRUCTURE, str(error))
        except TeacherError as error:
            cause = error.__cause__
            kind = BAD_LABEL if cause is None else type(cause).__name__
            return failed_record(atoms, kind, str(error))
        filtered = _left_out(labelled, self._recipe)
        if filtered is not None:
            return Record(LEFT_OUT, filtered, "")
        labelled.info.update(self._marks)
        return Record(LABELLED, "", _text(labelled))

    def _forget(self) -> None:
        """Let no label depend, in its last digits, on what was computed before.

        Some calculators go on with the neighbour list of a similar structure.
        """
        reset = getattr(self._teacher.calculator, "reset", None)
        if reset is not None:
            reset()


def failed_record(atoms: Atoms, kind: str, reason: str) -> Record:
    """Return the record of a structure without labels.

    Parameters
    ----------
    atoms
        The structure.
    kind
        Of the failure.
    reason
        What happened.
    """
    failed: Atoms = atoms.copy()
    failed.info["failure"] = reason
    return Record(FAILED, kind, _text(failed))


def _text(atoms: Atoms) -> str:
    stream = io.StringIO()
    write_frame(stream, atoms)
    return stream.getvalue()


def _left_out(atoms: Atoms, recipe: RelabelRecipe) -> str | None:
    """Return the name of the first filter that a labelled structure does not pass."""
    labels = atoms.calc.results  # not through `atoms`, which would compare them first
    longest, shortest = recipe.max_force_eV_A, recipe.min_distance_A
    if longest is not None:
        force = float(np.linalg.norm(labels["forces"], axis=1).max())
        if force > longest:
            return "max_force_eV_A"
    if shortest is not None and min_distance_A(atoms, cutoff_A=shortest) < shortest:
        return "min_distance_A"
    window = recipe.energy_window_eV_per_atom
    if window is not None:
        energy = labels["energy"] / len(atoms)
        if not window[0] <= energy <= window[1]:
            return "energy_window_eV_per_atom"
    return None
