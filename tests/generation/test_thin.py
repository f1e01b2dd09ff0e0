"""Thinned sets cover more than random ones, rare environments above all."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene

from synthzoo.data.structures import read_structures, write_structures
from synthzoo.errors import InputError
from synthzoo.generation.builders import crystal
from synthzoo.generation.kinds.from_prototypes import Crystals
from synthzoo.generation.recipe import ThinRecipe
from synthzoo.generation.species import Species
from synthzoo.generation.thin import describe_structures, select_farthest, thin_file

pytest.importorskip("dscribe", reason="dscribe is not installed")

CARBON = Species(("C",))
KEEP = ThinRecipe(keep=8)


def rattled(count: int, *, width_A: float = 0.02) -> list[Atoms]:
    """Return diamonds that are much alike."""
    atoms = bulk("C", cubic=True)
    structures = []
    for seed in range(count):
        copy = atoms.copy()
        copy.rattle(width_A, seed=seed)
        structures.append(copy)
    return structures


@pytest.fixture(scope="module")
def crystals() -> list[Atoms]:
    """Return 80 diamonds and a few of other crystals each, as sets often are."""
    rng = np.random.default_rng(0)
    bonds_A: dict[str, float | None] = {
        "layer": 1.42,
        "simple-cubic": 1.78,
        "fcc": 2.18,
        "nanotube": 1.43,
    }
    part = Crystals(count=1, prototypes=bonds_A, max_atoms=16, stretch=(0.95, 1.1))
    return rattled(80) + [
        crystal(part, name, CARBON, rng) for name in bonds_A for _ in range(4)
    ]


@pytest.fixture(scope="module")
def environments(crystals: list[Atoms]) -> np.ndarray:
    return describe_structures(
        crystals, total=len(crystals), elements=["C"], recipe=KEEP
    )


def test_thinned_sets_cover_more_than_random_ones(environments: np.ndarray):
    """The farthest left-out environment is nearer than for any of twenty subsets."""
    chosen, distances = select_farthest(environments, keep=8, first=[0])
    assert len(set(chosen)) == 8
    rows = environments.reshape(-1, environments.shape[-1])
    for seed in range(20):
        rng = np.random.default_rng(seed)
        subset = rng.choice(len(environments), 8, replace=False)
        likeness = rows @ environments[subset].reshape(-1, rows.shape[1]).T
        farthest = np.sqrt(np.maximum(0, 2 - 2 * likeness.max(axis=1))).max()
        assert distances.max() < 0.7 * farthest  # a third to a half where measured


def test_one_strange_atom_is_enough_to_be_kept(tmp_path: Path):
    """An average over its 63 usual neighbours would hide the vacancy's surroundings."""
    usual = [atoms.repeat(2) for atoms in rattled(30, width_A=0.05)]
    strange = usual[17].copy()
    del strange[5]
    source = tmp_path / "set.xyz"
    write_structures(source, [*usual[:17], strange, *usual[18:]])
    thin_file(source, tmp_path / "thin.xyz", recipe=ThinRecipe(keep=2))
    assert [len(atoms) for atoms in read_structures(tmp_path / "thin.xyz")] == [64, 63]


def test_order_labels_and_one_of_each_kind_are_kept(tmp_path: Path):
    """Frames come out as they went in; the common kind is not forgotten."""
    source, output = tmp_path / "set.xyz", tmp_path / "thin.xyz"
    structures = [graphene("C2", vacuum=5.0), *rattled(12)]
    for index, atoms in enumerate(structures):
        atoms.pbc = True
        atoms.info.update(index=index, kind="even" if index % 2 == 0 else "odd")
    structures[12].info["kind"] = "last"
    write_structures(source, structures)
    recipe = ThinRecipe(keep=5, one_of_each="kind")
    summary = thin_file(source, output, recipe=recipe)
    originals, kept = read_structures(source), read_structures(output)
    order = [atoms.info["index"] for atoms in kept]
    assert order == sorted(order)
    assert {atoms.info["kind"] for atoms in kept} == {"even", "odd", "last"}
    assert all(atoms == originals[atoms.info["index"]] for atoms in kept)
    assert (summary.kept, summary.structures) == (5, 13)
    assert 0 < summary.mean < summary.farthest < 1.5


def test_all_of_a_set_leaves_nothing_uncovered(tmp_path: Path):
    """Keeping everything is allowed; twins, atoms alone and open cells are, too."""
    source = tmp_path / "set.xyz"
    alone = Atoms("C", cell=[20.0] * 3, pbc=True)
    write_structures(source, [alone, alone, Atoms("C2", [[0, 0, 0], [0, 0, 1.3]])])
    output = tmp_path / "thin.xyz"
    summary = thin_file(source, output, recipe=ThinRecipe(keep=3))
    assert summary.farthest == pytest.approx(0, abs=1e-3)  # in single precision
    assert len(read_structures(output)) == 3


def test_a_molecule_does_not_see_its_images():
    """In open directions there is vacuum, whatever the cell says."""
    open_pair = Atoms("C2", [[0, 0, 0], [0, 0, 1.3]], cell=[3.0] * 3)
    far_pair = Atoms("C2", [[0, 0, 0], [0, 0, 1.3]], cell=[30.0] * 3, pbc=True)
    found = describe_structures(
        [open_pair, far_pair], total=2, elements=["C"], recipe=KEEP
    )
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (ThinRecipe(keep=4), "has only 3 structures; 4 cannot be kept"),
        (ThinRecipe(keep=2, one_of_each="sort"), "structure 1 has no 'sort'"),
        (
            ThinRecipe(keep=2, one_of_each="number"),
            "'number' has 3 values: keep at least as many",
        ),
    ],
    ids=["too-many", "no-key", "too-few"],
)
def test_what_cannot_be_chosen_is_refused(
    tmp_path: Path, recipe: ThinRecipe, message: str
):
    """The message gives the numbers."""
    structures = rattled(3)
    for index, atoms in enumerate(structures):
        atoms.info["number"] = index
    write_structures(tmp_path / "set.xyz", structures)
    with pytest.raises(InputError, match=message):
        thin_file(tmp_path / "set.xyz", tmp_path / "thin.xyz", recipe=recipe)
    assert not (tmp_path / "thin.xyz").exists()


def test_an_existing_file_is_not_replaced(tmp_path: Path):
    """The user is told to choose another name."""
    write_structures(tmp_path / "set.xyz", rattled(2))
    with pytest.raises(InputError, match=r"set\.xyz exists"):
        thin_file(tmp_path / "set.xyz", tmp_path / "set.xyz", recipe=ThinRecipe(keep=1))
