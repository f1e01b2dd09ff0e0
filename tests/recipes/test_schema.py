"""Plain values become dataclasses strictly, with errors that name the key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from synthzoo.errors import InputError
from synthzoo.recipes.schema import from_values


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A part with one number."""

    radius_A: float


@dataclass(frozen=True, kw_only=True)
class Horse:
    """One of two that are told apart by their kind."""

    kind: Literal["horse"] = "horse"
    speed: float


@dataclass(frozen=True, kw_only=True)
class Ox:
    """The other one."""

    kind: Literal["ox"] = "ox"


@dataclass(frozen=True, kw_only=True)
class Cart:
    """One field of every type that a schema may have."""

    name: str
    wheels: tuple[Wheel, ...] = ()
    size: tuple[int, int] = (1, 1)
    spare: Wheel | None = None
    colour: Literal["red", "blue"] = "red"
    loads: dict[str, Wheel] = field(default_factory=dict)
    covered: bool = False
    anything: Any = None
    serial: int = field(default=7, init=False)
    puller: Horse | Ox | None = None


def test_every_type_is_converted():
    """Lists become tuples, mappings dataclasses, whole numbers floats."""
    values = {
        "name": "a",
        "wheels": [{"radius_A": 1}, {"radius_A": 2.5}],
        "size": [3, 4],
        "spare": {"radius_A": 3},
        "colour": "blue",
        "loads": {"hay": {"radius_A": 4}},
        "covered": True,
        "anything": [1],
        "puller": {"kind": "horse", "speed": 5},
    }
    cart = from_values(Cart, values, source="cart.yaml")
    assert cart == Cart(
        name="a",
        wheels=(Wheel(radius_A=1.0), Wheel(radius_A=2.5)),
        size=(3, 4),
        spare=Wheel(radius_A=3.0),
        colour="blue",
        loads={"hay": Wheel(radius_A=4.0)},
        covered=True,
        anything=[1],
        puller=Horse(speed=5.0),
    )
    assert isinstance(cart.wheels[0].radius_A, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], r"^cart\.yaml: expected keys and values, found \[\] \(list\)\.$"),
        ({}, r"^cart\.yaml: missing keys \['name'\]\. Known keys: \['name', 'wheels'"),
        ({"name": "a", "serial": 1}, r"unknown keys \['serial'\]"),
        ({"name": 1}, r"^cart\.yaml: name: expected a text, found 1 \(int\)\.$"),
        ({"name": None}, r"name: expected a text, found None"),
        ({"name": "a", "wheels": "round"}, r"wheels: expected a list, found 'round'"),
        ({"name": "a", "wheels": [3]}, r"wheels\[0\]: expected keys and values"),
        (
            {"name": "a", "wheels": [{"radius_A": "1e-3"}]},
            r"wheels\[0\]\.radius_A: expected a number, found '1e-3' \(str\)",
        ),
        ({"name": "a", "wheels": [{"r": 1}]}, r"wheels\[0\]: unknown keys \['r'\]"),
        ({"name": "a", "size": [1]}, r"size: expected a list of 2, found \[1\]"),
        ({"name": "a", "size": [1, True]}, r"size\[1\]: expected a whole number, fou"),
        ({"name": "a", "spare": 1}, r"spare: expected keys and values, found 1"),
        ({"name": "a", "colour": "pink"}, r"colour: expected one of \['red', 'blue'\]"),
        ({"name": "a", "loads": []}, r"loads: expected keys and values"),
        ({"name": "a", "loads": {1: {}}}, r"loads: expected a text, found 1"),
        ({"name": "a", "loads": {"hay": {}}}, r"loads\.hay: missing keys \['radius_A'"),
        ({"name": "a", "covered": 1}, r"covered: expected true or false, found 1"),
        (
            {"name": "a", "puller": {"kind": "cow"}},
            r"puller\.kind: expected one of \['horse', 'ox'\], found 'cow'",
        ),
        ({"name": "a", "puller": "ox"}, r"puller\.kind: expected one of"),
        (
            {"name": "a", "puller": {"kind": "ox", "speed": 1}},
            r"puller: unknown keys \['speed'\]",
        ),
        ({"name": ["x" * 99]}, r"found \['x{55}\.\.\. \(list\)\.$"),
        (
            {"name": "a", "spare": {"radius_A": float("inf")}},
            r"spare\.radius_A: expected a number, found inf",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_key(values: Any, message: str):
    """Where it is, what was expected and what was found."""
    with pytest.raises(InputError, match=message):
        from_values(Cart, values, source="cart.yaml")


def test_the_place_in_the_source_is_part_of_every_message():
    """A section of a file is checked with its own path."""
    with pytest.raises(InputError, match=r"^cart\.yaml: carts\.first: missing keys"):
        from_values(Cart, {}, source="cart.yaml", path="carts.first")
