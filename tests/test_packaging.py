"""What a user gets: the README's promises, the wheel's content, declared packages."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

import synthzoo
from synthzoo.recipes.loading import recipes_folder
from synthzoo.zoo.cards import model_table
from synthzoo.zoo.registry import bundled_folder, cards_folder, model_cards

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
MODEL_TABLE = re.compile(
    r"(<!-- models: begin.*-->\n).*(<!-- models: end -->)", re.DOTALL
)
TEST_COMMAND = re.compile(
    r"^python -m pip install .* && python -m pytest$", re.MULTILINE
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")


def current_readme() -> str:
    """Return the README with the table of models made anew from the cards."""
    text = README.read_text(encoding="utf-8")
    return MODEL_TABLE.sub(rf"\1\n{model_table(model_cards())}\n\n\2", text)


def test_readme_lists_the_models_of_the_cards() -> None:
    """The README's table is made from the cards; `python -m` this file mends it."""
    assert README.read_text(encoding="utf-8") == current_readme()


def test_ci_runs_the_tests_as_the_readme_says() -> None:
    """One command installs and tests, and it is the same in README and .ci/run."""
    (promised,) = TEST_COMMAND.findall(README.read_text(encoding="utf-8"))
    assert TEST_COMMAND.findall((ROOT / ".ci" / "run").read_text()) == [promised]


def test_tests_use_no_option_that_ci_lacks() -> None:
    """Every extra that .ci/run, the README or a page of docs/ names is declared."""
    declared = set(_project()["optional-dependencies"])
    for path in (README, ROOT / ".ci" / "run", *(ROOT / "docs").rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        for extras in re.findall(r"(?:synthzoo|\.)\[([\w,-]+)\]", text):
            assert set(extras.split(",")) <= declared


def test_every_import_is_a_declared_dependency() -> None:
    """What the package imports is in `dependencies` or in an extra, by its own name."""
    project = _project()
    requirements = [*project["dependencies"]]
    for extra, lines in project["optional-dependencies"].items():
        requirements += [] if extra in ("dev", "test") else lines
    declared = {_normal(re.split(r"[^\w.-]", line)[0]) for line in requirements}
    owners = packages_distributions()
    for module in sorted(_imported_modules() - set(sys.stdlib_module_names)):
        if module in owners:  # an extra may not be installed here
            assert declared & set(map(_normal, owners[module])), module


def _project() -> dict[str, Any]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project: dict[str, Any] = tomllib.loads(text)["project"]
    return project


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _imported_modules() -> set[str]:
    found = set()
    for path in (ROOT / "synthzoo").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - {"synthzoo"}


def test_cards_and_recipes_are_found_in_this_installation() -> None:
    """An editable install finds the cards and recipes beside the package."""
    assert any(cards_folder().glob("*.md"))
    assert any(recipes_folder().glob("*.yaml"))


def test_every_model_that_is_not_published_is_bundled() -> None:
    """Each name leads to weights: in the package, on the hub, or at their authors'."""
    for card in model_cards():
        places = (bundled_folder(card), card.hub.repository, card.published)
        assert any(place is not None for place in places)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel with the build backend that is declared."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    code = (
        f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
        capture_output=True,
        text=True,
        check=True,
    )
    return zipfile.ZipFile(folder / done.stdout.split()[-1])


def test_wheel_carries_all_that_the_checkout_has(wheel: zipfile.ZipFile) -> None:
    """Modules, type marker, weights, cards and recipes are in the wheel, no tests."""
    expected = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "synthzoo").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    expected |= {
        f"synthzoo/{room}/{path.relative_to(ROOT)}"
        for room, folder in (("zoo", "model_cards"), ("recipes", "recipes"))
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == expected
    assert "synthzoo/py.typed" in found


def test_wheel_states_version_licence_and_command(wheel: zipfile.ZipFile) -> None:
    """The wheel's metadata has the version of the package, MIT, and the script."""
    by_name = {Path(name).name: wheel.read(name).decode() for name in _metadata(wheel)}
    assert f"Version: {synthzoo.__version__}\n" in by_name["METADATA"]
    assert "License-Expression: MIT\n" in by_name["METADATA"]
    assert "synthzoo = synthzoo.cli:main" in by_name["entry_points.txt"]
    assert "MIT License" in by_name["LICENSE"]


def _metadata(wheel: zipfile.ZipFile) -> list[str]:
    return [name for name in wheel.namelist() if ".dist-info/" in name]


if __name__ == "__main__":
    README.write_text(current_readme(), encoding="utf-8")
