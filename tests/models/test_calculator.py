"""The calculator obeys laws of physics, agrees with nequip, says what is wrong."""

from __future__ import annotations

import copy
import multiprocessing
import operator
import pickle
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, graphene
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.filters import FrechetCellFilter
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from ase.phonons import Phonons

from synthzoo.errors import InputError
from synthzoo.models.calculator import SynthzooCalculator, calculator_of
from synthzoo.models.checkpoint import load_model, read_config, write_checkpoint
from synthzoo.models.devices import find_device
from synthzoo.models.isolation import nequip_session, preserved_process_state
from synthzoo.models.network import build_model
from synthzoo.zoo.load import StartingPointWarning, load_calculator
from tests.conftest import mixed, tiny_config, write_tiny_checkpoint

ROUNDING_EV = 1e-9
"""Energies of the float64 model differ by less when only the order of sums changes."""


@pytest.fixture(
    scope="module", params=[("C",), ("C", "Si"), ("C", "Si", "Ge")], ids="".join
)
def checkpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a tiny checkpoint of one, two and three elements."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    write_tiny_checkpoint(folder, request.param)
    return folder


@pytest.fixture(scope="module")
def precise(checkpoint: Path) -> SynthzooCalculator:
    """Return each tiny potential in float64."""
    return load_calculator(checkpoint, device="cpu", dtype="float64")


@pytest.fixture
def crystal(precise: SynthzooCalculator) -> Atoms:
    """Return a rattled and sheared diamond cell, with no symmetry left."""
    atoms = mixed(bulk("C", cubic=True), precise.config.elements)
    atoms.rattle(0.1, seed=3)
    strain = np.array([[0.02, 0.03, 0], [0, -0.01, 0.02], [0.01, 0, 0.03]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    atoms.calc = precise
    return atoms


def structures() -> dict[str, Atoms]:
    """Return structures of every kind of periodicity."""
    dimer = Atoms("C2", positions=[[0, 0, 0], [0.1, 0.2, 1.3]])
    chain = Atoms("C2", positions=[[0, 0, 0], [0.1, 0.2, 1.3]], cell=[0, 0, 2.7])
    chain.pbc = (False, False, True)
    sheet = graphene("C2", a=2.46)  # its third cell vector is zero
    sheet.rattle(0.05, seed=1)
    diamond = bulk("C")
    diamond.rattle(0.05, seed=1)
    return {"molecule": dimer, "chain": chain, "sheet": sheet, "crystal": diamond}


@pytest.fixture(params=structures())
def structure(request: pytest.FixtureRequest, precise: SynthzooCalculator) -> Atoms:
    """Return each kind of structure in turn."""
    atoms = mixed(structures()[request.param], precise.config.elements)
    atoms.calc = precise
    return atoms


# Laws


def test_forces_are_the_negative_gradient(structure: Atoms):
    """F = -dE/dx by central differences."""
    numerical = calculate_numerical_forces(structure, eps=1e-4)
    assert np.abs(structure.get_forces()).max() > 0.005
    np.testing.assert_allclose(structure.get_forces(), numerical, atol=1e-5)


def test_stress_is_the_strain_derivative(crystal: Atoms):
    """Stress is dE/dε divided by the volume."""
    numerical = calculate_numerical_stress(crystal, eps=1e-5)
    assert np.abs(crystal.get_stress()).max() > 1e-3
    np.testing.assert_allclose(crystal.get_stress(), numerical, atol=1e-7)


def test_pressure_is_the_slope_of_the_equation_of_state(crystal: Atoms):
    """-dE/dV of an isotropic E(V) curve is the pressure of its middle."""
    volumes, energies = [], []
    for scale in np.linspace(0.999, 1.001, 5):
        scaled = crystal.copy()
        scaled.calc = crystal.calc
        scaled.set_cell(crystal.cell * scale, scale_atoms=True)
        volumes.append(scaled.get_volume())
        energies.append(scaled.get_potential_energy())
    offsets = np.array(volumes) - crystal.get_volume()
    slope = np.polynomial.polynomial.polyfit(offsets, energies, 3)[1]
    pressure = -crystal.get_stress()[:3].mean()
    assert -slope == pytest.approx(pressure, abs=1e-6)


def test_energy_does_not_change_with_rotation_and_reflection(crystal: Atoms):
    """Forces turn with the structure."""
    rng = np.random.default_rng(5)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    for matrix in (turn, -turn):
        turned = crystal.copy()
        turned.calc = crystal.calc
        turned.set_cell(crystal.cell.array @ matrix)
        turned.positions = crystal.positions @ matrix
        assert turned.get_potential_energy() == pytest.approx(
            crystal.get_potential_energy(), abs=ROUNDING_EV
        )
        np.testing.assert_allclose(
            turned.get_forces(), crystal.get_forces() @ matrix, atol=1e-8
        )


def test_energy_does_not_change_with_translation_and_wrapping(crystal: Atoms):
    """Only relative positions count, and total force is zero."""
    moved = crystal.copy()
    moved.calc = crystal.calc
    moved.positions += [0.3, -1.7, 12.0]
    moved.wrap()
    assert moved.get_potential_energy() == pytest.approx(
        crystal.get_potential_energy(), abs=ROUNDING_EV
    )
    np.testing.assert_allclose(crystal.get_forces().sum(axis=0), 0, atol=1e-8)


def test_order_of_atoms_does_not_matter(crystal: Atoms):
    """A permutation permutes forces and energies per atom."""
    order = np.random.default_rng(0).permutation(len(crystal))
    other = crystal[order]
    other.calc = copy.copy(crystal.calc)
    assert other.get_potential_energy() == pytest.approx(
        crystal.get_potential_energy(), abs=ROUNDING_EV
    )
    np.testing.assert_allclose(
        other.get_forces(), crystal.get_forces()[order], atol=1e-8
    )
    np.testing.assert_allclose(
        other.get_potential_energies(), crystal.get_potential_energies()[order]
    )


def test_supercell_has_the_same_energy_per_atom(crystal: Atoms):
    """Energy grows with the number of cells; forces and stress stay."""
    large = crystal.repeat((2, 1, 2))
    large.calc = copy.copy(crystal.calc)
    assert large.get_potential_energy() == pytest.approx(
        4 * crystal.get_potential_energy(), abs=4 * ROUNDING_EV
    )
    np.testing.assert_allclose(large.get_stress(), crystal.get_stress(), atol=1e-9)
    np.testing.assert_allclose(
        large.get_forces()[: len(crystal)], crystal.get_forces(), atol=1e-8
    )


def test_energies_per_atom_sum_to_the_energy(structure: Atoms):
    """So does the free energy, as there is no electronic temperature."""
    total = structure.get_potential_energies().sum()
    assert total == pytest.approx(structure.get_potential_energy(), abs=ROUNDING_EV)
    assert structure.calc.results["free_energy"] == structure.get_potential_energy()
    assert isinstance(structure.get_potential_energy(), float)


@pytest.mark.parametrize("cell", [None, [20, 20, 20]])
def test_single_atom_has_its_isolated_energy(
    precise: SynthzooCalculator, cell: list[int] | None
):
    """Without any neighbour there is the energy shift of the element, and no force."""
    atom = Atoms("C", positions=[[0, 0, 0]], cell=cell, pbc=cell is not None)
    atom.calc = precise
    shift = precise.config.arguments["per_type_energy_shifts"]["C"]
    assert atom.get_potential_energy() == pytest.approx(shift)
    np.testing.assert_array_equal(atom.get_forces(), np.zeros((1, 3)))


def test_atoms_beyond_the_cutoff_do_not_interact(precise: SynthzooCalculator):
    """The energy is smooth there: a hair inside the cutoff it is almost the same."""
    energies = []
    for distance in (precise.config.cutoff_A + 1e-3, precise.config.cutoff_A - 1e-3):
        dimer = Atoms("C2", positions=[[0, 0, 0], [0, 0, distance]])
        dimer.calc = precise
        energies.append(dimer.get_potential_energy())
    shift = precise.config.arguments["per_type_energy_shifts"]["C"]
    assert energies == pytest.approx([2 * shift, 2 * shift], abs=1e-6)


# ASE on top of it


def test_relaxation_finds_a_lower_energy(precise: SynthzooCalculator):
    """Positions and cell relax together, with forces and stress that agree."""
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.05, seed=2)
    atoms.calc = precise
    before = atoms.get_potential_energy()
    atoms_and_cell: Any = FrechetCellFilter(atoms)
    BFGS(atoms_and_cell, logfile=None).run(fmax=0.01, steps=15)
    assert atoms.get_potential_energy() < before - 1e-3


def test_dynamics_conserve_energy_to_second_order(precise: SynthzooCalculator):
    """Half the time step of velocity Verlet leaves a quarter of the error."""
    coarse, fine = (energy_spread(precise, step_fs) for step_fs in (2.0, 1.0))
    assert coarse / fine == pytest.approx(4, rel=0.15)


def energy_spread(calculator: SynthzooCalculator, step_fs: float) -> float:
    """Return the spread of the total energy over 60 fs, in eV."""
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.1, seed=2)
    atoms.calc = calculator
    thermalize_momenta(atoms, temperature_K=600, rng=np.random.default_rng(1))
    dynamics = VelocityVerlet(atoms, timestep=step_fs * units.fs)
    energies = [
        atoms.get_total_energy() for _ in dynamics.irun(steps=round(60 / step_fs))
    ]
    return float(np.ptp(energies))


def test_phonons_have_three_acoustic_branches(
    precise: SynthzooCalculator, tmp_path: Path
):
    """At Γ three frequencies are zero: shifting the whole crystal costs nothing."""
    phonons = Phonons(
        bulk("C"), precise, supercell=(2, 2, 2), delta=0.01, name=str(tmp_path / "ph")
    )
    phonons.run()
    phonons.read(acoustic=False)
    squares = np.abs(phonons.band_structure([[0, 0, 0]], verbose=False)[0])
    assert sorted(squares)[2] < 1e-3 * max(squares)


# The same numbers as nequip's own calculator


def nequip_calculator(folder: Path, dtype: str) -> Any:
    """Return nequip's own eager calculator with the stored weights."""
    import safetensors.torch
    from nequip.integrations.ase import NequIPCalculator
    from nequip.integrations.utils import basic_transforms
    from nequip.model import NequIPGNNModel

    config = read_config(folder)
    names = list(config.elements)
    model = NequIPGNNModel(
        seed=99, model_dtype=dtype, type_names=names, r_max=4.0, **config.arguments
    )
    model.load_state_dict(safetensors.torch.load_file(folder / "model.safetensors"))
    transforms = basic_transforms(
        model.metadata, 4.0, names, dict(zip(names, names, strict=True))
    )
    return NequIPCalculator(model=model.eval(), device="cpu", transforms=transforms)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_are_those_of_nequip(checkpoint: Path, crystal: Atoms, dtype: str):
    """A micro-eV per atom and 1e-5 eV/Å are allowed; the very same operations run."""
    ours = load_calculator(checkpoint, device="cpu", dtype=dtype)
    with nequip_session():
        theirs = nequip_calculator(checkpoint, dtype)
    for atoms in (crystal, *structures().values()):
        ours.calculate(atoms)
        with nequip_session():
            theirs.calculate(atoms)
        check_equal(ours.results, theirs.results)


def check_equal(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Compare all results; a stress that we leave out is not a number for nequip."""
    atoms = len(theirs["forces"])
    assert ours["energy"] == pytest.approx(float(theirs["energy"]), abs=1e-6 * atoms)
    np.testing.assert_allclose(ours["forces"], theirs["forces"], atol=1e-5)
    np.testing.assert_allclose(ours["energies"], theirs["energies"], atol=1e-6)
    stress = ours.get("stress", np.full(6, np.nan))
    np.testing.assert_allclose(stress, theirs["stress"], atol=1e-6)


def test_single_precision_is_close_to_double(crystal: Atoms, checkpoint: Path):
    """Rounding of float32 is a millionth of an eV per atom here."""
    single = load_calculator(checkpoint, device="cpu", dtype="float32")
    single.calculate(crystal)
    difference = single.results["energy"] - crystal.get_potential_energy()
    assert 0 < abs(difference) < 1e-5 * len(crystal)
    np.testing.assert_allclose(
        single.results["forces"], crystal.get_forces(), atol=1e-4
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_default_dtype_of_the_caller_does_not_matter(
    crystal: Atoms, checkpoint: Path, dtype: torch.dtype
):
    """Not while loading, and not while computing."""
    with preserved_process_state():
        torch.set_default_dtype(dtype)
        calculator = load_calculator(checkpoint, device="cpu", dtype="float64")
        calculator.calculate(crystal)
    np.testing.assert_array_equal(calculator.results["forces"], crystal.get_forces())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_forces_do_not_need_gradients_switched_on(
    tiny_calculator: SynthzooCalculator, mode: Any
):
    """A script that switched gradients off gets forces, and gradients stay off."""
    atoms = structures()["crystal"]
    tiny_calculator.calculate(atoms)
    expected = tiny_calculator.results["forces"]
    with mode():
        tiny_calculator.calculate(atoms)
        (batched,) = tiny_calculator.compute([atoms])
        assert not torch.is_grad_enabled()
    np.testing.assert_array_equal(tiny_calculator.results["forces"], expected)
    np.testing.assert_allclose(batched["forces"], expected, atol=1e-6)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_calculators_are_made_and_copied_in_any_mode(tiny_checkpoint: Path, mode: Any):
    """Loaded, unpickled or copied there, or copied from, they give the same forces."""
    atoms = structures()["crystal"]
    original = load_calculator(tiny_checkpoint, device="cpu")
    original.calculate(atoms)
    expected = original.results["forces"]
    with mode():
        made = {
            "loaded": load_calculator(tiny_checkpoint, device="cpu"),
            "unpickled": pickle.loads(pickle.dumps(original)),  # noqa: S301  our own
            "copied": copy.deepcopy(original),
        }
        for calculator in made.values():
            calculator.calculate(atoms)
    for calculator in [*made.values(), original, copy.deepcopy(made["loaded"])]:
        calculator.calculate(atoms)
        np.testing.assert_array_equal(calculator.results["forces"], expected)


@pytest.mark.thorough
def test_the_first_import_may_be_in_inference_mode(tiny_checkpoint: Path):
    """Constants of nequip and e3nn that are made then serve afterwards, too."""
    code = (
        "import torch\n"
        "with torch.inference_mode():\n"
        "    from synthzoo.zoo.load import load_calculator\n"
        f"    calculator = load_calculator({str(tiny_checkpoint)!r})\n"
        "from ase.build import bulk\n"
        "for dtype in ('float32', 'float64'):\n"
        "    atoms = bulk('C')\n"
        f"    atoms.calc = load_calculator({str(tiny_checkpoint)!r}, dtype=dtype)\n"
        "    print(atoms.get_forces().shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout == "(2, 3)\n(2, 3)\n", done.stderr


def test_computing_draws_no_random_numbers(tiny_calculator: SynthzooCalculator):
    """The caller's random sequence goes on."""
    before = torch.get_rng_state(), str(np.random.get_state())  # noqa: NPY002
    tiny_calculator.calculate(bulk("C"))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert str(np.random.get_state()) == before[1]  # noqa: NPY002


# Properties that are not there


@pytest.mark.parametrize("kind", ["molecule", "chain", "sheet"])
def test_stress_needs_a_volume(tiny_calculator: SynthzooCalculator, kind: str):
    """Where the cell has none, ASE's own error says that there is no stress."""
    atoms = structures()[kind]
    atoms.calc = tiny_calculator
    assert np.isfinite(atoms.get_forces()).all()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


# Copies, pickles, processes, threads


def test_deepcopy_keeps_its_own_results(tiny_calculator: SynthzooCalculator):
    """What the original computes later does not show in the copy."""
    atoms = bulk("C")
    atoms.calc = tiny_calculator
    energy = atoms.get_potential_energy()
    twin = copy.deepcopy(atoms)
    tiny_calculator.calculate(bulk("C", cubic=True))
    assert twin.calc.results["energy"] == energy
    assert twin.calc.atoms == atoms
    assert twin.get_potential_energy() == energy
    twin.rattle(0.1, seed=1)
    assert twin.get_potential_energy() != energy


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pickle_outlives_the_folder(checkpoint: Path, tmp_path: Path, dtype: str):
    """The pickle holds the content: dtype, weights, results; not the path."""
    folder = shutil.copytree(checkpoint, tmp_path / "moved")
    calculator = load_calculator(folder, device="cpu", dtype=dtype)
    atoms = mixed(bulk("C"), calculator.config.elements)
    calculator.calculate(atoms)
    pickled = pickle.dumps(calculator)
    shutil.rmtree(folder)
    again = pickle.loads(pickled)  # noqa: S301  our own
    assert again.results["energy"] == calculator.results["energy"]
    assert again.atoms == calculator.atoms
    assert str(folder).encode() not in pickled
    again.calculate(atoms)
    assert again.results["energy"] == calculator.results["energy"]


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_compute_the_same(
    tiny_calculator: SynthzooCalculator, method: str
):
    """Structures with their calculator can be sent to a pool.

    They are so large that torch uses its threads, which do not survive a fork.
    """
    atoms = bulk("C", cubic=True).repeat(4)
    atoms.calc = tiny_calculator
    context = multiprocessing.get_context(method)
    with preserved_process_state():
        torch.set_num_threads(2)
        here = atoms.get_potential_energy()
        tiny_calculator.reset()
        with context.Pool(1) as pool:
            ask = operator.methodcaller("get_potential_energy")
            there = pool.apply_async(ask, [atoms]).get(timeout=120)
    assert there == pytest.approx(here, abs=1e-5 * len(atoms))


def test_threads_compute_the_same_as_one_after_another(tiny_checkpoint: Path):
    """One calculator per thread, while other threads load models."""
    cells = [bulk("C", a=a).repeat(2) for a in (3.4, 3.5, 3.6, 3.7)]
    calculator = load_calculator(tiny_checkpoint, device="cpu")
    expected = [calculator.get_potential_energy(atoms) for atoms in cells]

    def compute(atoms: Atoms) -> float:
        own = copy.deepcopy(calculator)
        for _ in range(10):
            own.calculate(atoms)
        return float(own.results["energy"])

    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load_calculator, tiny_checkpoint) for _ in range(3)]
        found = list(pool.map(compute, cells))
        for load in loads:
            load.result()
    assert found == expected


# Bad input: one clear error before any number


def nan_positions() -> Atoms:
    """Return a crystal with one position that is not a number."""
    atoms = bulk("C", cubic=True)
    atoms.positions[3, 1] = np.nan
    return atoms


def overlapping(*, periodic: bool) -> Atoms:
    """Return two atoms on one place, the second written one cell further."""
    positions = [[0, 0, 0], [0, 0, 9.0 if periodic else 0]]
    return Atoms("C2", positions=positions, cell=[9, 9, 9], pbc=periodic)


BAD = {
    "holds no atoms": Atoms(),
    "position of atom 3 is not a finite": nan_positions(),
    "periodic along c, but that cell vector": Atoms(
        "C", cell=[3, 3, 0], pbc=[True, True, True]
    ),
    "cell has no volume": Atoms("C", cell=[[3, 0, 0], [6, 0, 0], [0, 0, 3]], pbc=True),
    "atoms 0 and 1 are at the same position": overlapping(periodic=False),
    r"atoms 0 and 1 are at the same position \(closer": overlapping(periodic=True),
    r"contains N, Si, but this model knows only C\.": Atoms("CSiN", np.eye(3)),
    "Is its cell in Å": Atoms("C", cell=[0.02] * 3, pbc=True),
}


@pytest.mark.parametrize("message", BAD)
def test_structure_that_has_no_energy_is_one_clear_error(
    tiny_calculator: SynthzooCalculator, message: str
):
    """Also when the calculator has computed before; no stale number comes back."""
    tiny_calculator.calculate(bulk("C"))
    atoms = BAD[message].copy()
    atoms.calc = tiny_calculator
    for _ in range(2):
        with pytest.raises(InputError, match=message):
            atoms.get_potential_energy()
        with pytest.raises(InputError, match=message):
            tiny_calculator.calculate(atoms)
        assert tiny_calculator.results == {}


def test_element_error_names_models_that_know_it(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    """The way out is another model of the zoo, where there is one."""
    cards = [
        SimpleNamespace(name="carbon-1", elements=("C",)),
        SimpleNamespace(name="carbide-1", elements=("C", "Si")),
    ]
    monkeypatch.setattr("synthzoo.zoo.load.model_cards", lambda: cards)
    calculator = copy.deepcopy(load_calculator(tiny_checkpoint))
    with pytest.raises(InputError, match="know all its elements: carbide-1"):
        calculator.calculate(bulk("SiC", "zincblende", a=4.36))
    with pytest.raises(InputError, match="No model of the zoo knows all"):
        calculator.calculate(bulk("Cu"))


def test_calculator_without_a_structure_says_so(tiny_calculator: SynthzooCalculator):
    """There is nothing to compute yet."""
    with pytest.raises(InputError, match="not been given a structure"):
        tiny_calculator.calculate()


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "mps", "cuda:-1", ""])
def test_unknown_device_is_refused(tiny_checkpoint: Path, device: str):
    """The message lists what is possible."""
    with pytest.raises(InputError, match=r"auto, cpu, cuda or cuda:<index>"):
        load_calculator(tiny_checkpoint, device=device)


def test_devices_are_those_that_torch_sees(monkeypatch: pytest.MonkeyPatch):
    """CUDA is taken where it is, and missed with a clear error."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert find_device("auto") == "cpu"
    with pytest.raises(InputError, match="sees 0 CUDA"):
        find_device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [find_device(name) for name in ("auto", "cpu", "cuda", "cuda:1")] == [
        "cuda",
        "cpu",
        "cuda",
        "cuda:1",
    ]
    with pytest.raises(InputError, match="sees 2 CUDA"):
        find_device("cuda:2")


# Starting points


@pytest.fixture(scope="module")
def starting_point(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a checkpoint that says it must be fine-tuned, for two elements."""
    config = tiny_config(("C", "Si"), kind="starting-point")
    folder = tmp_path_factory.mktemp("checkpoints") / "start"
    golden = [bulk("SiC", "zincblende", a=4.36)]
    write_checkpoint(folder, model=build_model(config), config=config, golden=golden)
    return folder


def test_starting_point_warns_once(starting_point: Path):
    """When it is loaded; not at each energy, copy or pickle."""
    with pytest.warns(StartingPointWarning, match="before it is fine-tuned"):
        calculator = load_calculator(starting_point, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calculator.calculate(bulk("Si"))
        pickle.loads(pickle.dumps(calculator))  # noqa: S301  our own
        copy.deepcopy(calculator)


def test_elements_are_told_apart(starting_point: Path):
    """Exchanging two elements changes the energy; names keep their order."""
    model, config = load_model(starting_point)
    calculator = calculator_of(model, config)
    atoms = Atoms("CSi2", positions=[[0, 0, 0], [0, 0, 1.8], [0, 1.8, 0]])
    energy = calculator.get_potential_energy(atoms)
    atoms.symbols = "SiC2"
    assert abs(calculator.get_potential_energy(atoms) - energy) > 1e-3
