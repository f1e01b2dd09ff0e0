"""What fine-tuning sees again of the synthetic structures."""

from __future__ import annotations

from ase import Atoms
from ase.build import bulk

from synthzoo.distillation.replay import to_replay


def crystal(symbols: str, kind: str) -> Atoms:
    atoms = bulk("Ta", cubic=True)
    atoms.symbols[:] = Atoms(symbols).symbols
    atoms.info["kind"] = kind
    return atoms


OWN = [crystal("MoTa", "own"), crystal("Mo2", "own")]


def test_what_the_data_lack_is_half_of_what_is_replayed():
    around = [crystal("MoTa", "around")] * 9
    known = [crystal("MoTa", "crystals") for _ in range(6)]
    pure = [crystal("Ta2", "crystals") for _ in range(2)]
    replayed = to_replay([*around, *known, *pure], OWN)
    formulas = [atoms.get_chemical_formula() for atoms in replayed]
    assert formulas.count("Ta2") == formulas.count("MoTa") == 6
    assert {atoms.info["kind"] for atoms in replayed} == {"crystals"}


def test_without_such_crystals_all_are_replayed():
    """Pairs of atoms are no composition that is lacking."""
    structures = [crystal("MoTa", "around"), crystal("Ta2", "dimers")]
    assert to_replay(structures, OWN) == structures
    structures.append(crystal("Mo2", "crystals"))
    assert to_replay(structures, OWN) == structures
