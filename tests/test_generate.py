"""Generated sets: what is in them, and that nothing but the recipe decides it."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from synthzoo.errors import InputError
from synthzoo.generate import generate_structures
from synthzoo.resumable import working_folder
from synthzoo.structures import check_structure, density_g_cm3, read_structures
from tests.toy import generate_recipe

SCRIPT = """
import sys
from pathlib import Path
from synthzoo.generate import generate_structures
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
    """Only frames of one trajectory (and the dimers) belong together."""
    groups = Counter(atoms.info["group"] for atoms in read_structures(toy_set))
    assert sorted(groups.values()) == [1] * 10 + [4, 10, 10]


def test_neither_kill_nor_workers_change_the_result(
    toy_set: Path, driver: str, tmp_path: Path
):
    """A run killed at a random moment and resumed with two workers: same bytes."""
    output = tmp_path / "again.xyz"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, driver, str(output)],
        cwd=Path(__file__).parents[1],
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
    assert list(tmp_path.iterdir()) == [output]


def test_another_recipe_does_not_continue_an_unfinished_run(
    driver: str, tmp_path: Path
):
    """Half of one set and half of another are never mixed."""
    import dataclasses

    from synthzoo.recipes import recipe_values
    from synthzoo.resumable import open_run
    from synthzoo.teachers import load_teacher

    recipe = generate_recipe(driver)
    values = recipe_values(recipe)
    del values["driver"]
    output = tmp_path / "set.xyz"
    open_run(output, {"recipe": values, "driver": load_teacher(driver).provenance})
    with pytest.raises(InputError, match="with another recipe"):
        generate_structures(dataclasses.replace(recipe, seed=8), output)
