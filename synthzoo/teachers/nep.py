"""Neuroevolution potentials (NEP), evaluated by calorine."""

from __future__ import annotations

from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ase.calculators.calculator import Calculator, all_changes

from synthzoo.errors import MissingExtraError, TeacherError
from synthzoo.teachers.teacher import Teacher, isolated_atoms

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms

HEADER_BYTES = 200

SIZES_KEPT = 64
"""So many different numbers of atoms are ready to be computed at a time."""


class SizedNEP(Calculator):
    """One of calorine's calculators for each number of atoms.

    Theirs reads its file again whenever that number changes, which takes much longer
    than to compute a small cell.

    ``make``: makes one of them.
    """

    def __init__(self, make: Callable[[], Calculator]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.implemented_properties = make().implemented_properties
        self._for_atoms = lru_cache(SIZES_KEPT)(lambda _: make())

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | tuple[str, ...] = ("energy",),
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute everything for a structure and keep it in ``results``."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        calculator = self._for_atoms(len(self.atoms))  # type: ignore[arg-type]  # set just now
        calculator.calculate(self.atoms, properties, system_changes)
        self.results = calculator.results


def load_nep(reference: str, what: str, sha256: str) -> Teacher:
    """Return a neuroevolution potential as a teacher."""
    try:
        from calorine.calculators import CPUNEP
    except ImportError as error:
        raise MissingExtraError(
            "NEP teachers need calorine: pip install 'synthzoo[nep]'."
        ) from error
    elements = _elements(Path(what))
    try:
        calculator = SizedNEP(partial(CPUNEP, what))
        alone = isolated_atoms(calculator, elements)
    except Exception as error:  # native code raises whatever it likes
        raise TeacherError(f"{what} cannot be loaded as a NEP file: {error}") from error
    return Teacher(
        reference=reference,
        software=f"calorine {version('calorine')}",
        sha256=sha256,
        elements=elements,
        calculator=calculator,
        isolated_atom_energies_eV=alone,
        open_directions="filled",
    )


def _elements(path: Path) -> tuple[str, ...]:
    """Return the elements in the first line; native code ends the process otherwise."""
    with path.open("rb") as stream:
        words = stream.read(HEADER_BYTES).splitlines()[:1]
    name, *rest = words[0].decode("ascii", "replace").split() if words else [""]
    count = rest[0] if rest else ""
    if not name.startswith("nep") or not count.isdigit() or len(rest) <= int(count):
        raise TeacherError(
            f"{path} cannot be loaded as a NEP file: it does not start with a line "
            "such as `nep4 1 C`."
        )
    return tuple(rest[1 : 1 + int(count)])
