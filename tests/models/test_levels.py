"""Several levels of theory in one checkpoint: what each computes, and what stays."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk
from click.testing import CliRunner

import synthzoo
from synthzoo.cli import main
from synthzoo.data.structures import label, read_structures, write_structures
from synthzoo.errors import CheckpointError, InputError, IntegrityError
from synthzoo.evaluation.evaluate import evaluate_models
from synthzoo.models.checkpoint import as_checkpoint
from synthzoo.models.config import CARD_FILE, CONFIG_FILE, LEVELS_FILE, MODEL_FILES
from synthzoo.potentials import teacher_reference
from synthzoo.zoo.find import fetch
from synthzoo.zoo.load import load_calculator, verify_model
from synthzoo.zoo.publish import publish
from synthzoo.zoo.references import check_own_hashes
from tests.two_levels import FREE_EV, LOW_FREE_EV, READOUT, STIFFER

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.models.checkpoint import Checkpoint


def rattled(seed: int) -> Atoms:
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


def energy_eV(atoms: Atoms, model: Path, level: str | None = None) -> float:
    atoms.calc = load_calculator(model, level=level, device="cpu")
    return float(atoms.get_potential_energy())


def at_pbe(model: Path) -> Checkpoint:
    return as_checkpoint(model).at("pbe")


def test_each_level_has_its_own_last_layer_and_constants(two_levels: Path):
    atoms = rattled(3)
    default = energy_eV(atoms, two_levels)
    assert energy_eV(atoms, two_levels, "rpa") == default
    bound = default - FREE_EV * len(atoms)
    low = energy_eV(atoms, two_levels, "pbe")
    assert low == pytest.approx(STIFFER * bound + LOW_FREE_EV * len(atoms), rel=1e-5)
    found = at_pbe(two_levels).config
    assert found.labels == {"source": "a cheap one"}
    assert found.isolated_atom_energies_eV == {"C": LOW_FREE_EV}


def test_torch_and_engine_agree_at_each_level(two_levels: Path):
    atoms = rattled(4)
    for level in ("rpa", "pbe"):
        checkpoint = as_checkpoint(two_levels).at(level)
        calculator = load_calculator(checkpoint, device="cpu")
        found = calculator.compute([atoms])[0]
        (by_torch,) = calculator.torch_pass.compute([atoms])
        np.testing.assert_allclose(found["forces"], by_torch.forces, atol=1e-4)


def test_a_level_stays_with_copies_and_pickles(two_levels: Path):
    calculator = load_calculator(two_levels, level="pbe", device="cpu")
    atoms = rattled(5)
    calculator.calculate(atoms)
    others = (
        copy.deepcopy(calculator),
        pickle.loads(pickle.dumps(calculator)),  # noqa: S301
        load_calculator(
            pickle.loads(pickle.dumps(at_pbe(two_levels))),  # noqa: S301
            device="cpu",
        ),
    )
    for other in others:
        other.calculate(atoms)
        assert other.results["energy"] == calculator.results["energy"]


def test_models_of_one_level_say_nothing_of_levels(tiny_checkpoint: Path):
    assert "levels" not in json.loads((tiny_checkpoint / CONFIG_FILE).read_text())
    assert as_checkpoint(tiny_checkpoint).levels == ()


def test_levels_are_named_the_default_one_first(two_levels: Path):
    assert as_checkpoint(two_levels).levels == ("rpa", "pbe")


def test_an_unknown_level_is_refused_with_the_known_ones(two_levels: Path):
    with pytest.raises(InputError, match=r"rpa \(the default\), pbe"):
        load_calculator(two_levels, level="ccsd")


def test_a_model_of_one_level_has_no_names_of_levels(tiny_checkpoint: Path):
    with pytest.raises(InputError, match="leave the level 'rpa' out"):
        load_calculator(tiny_checkpoint, level="rpa")


def test_golden_predictions_of_each_level_are_verified(
    two_levels: Path, tiny_checkpoint: Path
):
    found = verify_model(two_levels)
    assert found.passed
    assert found.structures == 2 * verify_model(tiny_checkpoint).structures


def test_a_level_that_computes_something_else_is_found(
    two_levels: Path, monkeypatch: pytest.MonkeyPatch
):
    """Only the second level differs, so only its golden predictions can tell."""
    from synthzoo.models import levels

    right = levels.weights_at

    def wrong(*args, **options):
        found = right(*args, **options)
        return found | {READOUT: 1.01 * found[READOUT]}

    monkeypatch.setattr(levels, "weights_at", wrong)
    assert not verify_model(two_levels).passed


def test_a_changed_or_missing_file_of_levels_is_refused(
    two_levels: Path, tmp_path: Path
):
    folder = tmp_path / "copy"
    shutil.copytree(two_levels, folder)
    content = bytearray((folder / LEVELS_FILE).read_bytes())
    content[-1] ^= 1
    (folder / LEVELS_FILE).write_bytes(content)
    with pytest.raises(IntegrityError, match=LEVELS_FILE):
        load_calculator(folder, level="pbe")
    assert load_calculator(folder) is not None  # the default level needs no such file
    (folder / LEVELS_FILE).unlink()
    with pytest.raises(CheckpointError, match=LEVELS_FILE):
        load_calculator(folder, level="pbe")
    with pytest.raises(CheckpointError, match="Fetch it again"):
        check_own_hashes(folder, way_out="Fetch it again.")


def test_levels_of_another_checkpoint_are_refused(two_levels: Path, tmp_path: Path):
    """What the description says of levels is sealed by the golden predictions."""
    folder = tmp_path / "copy"
    shutil.copytree(two_levels, folder)
    path = folder / CONFIG_FILE
    path.write_text(path.read_text().replace('"pbe"', '"ccsd"'))
    with pytest.raises(IntegrityError, match="does not belong to"):
        load_calculator(folder)


def test_copies_and_uploads_have_all_levels(two_levels: Path, tmp_path: Path):
    copied = fetch(two_levels, destination=tmp_path / "copy")
    wanted = {*MODEL_FILES, CARD_FILE, LEVELS_FILE}
    assert {path.name for path in copied.iterdir()} == wanted
    assert verify_model(copied).passed
    sent = publish(two_levels, "me/mine", dry_run=True)
    assert wanted <= set(sent.files)


def test_a_level_cannot_be_a_teacher(two_levels: Path):
    with pytest.raises(InputError, match="has no level"):
        teacher_reference(at_pbe(two_levels))


@pytest.fixture
def labelled(two_levels: Path, tmp_path: Path) -> Path:
    """Write structures that are labelled by the second level."""
    path = tmp_path / "labelled.xyz"
    calculator = load_calculator(two_levels, level="pbe", device="cpu")
    structures = []
    for seed in range(3):
        atoms = rattled(seed)
        atoms.calc = calculator
        structures.append(
            label(
                atoms,
                energy_eV=atoms.get_potential_energy(),
                forces_eV_A=atoms.get_forces(),
            )
        )
    write_structures(path, structures)
    return path


def test_commands_compute_at_a_level(two_levels: Path, labelled: Path, tmp_path: Path):
    (right,) = evaluate_models([two_levels], labelled, level="pbe")
    (wrong,) = evaluate_models([two_levels], labelled)
    assert right.groups[0].energy_rmse_meV_per_atom < 0.1
    assert wrong.groups[0].energy_rmse_meV_per_atom > 1000
    output = tmp_path / "predicted.xyz"
    words = ["predict", str(two_levels), str(labelled), "-o", str(output)]
    done = CliRunner().invoke(main, [*words, "--level", "pbe"])
    assert done.exit_code == 0, done.output
    for found, known in zip(
        read_structures(output), read_structures(labelled), strict=True
    ):
        energy = known.get_potential_energy()
        assert found.get_potential_energy() == pytest.approx(energy, rel=1e-6)
    done = CliRunner().invoke(main, [*words[:-1], "other.xyz", "--level", "ccsd"])
    assert done.exit_code == 1
    assert "rpa (the default), pbe" in done.output


def test_labels_are_compared_with_the_model_at_their_level(
    two_levels: Path, tiny_checkpoint: Path, labelled: Path, tmp_path: Path
):
    """A column `level` in the data decides what belongs to which level."""
    mixed = tmp_path / "mixed.xyz"
    structures = read_structures(labelled)
    for atoms, level in zip(structures, ("pbe", "rpa", "pbe"), strict=True):
        atoms.info["level"] = level
    write_structures(mixed, structures)
    (found,) = evaluate_models([two_levels], mixed, level="pbe")
    assert found.groups[0].structures == 2
    (found,) = evaluate_models([two_levels], mixed)
    assert found.groups[0].structures == 1
    with pytest.raises(InputError, match=r"pbe, rpa, which .* to a model of one level"):
        evaluate_models([tiny_checkpoint], mixed)


class SeenError(Exception):
    """A function has come to the model that it loads."""

    def __init__(self, model: object) -> None:
        super().__init__(model)
        self.model = model


LOADING: dict[str, Callable[[Path, Path, str], object]] = {
    "export.lammps.refuse_starting_point": lambda model, file, level: (
        synthzoo.run_lammps(model, file, level=level)
    ),
    "export.lammps_forces.refuse_starting_point": lambda model, _, level: (
        synthzoo.attach(None, model, level=level)
    ),
    "export.serve.refuse_starting_point": lambda model, file, level: synthzoo.serve(
        model, file, level=level
    ),
    "export.compiled.refuse_starting_point": lambda model, _, level: (
        synthzoo.export_model(model, "mine.nequip.pt2", level=level)
    ),
    "evaluation.physics.refuse_starting_point": lambda model, _, level: (
        synthzoo.measure_physics([model], level=level)
    ),
    "evaluation.evaluate.load_potential": lambda model, file, level: (
        synthzoo.evaluate_models([model], file, level=level)
    ),
    "environments.map.network_calculator": lambda model, file, level: (
        synthzoo.map_environments(model, file, "map.html", level=level)
    ),
    "stability.check.refuse_starting_point": lambda model, _, level: (
        synthzoo.compare_md([model], bulk("C"), "md", level=level)
    ),
}
"""Where a function comes to the model that it loads, and how it is called."""


@pytest.mark.parametrize("place", LOADING)
def test_functions_load_the_level(
    place: str,
    two_levels: Path,
    labelled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """What each loads is the checkpoint at the level that was asked for."""

    def refuse(model: object) -> None:
        raise SeenError(model)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(f"synthzoo.{place}", refuse)
    with pytest.raises(SeenError) as seen:
        LOADING[place](two_levels, labelled, "pbe")
    assert seen.value.model == at_pbe(two_levels)
    with pytest.raises(InputError, match=r"Its levels are rpa \(the default\), pbe"):
        LOADING[place](two_levels, labelled, "ccsd")


OF_NO_LEVEL = {
    "features": "the same at all levels",
    "load_committee": "its members know the default level alone",
    "run_benchmark": "what it fits has one level",
    "suggest": "the default level alone knows how sure it is",
    "transmute_model": "the scaled start has one level",
    "verify_model": "all levels",
}
"""Functions that load a model and do not ask for a level, and why not."""


def test_what_loads_a_model_takes_a_level():
    """A new function has to, or to say here why it does not."""
    functions = {name: getattr(synthzoo, name) for name in dir(synthzoo)}
    loading = {
        name: set(inspect.signature(function).parameters)
        for name, function in functions.items()
        if inspect.isfunction(function)
        and {"model", "models"} & set(inspect.signature(function).parameters)
    }
    without = {name for name, taken in loading.items() if "level" not in taken}
    assert without - {"advise", "run_demo"} == set(OF_NO_LEVEL)


def test_commands_name_the_levels_of_a_folder(two_levels: Path, tiny_checkpoint: Path):
    shown = run("show", two_levels)
    assert "rpa (the default), pbe" in shown
    assert "# mine" in shown
    assert json.loads(run("show", two_levels, "--json"))["levels"] == ["rpa", "pbe"]
    assert "levels           one" in run("show", tiny_checkpoint)
    done = CliRunner().invoke(main, ["show", str(two_levels), "--bibtex"])
    assert done.exit_code == 1
    assert "no record of what to cite" in done.output


def run(*words: object) -> str:
    """Return what a command prints."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout
