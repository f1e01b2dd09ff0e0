"""Inputs of DFT codes for one structure, with the settings of the user's own input."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import ase.io
from ase.calculators.calculator import kpts2sizeandoffsets
from ase.calculators.cp2k import InputSection, parse_input
from ase.io.espresso import get_atomic_species, read_fortran_namelist

from synthzoo.errors import InputError, one_line
from synthzoo.recipes.plain_values import read_yaml
from synthzoo.runs.files import write_text

if TYPE_CHECKING:
    from ase import Atoms

K_SPACING_1_A = 0.3
"""Distance of neighbouring k-points, with the factor 2π, as VASP's KSPACING."""

STRUCTURE = "structure.xyz"
LABELLED = "labelled.xyz"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a user says about the calculations.

    ``template``: an input of the code, whose settings are taken over.
    ``pseudopotentials``: file for each element.
    ``k_spacing_1_A``: distance of k-points (1/Å, with the factor 2π); None to let the
    template decide where it can.
    ``elements``: of all structures that there may be.
    """

    template: Path | None = None
    pseudopotentials: Mapping[str, str] = field(default_factory=dict)
    k_spacing_1_A: float | None = None
    elements: Sequence[str] = ()

    def text(self, code: str, what: str) -> str:
        """Return the template's text; refuse if there is none."""
        if self.template is None:
            raise InputError(
                f"Inputs for {code} need a template (--template): {what} that computed "
                "your other data, since all labels must have the same settings."
            )
        try:
            return self.template.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"The template {self.template} cannot be read: {one_line(error)}."
            ) from error

    def refuse_pseudopotentials(self, why: str) -> None:
        """Refuse files of pseudopotentials where they have no place."""
        if self.pseudopotentials:
            raise InputError(f"No pseudopotentials can be named (--pseudo): {why}")

    def grid(self, atoms: Atoms, *, odd: bool = False) -> list[int]:
        """Return the number of k-points along each axis; 1 where nothing repeats.

        ``odd``: whether each number is to be odd, so that Γ is among the points.
        """
        density = 1 / (self.k_spacing_1_A or K_SPACING_1_A)
        size, _ = kpts2sizeandoffsets(
            density=density, even=False if odd else None, atoms=atoms
        )
        return [int(count) for count in size]


class Code(Protocol):
    """A DFT code whose inputs can be written."""

    outputs: ClassVar[str]
    """File in each folder that `finetune` reads."""

    to_do: ClassVar[str]
    """What the user has to do in each folder."""

    def __init__(self, wanted: Wanted) -> None:
        """Check what the user says."""

    def write(self, atoms: Atoms, folder: Path) -> str:
        """Write all inputs; return what is special about this structure.

        ``atoms``: with a cell of three vectors; k-points are for its periodic axes.
        """


class Vasp:
    """``POSCAR``, ``INCAR``, ``KPOINTS`` and, of the user's files, ``POTCAR``."""

    outputs: ClassVar[str] = "vasprun.xml"
    to_do: ClassVar[str] = (
        "Run VASP. POTCAR is there only if the files of all elements were named "
        "(--pseudo C=POTCAR_C); otherwise join yours in the order of the elements in "
        "the sixth line of POSCAR."
    )

    _MOVES = re.compile(
        r"NSW|IBRION|ISIF|POTIM|MDALGO|SMASS|TEBEG|TEEND|ISTART|ICHARG|IMAGES|SPRING"
        r"|NBLOCK|KBLOCK|ML_\w+"
    )
    _ATOMS = re.compile(r"MAGMOM|LDAU[LUJ]|RWIGS|ROPT|NGI?[XYZ]F?|NBANDS|NELECT")
    _GRID = re.compile(r"KSPACING|KGAMMA")

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        text = wanted.text("VASP", "the INCAR")
        tags = {tag for line in text.splitlines() for tag, _ in _assignments(line)}
        if foreign := sorted(filter(self._ATOMS.fullmatch, tags)):
            raise InputError(
                f"{wanted.template} sets {', '.join(foreign)} for the atoms, elements "
                "or cell of another structure: remove that from the template."
            )
        self._by_template = "KSPACING" in tags and wanted.k_spacing_1_A is None
        self._incar = "\n".join(["NSW = 0", "IBRION = -1", *self._kept(text)]) + "\n"
        files = {symbol: Path(p) for symbol, p in wanted.pseudopotentials.items()}
        if files:
            refuse_missing(files, wanted.elements)
        for path in files.values():
            if not path.is_file():
                raise InputError(f"There is no POTCAR {path}.")
        self._potcars = files

    def _kept(self, text: str) -> list[str]:
        """Return the lines of an INCAR without what moves atoms or sets k-points."""
        kept = []
        for line in text.splitlines():
            parts = [
                part
                for tag, part in _assignments(line)
                if not self._MOVES.fullmatch(tag)
                and (self._by_template or not self._GRID.fullmatch(tag))
            ]
            if parts:
                kept.append("; ".join(parts))
        return kept

    def write(self, atoms: Atoms, folder: Path) -> str:
        """Write all inputs; the atoms are sorted by element."""
        ase.io.write(folder / "POSCAR", atoms, format="vasp", sort=True)
        write_text(folder / "INCAR", self._incar)
        if not self._by_template:
            grid = " ".join(map(str, self._wanted.grid(atoms)))
            write_text(folder / "KPOINTS", f"by density\n0\nGamma\n{grid}\n0 0 0\n")
        if self._potcars:
            with (folder / "POTCAR").open("wb") as potcar:
                for symbol in sorted(set(atoms.symbols)):
                    with self._potcars[symbol].open("rb") as one:
                        shutil.copyfileobj(one, potcar)
        return "k-points by KSPACING of the INCAR" if self._by_template else ""


def _assignments(line: str) -> list[tuple[str, str]]:
    """Return the tags of a line of an INCAR, each with its text, without comments."""
    body = re.split(r"[#!]", line, maxsplit=1)[0]
    parts = [part.strip() for part in body.split(";")]
    return [(part.split("=")[0].strip().upper(), part) for part in parts if part]


class Espresso:
    """``pw.in`` for Quantum ESPRESSO's ``pw.x``."""

    outputs: ClassVar[str] = "pw.out"
    to_do: ClassVar[str] = "Run `pw.x -in pw.in > pw.out`."

    _CARDS = frozenset(
        {"ATOMIC_SPECIES", "ATOMIC_POSITIONS", "K_POINTS", "CELL_PARAMETERS"}
    )
    _CARD = re.compile(r"[A-Z][A-Z_]{5,}\b")
    _OF_CELL = re.compile(
        r"ibrav|celldm.*|a|b|c|cosab|cosac|cosbc|nat|ntyp|space_group|uniqueb"
        r"|starting_magnetization.*|tot_magnetization|nbnd|nr\d.*"
    )

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        lines = wanted.text("Quantum ESPRESSO", "an input of pw.x").splitlines()
        try:
            namelists, cards = read_fortran_namelist(lines)
            system = dict(namelists["system"])
            species = get_atomic_species(cards, system["ntyp"]) or []
        except Exception as error:  # ASE raises whatever it likes
            raise InputError(
                f"{wanted.template} is no input of pw.x: {one_line(error)}."
            ) from error
        names = {match[0] for line in cards if (match := self._CARD.match(line))}
        if foreign := sorted(names - self._CARDS):
            raise InputError(
                f"{wanted.template} has a card {foreign[0]}, which is for another "
                "structure: remove it from the template."
            )
        if strange := [name for name, _, _ in species if not name.isalpha()]:
            raise InputError(
                f"{wanted.template} distinguishes atoms of one element ({strange[0]}), "
                "which structures of other atoms cannot take over."
            )
        self._pseudo = {name: file for name, _, file in species}
        self._pseudo |= wanted.pseudopotentials
        refuse_missing(self._pseudo, wanted.elements)
        self._magnetic = {
            name: system.get(f"starting_magnetization({number})", 0.0)
            for number, (name, _, _) in enumerate(species, start=1)
        }
        self._settings = {name: dict(values) for name, values in namelists.items()}
        self._settings["system"] = {
            key: value
            for key, value in system.items()
            if not self._OF_CELL.fullmatch(key.lower())
        }
        self._settings["control"] = self._control(self._settings.get("control", {}))
        for name in ("ions", "cell"):
            self._settings.pop(name, None)

    def _control(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is to be computed: energy, forces and stress."""
        made = {**given, "calculation": "scf", "restart_mode": "from_scratch"}
        made |= {"tprnfor": True, "tstress": True, "outdir": "."}
        if "pseudo_dir" in made and self._wanted.template is not None:
            beside = self._wanted.template.absolute().parent
            made["pseudo_dir"] = str(beside / made["pseudo_dir"])
        return made

    def write(self, atoms: Atoms, folder: Path) -> str:
        """Write the input; magnetic moments start as for the template's elements."""
        atoms = atoms.copy()
        atoms.set_initial_magnetic_moments(
            [self._magnetic.get(symbol, 0.0) for symbol in atoms.symbols]
        )
        with (folder / "pw.in").open("w", encoding="utf-8") as stream:
            ase.io.write(
                stream,
                atoms,
                format="espresso-in",
                input_data=self._settings,
                pseudopotentials=self._pseudo,
                kpts=self._wanted.grid(atoms),
            )
        return ""


class Cp2k:
    """``cp2k.inp``; the template's ``&KIND`` sections name basis and potential."""

    outputs: ClassVar[str] = "cp2k.xyz"
    to_do: ClassVar[str] = (
        "Run `cp2k.psmp -i cp2k.inp -o cp2k.out`. ASE does not read this output: "
        "`dpdata cp2k.out -i cp2k/output -o extxyz -O cp2k.xyz` converts it (pip "
        "install dpdata)."
    )

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._text = _without_comments(wanted.text("CP2K", "an input"))
        wanted.refuse_pseudopotentials("the &KIND sections of CP2K's template do that.")
        subsys = self._parsed().get_subsection("FORCE_EVAL/SUBSYS")
        kinds = {
            str(section.params).split()[0].capitalize(): section
            for section in subsys.subsections
            if section.name == "KIND" and section.params
        }
        if "Default" not in kinds:
            refuse_missing(kinds, wanted.elements)

    def _parsed(self) -> InputSection:
        try:
            root: InputSection = parse_input(self._text)
            root.get_subsection("FORCE_EVAL/SUBSYS")
        except Exception as error:  # ASE raises whatever it likes
            raise InputError(
                f"{self._wanted.template} is no input of CP2K for one structure: "
                f"{one_line(error)}."
            ) from error
        return root

    def write(self, atoms: Atoms, folder: Path) -> str:
        """Write the input, with k-points if the template has such a section."""
        root = self._parsed()
        _drop(root, "MOTION", "EXT_RESTART")
        _set(root.get_subsection("GLOBAL"), "RUN_TYPE ENERGY_FORCE", "PROJECT cp2k")
        force_eval = root.get_subsection("FORCE_EVAL")
        subsys = force_eval.get_subsection("SUBSYS")
        _drop(subsys, "COORD", "CELL", "VELOCITY", "TOPOLOGY")
        cell, coord = map(subsys.get_subsection, ("CELL", "COORD"))
        cell.keywords = [
            f"{name} {_numbers(vector)}"
            for name, vector in zip("ABC", atoms.cell, strict=True)
        ]
        coord.keywords = [
            f"{symbol} {_numbers(place)}"
            for symbol, place in zip(atoms.symbols, atoms.positions, strict=True)
        ]
        force_eval.get_subsection("PRINT/FORCES").params = "ON"
        if any(key.upper().startswith("STRESS_TENSOR") for key in force_eval.keywords):
            force_eval.get_subsection("PRINT/STRESS_TENSOR").params = "ON"
        told = self._set_k_points(force_eval.get_subsection("DFT"), atoms)
        write_text(folder / "cp2k.inp", "\n".join(root.write()) + "\n")
        return told

    def _set_k_points(self, dft: InputSection, atoms: Atoms) -> str:
        grid = " ".join(map(str, self._wanted.grid(atoms, odd=True)))
        if any(section.name == "KPOINTS" for section in dft.subsections):
            _set(dft.get_subsection("KPOINTS"), f"SCHEME MONKHORST-PACK {grid}")
            return ""
        if grid == "1 1 1":
            return ""
        return (
            "the template has no &KPOINTS, so only Γ is computed; this cell would take "
            f"{grid.replace(' ', ' × ')} points"
        )


def _without_comments(text: str) -> str:
    lines = (re.split(r"[#!]", line, maxsplit=1)[0] for line in text.splitlines())
    return "\n".join(line for line in lines if line.strip())


def _drop(section: InputSection, *names: str) -> None:
    section.subsections = [s for s in section.subsections if s.name not in names]


def _set(section: InputSection, *lines: str) -> None:
    """Set keywords, in place of those of the same names."""
    names = {line.split()[0] for line in lines}
    kept = [key for key in section.keywords if key.split()[0].upper() not in names]
    section.keywords = [*kept, *lines]


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.10f}" for value in values)


class Gpaw:
    """``run.py``, which runs as it is, beside the structure that it reads."""

    outputs: ClassVar[str] = LABELLED
    to_do: ClassVar[str] = "Run `python run.py`, or `mpiexec -n 4 gpaw python run.py`."

    DEFAULT: ClassVar[dict[str, Any]] = {
        "mode": {"name": "pw", "ecut": 500},
        "xc": "PBE",
        "occupations": {"name": "fermi-dirac", "width": 0.1},
    }

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        wanted.refuse_pseudopotentials("GPAW finds its own; see its keyword `setups`.")
        self._settings = self.DEFAULT
        if wanted.template is not None:
            text = wanted.text("GPAW", "")
            self._settings = read_yaml(text, source=str(wanted.template))
        if not isinstance(self._settings, dict) or "mode" not in self._settings:
            raise InputError(
                f"{wanted.template} should be a YAML file of keywords of GPAW with a "
                "mode, such as `mode: {name: pw, ecut: 500}`."
            )

    def write(self, atoms: Atoms, folder: Path) -> str:
        """Write structure and script."""
        bare = atoms.copy()
        bare.pbc = True
        ase.io.write(folder / STRUCTURE, bare, format="extxyz")
        by_template = "kpts" in self._settings and self._wanted.k_spacing_1_A is None
        settings = {**self._settings, "txt": "gpaw.txt"}
        if not by_template:
            settings["kpts"] = {"size": self._wanted.grid(atoms), "gamma": True}
        mode = settings["mode"]
        waves = (mode["name"] if isinstance(mode, dict) else mode) == "pw"
        lines = "".join(f"    {key}={value!r},\n" for key, value in settings.items())
        stress = "atoms.get_stress()\n" if waves else ""
        write_text(folder / "run.py", _SCRIPT.format(settings=lines, stress=stress))
        return "k-points by the template" if by_template else ""


_SCRIPT = f'''"""Compute energy, forces and, with plane waves, stress."""

from ase.io import read, write
from gpaw import GPAW

atoms = read("{STRUCTURE}")
atoms.calc = GPAW(
{{settings}})
atoms.get_forces()
{{stress}}write("{LABELLED}", atoms)
'''


def refuse_missing(known: Mapping[str, object], elements: Sequence[str]) -> None:
    """Raise `InputError` unless each element has a pseudopotential."""
    missing = [symbol for symbol in elements if symbol not in known]
    if missing:
        raise InputError(
            f"No pseudopotential is given for {', '.join(missing)}: name it in the "
            f"template, or by --pseudo {missing[0]}=FILE for VASP and Quantum ESPRESSO."
        )


CODES: Mapping[str, type[Code]] = {
    "vasp": Vasp,
    "espresso": Espresso,
    "cp2k": Cp2k,
    "gpaw": Gpaw,
}
"""Name of a code, and what writes its inputs."""
