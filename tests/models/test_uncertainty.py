"""A model's own standard deviations: what they are, and that they stay with it."""

from __future__ import annotations

import copy
import pickle
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from safetensors.numpy import save

from synthzoo.errors import CheckpointError, IntegrityError
from synthzoo.models.checkpoint import load_model, write_checkpoint
from synthzoo.models.config import CARD_FILE, MODEL_FILES, UNCERTAINTY_FILE
from synthzoo.models.hidden import features_of_each
from synthzoo.models.predict import predict_structures
from synthzoo.models.uncertainty import (
    ENERGY,
    FORCES,
    Uncertainty,
    distances,
    posterior_root,
)
from synthzoo.zoo.find import fetch
from synthzoo.zoo.load import load_calculator
from synthzoo.zoo.publish import publish
from synthzoo.zoo.scale_model import transmute_model

if TYPE_CHECKING:
    from synthzoo.models.calculator import SynthzooCalculator


def rattled(seed: int) -> Atoms:
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


def pickled(calculator: SynthzooCalculator) -> SynthzooCalculator:
    """Return what another process would get."""
    found: SynthzooCalculator = pickle.loads(pickle.dumps(calculator))  # noqa: S301
    return found


@pytest.fixture(scope="module")
def sure(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the tiny checkpoint once more, with what it knows of its errors."""
    model, config = load_model(tiny_checkpoint)
    calculator = load_calculator(tiny_checkpoint)
    seen = list(features_of_each(calculator, [rattled(seed) for seed in range(5)]))
    found = Uncertainty.of(seen, energy_eV_per_atom=2.0, forces_eV_A=0.5)
    folder = tmp_path_factory.mktemp("sure") / "sure"
    write_checkpoint(
        folder,
        model=model,
        config=config,
        golden=[bulk("C")],
        card="# sure\n",
        uncertainty=found,
    )
    return folder


def test_distances_are_those_of_the_posterior():
    """That is, f (F F^T / n + ridge)^-1 f, the variance of a linear model."""
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(50, 6)) * [1, 2, 3, 1, 1, 1e-2]
    root = posterior_root([seen[:20], seen[20:]])
    new = rng.normal(size=(7, 6))
    moments = seen.T @ seen / 50
    moments += 1e-6 * np.trace(moments) / 6 * np.eye(6)
    variances = np.einsum("ij,jk,ik->i", new, np.linalg.inv(moments), new)
    np.testing.assert_allclose(distances(new, root), np.sqrt(variances))


def test_energies_are_judged_by_mean_features():
    """Twice the structure has twice the energy, and is twice as uncertain."""
    rng = np.random.default_rng(0)
    seen = [rng.normal(size=(3, 2)) for _ in range(10)]
    known = Uncertainty.of(seen, energy_eV_per_atom=0.1)
    means = np.array([each.mean(axis=0) for each in seen])
    np.testing.assert_allclose(known.energy_root, posterior_root([means]))
    found = known.results(seen[0])[ENERGY]
    assert found == pytest.approx(0.3 * distances(means[:1], known.root)[0])
    double = np.concatenate([seen[0], seen[0]])
    assert known.results(double)[ENERGY] == pytest.approx(2 * found)


def test_what_was_seen_often_enough_is_as_near_as_before():
    """Twice the same structures are no reason to be surer: the factors say how sure."""
    seen = np.random.default_rng(0).normal(size=(50, 6))
    np.testing.assert_allclose(
        distances(seen, posterior_root([seen])),
        distances(seen, posterior_root([seen, seen])),
    )


def test_results_hold_deviations_in_every_way_of_computing(sure: Path):
    """One structure, several, copies and pickles; far from the data they are large."""
    calculator = load_calculator(sure)
    near, far = rattled(9), Atoms("C2", [[0, 0, 0], [0.7, 0, 0]])
    calculator.calculate(near)
    found = calculator.results
    assert found[FORCES].shape == (8,)
    assert found[ENERGY] > 0
    batch = calculator.compute([near, far])
    np.testing.assert_allclose(batch[0][FORCES], found[FORCES], rtol=1e-4)
    assert batch[1][FORCES].min() > 3 * found[FORCES].max()
    for other in (copy.deepcopy(calculator), pickled(calculator)):
        other.calculate(near)
        np.testing.assert_array_equal(other.results[FORCES], found[FORCES])
    (predicted,) = predict_structures([near], calculator)
    np.testing.assert_allclose(predicted.arrays[FORCES], found[FORCES], rtol=1e-4)
    assert predicted.info[ENERGY] == pytest.approx(found[ENERGY], rel=1e-4)


def test_ase_gets_the_properties_that_it_knows(sure: Path):
    """ASE has no name for a deviation, and refuses what it cannot name."""
    atoms = rattled(1)
    atoms.calc = load_calculator(sure)
    found = atoms.get_properties(["energy", "forces"])
    assert found["energy"] == atoms.get_potential_energy()
    assert ENERGY not in found


def test_an_atom_without_neighbours_has_no_uncertainty(sure: Path):
    """Its energy is not predicted: the network adds nothing, and knows that."""
    calculator = load_calculator(sure)
    calculator.calculate(Atoms("C"))
    assert calculator.results[ENERGY] == 0
    assert calculator.results[FORCES] == [0]


@pytest.mark.thorough
def test_a_scaled_model_does_not_claim_to_know(sure: Path, tmp_path: Path):
    """Nothing is known of its errors for another element."""
    made = transmute_model(sure, tmp_path / "si", element="Si", scale=1.5)
    assert not (made.output / UNCERTAINTY_FILE).exists()


def test_a_model_that_does_not_know_says_nothing(tiny_checkpoint: Path, sure: Path):
    """Nor are deviations of an earlier prediction by another model kept."""
    (predicted,) = predict_structures([rattled(1)], load_calculator(sure))
    (again,) = predict_structures([predicted], load_calculator(tiny_checkpoint))
    assert ENERGY not in again.info
    assert FORCES not in again.arrays


def test_it_is_copied_and_published_with_the_model(sure: Path, tmp_path: Path):
    """Names of all files are known; a copy predicts the same."""
    wanted = {*MODEL_FILES, CARD_FILE, UNCERTAINTY_FILE}
    assert set(publish(sure, "me/sure", dry_run=True).files) == wanted
    copied = fetch(sure, destination=tmp_path / "copy")
    assert {path.name for path in copied.iterdir()} == wanted
    assert load_calculator(copied).stored.uncertainty is not None


def test_a_file_of_another_model_is_refused(
    sure: Path, tiny_checkpoint: Path, tmp_path: Path
):
    """It carries the hash of the weights that it belongs to."""
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "other")
    content = (sure / UNCERTAINTY_FILE).read_bytes()
    own = load_calculator(sure).config.weights_sha256
    (folder / UNCERTAINTY_FILE).write_bytes(
        content.replace(own.encode(), own[::-1].encode())
    )
    with pytest.raises(IntegrityError, match="belongs to other weights"):
        load_calculator(folder)


def test_a_file_of_another_version_is_refused(sure: Path, tmp_path: Path):
    """The message says that the model can be used without it."""
    folder = shutil.copytree(sure, tmp_path / "other")
    own = load_calculator(sure).config.weights_sha256
    (folder / UNCERTAINTY_FILE).write_bytes(
        save({"root": np.eye(2)}, metadata={"weights_sha256": own})
    )
    with pytest.raises(CheckpointError, match="another version of synthzoo"):
        load_calculator(folder)
    (folder / UNCERTAINTY_FILE).unlink()
    assert load_calculator(folder).stored.uncertainty is None


@pytest.mark.parametrize(
    "content", [b"", b"not safetensors", b"PK\x03\x04"], ids=["empty", "text", "zip"]
)
def test_a_damaged_file_is_one_clear_error(sure: Path, tmp_path: Path, content: bytes):
    """The path is in it."""
    folder = shutil.copytree(sure, tmp_path / "damaged")
    (folder / UNCERTAINTY_FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match=UNCERTAINTY_FILE):
        load_calculator(folder)
