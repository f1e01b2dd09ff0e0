"""Small labelled sets that come with synthzoo: carbon and silicon from PBE.

They were made by the recipes ``carbon-dft`` and ``silicon-dft``; the README beside the
data says with which settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.data.structures import read_structures
from synthzoo.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms


def sample_names() -> tuple[str, ...]:
    """Return the names of the labelled sets that come with synthzoo.

    Examples
    --------
    >>> sample_names()
    ('carbon-pbe', 'silicon-pbe')
    """
    return tuple(sorted(path.stem for path in _folder().glob("*.xyz")))


def sample_path(name: str) -> Path:
    """Return the path of a labelled set, for commands and other programs.

    Parameters
    ----------
    name
        One of `sample_names`, such as ``carbon-pbe``.

    Raises
    ------
    InputError
        If there is no set of that name.

    Examples
    --------
    >>> sample_path("silicon-pbe").name
    'silicon-pbe.xyz'
    """
    path = _folder() / f"{name}.xyz"
    if name not in sample_names():
        raise InputError(
            f"No sample {name!r} comes with synthzoo. "
            f"It has: {', '.join(sample_names())}."
        )
    return path


def load_sample(name: str) -> list[Atoms]:
    """Return the structures of a labelled set, with their labels where ASE keeps them.

    Energies are free energies of the electrons relative to isolated atoms, in eV.
    Forces are in eV/Å, stress in eV/Å³. ``info`` says from which recipe, seed and
    teacher each structure and its labels come; related frames share ``info["group"]``.

    Parameters
    ----------
    name
        One of `sample_names`, such as ``carbon-pbe``.

    Raises
    ------
    InputError
        If there is no set of that name.

    Examples
    --------
    >>> len(load_sample("silicon-pbe"))
    147
    """
    return read_structures(sample_path(name))


def _folder() -> Path:
    return Path(__file__).parent / "samples_data"
