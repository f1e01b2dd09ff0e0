"""What fine-tuning sees again of the synthetic structures."""

from __future__ import annotations

from ase import Atoms
from ase.build import bulk

from synthzoo.distillation.replay import LACKED_SHARE, USUAL_SHARE, to_replay


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
    replayed, share = to_replay([*around, *known, *pure], OWN)
    formulas = [atoms.get_chemical_formula() for atoms in replayed]
    assert formulas.count("Ta2") == formulas.count("MoTa") == 6
    assert {atoms.info["kind"] for atoms in replayed} == {"crystals"}
    assert share == LACKED_SHARE


def test_structures_around_the_users_are_never_replayed():
    """What the student says of them would keep the fit from learning the labels."""
    pair = crystal("Ta2", "dimers")  # no composition that is lacking
    squeezed = crystal("MoTa", "compressed")
    around = [crystal("MoTa", kind) for kind in ("around", "dynamics")]
    assert to_replay([*around, pair, squeezed], OWN) == ([pair, squeezed], USUAL_SHARE)
