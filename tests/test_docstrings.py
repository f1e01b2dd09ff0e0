"""What users call and write says what each parameter and each key means."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re

import pytest
from numpydoc.docscrape import ClassDoc
from numpydoc.validate import validate

import synthzoo
from synthzoo.recipes.schema import Checked, Kind, Section

OPTIONAL = {"ES01", "EX01", "SA01"}
"""Extended summary, examples, see also."""
IN_SIGNATURE = {"PR04", "RT01", "RT03", "YD01"}
"""Types stand in the signature, and what comes back in the summary line."""
PUBLIC = [name for name in dir(synthzoo) if name != "__version__"]


def faults_of(name: str) -> list[str]:
    """Return what numpydoc finds wrong with the docstring of an object."""
    found = validate(name)["errors"]
    return [text for code, text in found if code not in OPTIONAL | IN_SIGNATURE]


def recipe_classes() -> list[type]:
    """Return the classes that recipes are read into: sections, and parts of them."""
    for module in pkgutil.walk_packages(synthzoo.__path__, "synthzoo."):
        if module.name.endswith((".recipe", ".protocol")):
            importlib.import_module(module.name)
    classes: list[type] = []
    bases: list[type] = [Checked, Section, Kind]
    waiting = [*bases]
    while waiting:
        found = [cls for cls in _derived(waiting.pop()) if cls not in classes]
        classes += found
        waiting += found
    return [cls for cls in classes if cls not in bases and _is_public(cls)]


def _is_public(cls: type) -> bool:
    return cls.__module__.startswith("synthzoo.") and not cls.__name__.startswith("_")


def _derived(cls: type) -> list[type]:
    return cls.__subclasses__()


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_says_what_each_parameter_means(name: str):
    """The docstring is complete numpydoc; a new parameter needs its lines there."""
    assert faults_of(f"synthzoo.{name}") == []


@pytest.mark.parametrize("cls", recipe_classes(), ids=repr)
def test_a_recipe_class_says_what_each_key_means(cls: type):
    """A key of a recipe without a description cannot be looked up anywhere."""
    described = {
        re.split(r"[ :]", name)[0]
        for base in cls.__mro__
        if base.__module__.startswith("synthzoo.")
        for entry in ClassDoc(base)["Attributes"]
        for name in entry.name.split(", ")
    }
    keys = inspect.signature(cls).parameters
    assert [key for key in keys if key not in described] == []
