"""Structures of some elements made into those of others: scaled and renamed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols

from synthzoo.data.labels import own_labels
from synthzoo.data.structures import (
    density_g_cm3,
    is_isolated_atom,
    iter_structures,
    write_structures,
)
from synthzoo.errors import InputError
from synthzoo.runs.files import new_output

if TYPE_CHECKING:
    from numpy.typing import NDArray

HISTORY_KEY = "transmuted"
"""Key in ``Atoms.info`` that says how structure and labels were changed."""

ALONE_WITHIN_A = 5.0
"""An atom without any other closer than this counts as isolated."""

NO_ENERGY_eV = 1e-3


@dataclass(frozen=True, kw_only=True)
class Transmutation:
    """What is done to each structure, and where its labels are.

    ``element``: chemical symbol of all atoms afterwards, for structures of one element.
    ``elements``: new symbol of each element instead, such as ``{"Ga": "In", "As":
    "P"}``.
    ``energy_factor``: factor of all energies. Forces and stress follow, so that forces
    stay the gradient of the energy: by ``energy_factor / scale`` and ``energy_factor /
    scale**3``.
    ``isolated_atom_energy_eV``: taken off the energy of each atom first, one number or
    one for each old element; for energies that are not relative to isolated atoms.
    ``energy_key``, ``forces_key``: keys of the labels in ``Atoms.info`` and
    ``Atoms.arrays``; those in ASE's own place are found without.
    """

    element: str | None = None
    elements: Mapping[str, str] = field(default_factory=dict)
    scale: float
    energy_factor: float = 1.0
    isolated_atom_energy_eV: float | Mapping[str, float] = 0.0
    energy_key: str | None = None
    forces_key: str | None = None

    def renaming(self, found: Sequence[str], name: str) -> Mapping[str, str]:
        """Return the new symbol of each element that was found.

        ``name``: of what has these elements, for messages.
        """
        if self.element is None:
            if missing := sorted(set(found) - set(self.elements)):
                raise InputError(
                    f"{name} has {', '.join(missing)}, for which no new element is "
                    "given."
                )
            return self.elements
        if len(found) != 1:
            raise InputError(
                f"{name} has the elements {', '.join(found) or '(none)'}; say which "
                "becomes which, such as Ga:In and As:P."
            )
        return {found[0]: self.element}

    def alone_eV(self, symbols: Sequence[str], name: str) -> NDArray[np.float64]:
        """Return the energy of each atom when it is alone, of shape ``(n_atoms,)``."""
        given = self.isolated_atom_energy_eV
        if not isinstance(given, Mapping):
            return np.full(len(symbols), given)
        if missing := sorted(set(symbols) - set(given)):
            raise InputError(
                f"{name} has {', '.join(missing)}, of which no isolated-atom energy is "
                "given."
            )
        return np.array([given[symbol] for symbol in symbols])


@dataclass(frozen=True, kw_only=True)
class TransmuteSummary:
    """What `transmute_file` made.

    Attributes
    ----------
    output
        File with the structures, in their order.
    structures
        How many there are.
    labelled
        How many of them have an energy.
    """

    output: Path
    structures: int
    labelled: int


def transmute_file(
    source: str | Path,
    output: str | Path,
    *,
    change: Transmutation | None = None,
    format: str | None = None,
    **settings: Any,
) -> TransmuteSummary:
    """Turn structures of some elements, and their labels, into those of others.

    Parameters
    ----------
    source
        Structures, in any format that ASE reads.
    output
        File to write.
    change
        Elements and factors.
    format
        Of the source, as ASE calls it, such as ``vasp-xml``; guessed if not given.
    **settings
        Values of `synthzoo.data.transmute.Transmutation`, if ``change`` is not given:
        ``element`` or ``elements``, ``scale``, ``energy_factor``,
        ``isolated_atom_energy_eV``, ``energy_key`` and ``forces_key``.

    Raises
    ------
    InputError
        If the output exists, the input cannot be read, a factor is not positive, an
        element is unknown, or a structure cannot be transmuted.

    Examples
    --------
    >>> import tempfile
    >>> from synthzoo import sample_path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = transmute_file(
    ...         sample_path("carbon-pbe"), f"{folder}/si.xyz", element="Si", scale=1.5
    ...     )
    >>> made.structures == made.labelled
    True
    """
    source, output = Path(source), Path(output)
    wanted = replace(change, **settings) if change else Transmutation(**settings)
    labelled = 0

    def changed() -> Iterator[Atoms]:
        nonlocal labelled
        for index, atoms in enumerate(iter_structures(source, format=format)):
            name = f"{source}: structure {index + 1}"
            result = transmute_structure(atoms, change=wanted, name=name)
            labelled += result.calc is not None and "energy" in result.calc.results
            yield result

    with new_output(output):
        structures = write_structures(output, changed())
    return TransmuteSummary(output=output, structures=structures, labelled=labelled)


def transmute_structure(
    atoms: Atoms, *, change: Transmutation, name: str = "the structure"
) -> Atoms:
    """Return a structure scaled and renamed, with the labels that follow from it.

    If E(r) is the energy for which the labels were made, those of the result belong to
    f E(r / s), with the factors f of energies and s of lengths. Only text is kept of
    ``Atoms.info``; numbers there, and other arrays than labels, belong to the old
    structure.
    """
    _check(change)
    renaming = change.renaming(sorted(set(atoms.symbols)), name)
    result = Atoms(
        [renaming[symbol] for symbol in atoms.symbols],
        positions=atoms.positions * change.scale,
        cell=atoms.cell.array * change.scale,
        pbc=atoms.pbc,
    )
    result.info.update(_kept(atoms))
    if result.cell.rank == 3:
        result.info["density_g_cm3"] = round(density_g_cm3(result), 3)
    result.info[HISTORY_KEY] = _history(atoms, renaming, change)
    alone_eV = change.alone_eV(list(atoms.symbols), name)
    if labels := _scaled(_labels(atoms, change, name), change, alone_eV):
        _check_isolated(atoms, labels, change, name)
        result.calc = SinglePointCalculator(result, **labels)
    return result


def _check(change: Transmutation) -> None:
    if (change.element is None) == (not change.elements):
        raise InputError("Give one new element, or a map such as Ga:In and As:P.")
    new = [change.element] if change.element else [*change.elements.values()]
    for symbol in new:
        if symbol not in chemical_symbols[1:]:
            raise InputError(f"{symbol!r} is no chemical symbol, such as Si.")
    if twice := sorted({symbol for symbol in new if new.count(symbol) > 1}):
        raise InputError(
            f"Several elements cannot become {twice[0]}: their energies differ."
        )
    for what, value in (
        ("scale", change.scale),
        ("energy factor", change.energy_factor),
    ):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"The {what} is {value}; it should be a positive number.")


def _kept(atoms: Atoms) -> dict[str, str]:
    return {key: text for key, text in atoms.info.items() if isinstance(text, str)}


def _history(atoms: Atoms, renaming: Mapping[str, str], change: Transmutation) -> str:
    names = ", ".join(f"{old} to {new}" for old, new in renaming.items())
    this = (
        f"{names}, lengths times {change.scale:g}, energies "
        f"times {change.energy_factor:g}"
    )
    before = atoms.info.get(HISTORY_KEY)
    return f"{before}; {this}" if before else this


def _labels(atoms: Atoms, change: Transmutation, name: str) -> dict[str, Any]:
    """Return the labels of a structure under ASE's names."""
    labels = own_labels(atoms)
    for what, key, place in (
        ("energy", change.energy_key, atoms.info),
        ("forces", change.forces_key, atoms.arrays),
    ):
        if key is None:
            _refuse_other_labels(what, labels, place, name)
        elif key not in place:
            raise InputError(f"{name} has no {what} under {key!r}.")
        else:
            labels[what] = place[key]
    return labels


def _refuse_other_labels(
    what: str, labels: dict[str, Any], place: dict[str, Any], name: str
) -> None:
    """Refuse to drop labels under a key of the user's own in silence."""
    if what in labels:
        return
    stem = what.removesuffix("s")
    if keys := sorted(key for key in place if stem in key.lower()):
        raise InputError(f"{name} has {what} under {keys}: choose with --{what}-key.")


def _scaled(
    labels: dict[str, Any], change: Transmutation, alone_eV: NDArray[np.float64]
) -> dict[str, float | NDArray[np.float64]]:
    factor = change.energy_factor
    changed: dict[str, float | NDArray[np.float64]] = {}
    if "energy" in labels:
        changed["energy"] = factor * (float(labels["energy"]) - float(alone_eV.sum()))
    if "energies" in labels:
        changed["energies"] = factor * (np.asarray(labels["energies"]) - alone_eV)
    if "forces" in labels:
        changed["forces"] = factor / change.scale * np.asarray(labels["forces"])
    if "stress" in labels:
        changed["stress"] = factor / change.scale**3 * np.asarray(labels["stress"])
    return changed


def _check_isolated(
    atoms: Atoms, labels: dict[str, Any], change: Transmutation, name: str
) -> None:
    """Refuse energies that are not relative to isolated atoms, where it shows."""
    energy = float(labels.get("energy", 0.0)) / change.energy_factor
    if abs(energy) > NO_ENERGY_eV and is_isolated_atom(atoms, ALONE_WITHIN_A):
        total = energy + float(change.alone_eV(list(atoms.symbols), name)[0])
        raise InputError(
            f"{name} is an isolated atom with an energy of {total:.4f} eV, which has "
            "no meaning for another element. Give it as isolated-atom energy: it is "
            "then subtracted from all energies first."
        )
