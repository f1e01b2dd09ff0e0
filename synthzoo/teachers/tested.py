"""Load and test a teacher where it can crash without harm."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from synthzoo.errors import TeacherError
from synthzoo.guarded import Lost, call_guarded
from synthzoo.teachers.loading import cached_teacher, reference_sha256

Result = TypeVar("Result")

TEST_LIMIT_S = 3600.0
"""For the test of a teacher, which computes about twenty structures of each element."""


def provenance_when_tested(reference: str, sha256: str | None = None) -> dict[str, str]:
    """Return what a teacher says about itself, after its test in this thread's child.

    Parameters
    ----------
    reference, sha256
        As for `synthzoo.teachers.load_teacher`.

    Raises
    ------
    InputError
        If the reference has another form, or a file is missing.
    TeacherError
        If the teacher cannot be loaded, has another hash, fails its test, or crashes.
    """
    return called_apart(partial(_load, reference, sha256), reference)


def called_apart(function: Callable[[], Result], reference: str) -> Result:
    """Return what a function finds with a teacher, in this thread's child.

    Parameters
    ----------
    function
        Picklable, as is what it returns.
    reference
        The teacher, for messages.

    Raises
    ------
    TeacherError
        If the teacher ends its process, or gives no answer.
    """
    found = call_guarded(function, limit_s=TEST_LIMIT_S)
    if isinstance(found, Lost):
        raise TeacherError(f"{reference} {found.reason} in its test.")
    return found


def _load(reference: str, sha256: str | None) -> dict[str, str]:
    sha256 = sha256 or reference_sha256(reference)
    return cached_teacher(reference, sha256).provenance
