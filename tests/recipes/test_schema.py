"""Plain values become structs strictly, with errors that name the key."""

from __future__ import annotations

import dataclasses
from string import ascii_lowercase, ascii_uppercase
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from ase.data import chemical_symbols
from msgspec import ValidationError, convert, field

from synthzoo.errors import InputError
from synthzoo.recipes.schema import Checked, Kind, Number, Symbol, from_values


class Wheel(Checked, frozen=True, kw_only=True):
    """A part with one number."""

    radius_A: Number


class Horse(Kind, tag="horse", frozen=True, kw_only=True):
    """One of two that are told apart by their kind."""

    speed: float


class Ox(Kind, tag="ox", frozen=True, kw_only=True):
    """The other one."""


class Cart(Checked, frozen=True, kw_only=True):
    """One field of every type that a schema may have."""

    name: str
    wheels: tuple[Wheel, ...] = ()
    size: tuple[int, int] = (1, 1)
    spare: Wheel | None = None
    colour: Literal["red", "blue"] = "red"
    loads: dict[str, Wheel] = field(default_factory=dict)
    covered: bool = False
    anything: Any = None
    serial: ClassVar[int] = 7
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
        ({"name": "a", "puller": "ox"}, r"puller: expected keys and values or null, f"),
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


def test_a_struct_made_by_hand_is_checked_like_a_file():
    """Types, choices and ranges; the message names the class and the field."""
    with pytest.raises(InputError, match=r"^Wheel: radius_A: expected a number, fo"):
        Wheel(radius_A=float("nan"))
    with pytest.raises(InputError, match=r"^Cart: colour: expected one of \['red'"):
        Cart(name="a", colour="pink")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^Cart: size\[0\]: expected a whole numb"):
        Cart(name="a", size=(True, 1))
    with pytest.raises(InputError, match=r"^Cart: wheels\[1\]: expected keys and va"):
        Cart(name="a", wheels=(Wheel(radius_A=1.0), 2))  # type: ignore[arg-type]


def test_numbers_of_numpy_are_numbers():
    """Whoever computes a value need not convert it."""
    size: Any = (np.int64(2), 3)
    cart = Cart(name="a", size=size, spare=Wheel(radius_A=np.float64(0.5)))
    assert cart == Cart(name="a", size=(2, 3), spare=Wheel(radius_A=0.5))
    sizes: Any = list(size)
    assert list(dataclasses.replace(cart, size=sizes).size) == [2, 3]


def test_the_functions_of_dataclasses_take_structs():
    """Copies with a change are checked, too."""
    cart = Cart(name="a", wheels=(Wheel(radius_A=1.0),))
    assert dataclasses.replace(cart, name="b") == Cart(name="b", wheels=cart.wheels)
    assert dataclasses.asdict(cart)["wheels"] == ({"radius_A": 1.0},)
    assert [field.name for field in dataclasses.fields(Wheel)] == ["radius_A"]
    with pytest.raises(InputError, match=r"^Wheel: radius_A: expected a number"):
        dataclasses.replace(cart.wheels[0], radius_A="1")  # type: ignore[arg-type]


def test_a_misspelt_key_is_told_what_was_meant():
    """The close one is named beside all that are known."""
    with pytest.raises(InputError, match=r"\['naem'\]\. Did you mean name\? Known k"):
        from_values(Cart, {"naem": "a"}, source="cart.yaml")


def test_a_misspelt_choice_is_told_what_was_meant():
    """`colour: rde` means `red`; a value like none of them gets no guess."""
    with pytest.raises(InputError, match=r"found 'rde' \(str\)\. Did you mean red\?$"):
        Cart(name="a", colour="rde")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"found 'pink' \(str\)\.$"):
        Cart(name="a", colour="pink")  # type: ignore[arg-type]


def test_every_chemical_symbol_is_known():
    """Those of ASE, which is slow to import, and no other."""
    texts = [a + b for a in ascii_uppercase for b in ("", *ascii_lowercase)]
    known = [text for text in texts if _is(Symbol, text)]
    assert known == sorted(chemical_symbols[1:])
    assert not any(_is(Symbol, text) for text in ("", "X", "c", "C\n", "Cc", "CC"))


def _is(annotation: Any, value: Any) -> bool:
    try:
        convert(value, annotation)
    except ValidationError:
        return False
    return True
