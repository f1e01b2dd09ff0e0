"""Random packings keep the distances of their pairs, given or not."""

import numpy as np
import pytest
from ase import Atoms

from synthzoo.data.pairs import find_pairs
from synthzoo.data.structures import density_g_cm3
from synthzoo.errors import InputError
from synthzoo.generation.kinds.from_atoms import Packing
from synthzoo.generation.packing import CLOSEST, pack
from synthzoo.generation.sizes import bond_length_A
from synthzoo.generation.species import Species


def shortest_A(atoms: Atoms) -> dict[tuple[str, ...], float]:
    """Return the shortest distance of each pair of elements."""
    pairs = find_pairs(atoms, 5.0)
    found: dict[tuple[str, ...], float] = {}
    for i, j, distance_A in zip(
        pairs.first, pairs.second, pairs.distances_A, strict=True
    ):
        ends = tuple(sorted((atoms.symbols[i], atoms.symbols[j])))
        found[ends] = min(found.get(ends, np.inf), distance_A)
    return found


@pytest.mark.parametrize(
    ("elements", "formula"),
    [
        (("In", "P"), "InP"),
        (("Si", "O"), "SiO2"),
        (("Ba", "Ti", "O"), "BaTiO3"),
        (("H", "O"), "H2O"),
        (("Cs", "Cl"), "CsCl"),
        (("W",), "W"),
    ],
)
def test_defaults_can_be_packed_and_keep_atoms_apart(
    elements: tuple[str, ...], formula: str
):
    """Whatever the elements: no distance and no density has to be given."""
    species = Species(elements, (formula,))
    part = Packing(count=1, atoms=(30, 60))
    for seed in range(10):
        atoms = pack(part, species, np.random.default_rng(seed))
        shares = [
            distance_A / bond_length_A(*pair)
            for pair, distance_A in shortest_A(atoms).items()
        ]
        assert 0.6 < min(shares) < 1.0
        if formula == "InP":
            assert min(shares) >= CLOSEST
            assert 3.5 < density_g_cm3(atoms) < 7.0


def test_distances_by_pairs_hold_for_their_pairs_only():
    """In any order of the two elements; the other pairs keep their default."""
    species = Species(("In", "P"), ("InP",))
    part = Packing(
        count=1,
        atoms=(40, 40),
        density_g_cm3=(3.0, 3.0),
        min_distance_A={"P-In": 2.4, "P-P": 3.0},
    )
    found = shortest_A(pack(part, species, np.random.default_rng(0)))
    assert found["In", "P"] >= 2.4
    assert found["P", "P"] >= 3.0
    assert CLOSEST * bond_length_A("In", "In") <= found["In", "In"] < 3.0


def test_one_distance_holds_for_all_pairs():
    """A number is meant for every pair."""
    species = Species(("Cu", "Zn"))
    part = Packing(count=1, atoms=(20, 20), density_g_cm3=(6, 6), min_distance_A=2.1)
    for seed in range(5):
        found = shortest_A(pack(part, species, np.random.default_rng(seed)))
        assert min(found.values()) >= 2.1


def test_what_cannot_be_packed_names_the_elements_and_the_distances():
    """One line, with the way out."""
    species = Species(("In", "P"), ("InP",))
    part = Packing(
        count=1,
        atoms=(20, 20),
        density_g_cm3=(9.0, 9.0),
        min_distance_A={"In-P": 3.0, "In-In": 3.0, "P-P": 2.8},
    )
    with pytest.raises(
        InputError,
        match=r"20 atoms of In, P at 9\.00 g/cm³ .* 2\.8 to 3 Å apart; lower",
    ):
        pack(part, species, np.random.default_rng(0))
