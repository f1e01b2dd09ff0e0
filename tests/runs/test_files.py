"""Hashes of files, texts and values are those that any other program finds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from synthzoo.errors import InputError
from synthzoo.runs.files import hash_content, hash_files, hash_values


def test_files_are_hashed_one_after_the_other(tmp_path: Path):
    """The hash of two files is that of their contents in a row."""
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"12")
    second.write_bytes(b"3")
    assert hash_files([first, second]) == hashlib.sha256(b"123").hexdigest()
    expected = hashlib.md5(b"12", usedforsecurity=False).hexdigest()
    assert hash_files([first], algorithm="md5") == expected


@pytest.mark.parametrize("name", ["missing", "a" * 300])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str):
    """Also where its name is too long to be one."""
    with pytest.raises(InputError, match=f"There is no file .*{name}"):
        hash_files([tmp_path / name])


def test_the_order_of_keys_does_not_matter():
    """Values that are equal have one hash, that of their JSON with sorted keys."""
    first, second = {"a": 1, "b": [2.5, "é"]}, {"b": [2.5, "é"], "a": 1}
    assert hash_values(first) == hash_values(second)
    assert (
        hash_values([1, "x"]) == hash_content(b'[1, "x"]') == hash_content('[1, "x"]')
    )
