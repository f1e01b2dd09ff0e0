"""The lanes of the tests: the quick one, which `pytest` runs, reaches every room."""

from __future__ import annotations

import ast
import pkgutil
import re
from pathlib import Path

import pytest

import synthzoo

HERE = Path(__file__).parent
ROOMS = sorted(
    module.name for module in pkgutil.iter_modules(synthzoo.__path__) if module.ispkg
)
FILES = sorted(HERE.glob("**/test_*.py"))
OTHER_LANES = {"thorough", "slow", "long", "network", "gpu"}


def name_of(path: Path) -> str:
    """Return a test file as `room/test_file.py`."""
    return str(path.relative_to(HERE))


def lanes(path: Path) -> list[set[str]]:
    """Return, for each test of a file, the marks that keep it out of the quick lane."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        marks(node) & OTHER_LANES
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def marks(test: ast.FunctionDef) -> set[str]:
    """Return the marks of all cases of a test; those of single cases do not count."""
    return {
        decorator.attr
        for decorator in test.decorator_list
        if isinstance(decorator, ast.Attribute)
    }


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_has_quick_tests(room: str) -> None:
    """`tests/` mirrors the packages of synthzoo, and `pytest` looks into each."""
    assert any(
        not marks for path in (HERE / room).glob("test_*.py") for marks in lanes(path)
    )


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_each_test_file_belongs_to_a_room(path: Path) -> None:
    """A folder of tests is named after a room, and its files use what is in there."""
    if path.parent == HERE:
        return  # about the whole package
    folders = path.parent.relative_to(HERE).parts  # a room, perhaps one inside
    assert folders[0] in ROOMS
    package = Path(synthzoo.__path__[0], *folders)
    assert package.is_dir()
    modules = {module.stem for module in package.glob("*.py")}
    uses = re.compile(rf"\b(synthzoo|tests)\.{re.escape('.'.join(folders))}\b")
    assert path.stem.removeprefix("test_") in modules or uses.search(
        path.read_text(encoding="utf-8")
    )


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_test_file_is_left_to_the_thorough_lane(path: Path) -> None:
    """`pytest` runs a test of every file, but for those of slow physics alone."""
    found = lanes(path)
    assert set() in found or not any("thorough" in marks for marks in found)
