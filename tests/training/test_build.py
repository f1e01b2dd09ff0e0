"""From nothing to a checkpoint in one command, resumed wherever it was stopped."""

import dataclasses
import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from synthzoo.data.structures import read_structures
from synthzoo.errors import InputError, TeacherError
from synthzoo.models.checkpoint import verify_checkpoint
from synthzoo.recipes.loading import recipe_values
from synthzoo.training.build import build_checkpoint
from tests.extras import need
from tests.toy import generate_recipe, pretrain_recipe

PATH = "lammps:tersoff"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Write a recipe of a few structures and a minute network."""
    need("lammps", "lammps")
    made = generate_recipe(PATH)
    sections = {
        "generate": recipe_values(dataclasses.replace(made, parts=made.parts[1:4])),
        "relabel": {"teacher": PATH, "max_force_eV_A": 100.0},
        "pretrain": recipe_values(pretrain_recipe(max_epochs=1)),
    }
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(sections))
    return path


@pytest.mark.thorough
def test_one_command_makes_a_verified_checkpoint(recipe: Path, tmp_path: Path):
    """The files of all stages lie in one folder, and nothing is done twice."""
    from synthzoo.cli import main

    command = ["build", str(recipe), "-o", str(tmp_path / "out"), "--workers", "1"]
    done = CliRunner().invoke(main, [*command, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    folder = tmp_path / "out"
    assert verify_checkpoint(folder / "checkpoint").passed
    assert found["verification"] == verify_checkpoint(folder / "checkpoint").summary()
    assert found["labelled"] == len(read_structures(folder / "labelled.xyz"))
    assert found["labelled"] <= found["structures"]
    assert found["seconds"].keys() == {"generate", "relabel", "pretrain"}
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.xyz")}
    again = CliRunner().invoke(main, [*command, "--json"], catch_exceptions=False)
    assert json.loads(again.stdout) == found
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.thorough
def test_a_build_goes_on_where_a_stage_failed(recipe: Path, tmp_path: Path):
    """What was complete before is used; a refused stage may be corrected."""
    sections = yaml.safe_load(recipe.read_text())
    wrong = tmp_path / "wrong.yaml"
    sections["relabel"]["teacher_sha256"] = 16 * "beef"
    wrong.write_text(yaml.safe_dump(sections))
    output = tmp_path / "out"
    with pytest.raises(TeacherError, match="beef"):
        build_checkpoint(wrong, output, workers=1)
    made = (output / "structures.xyz").read_bytes()
    sections = yaml.safe_load(recipe.read_text())
    sections["generate"]["seed"] += 1
    wrong.write_text(yaml.safe_dump(sections))
    with pytest.raises(InputError, match="begun with another section generate"):
        build_checkpoint(wrong, output, workers=1)
    summary = build_checkpoint(recipe, output, workers=1)
    assert (output / "structures.xyz").read_bytes() == made
    assert summary.seconds.keys() == {"generate", "relabel", "pretrain"}


def test_a_build_that_is_refused_leaves_nothing(recipe: Path, tmp_path: Path):
    """A mistyped driver makes no folder, and the corrected command is not refused."""
    with pytest.raises(InputError, match="no-such-style"):
        build_checkpoint(recipe, tmp_path / "out", driver="lammps:no-such-style")
    assert set(tmp_path.iterdir()) == {recipe}


def test_a_recipe_without_all_sections_is_refused(tmp_path: Path):
    """Nothing is made."""
    sections = {"generate": recipe_values(generate_recipe(PATH))}
    (tmp_path / "half.yaml").write_text(yaml.safe_dump(sections))
    with pytest.raises(InputError, match="has no section `relabel`"):
        build_checkpoint(tmp_path / "half.yaml", tmp_path / "out")
    assert not (tmp_path / "out").exists()
