"""What energies of atoms teach a network of total energies: how that is measured."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.local_energy_transfer import (
    DIRECT,
    LOCAL,
    TUNED,
    Fit,
    fewer_labels,
    fit_totals,
    flat,
    tables,
)
from synthzoo.regression.environments import Environments
from synthzoo.regression.fitting import NetworkChoice, seeded
from synthzoo.regression.network import EnergyNetwork, Hidden

SIZES = [50, 100, 200]


def test_labels_are_counted_where_the_direct_fit_is_as_good():
    """An error that the direct fit reaches with four times as many, and beyond."""
    means = {DIRECT: [80.0, 40.0, 20.0], TUNED: [20.0, 10.0, 90.0]}
    assert fewer_labels(SIZES, means, 50) == "4.0"
    assert fewer_labels(SIZES, means, 100) == "> 2.0"
    assert fewer_labels(SIZES, means, 200) == "< 0.2"


def line(fit: str, structures: int, seed: int, dft_meV: float) -> dict[str, Any]:
    local = 0 if fit == DIRECT else 1000
    return {
        "fit": fit,
        "local": local,
        "structures": structures,
        "seed": seed,
        "dft_meV": dft_meV,
        "local_meV": 2 * dft_meV,
    }


def test_tables_have_the_form_of_the_paper():
    """The three networks on both kinds of energy, then the learning curves."""
    lines = [
        line(fit, size, seed, error + 2 * seed)
        for fit, error in ((DIRECT, 50.0), (LOCAL, 100.0), (TUNED, 40.0))
        for size in (100, 200)
        for seed in (0, 1)
    ]
    text = tables(lines)
    assert "| direct | 51.0 ± 1.0 | 102.0 ± 2.0 |" in text
    assert "| fine-tuned | 41.0 ± 1.0 | 82.0 ± 2.0 |" in text
    assert "| 100 | 51.0 | 41.0 | > 2.0 |" in text


def test_totals_teach_a_network_the_atoms():
    """Of structures whose energy is a sum over atoms, it learns that sum."""
    generator = np.random.default_rng(0)
    spectra = generator.normal(size=(60, 4, 6)).astype(np.float32)
    structures = Environments(
        spectra=spectra,
        numbers=np.full((60, 4), 6),
        energies_eV=spectra[:, :, 0].mean(axis=1) - 7.0,
        groups=np.arange(60),
    )
    choice = NetworkChoice(
        width=16, visits=2400, learning_rate=1e-2, dropout=0.0, seed=0
    )
    with seeded(0):
        hidden = Hidden.of(flat(structures), choice)
        start = Fit(EnergyNetwork(hidden, 16), -7.0)
    fit = fit_totals(start, structures, choice, -7.0)
    before, after = (
        np.abs(each.of_structures(structures) - structures.energies_eV).mean()
        for each in (start, fit)
    )
    assert after < 0.2 * before
    atoms = fit.of_atoms(flat(structures)).reshape(60, 4)
    assert np.corrcoef(atoms.ravel(), spectra[:, :, 0].ravel())[0, 1] > 0.9
