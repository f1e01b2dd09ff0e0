"""What advice rests on: label noise, unknown environments, the choice of a model."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase.build import bulk

from synthzoo.advice.coverage import coverage
from synthzoo.advice.data import Fold, curve_sizes, make_folds
from synthzoo.advice.findings import Found
from synthzoo.advice.label_noise import label_noise
from synthzoo.advice.starts import Start
from synthzoo.advice.trials import Said, Trial, keep, kept, trial
from synthzoo.advice.verdict import choose_model, outlook_of
from synthzoo.advice.words import advice_for
from synthzoo.data.labelled_set import LabelledSet
from synthzoo.data.labels import Labels
from synthzoo.data.structures import GROUP_KEY, label
from synthzoo.errors import InputError

NOISE_EV_A = 0.02


def noisy(count: int, *, groups: int | None = None) -> LabelledSet:
    """Return rattled crystals whose forces are noise."""
    rng = np.random.default_rng(0)
    structures = [bulk("C", cubic=True) for _ in range(count)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=seed)
        if groups:
            atoms.info[GROUP_KEY] = f"g{seed % groups}"
    labels = [
        Labels(energy_eV=-8.0 * n, forces_eV_A=NOISE_EV_A * rng.normal(size=(8, 3)))
        for n in range(count)
    ]
    return LabelledSet(structures=structures, labels=labels, origins=["x"] * count)


def test_noise_of_forces_is_found_from_their_sums():
    found = label_noise(noisy(60), [])
    assert not found.sums_vanish
    assert found.net_force_eV_A == pytest.approx(NOISE_EV_A, rel=0.15)
    assert found.twins_meV_per_atom is None


def test_twins_tell_the_noise_of_energies():
    """Energies that differ by 1 eV/atom have a standard deviation of 0.71 eV/atom."""
    found = label_noise(noisy(4), [(0, 1)])
    assert found.twins == 1
    assert found.twins_meV_per_atom == pytest.approx(1000 / np.sqrt(2))


def test_atoms_far_from_all_known_ones_lie_outside():
    rng = np.random.default_rng(0)
    known = [rng.normal(size=(20, 3)) * [1, 1, 0.01] for _ in range(30)]
    same = rng.normal(size=(200, 3)) * [1, 1, 0.01]
    found = coverage(known, [same, same + np.array([0, 0, 1])])
    assert found.by_structure[0] < 0.05
    assert found.by_structure[1] == 1
    assert found.mostly_outside == [1]
    assert found.outside == pytest.approx(np.mean(found.by_structure))


def test_each_structure_is_tested_once_and_related_ones_together():
    data = noisy(12, groups=6)
    folds = make_folds(data, 0)
    assert sorted(i for fold in folds for i in fold.tested) == list(range(12))
    for fold in folds:
        sides = [
            {data.structures[i].info[GROUP_KEY] for i in part}
            for part in (fold.training, fold.tested)
        ]
        assert not sides[0] & sides[1]


def test_two_groups_are_too_few():
    with pytest.raises(InputError, match="3 groups"):
        make_folds(noisy(2), 0)


def test_few_structures_have_short_curves():
    assert curve_sizes([Fold(number=1, training=tuple(range(4)), tested=(9,))]) == [
        2,
        4,
    ]


def said_with(
    data: LabelledSet, energy_eV: float, force_eV_A: float, seed: int = 1
) -> Trial:
    """Return the trial of a model whose errors are of these sizes."""
    rng = np.random.default_rng(seed)
    parts = [data.part(range(start, len(data), 3)) for start in range(3)]
    said = [
        Said(
            energies_eV=part.energies_eV + 8 * energy_eV * rng.normal(size=len(part)),
            forces_eV_A=part.forces_eV_A
            + force_eV_A * rng.normal(size=part.forces_eV_A.shape),
        )
        for part in parts
    ]
    return trial(f"{energy_eV} {force_eV_A}", 8, parts, said)


def test_the_simplest_model_that_is_not_clearly_worse_is_enough():
    """Three times the forces are no chance, one per mille is."""
    data = noisy(30)
    worse = said_with(data, 0.01, 0.3)
    alike, best = said_with(data, 0.01, 0.1, 2), said_with(data, 0.01, 0.0999, 3)
    found = choose_model([worse, alike, best])
    assert found.best is best
    assert found.enough is alike
    assert choose_model([worse, best]).enough is best
    assert choose_model([worse, best]).clearly_better == ("forces",)
    bad_energies = said_with(data, 0.05, 0.1001)
    assert choose_model([bad_energies, best]).enough is best


def test_energies_decide_where_forces_are_as_good():
    """A model whose forces are better by one in a thousand is not the best one."""
    data = noisy(30)
    crude = said_with(data, 0.05, 0.0999, 2)
    fine = said_with(data, 0.01, 0.1, 3)
    found = choose_model([crude, fine])
    assert found.best is fine
    assert found.enough is fine
    assert found.clearly_better == ("energies",)
    worse_forces = said_with(data, 0.01, 0.2, 3)
    assert choose_model([crude, worse_forces]).enough is crude


def test_a_network_that_fits_as_it_comes_is_not_tuned():
    """The advice says what a fit would do to it, and that more data change nothing."""
    data = noisy(30)
    sizes = (5, 10, 20)
    errors = {"untuned mine": (0.1, 0.1, 0.1), "fine-tuned mine": (0.9, 0.5, 0.3)}
    trials = [
        dataclasses.replace(said_with(data, 0.01, error, 2), name=name, size=size)
        for name, values in errors.items()
        for size, error in zip(sizes, values, strict=True)
    ]
    verdict = choose_model([each for each in trials if each.size == 20])
    bulk_data: Any = SimpleNamespace(bulk=data, elements=("C",))
    found = Found(
        data=bulk_data,
        trials=tuple(trials),
        starts=(),
        tuned=("mine",),
        left_out=(),
        noise=label_noise(data, []),
        by_start=None,
        by_data=None,
        origins=(),
        visits={},
        verdict=verdict,
        outlook=outlook_of(trials[:3], len(data), None),
    )
    advice = advice_for(found)
    assert "Use the untuned `mine`: its errors on your structures" in advice.use
    assert "Fine-tuned on 20 structures, it has 0.30" in advice.use
    assert "which is not fitted" in advice.next
    assert advice.expect.startswith("Expect 0.1")


def test_an_untuned_network_gets_constants_from_other_structures():
    """Forces stay, and energies are exact where one constant is all that lacks."""
    data = noisy(6)
    predicted = [
        label(atoms, energy_eV=found.energy_eV + 3 * 8, forces_eV_A=found.forces_eV_A)
        for atoms, found in zip(data.structures, data.labels, strict=True)
    ]
    nothing: Any = None
    start = Start("mine", nothing, nothing, predicted, nothing)
    said = start.says(data, [0, 1, 2], [5, 3])
    np.testing.assert_allclose(said.energies_eV, data.energies_eV[[5, 3]])
    np.testing.assert_array_equal(said.forces_eV_A[:8], data.labels[5].forces_eV_A)


def test_four_structures_do_not_tell_models_apart():
    data = noisy(4)
    found = choose_model([said_with(data, 0.01, 0.3), said_with(data, 0.01, 0.1)])
    assert not found.told
    assert found.enough is found.best


def test_what_was_said_comes_back_from_its_file(tmp_path):
    said = Said(energies_eV=np.arange(3.0), forces_eV_A=np.ones((4, 3)))
    keep(tmp_path / "said.npz", said)
    again = kept(tmp_path / "said.npz")
    assert again.energies_eV.tolist() == said.energies_eV.tolist()
    assert again.forces_eV_A.tolist() == said.forces_eV_A.tolist()
