"""From a reference of the form ``kind:what`` to a teacher."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from synthzoo.errors import InputError, TeacherError
from synthzoo.models.predict import BATCH_ATOMS
from synthzoo.runs.child import Lost
from synthzoo.runs.workers import call_guarded
from synthzoo.teachers.ace import ace_sha256, load_ace
from synthzoo.teachers.ase_class import ase_sha256, load_ase
from synthzoo.teachers.checks import require_passed
from synthzoo.teachers.chgnet import NAMES as CHGNETS
from synthzoo.teachers.chgnet import chgnet_sha256, load_chgnet
from synthzoo.teachers.gap import gap_sha256, load_gap
from synthzoo.teachers.kim import kim_sha256, load_kim
from synthzoo.teachers.lammps import lammps_sha256, load_lammps
from synthzoo.teachers.mace import load_mace, mace_sha256
from synthzoo.teachers.nep import load_nep
from synthzoo.teachers.nequip import load_nequip
from synthzoo.teachers.sevennet import WEIGHTS as SEVENNETS
from synthzoo.teachers.sevennet import load_sevennet, sevennet_sha256
from synthzoo.teachers.teacher import file_sha256
from synthzoo.teachers.zoo import load_zoo, zoo_sha256

if TYPE_CHECKING:
    from synthzoo.teachers.teacher import Teacher


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How teachers of one kind are told apart and loaded.

    Attributes
    ----------
    what
        What stands behind the colon.
    sha256
        From that to the hash that says which potential it is; loads no potential file.
    load
        From the whole reference, what stands behind the colon and the hash to the
        teacher.
    batch_atoms
        Atoms of the structures that it is given at a time; one structure if zero.
    names
        What may stand behind the colon and is never a file.
    """

    what: str
    sha256: Callable[[str], str]
    load: Callable[[str, str, str], Teacher]
    batch_atoms: int = 0
    names: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {
    "ace": Kind(
        what="FILE (.yace, or .yaml with its active set .asi)",
        sha256=ace_sha256,
        load=load_ace,
    ),
    "gap": Kind(
        what="FILE (.xml, its sparse points beside it)",
        sha256=gap_sha256,
        load=load_gap,
    ),
    "nep": Kind(what="FILE (nep.txt)", sha256=file_sha256, load=load_nep),
    "kim": Kind(what="ID of a portable model", sha256=kim_sha256, load=load_kim),
    "lammps": Kind(
        what="STYLE, STYLE:FILE, or STYLE:In,P:FILE with the elements of a file",
        sha256=lammps_sha256,
        load=load_lammps,
    ),
    "sevennet": Kind(
        what=f"NAME ({', '.join(SEVENNETS)}) or FILE (.pth)",
        sha256=sevennet_sha256,
        load=load_sevennet,
        names=tuple(SEVENNETS),
    ),
    "chgnet": Kind(
        what=f"NAME ({', '.join(CHGNETS)})",
        sha256=chgnet_sha256,
        load=load_chgnet,
        names=CHGNETS,
    ),
    "mace": Kind(what="NAME or FILE (untried)", sha256=mace_sha256, load=load_mace),
    "nequip": Kind(
        what="FILE (.nequip.pt2, compiled for ASE)",
        sha256=file_sha256,
        load=load_nequip,
    ),
    "zoo": Kind(
        what="MODEL", sha256=zoo_sha256, load=load_zoo, batch_atoms=BATCH_ATOMS
    ),
    "ase": Kind(what="module.Class{JSON}", sha256=ase_sha256, load=load_ase),
}
"""What each kind of teacher is named by."""


def load_teacher(reference: str, *, sha256: str | None = None) -> Teacher:
    """Return a teacher, loaded and tested.

    Parameters
    ----------
    reference
        One of

        - ``ace:FILE``: an ACE potential, by python-ace;
        - ``gap:FILE``: a Gaussian approximation potential, by quippy;
        - ``nep:FILE``: a neuroevolution potential, by calorine;
        - ``kim:ID``: a portable model of OpenKIM that is installed;
        - ``lammps:STYLE`` or ``lammps:STYLE:FILE``: a potential of LAMMPS, such as
          ``lammps:lcbop`` or ``lammps:vashishta:InP.vashishta``;
        - ``sevennet:NAME`` or ``sevennet:FILE``: a SevenNet, pre-trained such as
          ``sevennet:7net-0``, or one that SevenNet has trained or fine-tuned;
        - ``chgnet:NAME``: a pre-trained CHGNet, such as ``chgnet:0.3.0``;
        - ``mace:NAME`` or ``mace:FILE``: a MACE network (untried);
        - ``nequip:FILE``: a network that nequip has compiled for ASE;
        - ``zoo:MODEL``: a checkpoint, by name or folder;
        - ``ase:module.Class{JSON}``: any ASE calculator, with its arguments and
          ``isolated_atom_energies_eV``, see `load_ase`.
    sha256
        Hash that the teacher must have; any if not given.
    """
    teacher = open_teacher(reference, sha256=sha256)
    require_passed(teacher)
    return teacher


def open_teacher(reference: str, *, sha256: str | None = None) -> Teacher:
    """Return a teacher that is loaded, but not tested; see `load_teacher`."""
    kind, what = _split(reference)
    found = kind.sha256(what)
    if sha256 is not None and found != sha256:
        raise TeacherError(
            f"{what} has SHA-256 {found}, but the recipe asks for {sha256}: this is "
            "another potential."
        )
    return kind.load(reference, what, found)


def reference_sha256(reference: str) -> str:
    """Return the hash that says which potential a reference means; loads none."""
    kind, what = _split(reference)
    return kind.sha256(what)


def batch_atoms(reference: str) -> int:
    """Return how many atoms a teacher is given at a time; one structure if zero."""
    return _split(reference)[0].batch_atoms


def _split(reference: str) -> tuple[Kind, str]:
    name, separator, what = reference.partition(":")
    if not separator or not what or name not in KINDS:
        raise InputError(
            f"{reference!r} names no teacher. Expected kind:what, with one of the "
            f"kinds {', '.join(KINDS)}; for example ace:c_ace.yace."
        )
    return KINDS[name], what


@functools.lru_cache(maxsize=4)
def cached_teacher(reference: str, sha256: str) -> Teacher:
    """Return the teacher of this process for a reference; loaded and tested once."""
    return load_teacher(reference, sha256=sha256)


Result = TypeVar("Result")

TEST_LIMIT_S = 3600.0
"""For the test of a teacher, which computes about twenty structures of each element."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What a teacher says of itself that has passed its test in another process.

    ``elements``: chemical symbols that it knows.
    """

    provenance: dict[str, str]
    elements: tuple[str, ...]


def after_test(reference: str, sha256: str | None = None) -> About:
    """Return what a teacher says of itself, after its test in this thread's child."""
    return called_apart(partial(_load, reference, sha256), reference)


def called_apart(function: Callable[[], Result], reference: str) -> Result:
    """Return what a function finds with a teacher, in this thread's child."""
    found = call_guarded(function, limit_s=TEST_LIMIT_S)
    if isinstance(found, Lost):
        raise TeacherError(f"{reference} {found.reason} in its test.")
    return found


def _load(reference: str, sha256: str | None) -> About:
    sha256 = sha256 or reference_sha256(reference)
    teacher = cached_teacher(reference, sha256)
    return About(provenance=teacher.provenance, elements=teacher.elements)
