"""Inputs of DFT codes: a single point each, with the user's settings."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT

from synthzoo.advice.dft_codes import Wanted
from synthzoo.advice.dft_inputs import write_dft_inputs
from synthzoo.advice.vacuum import with_vacuum
from synthzoo.errors import InputError

INCAR = """SYSTEM = relaxation of old times # KSPACING = 0.1
ENCUT = 520; IBRION = 2 ; SIGMA = 0.05 ! eV
  nsw = 100
ML_LMLFF = .TRUE.
"""
PW = """&control
 calculation = 'vc-relax', pseudo_dir = 'pseudo', outdir = '/scratch/all'
/
&system
 ibrav = 2, celldm(1) = 6.7, nat = 2, ntyp = 2, ecutwfc = 40, nspin = 2
 starting_magnetization(2) = 0.5
/
&electrons
/
&ions
/
ATOMIC_SPECIES
 C 12.011 C.UPF
 Fe 55.845 Fe.UPF
ATOMIC_POSITIONS alat
 C 0 0 0
 Fe 0.25 0.25 0.25
K_POINTS automatic
 4 4 4 1 1 1
"""
CP2K = """&GLOBAL
  PROJECT old
  RUN_TYPE MD ! long
&END GLOBAL
&FORCE_EVAL
  STRESS_TENSOR ANALYTICAL
  &DFT
    &MGRID
      CUTOFF 250
    &END MGRID
    &KPOINTS
      SCHEME MONKHORST-PACK 1 1 1
      SYMMETRY F
    &END KPOINTS
  &END DFT
  &SUBSYS
    &CELL
      ABC 9 9 9
    &END CELL
    &COORD
      C 0 0 0
    &END COORD
    &KIND C
      POTENTIAL GTH-PBE
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
&MOTION
&END MOTION
"""
TEMPLATES = {"vasp": INCAR, "espresso": PW, "cp2k": CP2K}


@pytest.fixture
def diamond() -> Atoms:
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.info |= {"reason": "unlike the others", "origin": "pool.xyz@3"}
    return atoms


def read(path: Path, format: str | None = None) -> Atoms:
    found = ase.io.read(path, format=format)
    assert isinstance(found, Atoms)
    return found


def written(
    atoms: Atoms, tmp_path: Path, code: str, text: str | None = None, **more: Any
) -> Path:
    """Write inputs for one structure and return its folder."""
    text = TEMPLATES.get(code) if text is None else text
    template = None
    if text is not None:
        template = tmp_path / "template"
        template.write_text(text)
    folder = tmp_path / f"next-{code}"
    (made,) = write_dft_inputs([atoms], folder, code=code, template=template, **more)
    return made


def test_vasp_gets_a_single_point_with_the_settings_of_the_incar(
    diamond: Atoms, tmp_path: Path
):
    """What moved atoms is gone, what defines the level of theory stays."""
    folder = written(diamond, tmp_path, "vasp")
    np.testing.assert_allclose(read(folder / "POSCAR").positions, diamond.positions)
    assert (folder / "INCAR").read_text() == (
        "NSW = 0\nIBRION = -1\nSYSTEM = relaxation of old times\n"
        "ENCUT = 520; SIGMA = 0.05\n"
    )
    # 2 pi / 3.57 A are 5.9 times 0.3 / A
    assert (folder / "KPOINTS").read_text().splitlines()[2:4] == ["Gamma", "6 6 6"]
    assert not (folder / "POTCAR").exists()
    about = (folder / "about.txt").read_text()
    assert about == "reason: unlike the others\norigin: pool.xyz@3\n"
    readme = (folder.parent / "README.txt").read_text()
    assert "POTCAR is there only if" in readme
    assert f"finetune START old.xyz '{folder.parent}/*/vasprun.xml'" in readme


def test_the_incar_may_say_how_dense_the_k_points_are(diamond: Atoms, tmp_path: Path):
    """VASP would take KPOINTS instead, so there is none."""
    text = INCAR + "KSPACING = 0.2\n"
    folder = written(diamond, tmp_path, "vasp", text)
    assert not (folder / "KPOINTS").exists()
    assert "KSPACING = 0.2" in (folder / "INCAR").read_text()
    (tmp_path / "2").mkdir()
    folder = written(diamond, tmp_path / "2", "vasp", text, k_spacing_1_A=0.6)
    assert "3 3 3" in (folder / "KPOINTS").read_text()
    assert "KSPACING" not in (folder / "INCAR").read_text()


def test_potcars_are_joined_in_the_order_of_the_poscar(tmp_path: Path):
    for symbol in ("Si", "C"):
        (tmp_path / symbol).write_text(f"PAW {symbol}\n")
    files = {symbol: str(tmp_path / symbol) for symbol in ("Si", "C")}
    atoms = bulk("SiC", "zincblende", a=4.36)
    folder = written(atoms, tmp_path, "vasp", pseudopotentials=files)
    assert (folder / "POTCAR").read_text() == "PAW C\nPAW Si\n"
    assert (folder / "POSCAR").read_text().splitlines()[5].split() == ["C", "Si"]


def test_espresso_gets_the_cell_species_and_moments_of_the_structure(tmp_path: Path):
    """Moments belong to elements, though their numbers change."""
    atoms = bulk("Fe", cubic=True)
    folder = written(atoms, tmp_path, "espresso")
    found = read(folder / "pw.in", format="espresso-in")
    np.testing.assert_allclose(found.cell, atoms.cell)
    np.testing.assert_allclose(found.positions, atoms.positions)
    text = " ".join((folder / "pw.in").read_text().split())
    for line in (
        "calculation = 'scf'",
        "tprnfor = .true.",
        "tstress = .true.",
        "outdir = '.'",
        f"pseudo_dir = '{tmp_path}/pseudo'",
        "ecutwfc = 40",
        "starting_magnetization(1) = 0.5",
        "Fe.UPF",
        "K_POINTS automatic 8 8 8 0 0 0",
    ):
        assert line in text
    assert "celldm" not in text


def test_cp2k_gets_the_structure_and_prints_forces(diamond: Atoms, tmp_path: Path):
    """Where the template has k-points, the grid is for this cell and includes Γ."""
    folder = written(diamond, tmp_path, "cp2k")
    found = read(folder / "cp2k.inp", format="cp2k-restart")
    np.testing.assert_allclose(found.cell, diamond.cell)
    np.testing.assert_allclose(found.positions, diamond.positions, atol=1e-9)
    text = " ".join((folder / "cp2k.inp").read_text().split())
    assert "RUN_TYPE ENERGY_FORCE" in text
    assert "&FORCES ON" in text
    assert "&STRESS_TENSOR ON" in text
    assert "CUTOFF 250" in text
    assert "SYMMETRY F SCHEME MONKHORST-PACK 7 7 7" in text
    assert "MOTION" not in text


def test_cp2k_without_k_points_says_what_the_cell_would_take(
    diamond: Atoms, tmp_path: Path
):
    start, end = CP2K.index("    &KPOINTS"), CP2K.index("  &END DFT")
    folder = written(diamond, tmp_path, "cp2k", CP2K[:start] + CP2K[end:])
    assert "KPOINTS" not in (folder / "cp2k.inp").read_text()
    assert "take 7 × 7 × 7 points" in (folder / "about.txt").read_text()


def test_the_script_for_gpaw_runs_and_its_result_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A module of GPAW's name stands for it, which may not be installed."""
    folder = written(bulk("Cu"), tmp_path, "gpaw")
    settings: dict[str, Any] = {}

    def gpaw(**given: Any) -> EMT:
        settings.update(given)
        return EMT()

    monkeypatch.setitem(sys.modules, "gpaw", SimpleNamespace(GPAW=gpaw))
    monkeypatch.chdir(folder)
    runpy.run_path("run.py")
    assert settings["mode"] == {"name": "pw", "ecut": 500}
    assert settings["kpts"] == {"size": [11, 11, 11], "gamma": True}
    found = read(folder / "labelled.xyz")
    assert {"energy", "forces", "stress"} <= set(found.calc.results)


def test_gpaw_takes_keywords_of_a_file(diamond: Atoms, tmp_path: Path):
    """Stress is left out where GPAW has none, and k-points are the file's own."""
    text = "mode: fd\nh: 0.2\nkpts: [2, 2, 2]\n"
    script = (written(diamond, tmp_path, "gpaw", text) / "run.py").read_text()
    assert "h=0.2" in script
    assert "kpts=[2, 2, 2]" in script
    assert "stress()" not in script


def test_what_is_not_periodic_gets_vacuum(tmp_path: Path):
    """A molecule along all axes, a slab along one, where there is too little."""
    molecule = Atoms("C2", [[0, 0, 0], [0, 0, 1.3]])
    folder = written(molecule, tmp_path, "vasp")
    found = read(folder / "POSCAR")
    np.testing.assert_allclose(found.cell.lengths(), [12, 12, 13.3])
    assert (folder / "KPOINTS").read_text().splitlines()[3] == "1 1 1"
    assert "vacuum: added along a, b, c" in (folder / "about.txt").read_text()
    slab = fcc111("Cu", (1, 1, 3), vacuum=2)
    thick = np.ptp(slab.positions[:, 2])
    padded = with_vacuum(slab)
    assert padded.cell.lengths()[2] == pytest.approx(thick + 12)
    np.testing.assert_allclose(padded.cell[:2], slab.cell[:2])
    assert with_vacuum(padded) == padded
    assert Wanted().grid(padded)[2] == 1


BAD: dict[str, tuple[str, str | None, dict[str, Any], str]] = {
    "unknown code": ("vaps", None, {}, "Did you mean 'vasp'"),
    "no template": ("vasp", None, {}, "need a template"),
    "tags of other atoms": ("vasp", "MAGMOM = 8*1", {}, "sets MAGMOM for the atoms"),
    "no potcar": ("vasp", INCAR, {"pseudopotentials": {"C": "no"}}, "no POTCAR no"),
    "another element": ("vasp", INCAR, {"pseudopotentials": {"O": "O"}}, "for C:"),
    "no pseudopotential": (
        "espresso",
        PW.replace(" C 12", " N 12"),
        {},
        "No pseudopotential is given for C",
    ),
    "no input": ("espresso", "nothing", {}, "is no input of pw.x"),
    "two species": (
        "espresso",
        PW.replace(" C 12", " Fe1 12"),
        {},
        "distinguishes atoms of one element",
    ),
    "a foreign card": ("espresso", PW + "HUBBARD atomic\n", {}, "a card HUBBARD"),
    "no kind": ("cp2k", CP2K.replace("&KIND C", "&KIND O"), {}, "is given for C"),
    "two systems": ("cp2k", CP2K + CP2K, {}, "no input of CP2K for one structure"),
    "files for gpaw": ("gpaw", None, {"pseudopotentials": {"C": "x"}}, "finds its own"),
    "no keywords": ("gpaw", "PBE", {}, "YAML file of keywords of GPAW"),
    "no distance": ("gpaw", None, {"k_spacing_1_A": -1}, "larger than zero"),
}


@pytest.mark.parametrize(("code", "text", "more", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_written_is_refused(
    code: str,
    text: str | None,
    more: dict[str, Any],
    message: str,
    diamond: Atoms,
    tmp_path: Path,
):
    """In one sentence, and nothing is left behind."""
    if text is not None:
        (tmp_path / "template").write_text(text)
        more = {**more, "template": tmp_path / "template"}
    with pytest.raises(InputError, match=message):
        write_dft_inputs([diamond], tmp_path / "new", code=code, **more)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_there_is_kept(diamond: Atoms, tmp_path: Path):
    folder = written(diamond, tmp_path, "gpaw")
    with pytest.raises(InputError, match="exists and is not empty"):
        write_dft_inputs([diamond], folder.parent, code="gpaw")
