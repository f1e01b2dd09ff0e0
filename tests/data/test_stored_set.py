"""Labelled structures on disk: what is written is read, and damage is noticed."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from synthzoo.data import stored_set
from synthzoo.data.flat import flatten
from synthzoo.data.labels import CALCULATOR, LabelKeys, labels_of
from synthzoo.data.npy_writing import GrowingArray
from synthzoo.data.pairs import find_pairs
from synthzoo.data.stored_set import StoredSet, open_set
from synthzoo.data.structures import content_hash, label
from tests.toy import stored

KEYS = LabelKeys(energy=CALCULATOR, forces=CALCULATOR, stress=CALCULATOR)


def structures() -> list[Atoms]:
    """Return crystals and molecules of several sizes, with random labels."""
    rng = np.random.default_rng(0)
    found = []
    for number, atoms in enumerate(
        [bulk("Si"), molecule("CH4"), bulk("SiC", "zincblende", a=4.36, cubic=True)]
    ):
        atoms.rattle(0.05, seed=number)
        atoms.info.update(group=f"g{number}", kind=f"k{number}")
        found.append(
            label(
                atoms,
                energy_eV=rng.normal(),
                forces_eV_A=rng.normal(size=(len(atoms), 3)),
                stress_eV_A3=rng.normal(size=6) if atoms.pbc.all() else None,
            )
        )
    return found


@pytest.fixture
def small(tmp_path: Path) -> StoredSet:
    return stored(structures(), tmp_path)


def test_what_is_written_is_read(small: StoredSet):
    """In any order, to the last bit."""
    frames = structures()
    for order in ([2, 0], [1], [0, 1, 2]):
        chosen = [(frames[index], labels_of(frames[index], KEYS)) for index in order]
        expected = flatten(chosen)
        for name, values in vars(small.part(order)).items():
            np.testing.assert_array_equal(values, getattr(expected, name))
    assert small.elements == ("C", "H", "Si")
    for index, frame in enumerate(frames):
        atoms = small.atoms(index)
        assert content_hash(atoms) == content_hash(frame)
        assert atoms.get_potential_energy() == frame.get_potential_energy()
        known = "stress" in frame.calc.results
        assert ("stress" in atoms.calc.results) is known
        assert not known or (atoms.get_stress() == frame.get_stress()).all()
        assert small.group(index) == f"g{index}"
        assert atoms.info["config_type"] == f"k{index}"


def test_an_array_grows_beyond_the_room_that_its_first_header_seems_to_have(
    tmp_path: Path,
):
    path = tmp_path / "a.npy"
    with GrowingArray(path, "<f8", (2,)) as array:
        for number in range(1000):
            array.append(np.full((number % 3, 2), number))
    found = np.load(path, mmap_mode="r")
    expected = [number for number in range(1000) for _ in range(number % 3)]
    np.testing.assert_array_equal(found, np.stack([expected, expected], axis=1))


@pytest.mark.parametrize(
    "name", ["positions_A.npy", "groups.npy", "set.json", "SHA256SUMS"]
)
def test_a_damaged_set_is_not_read(small: StoredSet, name: str):
    """One bit is enough; so is a missing file."""
    path = small.folder / name
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    assert open_set(small.folder) is None
    path.unlink()
    assert open_set(small.folder) is None


def test_neighbours_are_counted_once_for_each_cutoff(
    small: StoredSet, monkeypatch: pytest.MonkeyPatch
):
    """Counts whose file is damaged are made again."""
    expected = [len(find_pairs(atoms, 3.0)) for atoms in structures()]
    np.testing.assert_array_equal(small.edges(3.0), expected)
    (kept,) = small.folder.glob("edges-*")
    content = kept.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(stored_set, "find_edges", lambda *_: pytest.fail("counted"))
        again = open_set(small.folder)
        assert again is not None
        np.testing.assert_array_equal(again.edges(3.0), expected)
    kept.write_bytes(content[:-1] + b"\1")
    np.testing.assert_array_equal(small.edges(3.0), expected)
    assert kept.read_bytes() == content
    assert small.edges(1.0).sum() == 0
