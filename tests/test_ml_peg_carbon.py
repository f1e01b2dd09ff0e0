"""The protocols of ml-peg for carbon: what they start from, and that they go on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.lj import LennardJones

from benchmarks import ml_peg_carbon
from benchmarks.ml_peg_carbon import PROTOCOLS, Protocol, UnstableError, run


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_starts_have_216_atoms_and_their_density(protocol: Protocol) -> None:
    """In g/cm³."""
    for density in protocol.densities:
        atoms = protocol.start(density)
        assert len(atoms) == 216
        mass_g = atoms.get_masses().sum() / units.mol
        assert mass_g / (atoms.get_volume() * 1e-24) == pytest.approx(density)


def test_neighbours_of_diamond_and_graphene_are_counted() -> None:
    """Whatever the cell."""
    assert (ml_peg_carbon.kinds_of(bulk("C")) == 4).all()
    assert (ml_peg_carbon.kinds_of(ml_peg_carbon.sheet(1.42)) == 3).all()


def test_a_run_is_done_once_and_a_failure_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second call reads what the first one wrote."""
    moved = []

    def explode(atoms: Atoms, _share: float) -> None:
        moved.append(len(atoms))
        raise UnstableError("90000 K")

    potential = SimpleNamespace(calculator=LennardJones())
    monkeypatch.setattr(ml_peg_carbon, "load_potential", lambda _model: potential)
    protocol = dataclasses.replace(PROTOCOLS[1], move=explode)
    found = [run(protocol, "carbon", 2.0, 1.0, tmp_path) for _ in range(2)]
    assert len(moved) == 1
    for atoms in found:
        assert atoms.info["failure"] == "UnstableError: 90000 K"
    table = protocol.table({"carbon": {2.0: found[1]}})
    assert "0 of 1 | 2.0: UnstableError: 90000 K" in table
    np.testing.assert_allclose(found[0].positions, found[1].positions)
