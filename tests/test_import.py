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


@pytest.mark.parametrize("name", synthzoo.__all__)
def test_every_public_name_can_be_used(name: str) -> None:
    """Every name in `__all__` is found on first use and again on the second."""
    assert getattr(synthzoo, name) is getattr(synthzoo, name)
    assert name in dir(synthzoo)


def test_unknown_attribute_is_an_attribute_error() -> None:
    """A name that synthzoo lacks fails as on any other module."""
    with pytest.raises(AttributeError, match="'load_calculater'"):
        _ = synthzoo.load_calculater


def test_no_public_name_hides_a_module() -> None:
    """A function of the package never shares its name with one of its modules."""
    modules = {module.name for module in pkgutil.iter_modules(synthzoo.__path__)}
    assert modules.isdisjoint(synthzoo.__all__)


def test_help_names_each_public_function_before_any_module() -> None:
    """`help(synthzoo)` begins with every public name, a line each, on two screens."""
    pages = pydoc.plain(pydoc.render_doc(synthzoo)).split("PACKAGE CONTENTS")[0]
    lines = [line.split() for line in pages.splitlines()]
    assert len(lines) <= 60
    listed = [words[0] for words in lines if words]
    for name in synthzoo.__all__[1:]:
        assert name == "SynthzooError" or listed.count(name) == 1, name


def test_completion_offers_public_names_only() -> None:
    """`dir(synthzoo)` has no internals, and training is among its functions."""
    assert set(dir(synthzoo)) == set(synthzoo.__all__)
    assert inspect.isfunction(synthzoo.pretrain)
