"""Learning curves that others have published, to lay beside our own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from synthzoo.errors import InputError

FOLDER = Path(__file__).parent / "published_data"


@dataclass(frozen=True, kw_only=True)
class PublishedCurves:
    """Errors after training on so many structures.

    Attributes
    ----------
    source
        Where the numbers are from.
    drawn
        Curves that a figure shows; a table shows all.
    curves
        For each curve and number of structures: RMSE of the energy per atom (meV) and
        of the force components (eV/Å), None where it is not known.
    """

    source: str
    drawn: tuple[str, ...]
    curves: dict[str, dict[int, tuple[float | None, float | None]]]


def published_names() -> list[str]:
    """Return the names of the sets of curves that come with synthzoo."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_published(name: str) -> PublishedCurves:
    """Return a set of published curves.

    Parameters
    ----------
    name
        One of `published_names`.

    Raises
    ------
    InputError
        If there is none of that name.

    Examples
    --------
    >>> read_published("carbon-gap17").curves["direct"][25]
    (192.3, 1.272)
    """
    path = FOLDER / f"{name}.yaml"
    if name not in published_names():
        raise InputError(
            f"There are no published curves {name!r}; there are: "
            f"{', '.join(published_names())}."
        )
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    return PublishedCurves(
        source=values["source"],
        drawn=tuple(values["drawn"]),
        curves={
            curve: {
                int(size): (energy, force) for size, (energy, force) in rows.items()
            }
            for curve, rows in values["curves"].items()
        },
    )
