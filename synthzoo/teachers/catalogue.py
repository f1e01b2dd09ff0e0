"""The catalogue of named teachers: what is published where, under which terms."""

from __future__ import annotations

import difflib
import functools
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ase.build import bulk

from synthzoo.data import unconstrained
from synthzoo.errors import InputError, TeacherError
from synthzoo.recipes.plain_values import read_yaml
from synthzoo.recipes.schema import Checked, Number, from_values
from synthzoo.runs.files import is_there
from synthzoo.teachers.checks import Check, check_teacher
from synthzoo.teachers.loading import KINDS, called_apart, open_teacher
from synthzoo.teachers.teacher import file_sha256

if TYPE_CHECKING:
    from synthzoo.teachers.teacher import Teacher

CATALOGUE_FILE = Path(__file__).with_name("catalogue.yaml")
KINDS_WITH_FILE = ("ace", "gap", "nep")
KNOWN_TO_EV_PER_ATOM = 1e-4


class KnownNumber(Checked, frozen=True, kw_only=True):
    """An energy that a teacher has to reproduce.

    Attributes
    ----------
    crystal, element, a_A
        Structure, its element or formula, and lattice constant.
    energy_eV_per_atom
        Energy relative to isolated atoms.
    """

    crystal: Literal["bcc", "diamond", "zincblende"]
    element: str
    a_A: Number
    energy_eV_per_atom: Number


class NamedTeacher(Checked, frozen=True, kw_only=True):
    """What is known about a published potential; None is unknown.

    Attributes
    ----------
    name
        Short name.
    reference
        What loads it; for kinds with a file, the file's usual name.
    elements
        Chemical symbols.
    summary
        One line.
    citation
        Whom to cite.
    published
        Where the file is.
    licence
        Of the file.
    level_of_theory
        What it was fitted to.
    sha256
        Of the file.
    isolated_atom_energies_eV
        Energy that it gives an isolated atom.
    known
        An energy that it has to reproduce.
    """

    name: str
    reference: str
    elements: tuple[str, ...]
    summary: str
    citation: str
    published: str | None = None
    licence: str | None = None
    level_of_theory: str | None = None
    sha256: str | None = None
    isolated_atom_energies_eV: dict[str, Number] | None = None
    known: KnownNumber | None = None

    @property
    def kind(self) -> str:
        """Part of the reference before the colon."""
        return self.reference.partition(":")[0]

    @property
    def needs_file(self) -> bool:
        """Whether a file has to be downloaded to use it."""
        return self.kind in KINDS_WITH_FILE


class _Catalogue(Checked, frozen=True, kw_only=True):
    teachers: tuple[NamedTeacher, ...]


@functools.cache
def named_teachers() -> tuple[NamedTeacher, ...]:
    """Return the teachers of the catalogue: published potentials that label structures.

    Examples
    --------
    >>> [found.name for found in named_teachers() if found.elements == ("C", "Si")]
    ['Tersoff-SiC-89', 'EDIP-SiC-12', 'Vashishta-SiC-07', 'Tersoff-SiC-05']
    """
    text, source = CATALOGUE_FILE.read_text(encoding="utf-8"), CATALOGUE_FILE.name
    return from_values(
        _Catalogue, read_yaml(text, source=source), source=source
    ).teachers


def is_named(name: str) -> bool:
    """Return whether the catalogue has a teacher of that name."""
    return name.lower() in {teacher.name.lower() for teacher in named_teachers()}


def find_teacher(name: str) -> NamedTeacher:
    """Return a teacher of the catalogue.

    Parameters
    ----------
    name
        Its name, or its reference if no other teacher has the same, in capitals or
        small letters.

    Raises
    ------
    InputError
        If the catalogue has no teacher of that name.

    Examples
    --------
    >>> find_teacher("lcbop").reference
    'lammps:lcbop'
    """
    known = {teacher.name.lower(): teacher for teacher in named_teachers()}
    if name.lower() in known:
        return known[name.lower()]
    same = [each for each in known.values() if each.reference.lower() == name.lower()]
    if len(same) == 1:
        return same[0]
    close = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f" Did you mean {known[close[0]].name}?" if close else ""
    raise InputError(
        f"No teacher named {name!r}.{hint} See `synthzoo teachers list`. Other "
        f"teachers are given as kind:what, with one of the kinds {', '.join(KINDS)}."
    )


def check_teacher_file(name: str, path: str | Path) -> str:
    """Return the SHA-256 of a teacher's file, compared with the catalogue.

    Parameters
    ----------
    name
        Name of a teacher in the catalogue.
    path
        Potential file.

    Raises
    ------
    InputError
        If there is no such file or teacher, or the teacher needs no file.
    TeacherError
        If the file is not the one in the catalogue.

    Examples
    --------
    >>> check_teacher_file("C-ACE", "c_ace.yace")  # doctest: +SKIP
    """
    named, path = find_teacher(name), Path(path)
    if not named.needs_file:
        raise InputError(f"{named.name} needs no file: {named.reference}.")
    found = file_sha256(path)
    if named.sha256 is not None and found != named.sha256:
        raise TeacherError(
            f"{path} has SHA-256 {found}, but {named.name} is {named.sha256}: this is "
            f"another file or a damaged one. It is published at {named.published}."
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What a teacher says about itself, and what its checks found.

    Attributes
    ----------
    reference
        What loads it.
    provenance
        Kind, file name, hash and software, as in every label of it.
    elements
        Chemical symbols that it knows.
    isolated_atom_energies_eV
        Energy that it gives an isolated atom of each.
    checks
        What was compared.
    """

    reference: str
    provenance: dict[str, str]
    elements: tuple[str, ...]
    isolated_atom_energies_eV: dict[str, float]
    checks: tuple[Check, ...]


def examine_teacher(what: str, *, file: str | Path | None = None) -> Examination:
    """Test a teacher: its gradients, its symmetries and a known number.

    Forces are compared with finite differences. Isolated atoms, rotations and, for a
    teacher of the catalogue, one published number are checked, too. All of this runs in
    a process of its own, because native code may crash.

    Parameters
    ----------
    what
        Name in the catalogue, whose known number is checked too, or a reference.
    file
        Potential file of a named teacher that needs one.

    Raises
    ------
    InputError
        If there is no such teacher, or its file is not given.
    TeacherError
        If the teacher cannot be loaded, its file is not the one in the catalogue, or
        its process crashes.

    Examples
    --------
    >>> found = examine_teacher("ase:ase.calculators.emt.EMT")  # doctest: +SKIP
    >>> all(check.passed for check in found.checks)  # doctest: +SKIP
    True
    """
    if ":" in what:
        if file is not None:
            raise InputError(f"{what} is a whole reference; it takes no other file.")
        return called_apart(partial(_examine, what, None), what)
    named = find_teacher(what)
    reference = _reference(named, None if file is None else Path(file))
    return called_apart(partial(_examine, reference, named.known), reference)


def _examine(reference: str, known: KnownNumber | None) -> Examination:
    teacher = open_teacher(reference)
    checks = check_teacher(teacher)
    if known is not None:
        checks = (*checks, _known(teacher, known))
    return Examination(
        reference=teacher.reference,
        provenance=teacher.provenance,
        elements=teacher.elements,
        isolated_atom_energies_eV=teacher.isolated_atom_energies_eV,
        checks=checks,
    )


def resolve_reference(reference: str) -> str:
    """Return a reference that means the same in any folder.

    ``reference``: as for `load_teacher`, or the name of a teacher of the catalogue; one
    that needs a file is followed by a colon and its path, as in ``C-ACE:c_ace.yace``.
    """
    kind, _, what = reference.partition(":")
    if kind not in KINDS:
        reference = _reference(find_teacher(kind), Path(what) if what else None)
    kind, _, what = reference.partition(":")
    if what in KINDS[kind].names:
        return reference
    front, colon, path = reference.rpartition(":")
    is_relative = bool(path) and "{" not in reference and is_there(Path(path))
    return f"{front}{colon}{Path(path).absolute()}" if is_relative else reference


def _reference(named: NamedTeacher, file: Path | None) -> str:
    if file is not None:
        check_teacher_file(named.name, file)
        return f"{named.kind}:{file}"
    if named.needs_file:
        raise InputError(
            f"{named.name} needs its potential file: give it with --file, or as "
            f"{named.name}:FILE where there is no such option. "
            f"It is published at {named.published or 'a place not on record'}."
        )
    return named.reference


def _known(teacher: Teacher, known: KnownNumber) -> Check:
    atoms = bulk(known.element, known.crystal, a=known.a_A)
    return Check(
        name=f"energy of {known.crystal}",
        element=known.element,
        found=unconstrained.energy_eV(teacher.label(atoms)) / len(atoms),
        expected=known.energy_eV_per_atom,
        limit=KNOWN_TO_EV_PER_ATOM,
        unit="eV/atom",
    )
