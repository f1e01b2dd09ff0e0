"""Invariants of an atom's neighbours: the basis functions of ACE, by python-ace.

They are complete up to four bodies as their number grows: doi
10.1103/PhysRevB.99.014104.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.advice.rows import Rows
from synthzoo.errors import MissingExtraError
from synthzoo.runs.files import new_file

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

NEEDS_ACE = "Linear models need python-ace: pip install 'synthzoo[ace]'."

SIZES: dict[int, tuple[list[int], list[int]]] = {
    1: ([10, 5, 3], [0, 4, 3]),
    2: ([8, 3, 2], [0, 3, 2]),
    3: ([6, 2, 1], [0, 2, 1]),
}
"""By number of elements, the last one for more: for two, three and four bodies, how
many radial functions there are, and the largest angular momentum."""

NEIGHBOURS = 30
"""So many neighbours are within the cutoff, on average; shorter or longer ones fitted
carbon no better."""
SHORTEST_A, LONGEST_A = 3.5, 6.0


class Invariants:
    """Functions of two to four bodies, for atoms of each element.

    ``sizes``: radial functions and largest angular momenta, by number of bodies.
    """

    def __init__(
        self,
        elements: Sequence[str],
        cutoff_A: float,
        sizes: tuple[list[int], list[int]] | None = None,
    ) -> None:
        self.elements, self.cutoff_A = sorted(elements), cutoff_A
        self.sizes = sizes or SIZES[min(len(self.elements), max(SIZES))]

    @cached_property
    def basis(self) -> Any:
        """The basis set of python-ace."""
        try:
            from pyace import ACEBBasisSet, create_multispecies_basis_config
        except ImportError as error:
            raise MissingExtraError(NEEDS_ACE) from error
        radial, angular = self.sizes
        return ACEBBasisSet(
            create_multispecies_basis_config(
                {
                    "deltaSplineBins": 0.001,
                    "elements": self.elements,
                    "embeddings": {
                        "ALL": {
                            "npot": "FinnisSinclair",
                            "fs_parameters": [1, 1],  # energies are linear
                            "ndensity": 1,
                        }
                    },
                    "bonds": {
                        "ALL": {
                            "radbase": "SBessel",
                            "radparameters": [5.25],
                            "rcut": self.cutoff_A,
                            "dcut": 0.01,
                            "NameOfCutoffFunction": "cos",
                        }
                    },
                    "functions": {
                        "ALL": {"nradmax_by_orders": radial, "lmax_by_orders": angular}
                    },
                }
            )
        )

    @cached_property
    def _calculator(self) -> Any:
        from pyace import ACEBEvaluator, ACECalculator

        self._evaluator = ACEBEvaluator(self.basis)  # the calculator does not keep it
        return ACECalculator(self._evaluator)

    @cached_property
    def bodies(self) -> NDArray[np.int64]:
        """The number of bodies of each function."""
        return np.array(
            [
                function.rank + 1
                for singles, others in zip(
                    self.basis.basis_rank1, self.basis.basis, strict=True
                )
                for function in (*singles, *others)
            ]
        )

    def __len__(self) -> int:
        """Return the number of functions."""
        return len(self.bodies)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """Where the functions of each element begin."""
        counts = [
            len(singles) + len(others)
            for singles, others in zip(
                self.basis.basis_rank1, self.basis.basis, strict=True
            )
        ]
        return np.concatenate([[0], np.cumsum(counts)])

    def functions_of(self, kind: int) -> NDArray[np.int64]:
        """Return the numbers of the functions of atoms of an element, by its number."""
        return np.arange(self._starts[kind], self._starts[kind + 1])

    def rows(self, atoms: Atoms) -> Rows:
        """Return what the functions are for a structure."""
        environment = self._environment(atoms)
        self._calculator.compute(
            environment, compute_projections=True, compute_b_grad=True
        )
        energy = np.zeros(len(self))
        for kind, values in zip(
            environment.species_type, self._calculator.projections, strict=False
        ):
            energy[self._starts[kind] : self._starts[kind + 1]] += values
        forces = np.array(self._calculator.forces_bfuncs, dtype=np.float32)
        return Rows(
            energy=energy / len(atoms),
            forces=forces.transpose(0, 2, 1).reshape(3 * len(atoms), -1),
        )

    def of_atoms(self, atoms: Atoms) -> NDArray[np.float64]:
        """Return the functions of each atom; those of other elements are zero."""
        environment = self._environment(atoms)
        self._calculator.compute(environment, compute_projections=True)
        found = np.zeros((len(atoms), len(self)))
        kinds = environment.species_type[: len(atoms)]
        for row, kind, values in zip(
            found, kinds, self._calculator.projections, strict=True
        ):
            row[self._starts[kind] : self._starts[kind + 1]] = values
        return found

    def write(
        self,
        path: Path,
        coefficients: NDArray[np.float64],
        constants_eV: Mapping[str, float],
    ) -> None:
        """Write a linear model as a potential that python-ace and LAMMPS read.

        ``coefficients``: of the functions.
        ``constants_eV``: energy of an atom of each element.
        """
        self.basis.basis_coeffs = coefficients
        potential = self.basis.to_ACECTildeBasisSet()
        with new_file(path) as partial:
            potential.save_yaml(str(partial))
            constants = [constants_eV[str(name)] for name in potential.elements_name]
            text = re.sub(
                "^E0: .*$", f"E0: {constants}", partial.read_text(), flags=re.MULTILINE
            )
            partial.write_text(text)

    def _environment(self, atoms: Atoms) -> Any:
        from pyace.atomicenvironment import aseatoms_to_atomicenvironment

        return aseatoms_to_atomicenvironment(
            _all_or_nothing(atoms, self.cutoff_A),
            cutoff=self.cutoff_A,
            elements_mapper_dict=self.basis.elements_to_index_map,
        )


def _all_or_nothing(atoms: Atoms, cutoff_A: float) -> Atoms:
    """Return a structure that is periodic in all directions, or in none.

    Where only some are, the cell gets room around the atoms in the others.
    """
    if atoms.pbc.all() or not atoms.pbc.any():
        return atoms
    whole: Atoms = atoms.copy()
    open_axes = np.flatnonzero(~atoms.pbc).tolist()
    whole.center(vacuum=cutoff_A, axis=open_axes)
    whole.pbc = True
    return whole
