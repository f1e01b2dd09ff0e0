"""Options whose values are about elements."""

from __future__ import annotations

from typing import Any

import click


class IsolatedEnergyType(click.ParamType[tuple[str, float]]):
    """An element and the energy of its isolated atom: C=-148.3."""

    name = "element=eV"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, float]:
        """Return symbol and energy in eV."""
        if isinstance(value, tuple):
            return value
        element, separator, energy = str(value).partition("=")
        try:
            number = float(energy)
        except ValueError:
            separator = ""
        if not separator or not element:
            self.fail(f"{value!r} is not of the form C=-148.3 (eV).", param, ctx)
        return element, number


class PairType(click.ParamType[tuple[str, str]]):
    """Two texts around ``=`` or ``:``, such as C=C.UPF or Ga:In.

    ``name``: of both, with what is between them. ``example``: for the error.
    """

    def __init__(self, name: str, example: str) -> None:
        self.name, self.example = name, example
        self.separator = "=" if "=" in name else ":"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        """Return both texts."""
        if isinstance(value, tuple):
            return value
        first, _, second = str(value).partition(self.separator)
        if not first or not second:
            self.fail(f"{value!r} is not of the form {self.example}.", param, ctx)
        return first, second


def _one_or_several(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> float | dict[str, float] | None:
    """Return one energy, or one for each element."""
    if len(values) == 1 and "=" not in values[0]:
        try:
            return float(values[0])
        except ValueError:
            pass  # the other form says what is wrong
    pairs = [IsolatedEnergyType().convert(value, param, ctx) for value in values]
    return dict(pairs) or None


def _map(
    ctx: click.Context,  # noqa: ARG001  click's signature
    param: click.Parameter,  # noqa: ARG001
    pairs: tuple[tuple[str, str], ...],
) -> dict[str, str] | None:
    return dict(pairs) or None


element_option = click.option("--element", help="New element, such as Si.")
map_option = click.option(
    "--map",
    "elements",
    type=PairType("old:new", "Ga:In"),
    multiple=True,
    callback=_map,
    help="An element and what it becomes, such as Ga:In; may be repeated. Instead of "
    "--element.",
)
pseudo_option = click.option(
    "--pseudo",
    "pseudopotentials",
    type=PairType("element=file", "C=C.UPF"),
    multiple=True,
    callback=_map,
    help="Pseudopotential of an element, such as C=path/POTCAR (VASP) or C=C.UPF "
    "(Quantum ESPRESSO); may be repeated.",
)
subtracted_energy_option = click.option(
    "--isolated-energy",
    "isolated_atom_energy_eV",
    metavar="[ELEMENT=]EV",
    multiple=True,
    callback=_one_or_several,
    help="Energy of an isolated atom (eV), subtracted first; 0 by default. Of several "
    "elements: Ga=-2.1, repeated.",
)
