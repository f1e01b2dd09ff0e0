"""Another kind of network needs one file, `pair_network.py`, and one line in a list."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.fd import (
    calculate_numerical_forces,
    calculate_numerical_stress,
)
from ase.io import read

import synthzoo
from synthzoo.errors import CheckpointError, InputError, SynthzooError
from synthzoo.models.architectures import ARCHITECTURES
from synthzoo.models.checkpoint import read_config
from synthzoo.models.network import build_model
from synthzoo.recipes.loading import load_recipe
from synthzoo.training.recipe import PretrainRecipe
from tests.pair_network import NAME, PairArchitecture, PairNetwork
from tests.toy import pretrain_recipe

if TYPE_CHECKING:
    import torch

RECIPE = """
pretrain:
  network: {architecture: PairNetwork, cutoff_A: 3.0, arguments: {width: 8}}
  fit: {batch_atoms: 40, max_epochs: 2, warmup_steps: 3, validation_share: 0.2}
"""


@pytest.fixture(scope="module", autouse=True)
def pair_network() -> Iterator[None]:
    """Add the line to the list."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, NAME, PairArchitecture(NAME))
        yield


@pytest.fixture(scope="module")
def checkpoint(lj_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a pre-trained pair network."""
    folder = tmp_path_factory.mktemp("pair")
    recipe = folder / "pair.yaml"
    recipe.write_text(RECIPE)
    section = load_recipe(PretrainRecipe, recipe)
    return synthzoo.pretrain(section, lj_set, folder / "pair").output


def test_it_learns_is_verified_and_predicts(checkpoint: Path, lj_set: Path):
    """By the same functions as any other; the seal, the hashes and the file, too."""
    assert json.loads((checkpoint / "config.json").read_text())["builder"] == NAME
    assert synthzoo.verify_model(checkpoint).passed
    calculator = synthzoo.load_calculator(checkpoint, device="cpu")
    structures = read(lj_set, ":")
    predicted = list(synthzoo.predict_structures(structures, calculator))
    assert len(structures) == len(predicted) == 40
    for atoms, labelled in zip(structures, predicted, strict=True):
        expected = calculator.get_potential_energy(atoms)
        assert labelled.get_potential_energy() == pytest.approx(expected, abs=1e-6)


def test_its_forces_and_stress_are_derivatives_of_its_energy(checkpoint: Path):
    """The calculator passes on what the network gives, with the sign of ASE."""
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.1, seed=2)
    atoms.calc = synthzoo.load_calculator(checkpoint, device="cpu", dtype="float64")
    forces = calculate_numerical_forces(atoms, eps=1e-4)
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-6)
    stress = calculate_numerical_stress(atoms, eps=1e-5)
    np.testing.assert_allclose(atoms.get_stress(), stress, atol=1e-6)


def test_fine_tuning_goes_on_from_it(checkpoint: Path, lj_set: Path, tmp_path: Path):
    """A fit that starts from its weights, with a part of them frozen."""
    recipe = pretrain_recipe(max_epochs=1, frozen=("layer0",))
    synthzoo.pretrain(recipe, lj_set, tmp_path / "on", start=checkpoint)
    assert read_config(tmp_path / "on").builder == NAME


def test_what_it_cannot_do_is_refused_by_its_name(checkpoint: Path, tmp_path: Path):
    """Scaling, here; and arguments that it does not allow."""
    with pytest.raises((InputError, CheckpointError), match=NAME):
        synthzoo.transmute_model(checkpoint, tmp_path / "si", element="Si", scale=1.5)
    config = replace(read_config(checkpoint), arguments={"width": 10**9})
    with pytest.raises(CheckpointError, match="PairNetwork cannot have"):
        build_model(config)


def test_it_is_not_compiled_by_torch(checkpoint: Path):
    """On the CPU, where the engine does not know it, either."""
    with pytest.raises(InputError, match="Networks of PairNetwork cannot be compiled"):
        synthzoo.load_calculator(checkpoint, device="cpu", compile=True)


class Kernels(PairArchitecture):
    """Has kernels, which compute a given multiple of the forces."""

    factor = 1.0

    def with_kernels(self, network: torch.nn.Module, kernels: str) -> torch.nn.Module:
        """Return another network."""
        assert kernels == "openequivariance"
        assert isinstance(network, PairNetwork)
        network.energy_scale_eV *= self.factor
        return network


@pytest.mark.parametrize("factor", [1.0, 1.01])
def test_kernels_are_used_if_they_compute_the_same(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, factor: float
):
    """The same path as on a GPU; what is installed stands for their package."""
    from synthzoo.models.acceleration import torch_pass_of
    from synthzoo.models.checkpoint import load_stored
    from synthzoo.models.place import PACKAGES, Place

    architecture = Kernels(NAME)
    architecture.factor = factor
    monkeypatch.setitem(ARCHITECTURES, NAME, architecture)
    monkeypatch.setitem(PACKAGES, "openequivariance", "numpy")
    stored = load_stored(checkpoint)
    place = Place(device="cpu", kernels="openequivariance")
    if factor != 1.0:
        with pytest.raises(SynthzooError, match="computes otherwise"):
            torch_pass_of(stored, place)
        return
    found = torch_pass_of(stored, place)
    assert found._evaluate is not found.network


def test_it_says_once_why_the_engine_does_not_serve_it(
    checkpoint: Path, caplog: pytest.LogCaptureFixture
):
    """One line for a process, however many networks are built."""
    from synthzoo.models.network import tell_of_slowness

    tell_of_slowness.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            build_model(read_config(checkpoint))
    (line,) = [record.message for record in caplog.records]
    assert "it does not know networks of PairNetwork" in line
