"""A page of a map for any browser: points to look at, each with its structure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors

from synthzoo.environments.figure import colours_of, frequent_first
from synthzoo.reports.document import render
from synthzoo.runs.files import write_text

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.environments.quantities import Quantity
    from synthzoo.environments.sample import Sample

DIGITS = 3
"""Behind the point of places and positions; the page is read by people."""


def write_page(
    path: Path,
    title: str,
    sample: Sample,
    places: dict[str, NDArray[np.float32]],
    quantities: Sequence[Quantity],
    *,
    behind: dict[str, NDArray[np.float32]],
) -> Path:
    """Write the page, which needs no network, and return its path.

    Plotly, which draws the points, is part of the file.
    """
    from plotly.offline import get_plotlyjs

    sizes = sample.sizes
    content = {
        "maps": [
            {"name": name, "places": _short(where), "behind": _short(behind.get(name))}
            for name, where in places.items()
        ],
        "quantities": [_quantity(each) for each in quantities],
        "structure": np.repeat(np.arange(len(sizes)), sizes).tolist(),
        "atom": np.concatenate([np.arange(size) for size in sizes]).tolist(),
        "structures": [
            _structure(atoms, sample.sets[owner])
            for atoms, owner in zip(sample.structures, sample.owners, strict=True)
        ],
        "elements": _elements(sample.elements),
    }
    text = render("map.html", title=title, plotly=get_plotlyjs(), content=content)
    write_text(path, text)
    return path


def _short(values: NDArray[Any] | None) -> list[Any] | None:
    return None if values is None else np.round(values.astype(float), DIGITS).tolist()


def _quantity(quantity: Quantity) -> dict[str, Any]:
    values, categories = frequent_first(quantity)
    rounded = np.round(values, DIGITS + 1).tolist()
    return {
        "name": quantity.name,
        "values": [value if np.isfinite(value) else None for value in rounded],
        "categories": categories,
        "colours": None if categories is None else colours_of(len(categories)),
    }


def _structure(atoms: Atoms, name: str) -> dict[str, Any]:
    return {
        "set": name,
        "formula": atoms.get_chemical_formula("hill"),
        "symbols": list(atoms.symbols),
        "positions": _short(atoms.positions),
        "cell": _short(atoms.cell.array),
        "periodic": atoms.pbc.tolist(),
    }


def _elements(symbols: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return radius and colour of each element."""
    found = {}
    for symbol in symbols:
        number = chemical_symbols.index(symbol)
        red, green, blue = (255 * jmol_colors[number]).astype(int).tolist()
        found[symbol] = {
            "radius": round(float(covalent_radii[number]), 3),
            "colour": f"rgb({red},{green},{blue})",
        }
    return found
