"""Fitted regressions as files, and as calculators of ASE."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers

from synthzoo.data.sound import check_structure
from synthzoo.environments.soap import soap_of, spectra_of
from synthzoo.errors import InputError, one_line
from synthzoo.regression.environments import Environments
from synthzoo.regression.gpr import SparseGpr
from synthzoo.runs.files import write_arrays

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

FORMAT = "local-energies"


class Regressor(Protocol):
    """What `fit_gpr` and others return."""

    @property
    def kind(self) -> str:
        """Name of the method."""

    def predict(self, environments: Environments) -> NDArray[np.float64]:
        """Return energies in eV relative to the means, ``(n,)``."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A regression, and the mean energies that it is relative to.

    ``offsets_eV``: of each element, by atomic number.
    """

    regressor: Any
    offsets_eV: dict[int, float]

    def predict(self, environments: Environments) -> NDArray[np.float64]:
        """Return energies in eV, ``(n,)``."""
        relative: NDArray[np.float64] = self.regressor.predict(environments)
        return relative + offsets_of(environments, self.offsets_eV)


def offsets_of(
    environments: Environments, offsets_eV: dict[int, float]
) -> NDArray[np.float64]:
    """Return the mean energy of each atom's element."""
    return np.array([offsets_eV[each] for each in environments.numbers.tolist()])


def keep_fitted(path: Path, fitted: Fitted, soap: dict[str, Any], about: Any) -> None:
    """Write a regression as a file.

    ``soap``: what `soap_of` was given.
    ``about``: what else shall stand there.
    """
    regressor = fitted.regressor
    facts = {
        "kind": regressor.kind,
        "facts": regressor.facts(),
        "offsets_eV": fitted.offsets_eV,
        "soap": soap,
        "about": about,
    }
    arrays = {
        name: np.ascontiguousarray(array) for name, array in regressor.arrays().items()
    }
    write_arrays(path, arrays, {FORMAT: json.dumps(facts)})


def _gpr_of(arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> SparseGpr:
    return SparseGpr(**arrays, zeta=int(facts["zeta"]))


def _network_of(arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> Any:
    from synthzoo.regression.network import network_of

    return network_of(arrays, facts)


KEPT: dict[str, Callable[[dict[str, NDArray[Any]], dict[str, Any]], Any]] = {
    "gpr": _gpr_of,
    "network": _network_of,
}
"""Kinds that can be kept as files: what makes them again."""


class LocalEnergies(Calculator):
    """Energies of atoms and their sum, by a regression; there are no forces.

    Attributes
    ----------
    about
        What the regression was fitted to, and its error.
    elements
        Chemical symbols that it knows.
    """

    implemented_properties = ["energy", "energies"]  # noqa: RUF012  as ASE has it

    def __init__(self, fitted: Fitted, soap: dict[str, Any], about: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.about = about
        self.elements = tuple(soap["elements"])
        self._fitted = fitted
        self._soap = soap_of(**soap)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | tuple[str, ...] = ("energy",),
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute everything for a structure and keep it in ``results``."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        structure: Any = self.atoms
        check_structure(structure, elements=self.elements)
        count = len(structure)
        energies = self._fitted.predict(
            Environments(
                spectra=spectra_of(structure, self._soap),
                numbers=structure.numbers,
                energies_eV=np.full(count, np.nan),
                groups=np.zeros(count, dtype=np.int64),
            )
        )
        self.results = {"energies": energies, "energy": float(energies.sum())}


def load_local_energies(path: str | Path) -> LocalEnergies:
    """Return an ASE calculator from a regression of energies of atoms.

    It has energies of atoms and their sum, relative to isolated atoms as the teacher
    has them, but no forces. Nothing in the file is executed.

    Parameters
    ----------
    path
        File (``.safetensors``) that `learn_local_energies` has written.

    Raises
    ------
    InputError
        If the file is none of these.
    MissingExtraError
        If dscribe is not installed.

    Examples
    --------
    >>> learned = load_local_energies("gpr-10000.safetensors")  # doctest: +SKIP
    >>> learned.get_potential_energies(bulk("C"))  # doctest: +SKIP
    """
    from safetensors import SafetensorError

    try:
        return _load(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path} is no regression of `synthzoo local-energies`: {one_line(error)}."
        ) from error


def _load(path: str | Path) -> LocalEnergies:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        facts = json.loads((file.metadata() or {})[FORMAT])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    offsets = {int(key): value for key, value in facts["offsets_eV"].items()}
    known = {atomic_numbers[symbol] for symbol in facts["soap"]["elements"]}
    if known != offsets.keys():
        raise ValueError("the elements do not agree")
    regressor = KEPT[facts["kind"]](arrays, facts["facts"])
    fitted = Fitted(regressor=regressor, offsets_eV=offsets)
    return LocalEnergies(fitted, facts["soap"], facts["about"])
