"""What becomes of a structure that is to be labelled, in the process of the teacher."""

from __future__ import annotations

import contextlib
import io
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from synthzoo.data.sound import check_elements, check_structure, min_distance_A
from synthzoo.data.xyz_writing import write_frame
from synthzoo.errors import InputError, SynthzooError, TeacherError
from synthzoo.potentials import forget
from synthzoo.recipes.loading import recipe_hash
from synthzoo.teachers import cached_teacher

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.data.frames import RawFrame
    from synthzoo.labelling.recipe import RelabelRecipe

LABELLED, LEFT_OUT, FAILED = "labelled", "left out", "failed"
BAD_STRUCTURE, BAD_LABEL = "not a usable structure", "not a number"
FAILURE_KEY = "failure"
UNKNOWN_ELEMENT = "with an element that the teacher does not know"


class Record(NamedTuple):
    """What became of one structure.

    ``cause``: name of the filter, or kind of failure.
    ``text``: the labelled structure, or the one that failed with its reason, as
    extended XYZ.
    """

    outcome: str
    cause: str
    text: str


class Labeller:
    """Labels structures; it is made and called in the child.

    ``provenance``: what the teacher must say about itself.
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

    def __call__(self, frames: Sequence[RawFrame]) -> list[Record]:
        """Return what became of each structure; those that can be are labelled at once.

        If that fails, they are labelled one by one, so that it costs one of them only.
        """
        structures = [frame.parse() for frame in frames]
        refused = list(map(self._refusal, structures))
        usable = [
            atoms
            for atoms, record in zip(structures, refused, strict=True)
            if record is None
        ]
        found = iter(self._records(usable))
        return [next(found) if record is None else record for record in refused]

    def _refusal(self, atoms: Atoms) -> Record | None:
        kind = UNKNOWN_ELEMENT
        try:
            check_elements(atoms, self._teacher.elements)
            kind = BAD_STRUCTURE
            check_structure(atoms)
        except InputError as error:
            return failed_record(atoms, kind, str(error))
        return None

    def _records(self, structures: list[Atoms]) -> list[Record]:
        if len(structures) > 1:
            with contextlib.suppress(SynthzooError):
                return list(map(self._record, self._teacher.label_checked(structures)))
        return list(map(self._alone, structures))

    def _alone(self, atoms: Atoms) -> Record:
        try:
            forget(self._teacher.calculator)
            (labelled,) = self._teacher.label_checked([atoms])
        except InputError as error:
            return failed_record(atoms, BAD_STRUCTURE, str(error))
        except TeacherError as error:
            cause = error.__cause__
            kind = BAD_LABEL if cause is None else type(cause).__name__
            return failed_record(atoms, kind, str(error))
        return self._record(labelled)

    def _record(self, labelled: Atoms) -> Record:
        filtered = _left_out(labelled, self._recipe)
        if filtered is not None:
            return Record(LEFT_OUT, filtered, "")
        labelled.info.update(self._marks)
        return Record(LABELLED, "", _text(labelled))


def failed_record(atoms: Atoms, kind: str, reason: str) -> Record:
    """Return the record of a structure without labels."""
    failed: Atoms = atoms.copy()
    failed.info[FAILURE_KEY] = reason
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
