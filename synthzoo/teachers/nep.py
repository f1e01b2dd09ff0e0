"""Neuroevolution potentials (NEP), evaluated by calorine."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from synthzoo.errors import MissingExtraError, TeacherError
from synthzoo.teachers.teacher import Teacher, isolated_atoms

HEADER_BYTES = 200


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
        calculator = CPUNEP(what)
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
