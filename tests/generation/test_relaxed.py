"""Structures of other parts take some steps along the forces of a driver."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.lj import LennardJones

from synthzoo.errors import InputError
from synthzoo.generation.kinds.from_prototypes import Crystals, Surfaces
from synthzoo.generation.kinds.part import Part
from synthzoo.generation.kinds.relaxed import Relaxed
from synthzoo.generation.kinds.sheets import Layers
from synthzoo.generation.parts import Work, maker_of
from synthzoo.generation.species import Species

CARBON = Species(("C",))
DRIVER = LennardJones(sigma=1.4, epsilon=1.0, rc=3.0)
BCC: dict[str, float | None] = {"bcc": 1.57}
HOLED = Crystals(count=2, prototypes=BCC, max_atoms=16, vacancy_share=1.0)


class Mover:
    """A teacher whose forces are those of `DRIVER`."""

    forces_calculator = DRIVER


def made(part: Part) -> dict[str, Atoms]:
    driver: Any = Mover()
    rng = np.random.default_rng(0)
    work = Work(part=part, item=0, species=CARBON, rng=rng, driver=driver)
    return dict(maker_of(part).make(work))


def energy_eV(atoms: Atoms) -> float:
    atoms.calc = DRIVER
    return float(atoms.get_potential_energy())


@pytest.mark.parametrize(
    "of",
    [
        HOLED,
        Surfaces(count=1, prototypes=BCC, max_atoms=4),
        Layers(count=1, bond_A=1.5, max_atoms=12, distance_A=(3.0, 3.0)),
    ],
    ids=lambda of: of.kind,
)
def test_relaxing_lowers_the_energy(of: Crystals | Surfaces | Layers):
    """Whatever is relaxed has as many atoms as before, its cell, and less energy."""
    of = dataclasses.replace(of, count=1)
    (before,) = made(of).values()
    (after,) = made(Relaxed(of=of, relax_steps=(15, 15))).values()
    assert len(after) == len(before)
    assert after.cell.array == pytest.approx(before.cell.array)
    assert energy_eV(after) < energy_eV(before) - 0.01


def test_no_steps_and_another_rattle():
    """Without steps, structures are those of the other part, rattled if asked for."""
    plain, still = made(HOLED), made(Relaxed(of=HOLED, relax_steps=(0, 0)))
    name = next(iter(plain))
    assert still[name].positions == pytest.approx(plain[name].positions)
    assert still[name].info == plain[name].info
    moved = made(Relaxed(of=HOLED, relax_steps=(0, 0), rattle_A=(0.05, 0.05)))[name]
    assert 0.02 < np.std(moved.positions - plain[name].positions) < 0.1


def test_what_is_relaxed_is_shared_by_jobs():
    """None is lost, and each prototype is in each share."""
    part = Relaxed(of=dataclasses.replace(HOLED, count=120))
    maker = maker_of(part)
    assert [share.of.count for share in maker.split(part, (1, 0))] == [50, 50, 20]
    assert maker.structures(part, CARBON) == 120
    assert maker.mean_atoms(part, CARBON) == 16


def test_files_are_for_another_kind():
    """Structures of a file have families of their own."""
    with pytest.raises(InputError, match="`kind: around`"):
        Relaxed(of=Crystals(count=1, structures="mine.xyz"))
