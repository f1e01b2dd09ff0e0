"""Importing synthzoo costs nothing and leaves no trace."""

from __future__ import annotations

import inspect
import os
import pkgutil
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import synthzoo

HEAVY = ("torch", "nequip", "ase", "huggingface_hub", "matplotlib", "numpy")


def run_python(code: str, home: Path) -> str:
    """Run code in a fresh process with an empty home and return what it prints."""
    env = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=env,
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert list(home.iterdir()) == []
    return done.stdout


def test_import_loads_nothing_heavy_and_writes_nothing(tmp_path: Path) -> None:
    """`import synthzoo` loads no numerical package and leaves the home folder empty."""
    code = f"import sys, synthzoo; print([m for m in {HEAVY} if m in sys.modules])"
    assert run_python(code, tmp_path) == "[]\n"


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["predict", "--help"]])
def test_light_commands_load_nothing_heavy(
    arguments: list[str], tmp_path: Path
) -> None:
    """Help and the list answer without torch, nequip, ase or the hub client."""
    code = (
        "import sys; from synthzoo.cli import main\n"
        f"main({arguments}, standalone_mode=False)\n"
        f"print('loaded:', [m for m in {HEAVY} if m in sys.modules])"
    )
    assert run_python(code, tmp_path).splitlines()[-1] == "loaded: []"


PUBLIC = [name for name in dir(synthzoo) if name != "__version__"]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_explained_with_an_example(name: str) -> None:
    """A public name is found on first use, and its help shows how to use it."""
    found = getattr(synthzoo, name)
    assert found is getattr(synthzoo, name)
    assert found.__name__ == name
    page = inspect.getdoc(found) or ""
    assert "\nExamples\n--------\n" in page
    assert "\n>>> " in page


@pytest.mark.parametrize("name", PUBLIC)
def test_type_checkers_find_a_public_name_where_it_is_loaded_from(name: str) -> None:
    """The imports for type checkers name the modules that the names come from."""
    home = getattr(synthzoo, name).__module__
    source = Path(synthzoo.__file__).read_text(encoding="utf-8")
    assert f"    from {home} import {name} as {name}\n" in source


@pytest.mark.parametrize(("old", "new"), synthzoo._RENAMED.items())
def test_old_public_name_works_and_names_the_new_one(old: str, new: str) -> None:
    """Code of the last version runs, and a warning says what to write instead."""
    with pytest.warns(DeprecationWarning, match=f"now called synthzoo.{new};"):
        found = getattr(synthzoo, old)
    assert found is getattr(synthzoo, new)
    assert old not in dir(synthzoo)


def test_unknown_attribute_is_an_attribute_error() -> None:
    """A name that synthzoo lacks fails as on any other module."""
    with pytest.raises(AttributeError, match="'load_calculater'"):
        _ = synthzoo.load_calculater


def test_no_public_name_hides_a_module() -> None:
    """A function of the package never shares its name with one of its modules."""
    modules = {module.name for module in pkgutil.iter_modules(synthzoo.__path__)}
    assert modules.isdisjoint(PUBLIC)


def test_help_is_two_screens_with_a_line_for_each_public_name() -> None:
    """`help(synthzoo)` has one line for each function, and none of their docstrings."""
    lines = pydoc.plain(pydoc.render_doc(synthzoo)).splitlines()
    assert len(lines) <= 110
    first_words = [line.split()[0] for line in lines if line.strip()]
    assert [name for name in PUBLIC if first_words.count(name) != 1] == []


def test_completion_offers_public_names_only() -> None:
    """`dir(synthzoo)` has no internals, whatever has been imported before."""
    shown = set(dir(synthzoo))
    hidden = {name for name in vars(synthzoo) if not name.startswith("_")} - shown
    modules = {module.name for module in pkgutil.iter_modules(synthzoo.__path__)}
    assert hidden <= modules
    assert not shown & modules
