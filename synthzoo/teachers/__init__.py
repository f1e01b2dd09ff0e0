"""Teachers: existing potentials that label structures with energies and forces.

A teacher is named by a reference of the form ``kind:what``, such as
``ace:c_ace.yace``; `synthzoo.teachers.loading.KINDS` lists the kinds.
"""

from synthzoo.teachers.checks import Check, check_teacher
from synthzoo.teachers.loading import (
    KINDS,
    cached_teacher,
    load_teacher,
    open_teacher,
    reference_sha256,
)
from synthzoo.teachers.teacher import Teacher, file_sha256

__all__ = [
    "KINDS",
    "Check",
    "Teacher",
    "cached_teacher",
    "check_teacher",
    "file_sha256",
    "load_teacher",
    "open_teacher",
    "reference_sha256",
]
