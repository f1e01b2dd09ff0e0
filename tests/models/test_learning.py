"""The loss weighs energies and forces as the recipe says, and outliers less."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from nequip.data import AtomicDataDict

from synthzoo.models.learning import Term, VirialPerAtom, loss_of


def loss_at(terms: tuple[Term, Term], energy_eV: float, force_eV_A: float) -> float:
    """Return the loss of one structure of two atoms with such errors."""
    right = {
        AtomicDataDict.NUM_NODES_KEY: torch.tensor([2]),
        AtomicDataDict.TOTAL_ENERGY_KEY: torch.zeros(1, 1),
        AtomicDataDict.FORCE_KEY: torch.zeros(2, 3),
    }
    wrong = {
        **right,
        AtomicDataDict.TOTAL_ENERGY_KEY: torch.tensor([[2 * energy_eV]]),
        AtomicDataDict.FORCE_KEY: torch.full((2, 3), force_eV_A),
    }
    found = instantiate(loss_of(*terms))(wrong, right)
    return float(found["weighted_sum"])


def test_without_limits_errors_enter_as_weighted_squares():
    """Per atom and per component; nequip divides by the sum of the weights."""
    terms = Term(3.0), Term(1.0)
    expected = (3 * 0.5**2 + 2.0**2) / 4
    assert loss_at(terms, 0.5, 2.0) == pytest.approx(expected)


def test_limits_change_nothing_for_small_errors():
    """Within the limits the loss is the same up to nequip's normalisation."""
    limited = Term(3.0, 0.1), Term(1.0, 3.0)
    free = Term(3.0), Term(1.0)
    ratios = [
        loss_at(limited, energy, force) / loss_at(free, energy, force)
        for energy, force in ((0.05, 0.0), (0.0, 2.0), (0.08, 1.0))
    ]
    assert ratios == pytest.approx([ratios[0]] * 3)


def test_beyond_its_limit_an_error_counts_in_proportion():
    """Ten times the error is ten times the loss, less a constant."""
    terms = Term(1.0, 0.1), Term(1.0)
    steps = [loss_at(terms, energy, 0.0) for energy in (1.0, 2.0, 3.0)]
    assert steps[2] - steps[1] == pytest.approx(steps[1] - steps[0])
    assert loss_at(terms, 0.0, 2.0) > 3.9 * loss_at(terms, 0.0, 1.0)


def strained(volume_A3: float, atoms: int, stress_eV_A3: float) -> dict[str, Any]:
    """Return a cubic structure with a pressure, and no error of energy or forces."""
    return {
        AtomicDataDict.NUM_NODES_KEY: torch.tensor([atoms]),
        AtomicDataDict.TOTAL_ENERGY_KEY: torch.zeros(1, 1),
        AtomicDataDict.FORCE_KEY: torch.zeros(atoms, 3),
        AtomicDataDict.CELL_KEY: volume_A3 ** (1 / 3) * torch.eye(3)[None],
        AtomicDataDict.STRESS_KEY: stress_eV_A3 * torch.eye(3)[None],
    }


def test_stress_counts_by_the_energy_that_strain_costs_an_atom():
    """The same error of stress counts four times in twice the volume per atom."""
    loss = instantiate(loss_of(Term(1.0), Term(1.0), Term(2.0)))
    found = [
        float(
            loss(strained(volume, atoms, 0.3), strained(volume, atoms, 0.1))[
                "weighted_sum"
            ]
        )
        for volume, atoms in ((20.0, 2), (40.0, 4), (40.0, 2))
    ]
    assert found[0] == pytest.approx(2 / 4 * (10 * 0.2) ** 2 / 3, rel=1e-5)
    assert found == pytest.approx([found[0], found[0], 4 * found[0]])


def test_an_unknown_stress_is_no_error_and_pulls_nowhere():
    """Not even where the network's own is not a number: a cell without volume."""
    known, unknown = strained(20.0, 2, 0.1), strained(20.0, 2, float("nan"))
    for labels, slope in ((unknown, 0.0), (known, -2 / 3)):
        weight = torch.tensor(0.0, requires_grad=True)
        wrong = strained(20.0, 2, 0.1)
        wrong[AtomicDataDict.STRESS_KEY] = wrong[AtomicDataDict.STRESS_KEY] * weight
        predicted, label = VirialPerAtom()(wrong, labels)
        (predicted - label).square().mean().backward()
        assert weight.grad == pytest.approx(slope)
    lost = strained(0.0, 2, float("nan"))
    assert not any(found.any() for found in VirialPerAtom()(lost, lost))
