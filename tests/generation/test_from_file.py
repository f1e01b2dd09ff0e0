"""Recipes that start from a user's file: `around` and `dynamics`, as one calls them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.constraints import FixAtoms
from ase.io import write

from synthzoo.data.structures import read_structures
from synthzoo.errors import FileWarning, InputError
from synthzoo.generation.estimate import estimate_cost
from synthzoo.generation.kinds.from_atoms import Dimers
from synthzoo.generation.kinds.from_file import Around, FromFile, ShortDynamics
from synthzoo.generation.kinds.part import Part
from synthzoo.generation.recipe import GenerateRecipe
from synthzoo.generation.run import GenerateSummary, generate_structures
from synthzoo.generation.start_files import check_starts, starts, with_hashes
from synthzoo.generation.starts import vacuum_axes
from synthzoo.recipes.loading import load_recipe
from synthzoo.runs.resumable import working_folder
from tests.faulty_calculators import FAULTS, FAULTY, copper

SCRIPT = """
import sys
from pathlib import Path
from synthzoo.generation.run import generate_structures
from tests.generation.test_from_file import toy_recipe
if __name__ == "__main__":
    generate_structures(toy_recipe(Path(sys.argv[1])), Path(sys.argv[2]), workers=1)
"""


def recipe(*parts: Part) -> GenerateRecipe:
    return GenerateRecipe(seed=5, driver=FAULTY, parts=parts)


def around(file: Path, count: int, **changes: Any) -> Around:
    return Around(structures=str(file), count=count, **{"min_atoms": 8} | changes)


def dynamics(file: Path, trajectories: int, **changes: Any) -> ShortDynamics:
    settings = {"min_atoms": 8, "duration_fs": 20, "sample_fs": 10} | changes
    return ShortDynamics(structures=str(file), trajectories=trajectories, **settings)


def test_a_file_beside_its_recipe_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A folder with both can be moved; others lie in the current folder."""
    text = (
        f"generate: {{seed: 1, driver: '{FAULTY}', parts: "
        "[{kind: around, structures: mine.xyz, count: 4}]}"
    )
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "there" / "recipe.yaml").write_text(text)

    def found() -> Path:
        given = load_recipe(GenerateRecipe, tmp_path / "there/recipe.yaml", trust=True)
        (part,) = given.parts
        assert isinstance(part, Around)
        return Path(part.structures)

    assert found() == Path("mine.xyz")
    (tmp_path / "there" / "mine.xyz").touch()
    assert found() == tmp_path / "there" / "mine.xyz"


def toy_recipe(file: Path) -> GenerateRecipe:
    """Return a recipe whose second family cannot grow: its children are too alike."""
    still = {"strain": None, "rattle_A": (1e-3, 1e-3), "relax_steps": 0}
    stunted = around(file, 3, only=(0,), **still)
    return recipe(around(file, 10), stunted, dynamics(file, 4))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a crystal, a slab, a molecule and an isolated atom."""
    path = tmp_path_factory.mktemp("user") / "mine.xyz"
    slab = fcc111("Cu", (2, 2, 2), vacuum=5.0)
    slab.info.clear()
    write(path, [bulk("Cu"), Atoms("Cu"), slab, Atoms("Cu2", [[0, 0, 0], [0, 0, 2.2]])])
    return path


@pytest.fixture(scope="module")
def summary(file: Path) -> GenerateSummary:
    return generate_structures(toy_recipe(file), file.parent / "made.xyz", workers=1)


@pytest.fixture(scope="module")
def made(summary: GenerateSummary) -> Path:
    return summary.output


def test_a_family_that_stays_small_is_named_with_the_reasons(summary: GenerateSummary):
    """What there is of it is kept; nothing else failed."""
    assert summary.kinds == {"around": 10 + 1, "dynamics": 8}
    (failure,) = summary.failed
    assert failure.kept == 1
    assert "gave 1 of 3 structures" in failure.reason
    assert "30 for being like another structure" in failure.reason


def test_crystals_are_opened_to_slabs_where_asked(file: Path, tmp_path: Path):
    """Half of the family of the crystal; what has vacuum already stays as it is."""
    asked = recipe(around(file, 12, open_share=0.5, only=(0, 2)))
    made = generate_structures(asked, tmp_path / "made.xyz", workers=1)
    frames = read_structures(made.output)
    slabs = Counter(f.info["start"] for f in frames if vacuum_axes(f).any())
    assert slabs == {0: 3, 2: 6}
    opened = [f for f in frames if f.info["start"] == 0 and vacuum_axes(f).any()]
    assert all(vacuum_axes(f).sum() == 1 for f in opened)


def test_each_structure_has_an_even_share_and_a_group_of_its_own(made: Path):
    """What comes of one structure is one group in all parts; the atom gives nothing."""
    frames = read_structures(made)
    founders = [f.info["start"] for f in frames if f.info.get("generation") == 0]
    assert founders == [0, 2, 3, 0]
    counts = Counter(f.info["start"] for f in frames if f.info["kind"] == "around")
    assert counts == {0: 3 + 1, 2: 3, 3: 4}
    groups = {(f.info["group"], f.info["start"]) for f in frames}
    assert len(groups) == 3
    assert len({group for group, _ in groups}) == 3


def test_structures_are_periodic_as_their_start_is(made: Path, file: Path):
    """A slab and a molecule keep open sides, whatever the driver needs."""
    given = read_structures(file)
    for frame in read_structures(made):
        start = given[frame.info["start"]]
        assert frame.pbc.tolist() == start.pbc.tolist()
        assert set(frame.symbols) == set(start.symbols)
        assert not frame.get_momenta().any()
        assert frame.calc is None


@pytest.mark.thorough
def test_neither_kill_nor_workers_nor_place_change_the_result(
    made: Path, file: Path, tmp_path: Path
):
    """Killed, then resumed by two workers with the file elsewhere: the same bytes."""
    output = tmp_path / "again.xyz"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(file), str(output)],
        cwd=Path(__file__).parents[2],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not list(working_folder(output).glob("0000001")):
        time.sleep(0.02)
    assert process.poll() is None, "the run ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not output.exists()
    (tmp_path / "other").mkdir()
    moved = Path(shutil.copy(file, tmp_path / "other" / file.name))
    generate_structures(toy_recipe(moved), output, workers=2)
    assert output.read_bytes() == made.read_bytes()


def test_another_content_of_the_file_is_another_run(file: Path, tmp_path: Path):
    """The hash is part of the recipe's, and can be asked for."""
    write(tmp_path / "mine.xyz", bulk("Cu", a=3.7))
    first, second = (
        with_hashes(recipe(around(path, 1))) for path in (file, tmp_path / "mine.xyz")
    )
    hashes = {p.structures_sha256 for r in (first, second) for p in from_files(r)}
    assert len(hashes) == 2
    (known,) = (p.structures_sha256 for p in from_files(first))
    with pytest.raises(InputError, match="these are other structures"):
        with_hashes(recipe(around(tmp_path / "mine.xyz", 1, structures_sha256=known)))


def from_files(settled: GenerateRecipe) -> list[Any]:
    return [part for part in settled.parts if isinstance(part, FromFile)]


def test_files_of_which_nothing_can_be_made_are_refused(tmp_path: Path):
    """In one sentence."""
    cases: list[tuple[str, list[Atoms], dict[str, Any]]] = [
        (r"no file .*mine\.xyz", [], {}),
        (
            r"knows Cu, but 2 of 3 structures contain Cr, Fe",
            [bulk("Cu"), bulk("Fe"), bulk("Cr")],
            {},
        ),
        (r"structure 1: atoms 0 and 1", [bulk("Cu"), Atoms("Cu2")], {}),
        (r"isolated atoms only", [Atoms("Cu")], {}),
        (r"has no structure 7: the last of its 1", [bulk("Cu")], {"only": (0, 7)}),
    ]
    for message, structures, changes in cases:
        path = tmp_path / "mine.xyz"
        if structures:
            write(path, structures)
        with pytest.raises(InputError, match=message):
            check_starts(with_hashes(recipe(around(path, 2, **changes))), ["Cu"])


def test_an_element_that_the_driver_lacks_is_an_error_before_any_work(tmp_path: Path):
    """It names element and driver's elements, and leaves nothing behind."""
    write(tmp_path / "mine.xyz", [bulk("Cu"), bulk("Fe")])
    wrong = recipe(around(tmp_path / "mine.xyz", 2))
    with pytest.raises(InputError, match=r"knows Cu, but 1 of 2 structures contain Fe"):
        generate_structures(wrong, tmp_path / "made.xyz", workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.xyz"]


def test_a_recipe_of_files_takes_their_elements(tmp_path: Path):
    """None need be named; other parts still ask for them."""
    for structures, expected in (
        ([bulk("Cu")], ("Cu", ())),
        ([bulk("Cu"), bulk("Au")], (None, ("Au", "Cu"))),
    ):
        write(tmp_path / "mine.xyz", structures)
        settled = with_hashes(recipe(around(tmp_path / "mine.xyz", 2)))
        assert (settled.element, settled.elements) == expected
    dimers = Dimers(count=1, distance_A=(1.0, 2.0))
    with pytest.raises(InputError, match="give either element"):
        recipe(around(tmp_path / "mine.xyz", 2), dimers)


def test_constraints_of_a_file_are_ignored_with_a_warning(tmp_path: Path):
    """Nothing but elements, positions, cell and periodicity comes along."""
    atoms = bulk("Cu", cubic=True)
    atoms.set_constraint(FixAtoms([0]))
    atoms.info["config_type"] = "solid"
    write(tmp_path / "mine.xyz", atoms)
    settled = with_hashes(recipe(around(tmp_path / "mine.xyz", 2)))
    with pytest.warns(FileWarning, match="constraints are ignored"):
        check_starts(settled, ["Cu"])
    (start,) = starts(from_files(settled)[0]).values()
    assert start == atoms
    assert not start.constraints
    assert not start.info


@pytest.mark.thorough
def test_a_driver_that_crashes_costs_one_structure_of_the_file(tmp_path: Path):
    """Families and trajectories of the others are whole."""
    faults = {fault.__name__: number for number, fault in FAULTS.items()}
    write(tmp_path / "mine.xyz", [copper(1, faults["crash"]), copper(2)])
    parts: list[Part] = [
        around(tmp_path / "mine.xyz", 6, min_atoms=1, strain=None),
        dynamics(tmp_path / "mine.xyz", 2, min_atoms=1),
    ]
    summary = generate_structures(recipe(*parts), tmp_path / "made.xyz", workers=1)
    assert summary.kinds == {"around": 3, "dynamics": 2}
    assert [failure.kept for failure in summary.failed] == [0, 0]
    assert all("SIGSEGV" in failure.reason for failure in summary.failed)


@pytest.mark.thorough
def test_the_cost_of_both_parts_is_estimated(file: Path):
    """Structures, atoms and trajectories as they will be."""
    cost = estimate_cost(toy_recipe(file), steps=10)
    assert cost.structures == 10 + 3 + 8
    assert cost.trajectories == 3 + 1 + 4
    assert cost.ms_per_atom_step > 0
