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


class PseudopotentialType(click.ParamType[tuple[str, str]]):
    """An element and its pseudopotential: C=C.UPF."""

    name = "element=file"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        """Return symbol and file."""
        if isinstance(value, tuple):
            return value
        element, _, file = str(value).partition("=")
        if not file or not element:
            self.fail(f"{value!r} is not of the form C=C.UPF.", param, ctx)
        return element, file


class RenamingType(click.ParamType[tuple[str, str]]):
    """An element and the one that it becomes: Ga:In."""

    name = "old:new"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        """Return both symbols."""
        if isinstance(value, tuple):
            return value
        old, _, new = str(value).partition(":")
        if not old or not new:
            self.fail(f"{value!r} is not of the form Ga:In.", param, ctx)
        return old, new


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
    type=RenamingType(),
    multiple=True,
    callback=_map,
    help="An element and what it becomes, such as Ga:In; may be repeated. Instead of "
    "--element.",
)
pseudo_option = click.option(
    "--pseudo",
    "pseudopotentials",
    type=PseudopotentialType(),
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
