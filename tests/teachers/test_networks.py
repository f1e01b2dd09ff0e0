"""Universal networks of other packages as teachers, with their own weights."""

import os
import shutil
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from benchmarks import tune_sevennet
from synthzoo.data.structures import label, write_structures
from synthzoo.errors import InputError, MissingExtraError, TeacherError
from synthzoo.models.isolation import nequip_session
from synthzoo.recipes.loading import teacher_name
from synthzoo.teachers import Teacher, load_teacher, open_teacher, reference_sha256
from synthzoo.teachers.catalogue import resolve_reference
from synthzoo.teachers.networks import installed_folder
from synthzoo.teachers.sevennet import WEIGHTS
from tests.extras import need

SEVENNET, CHGNET = "sevennet:7net-0", "chgnet:0.3.0"
MODULES = {"sevennet": "sevenn", "chgnet": "chgnet"}

FRESH_PROCESS = """
import os, random, sys, warnings
import numpy as np, torch
from ase.build import bulk
from synthzoo.teachers import open_teacher

def state():
    return {
        "environment": dict(os.environ),
        "filters": [str(entry) for entry in warnings.filters],
        "python": str(random.getstate()),
        "numpy": str(np.random.get_state()),
        "torch": torch.get_rng_state().tolist(),
        "dtype": str(torch.get_default_dtype()),
        "threads": torch.get_num_threads(),
        "grad": torch.is_grad_enabled(),
        "functions": str((torch.index_select, torch.select)),
    }

random.seed(1), np.random.seed(2), torch.manual_seed(3)
torch.set_grad_enabled(False)
before = state()
teacher = open_teacher(sys.argv[1])
loaded = state()
teacher.label(bulk("Si"))
for name, after in {"load": loaded, "use": state()}.items():
    for key in before:
        assert before[key] == after[key], (name, key)
"""


@pytest.fixture(scope="module", params=[SEVENNET, CHGNET])
def teacher(request: pytest.FixtureRequest) -> Teacher:
    kind = request.param.partition(":")[0]
    need(MODULES[kind], kind)
    return open_teacher(request.param)  # tests/teachers/test_catalogue.py tests it


def quartz() -> Atoms:
    """Return an oxide without symmetry."""
    atoms = bulk("SiO", "zincblende", a=4.6, cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def by_its_own_package(reference: str, atoms: Atoms) -> dict[str, Any]:
    """Return results of a calculator as the package's documentation makes it."""
    alone: Any = atoms.copy()
    if reference == SEVENNET:
        from sevenn.calculator import SevenNetCalculator

        alone.calc = SevenNetCalculator("7net-0", device="cpu")
    else:
        from chgnet.model import CHGNetCalculator

        alone.calc = CHGNetCalculator(use_device="cpu")
    return {
        "energy": alone.get_potential_energy(),
        "forces": alone.get_forces(),
        "stress": alone.get_stress(),
    }


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
def test_labels_are_those_of_the_package(teacher: Teacher):
    """Energy, forces and stress in the right units; energies add up to the energy."""
    atoms = quartz()
    expected = by_its_own_package(teacher.reference, atoms)
    found = teacher.label(atoms)
    alone = sum(teacher.isolated_atom_energies_eV[name] for name in atoms.symbols)
    assert found.get_potential_energy() == pytest.approx(
        expected["energy"] - alone, abs=1e-4
    )
    assert found.get_potential_energies().sum() == pytest.approx(
        found.get_potential_energy(), abs=1e-9
    )
    np.testing.assert_allclose(found.get_forces(), expected["forces"], atol=1e-4)
    stress = expected["stress"]
    if stress.shape == (3, 3):
        stress = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    np.testing.assert_allclose(found.get_stress(), stress, atol=1e-5)


@pytest.mark.thorough
def test_atoms_that_are_far_apart_have_no_energy(teacher: Teacher):
    """Two kinds of them in a box without a cell."""
    pair = Atoms("SiO", positions=[[0, 0, 0], [0, 0, 12.0]])
    labelled = teacher.label(pair)
    assert labelled.get_potential_energy() == pytest.approx(0.0, abs=1e-5)
    assert teacher.label(molecule("CO2")).get_potential_energy() < -10.0


@pytest.mark.thorough
def test_elements_outside_of_its_data_are_refused(teacher: Teacher):
    """Both have seen 89 elements; the message does not list them all."""
    assert len(teacher.elements) == 89
    with pytest.raises(InputError, match=r"contains Ra; only .* and 69 others"):
        teacher.label(Atoms("Ra"))


@pytest.mark.thorough
@pytest.mark.parametrize("reference", [SEVENNET, CHGNET])
def test_loading_and_use_leave_the_process_as_it_was(reference: str):
    """Packages draw random numbers, filter warnings and print; nobody sees that."""
    kind = reference.partition(":")[0]
    need(MODULES[kind], kind)
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", FRESH_PROCESS, reference],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.thorough
def test_an_isolated_atom_that_no_network_was_shown_is_replaced():
    """CHGNet-r2SCAN gives phosphorus +329 eV; its mean in the data stands in."""
    need("chgnet", "chgnet")
    alone = open_teacher("chgnet:r2scan").isolated_atom_energies_eV
    assert -15 < alone["P"] < 0


def test_levels_of_theory_of_one_file_have_hashes_of_their_own():
    """Labels of PBE and r2SCAN are never taken for the same."""
    need("sevenn", "sevennet")
    heads = ["sevennet:7net-mf-0:PBE", "sevennet:7net-mf-0:R2SCAN", SEVENNET]
    assert len(set(map(reference_sha256, heads))) == 3


def test_a_file_never_stands_in_the_way_of_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """References mean the same in any folder, and labels name the whole of them."""
    monkeypatch.chdir(tmp_path)
    for name in ("PBE", "7net-0"):
        (tmp_path / name).touch()
    for reference in (SEVENNET, "sevennet:7net-mf-0:PBE"):
        assert resolve_reference(reference) == reference
        assert teacher_name(reference) == reference


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "sevennet:7net-omni",
            "no SevenNet '7net-omni' here, nor a file of that name; known: 7net-0, ",
        ),
        ("chgnet:0.1.0", r"no CHGNet '0\.1\.0'; known: 0\.3\.0, "),
    ],
)
def test_an_unknown_network_is_refused(reference: str, message: str):
    """Nothing is downloaded."""
    with pytest.raises(InputError, match=message):
        open_teacher(reference)


def test_a_file_that_sevennet_saved_is_named_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It has the hash of what it holds, and means the same in any folder."""
    need("sevenn", "sevennet")
    weights = installed_folder("sevenn", extra="sevennet") / "pretrained_potentials"
    shutil.copy(weights / WEIGHTS["7net-0"], tmp_path / "tuned.pth")
    monkeypatch.chdir(tmp_path)
    absolute = resolve_reference("sevennet:tuned.pth")
    assert absolute == f"sevennet:{tmp_path / 'tuned.pth'}"
    assert teacher_name(absolute) == "sevennet:tuned.pth"
    assert reference_sha256(absolute) == reference_sha256(SEVENNET)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
def test_a_tuned_sevennet_is_a_teacher_on_the_scale_of_its_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With a rate of nothing, the weights are those of the start in another file."""
    need("sevenn", "sevennet")
    crystals = [
        label(bulk("C", a=a_A), energy_eV=energy_eV, forces_eV_A=np.zeros((2, 3)))
        for a_A, energy_eV in ((3.5, -300.0), (3.6, -300.4))
    ]
    write_structures(tmp_path / "dft.xyz", crystals)
    tuned = tmp_path / "tuned.pth"
    words = ["--epochs", "1", "--learning-rate", "1e-9", "-o", str(tuned)]
    command = ["tune_sevennet", str(tmp_path / "dft.xyz"), *words]
    monkeypatch.setattr(sys, "argv", command)
    tune_sevennet.main()
    start, teacher = open_teacher(SEVENNET), open_teacher(f"sevennet:{tuned}")
    alone = 2 * teacher.isolated_atom_energies_eV["C"]
    found = [teacher.label(atoms).get_potential_energy() + alone for atoms in crystals]
    assert np.mean(found) == pytest.approx(-300.2, abs=1e-3)
    crystals[0].rattle(0.1, seed=1)
    again, before = (each.label(crystals[0]).get_forces() for each in (teacher, start))
    np.testing.assert_allclose(again, before, atol=1e-3)


class Program:
    """What a pickle can bring along."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Return what is called when it is loaded."""
        return os.system, ("touch here",)


def test_a_file_with_code_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """SevenNet would execute it."""
    need("sevenn", "sevennet")
    monkeypatch.chdir(tmp_path)
    torch.save({"model_state_dict": {}, "config": Program()}, "tuned.pth")
    with pytest.raises(TeacherError, match=r"^tuned\.pth calls posix\.system: "):
        open_teacher("sevennet:tuned.pth")
    assert not Path("here").exists()


@pytest.mark.parametrize("reference", [SEVENNET, CHGNET])
def test_a_missing_package_says_which_extra(
    reference: str, monkeypatch: pytest.MonkeyPatch
):
    """The message gives the line to type."""
    monkeypatch.setattr("synthzoo.teachers.networks.find_spec", lambda _: None)
    extra = reference.partition(":")[0]
    with pytest.raises(MissingExtraError, match=rf"pip install 'synthzoo\[{extra}\]'"):
        open_teacher(reference)


@pytest.fixture(scope="module")
def compiled(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tiny network as nequip saves it for other programs."""
    from nequip.model.inference_models.torchscript import save_torchscript_model

    from synthzoo.models.architectures import architecture_of
    from synthzoo.models.checkpoint import read_config

    path = tmp_path_factory.mktemp("compiled") / "tiny.nequip.pth"
    with nequip_session(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = read_config(tiny_checkpoint)
        built = architecture_of(config.builder)
        network: Any = built.build(config, dtype=config.dtype, seed=0)
        metadata = {name: str(value) for name, value in network.metadata.items()}
        metadata |= {"allow_tf32": "0"}
        save_torchscript_model(network, metadata, str(path), "cpu")
    return path


@pytest.mark.thorough
def test_a_network_that_nequip_compiled_is_a_teacher(
    compiled: Path, tiny_checkpoint: Path
):
    """It gives what the checkpoint gives, in double precision far from the origin."""
    teacher = load_teacher(f"nequip:{compiled}")
    assert teacher.elements == ("C",)
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.1, seed=1)
    atoms.positions += 100_000
    found, expected = (
        each.label(atoms) for each in (teacher, open_teacher(f"zoo:{tiny_checkpoint}"))
    )
    np.testing.assert_allclose(found.get_forces(), expected.get_forces(), atol=1e-4)
    np.testing.assert_allclose(found.get_stress(), expected.get_stress(), atol=1e-5)


def test_another_file_is_no_compiled_network(tmp_path: Path):
    """The reason comes from nequip, on one line."""
    path = tmp_path / "network.zip"
    path.write_bytes(b"PK")
    with pytest.raises(TeacherError, match=r"cannot be loaded: ValueError: Unknown fi"):
        open_teacher(f"nequip:{path}")


def test_without_mace_its_extra_is_named():
    """MACE itself is untried here."""
    if find_spec("mace") is not None:
        pytest.skip("MACE is installed")
    with pytest.raises(MissingExtraError, match=r"pip install 'synthzoo\[mace\]'"):
        open_teacher("mace:medium-mpa-0")
