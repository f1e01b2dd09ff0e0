"""Replay: what synthetic structures are held to, and that less of them is forgotten."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk, graphene
from click.testing import CliRunner

from synthzoo.cli import main
from synthzoo.data.structures import label, write_structures
from synthzoo.errors import InputError
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.finetuning.replay import find_replay, read_synthetic
from synthzoo.finetuning.run import finetune
from synthzoo.models.checkpoint import read_config
from synthzoo.zoo.load import load_calculator

if TYPE_CHECKING:
    from ase import Atoms

STIFFER = 1.2
NEAR_START_EV = 1.4
"""Brings labels of an untrained network, made stiffer, back to its own energies."""


def layers(count: int) -> list[Atoms]:
    """Return single layers, unlike any crystal that is fitted."""
    found = []
    for seed in range(count):
        atoms = graphene("C2", a=2.5, vacuum=4.0)
        atoms.rattle(0.1, seed=seed)
        found.append(atoms)
    return found


def labelled(structures: list[Atoms], checkpoint: Path) -> list[Atoms]:
    """Return structures with a checkpoint's labels, made stiffer."""
    calculator = load_calculator(checkpoint)
    found = []
    for atoms in structures:
        atoms.calc = calculator
        energy = STIFFER * atoms.get_potential_energy() + NEAR_START_EV * len(atoms)
        found.append(
            label(atoms, energy_eV=energy, forces_eV_A=STIFFER * atoms.get_forces())
        )
    return found


def test_what_is_replayed_is_held_to_what_was_asked_for(
    tiny_checkpoint: Path, tmp_path: Path
):
    """To the start's energies and forces, or to its teacher's forces alone."""
    path = tmp_path / "layers.xyz"
    write_structures(path, labelled(layers(10), tiny_checkpoint))
    start = load_calculator(tiny_checkpoint, device="cpu")
    own = read_synthetic([path], start)
    taught = read_synthetic([path], start, labels="teacher")
    assert len(own.mixed) == len(taught.mixed) > 0
    assert own.taught
    assert taught.taught
    assert np.isnan(taught.mixed.energies_eV).all()
    np.testing.assert_allclose(
        taught.mixed.forces_eV_A, STIFFER * own.mixed.forces_eV_A, atol=1e-5
    )
    atoms = own.mixed.structures[0]
    atoms.calc = start
    assert own.mixed.energies_eV[0] == pytest.approx(atoms.get_potential_energy())
    np.testing.assert_allclose(own.kept.forces_eV_A, taught.kept.forces_eV_A)
    assert np.isfinite(taught.kept.energies_eV).all()


def test_the_zoos_structures_are_taken_where_they_fit(tiny_checkpoint: Path):
    """By default for a potential of carbon; a mere start has nothing to keep."""
    config = read_config(tiny_checkpoint)
    assert [path.name for path in find_replay(None, config)] == ["carbon-ace.xyz"]
    assert find_replay(None, config) == find_replay("zoo", config)
    start = dataclasses.replace(config, kind="starting-point")
    assert find_replay(None, start) == []
    silicon = dataclasses.replace(config, elements=("Si",))
    assert find_replay(None, silicon) == []
    with pytest.raises(InputError, match="No synthetic structures of Si"):
        find_replay("zoo", silicon)


@pytest.mark.parametrize(("words", "sources"), [([], None), (["zoo"], ("zoo",))])
def test_the_command_replays_by_default(
    words: list[str], sources: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
):
    """Where `--replay` is not given, the function's own default holds."""
    asked: dict[str, Any] = {}

    def fine_tune(*_arguments: Any, **options: Any) -> None:
        asked.update(options)
        raise InputError("That is all.")

    monkeypatch.setattr("synthzoo.finetune", fine_tune)
    options = [part for word in words for part in ("--replay", word)]
    CliRunner().invoke(main, ["finetune", "carbon", "x.xyz", "-o", "y", *options])
    found = asked.get("replay")
    assert (found and tuple(map(str, found))) == sources


@pytest.mark.thorough
def test_a_share_of_zero_replays_nothing(tiny_checkpoint: Path, tmp_path: Path):
    """It is the way to switch off what is done unless said."""
    crystals = [bulk("C", cubic=True) for _ in range(3)]
    for seed, atoms in enumerate(crystals):
        atoms.rattle(0.1, seed=seed)
    write_structures(tmp_path / "dft.xyz", labelled(crystals, tiny_checkpoint))
    output = tmp_path / "tuned"
    recipe = FinetuneRecipe(visits=3, replay_share=0.0, threads=1)
    finetune(tiny_checkpoint, tmp_path / "dft.xyz", output, recipe=recipe)
    assert "were mixed into" not in (output / "report.md").read_text("utf-8")


@pytest.mark.thorough
def test_less_is_forgotten(tiny_checkpoint: Path, tmp_path: Path):
    """Forces of layers that nobody labelled move less where others are replayed."""
    crystals = [bulk("C", cubic=True) for _ in range(8)]
    for seed, atoms in enumerate(crystals):
        atoms.rattle(0.1, seed=seed)
    write_structures(tmp_path / "dft.xyz", labelled(crystals, tiny_checkpoint))
    write_structures(tmp_path / "layers.xyz", layers(20))
    recipe = FinetuneRecipe(
        visits=240,
        batch_atoms=24,
        held_out_share=0.0,
        check_share=0.0,
        replay_share=0.5,
        threads=1,
    )
    moved: list[float] = []
    for replay in ((), tmp_path / "layers.xyz"):
        output = tmp_path / f"tuned-{len(moved)}"
        finetune(
            tiny_checkpoint,
            tmp_path / "dft.xyz",
            output,
            recipe=recipe,
            replay=replay,
        )
        moved.append(_moved(tiny_checkpoint, output))
    assert moved[1] < 0.5 * moved[0]


def _moved(start: Path, tuned: Path) -> float:
    """Return how far the forces of unseen layers moved, root mean square in eV/Å."""
    forces = []
    for model in (start, tuned):
        calculator = load_calculator(model)
        for atoms in layers(25)[20:]:
            atoms.calc = calculator
            forces.append(atoms.get_forces())
    before, after = np.split(np.array(forces), 2)
    return float(np.sqrt(np.mean(np.square(after - before))))
