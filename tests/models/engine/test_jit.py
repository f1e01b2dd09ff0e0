"""Machine code is kept on disk, and nothing there can do harm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from llvmlite import ir

from synthzoo.models.engine import jit
from synthzoo.models.engine.emitter import INDEX, Emitter

SIGNATURE = {"store": ("index", "pointer")}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "synthzoo" / "engine"


class Writer:
    """Writes a module, and counts how often it had to."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> str:
        """Write it."""
        self.count += 1
        module = ir.Module("test")
        code = Emitter(
            module,
            "store",
            {"value": "index", "place": "pointer"},
            real="float64",
            width=1,
        )
        code.store(code.arguments["value"], code.arguments["place"], 0, INDEX)
        code.done()
        return str(module)


def stored(writer: Writer) -> int:
    """Return what the function stores when it is asked to store 7."""
    library = jit.Library("test", writer, SIGNATURE)
    found = np.zeros(1, dtype=np.int64)
    library.store(7, found.ctypes.data)  # type: ignore[attr-defined]
    return int(found[0])


def test_code_is_written_once(cache):
    writer = Writer()
    assert [stored(writer), stored(writer)] == [7, 7]
    assert writer.count == 1
    (kept,) = cache.iterdir()
    assert kept.suffix == ".o"


@pytest.mark.parametrize("kept", [0, 10, 100, -1])
def test_damaged_code_is_written_again(cache, kept):
    """Cut off, or with a byte that is not right."""
    writer = Writer()
    stored(writer)
    (path,) = cache.iterdir()
    content = path.read_bytes()
    path.write_bytes(content[:kept] + (b"\\xff" if kept < 0 else b""))
    assert [stored(writer), stored(writer)] == [7, 7]
    assert writer.count == 2
    assert path.read_bytes() == content


def test_code_of_another_key_is_another_file(cache):
    for key in ("one", "two"):
        jit.Library(key, Writer(), SIGNATURE)
    assert len(list(cache.iterdir())) == 2


def test_nothing_is_kept_where_nothing_can_be(cache):
    """A file stands where the folder should be."""
    cache.parent.mkdir()
    cache.touch()
    writer = Writer()
    assert [stored(writer), stored(writer)] == [7, 7]
    assert writer.count == 2


def test_nobody_needs_a_home(monkeypatch):
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", nobody)
    assert stored(Writer()) == 7
