"""Structures: what is refused, what survives a file, and how sets are split."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from synthzoo.data.sound import check_structure, min_distance_A
from synthzoo.data.structures import (
    density_g_cm3,
    dimer,
    is_isolated_atom,
    iter_structures,
    kind_of,
    label,
    read_structures,
    split_by_group,
    write_structures,
)
from synthzoo.errors import InputError


def diamond() -> Atoms:
    return bulk("C", cubic=True)


def test_a_crystal_and_a_molecule_pass():
    """Periodic and free structures with all numbers in place are accepted."""
    check_structure(diamond(), elements=["C"])
    check_structure(molecule("C60"))


def _with_nan() -> Atoms:
    atoms = diamond()
    atoms.positions[3, 1] = np.nan
    return atoms


def _twice() -> Atoms:
    atoms = diamond()
    doubled: Atoms = atoms + atoms[2:3]
    return doubled


def _through_the_wall() -> Atoms:
    return Atoms("C2", positions=[[0.0, 0, 0], [9.99, 0, 0]], cell=[10.0] * 3, pbc=True)


def _crowd(pbc: list[bool]) -> Atoms:
    positions = np.random.default_rng(0).random((8, 3)) * 0.6
    return Atoms("C8", positions, cell=[0.6, 0.6, 0.6 if all(pbc) else 9], pbc=pbc)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms(), "holds no atoms"),
        (_with_nan(), "position of atom 3 is not a finite number"),
        (
            Atoms("C", pbc=[True, False, False]),
            "periodic along a, but that cell vector",
        ),
        (
            Atoms("C", cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=True),
            "its cell has no volume",
        ),
        (
            Atoms("C", cell=[9, 1e-3, 9], pbc=True),
            "only 0.001 Å thick along b, less than 0.05 Å. Is its cell in Å",
        ),
        (
            Atoms("C", cell=[[9, 0, 0], [1e6, 9, 0], [0, 0, 9]], pbc=True),
            "only 8e-05 Å thick along a.* are two cell vectors almost parallel",
        ),
        (
            Atoms("C", cell=[[9, 0, 0], [0, 9, 0], [9, 0, 1e-7]], pbc=[1, 1, 0]),
            "only 1e-07 Å thick along a",
        ),
        (
            Atoms("C", cell=[9, 9, 1e9], pbc=[True, True, False]),
            r"a cell vector is 1e\+09 Å long.* Is its cell in Å",
        ),
        (_crowd([True, True, True]), "37 atoms/Å³.* Is its cell in Å"),
        (_crowd([True, True, False]), "14 atoms/Å³.* Is its cell in Å"),
        (_twice(), "atoms 2 and 8 are at the same position"),
        (_through_the_wall(), "atoms 0 and 1 are at the same position"),
        (molecule("CO"), "contains O; only C can be used"),
    ],
    ids=[
        "empty",
        "nan",
        "no-cell",
        "flat",
        "thin",
        "skewed",
        "open-parallel",
        "long",
        "dense",
        "dense-layer",
        "duplicate",
        "image",
        "element",
    ],
)
def test_a_structure_without_an_energy_is_refused(atoms: Atoms, message: str):
    """Each fault is named, with the atom or the direction where it is."""
    with pytest.raises(InputError, match=message):
        check_structure(atoms, elements=["C"])


def test_density_and_distance_of_diamond():
    """Diamond with a = 3.567 Å has 3.51 g/cm³ and bonds of 1.545 Å."""
    atoms = bulk("C", a=3.567, cubic=True)
    assert density_g_cm3(atoms) == pytest.approx(3.515, abs=0.003)
    assert min_distance_A(atoms) == pytest.approx(3.567 * 3**0.5 / 4)
    assert min_distance_A(atoms, cutoff_A=1.0) == 1.0


def test_labels_survive_a_file(tmp_path: Path):
    """What is written can be read back where ASE expects it."""
    atoms = diamond()
    forces = np.random.default_rng(0).normal(size=(8, 3))
    labelled = label(
        atoms, energy_eV=-60.5, forces_eV_A=forces, energies_eV=np.full(8, -7.5625)
    )
    assert write_structures(tmp_path / "a.xyz", [labelled, labelled]) == 2
    first, second = read_structures(tmp_path / "a.xyz")
    assert first.get_potential_energy() == -60.5
    np.testing.assert_allclose(second.get_forces(), forces, atol=1e-8)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.xyz"]


def test_a_failing_source_leaves_no_file(tmp_path: Path):
    """A file appears under its name only when all structures are in it."""

    def broken():
        yield diamond()
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  raised just above
        write_structures(tmp_path / "a.xyz", broken())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no file"),
        ("", "is empty"),
        ("2\nnothing\nC 0 0 0\n", "structure number 1 cannot be read"),
    ],
    ids=["missing", "empty", "cut"],
)
def test_unreadable_files_are_named(tmp_path: Path, content: str | None, message: str):
    """A missing, empty or cut file ends in one error that says which it is."""
    path = tmp_path / "bad.xyz"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        list(iter_structures(path))


def test_an_unknown_format_is_named(tmp_path: Path):
    """A file that ASE cannot recognise is the user's to mend."""
    path = tmp_path / "notes.unknown"
    path.write_text("hello\n")
    with pytest.raises(InputError, match="does not recognise"):
        list(iter_structures(path))


def _grouped(sizes: dict[str, int]) -> list[Atoms]:
    return [
        Atoms("C", info={"group": group})
        for group, count in sizes.items()
        for _ in range(count)
    ]


def test_related_frames_stay_together():
    """No group is on both sides, and every structure is on one of them."""
    structures = _grouped({f"g{index}": 5 for index in range(10)})
    training, validation = split_by_group(structures, 0.2, seed=3)
    assert sorted(training + validation) == list(range(50))
    groups = [
        {structures[i].info["group"] for i in part} for part in (training, validation)
    ]
    assert groups[0].isdisjoint(groups[1])
    assert all(groups)


def test_added_groups_move_no_other():
    """A set that grows, at either end, leaves every frame on its side."""
    few = _grouped({f"g{index}": 2 for index in range(40)})
    more = [*_grouped({f"h{index}": 3 for index in range(70)}), *few]
    for seed in range(5):
        before = {few[i].info["group"] for i in split_by_group(few, 0.2, seed=seed)[1]}
        after = {more[i].info["group"] for i in split_by_group(more, 0.2, seed=seed)[1]}
        assert before == {name for name in after if name.startswith("g")}


def test_the_share_is_met_as_closely_as_promised():
    """Over many groups it is met within three standard deviations; seeds differ."""
    structures = _grouped({f"g{index}": 1 for index in range(2000)})
    splits = [split_by_group(structures, 0.1, seed=seed)[1] for seed in range(5)]
    assert all(
        abs(len(split) - 200) < 3 * (2000 * 0.1 * 0.9) ** 0.5 for split in splits
    )
    assert len({tuple(split) for split in splits}) == 5


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(10))
def test_neither_set_is_empty(share: float, seed: int):
    """Two groups are enough, whatever the share and the seed."""
    assert all(split_by_group(_grouped({"a": 2, "b": 1}), share, seed=seed))


def test_frames_without_a_group_are_split_one_by_one():
    """A structure that does not say where it comes from goes with its copies only."""
    structures = [diamond() for _ in range(200)]
    for index, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=index)
    _, validation = split_by_group(structures, 0.3, seed=0)
    assert abs(len(validation) - 60) < 3 * (200 * 0.3 * 0.7) ** 0.5
    copies = [*structures, *(atoms.copy() for atoms in structures)]
    twice = split_by_group(copies, 0.3, seed=0)[1]
    assert twice == validation + [200 + index for index in validation]


def test_one_group_cannot_be_split():
    """A validation set out of the training set's own trajectory would be a lie."""
    with pytest.raises(InputError, match="1 group"):
        split_by_group(_grouped({"a": 8}), 0.5, seed=0)


@pytest.mark.parametrize("key", ["config_type", "Config_type", "CONFIG_TYPE", "Kind"])
def test_a_kind_is_known_however_its_key_is_written(key: str):
    """Capitals do not matter; without a key the kind is unnamed."""
    atoms = bulk("C")
    assert kind_of(atoms) == "unnamed"
    assert kind_of(atoms, unnamed="all") == "all"
    atoms.info[key] = "bulk_amo"
    assert kind_of(atoms) == "bulk_amo"


@pytest.mark.parametrize(
    ("atoms", "isolated"),
    [
        (Atoms("C"), True),
        (Atoms("C", cell=[9.0] * 3, pbc=True), True),
        (Atoms("C", cell=[9.0, 9.0, 4.0], pbc=True), False),
        (Atoms("C", cell=[9.0, 9.0, 4.0], pbc=(True, True, False)), True),
        (dimer(["C", "C"], 7.0, side_A=20.0), False),
    ],
)
def test_an_atom_is_isolated_if_its_images_are_far(*, atoms: Atoms, isolated: bool):
    """Periodic images within the distance are neighbours; two atoms are never one."""
    assert is_isolated_atom(atoms, 5.0) is isolated
