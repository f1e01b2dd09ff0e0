"""A folder of inputs for a DFT code for each structure, with the reason beside it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.advice.dft_codes import CODES, K_SPACING_1_A, Code, Wanted
from synthzoo.advice.vacuum import VACUUM_A, with_vacuum
from synthzoo.errors import InputError
from synthzoo.runs.files import new_folder, refuse_existing, write_text

if TYPE_CHECKING:
    from ase import Atoms

ABOUT, README = "about.txt", "README.txt"


@dataclass(frozen=True)
class Inputs:
    """Inputs that are to be written once the structures are known.

    ``folder``: to make.
    ``code``: its name.
    """

    folder: Path
    code: str
    wanted: Wanted

    def write(self, structures: Sequence[Atoms]) -> list[Path]:
        """Write the folders of all structures, or none; return them."""
        code = find_code(self.code, self.wanted)
        digits = len(str(len(structures)))
        names = [f"{number:0{digits}}" for number in range(1, len(structures) + 1)]
        with new_folder(self.folder) as partial:
            for name, atoms in zip(names, structures, strict=True):
                (partial / name).mkdir()
                _write_one(atoms, partial / name, code)
            write_text(partial / README, self._readme(code))
        return [self.folder / name for name in names]

    def _readme(self, code: Code) -> str:
        wanted = self.wanted
        source = wanted.template or "PBE, plane waves to 500 eV (synthzoo's choice)"
        spacing = wanted.k_spacing_1_A or K_SPACING_1_A
        return f"""Single points by {self.code}, one in each folder.

{ABOUT} in each says why it was chosen.

Settings: {source}. They must be those of your other labelled structures.
k-points: at most {spacing:g} 1/A apart (with the factor 2 pi), around Gamma, unless
{ABOUT} says otherwise.
In each folder: {code.to_do}

All results are collected, beside your old data, by

  synthzoo finetune START old.xyz '{self.folder}/*/{code.outputs}' \\
    --before MODEL -o NEW
"""


def find_code(name: str, wanted: Wanted) -> Code:
    """Return what writes the inputs of a code, its settings checked."""
    if name not in CODES:
        near = difflib.get_close_matches(name, CODES, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise InputError(
            f"No inputs can be written for {name!r}, only for {', '.join(CODES)}."
            f"{guess}"
        )
    if wanted.k_spacing_1_A is not None and not wanted.k_spacing_1_A > 0:
        raise InputError("The distance of k-points must be larger than zero.")
    return CODES[name](wanted)


def write_dft_inputs(
    structures: Sequence[Atoms],
    folder: str | Path,
    *,
    code: str,
    template: str | Path | None = None,
    pseudopotentials: Mapping[str, str] | None = None,
    k_spacing_1_A: float | None = None,
) -> list[Path]:
    """Write inputs for a DFT code: a folder for each structure.

    Each is a single point with forces and stress, and the settings of the template.
    Along axes that are not periodic, vacuum is added where images would be nearer than
    12 Å. Nothing is assumed about pseudopotentials: name them, or the template does.

    Parameters
    ----------
    structures
        What to compute. ``reason`` and ``origin`` of their ``info`` are noted beside
        the inputs.
    folder
        Folder to make.
    code
        ``vasp``, ``espresso``, ``cp2k`` or ``gpaw``.
    template
        An input of yours whose settings are taken over, since all labels must have the
        same: an INCAR, an input of ``pw.x`` or of CP2K. For GPAW, a YAML file of its
        keywords; without one, PBE with plane waves to 500 eV.
    pseudopotentials
        File for each element: a POTCAR (VASP) or the name of a file in ``pseudo_dir``
        (Quantum ESPRESSO).
    k_spacing_1_A
        Largest distance of neighbouring k-points, with the factor 2π (1/Å), on a grid
        around Γ. If not given, 0.3, or what an INCAR says in KSPACING.

    Returns
    -------
    list of Path
        Folder of each structure.

    Raises
    ------
    InputError
        If the folder exists, the code is unknown, the template is missing or does not
        fit, or an element has no pseudopotential.

    Examples
    --------
    >>> from ase.build import bulk
    >>> made = write_dft_inputs([bulk("C")], "todo", code="gpaw")  # doctest: +SKIP
    """
    folder = Path(folder)
    refuse_existing(folder)
    wanted = Wanted(
        template=None if template is None else Path(template),
        pseudopotentials=pseudopotentials or {},
        k_spacing_1_A=k_spacing_1_A,
        elements=elements_of(structures),
    )
    return Inputs(folder, code, wanted).write(structures)


def elements_of(structures: Sequence[Atoms]) -> list[str]:
    """Return the symbols of all elements, each once, in alphabetical order."""
    return sorted({symbol for atoms in structures for symbol in atoms.symbols})


def _write_one(atoms: Atoms, folder: Path, code: Code) -> None:
    padded = with_vacuum(atoms)
    told = code.write(padded, folder)
    about = {
        "reason": atoms.info.get("reason", ""),
        "origin": atoms.info.get("origin", ""),
        "vacuum": _vacuum_told(atoms, padded),
        "note": told,
    }
    lines = [f"{key}: {value}\n" for key, value in about.items() if value]
    write_text(folder / ABOUT, "".join(lines))


def _vacuum_told(atoms: Atoms, padded: Atoms) -> str:
    changed = (atoms.cell.array != padded.cell.array).any(axis=1)
    axes = ", ".join(name for name, new in zip("abc", changed, strict=True) if new)
    if not axes:
        return ""
    return f"added along {axes}, so that images are {VACUUM_A:g} A apart"
