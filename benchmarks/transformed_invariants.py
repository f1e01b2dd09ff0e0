"""Measure whether transforms and products of invariants improve the linear model.

After the linear model of `advise` is fitted, its leading functions are those whose
coefficient times spread is largest. New functions of an atom's environment are made of
them: the square of each, a form of each that levels off, and the product of every two.
The same ridge is fitted to the old and the new functions, on the three parts that
`advise` would make, with as many leading functions as parts of the training structures
choose (arXiv:2211.11680 makes this comparison before any flexible model).

    python benchmarks/transformed_invariants.py carbon-gap17-dft-train.extxyz 25 out
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.advice.data import UserData, make_folds, read_data
from synthzoo.advice.linear import ENERGY_WEIGHT, INNER_FOLDS
from synthzoo.advice.rows import Rows
from synthzoo.advice.simple_models import LinearKind, invariants_of
from synthzoo.data.labelled_set import rms
from synthzoo.data.pairs import find_pairs
from synthzoo.data.structures import read_structures, write_structures
from synthzoo.finetuning.plan import fold_set
from synthzoo.reports.document import markdown_table
from synthzoo.runs.progress import progress_bar

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.records import run_missing

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.advice.invariants import Invariants
    from synthzoo.evaluation.errors import GroupErrors

LEADING = (0, 5, 10, 20)
"""Numbers of leading functions to choose from; with none, the model is as it was."""

CHOSEN = "chosen"


@dataclass(frozen=True)
class Environment:
    """Functions of one atom, and the forces that they make.

    ``values``: ``(n_functions,)``.
    ``moved``: numbers of the atom and of its neighbours, ``(n,)``.
    ``forces``: on those, ``(n, n_functions, 3)``.
    """

    values: NDArray[np.float64]
    moved: NDArray[np.int64]
    forces: NDArray[np.float32]


def environments(
    invariants: Invariants, atoms: Atoms, functions: Sequence[int]
) -> list[Environment]:
    """Return some functions of each atom; python-ace is asked for one at a time."""
    from pyace.atomicenvironment import ACEAtomicEnvironment

    calculator = invariants._calculator
    pairs = find_pairs(atoms, invariants.cutoff_A)
    found = []
    for index in range(len(atoms)):
        here = pairs.first == index
        moved = np.array([index, *pairs.second[here]])
        count = len(moved)
        alone = ACEAtomicEnvironment()
        alone.x = [[0.0, 0.0, 0.0], *pairs.vectors_A[here].tolist()]
        alone.species_type = [0] * count
        alone.neighbour_list = [list(range(1, count)), *([] for _ in moved[1:])]
        alone.origins = list(range(count))
        alone.n_atoms_real = alone.n_atoms_extended = count
        calculator.compute(alone, compute_projections=True, compute_b_grad=True)
        values = np.array(calculator.projections[0])
        forces = np.array(calculator.forces_bfuncs, dtype=np.float32)
        found.append(Environment(values[functions], moved, forces[:, functions]))
    return found


@dataclass(frozen=True)
class Transforms:
    """New functions of the leading ones.

    ``leading``: their places among the functions of environments.
    ``centre``, ``spread``: over the atoms of the training structures.
    """

    leading: NDArray[np.int64]
    centre: NDArray[np.float64]
    spread: NDArray[np.float64]

    def rows(self, around: Sequence[Environment]) -> Rows:
        """Return what the new functions are for a structure."""
        sums: list[NDArray[np.float64]] = []
        forces: NDArray[np.float64] | float = 0.0
        for each in around:
            values, slopes = self._of(each.values[self.leading])
            sums.append(values)
            new = np.einsum("nkx,kf->nxf", each.forces[:, self.leading], slopes)
            on_all = np.zeros((len(around), *new.shape[1:]))
            np.add.at(on_all, each.moved, new)
            forces = forces + on_all
        return Rows(
            energy=np.mean(sums, axis=0),
            forces=np.asarray(forces, dtype=np.float32).reshape(3 * len(around), -1),
        )

    def _of(
        self, values: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the new functions, and their derivatives by the leading ones."""
        z = (values - self.centre) / self.spread
        count = len(z)
        first, second = np.triu_indices(count, 1)
        own = np.eye(count)
        flat = np.sqrt(1 + z**2)
        products = own[:, first] * z[second] + own[:, second] * z[first]
        new = np.concatenate([z**2, z / flat, z[first] * z[second]])
        slopes = np.hstack([own * 2 * z, own / flat**3, products])
        return new, slopes / self.spread[:, None]


def leading_first(
    coefficients: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the functions whose share of the energies varies most, the first first.

    ``values``: of the functions for each atom, ``(n_atoms, n_functions)``.
    """
    return np.argsort(-np.abs(coefficients) * values.std(axis=0), kind="stable")


class Comparison:
    """Models of a set with more and fewer new functions.

    ``data``: of one element.
    """

    def __init__(self, data: UserData) -> None:
        self._bulk = data.bulk
        self._folds = make_folds(data.bulk, 0)
        invariants = invariants_of(data.bulk)
        structures = data.bulk.structures
        self._rows = [invariants.rows(atoms) for atoms in structures]
        self._values = [invariants.of_atoms(atoms) for atoms in structures]
        orders = [self._order(fold.training)[: max(LEADING)] for fold in self._folds]
        self._candidates = sorted(set(itertools.chain.from_iterable(orders)))
        bar = progress_bar(
            structures, desc="atoms", unit="structure", total=len(data.bulk)
        )
        self._around = [
            environments(invariants, atoms, self._candidates) for atoms in bar
        ]

    def errors(self) -> dict[str, list[GroupErrors]]:
        """Return the errors on each part, by the number of leading functions."""
        found: dict[str, list[GroupErrors]] = {}
        chosen: list[int] = []
        for fold in self._folds:
            kinds = self._kinds(fold.training)
            tested = list(fold.tested)
            each = {
                count: self._judged(kind, fold.training, tested)
                for count, kind in kinds.items()
            }
            best = min(kinds, key=lambda c: self._loss(kinds[c], fold.training))
            chosen.append(best)
            for name, error in ({str(c): e for c, e in each.items()}).items():
                found.setdefault(name, []).append(error)
            found.setdefault(CHOSEN, []).append(each[best])
        print(f"chosen: {chosen}", flush=True)  # noqa: T201
        return found

    def _order(self, training: Sequence[int]) -> list[int]:
        """Return the functions by what they contribute to a fit to some structures."""
        model = LinearKind(self._rows).fit(self._bulk, training, 0)
        values = np.concatenate([self._values[index] for index in training])
        found: list[int] = leading_first(model.coefficients, values).tolist()
        return found

    def _kinds(self, training: Sequence[int]) -> dict[int, LinearKind]:
        """Return the models to compare, by the number of leading functions."""
        order = self._order(training)
        return {
            count: LinearKind(
                self._with(order[:count], training) if count else self._rows
            )
            for count in LEADING
        }

    def _with(self, leading: Sequence[int], training: Sequence[int]) -> list[Rows]:
        places = np.array([self._candidates.index(each) for each in leading])
        seen = np.concatenate([self._values[index] for index in training])[:, leading]
        transforms = Transforms(places, seen.mean(axis=0), seen.std(axis=0))
        return [
            Rows(
                energy=np.concatenate([old.energy, new.energy]),
                forces=np.hstack([old.forces, new.forces]),
            )
            for old, new in zip(
                self._rows, map(transforms.rows, self._around), strict=True
            )
        ]

    def _judged(
        self, kind: LinearKind, training: Sequence[int], tested: Sequence[int]
    ) -> GroupErrors:
        said = kind.fit_and_say(self._bulk, training, tested, 0)
        return said.judged(self._bulk.part(tested)).errors[0]

    def _loss(self, kind: LinearKind, training: Sequence[int]) -> float:
        """Return the loss on parts of the training structures that are left out."""
        structures = [self._bulk.structures[index] for index in training]
        losses = []
        for fitted, tested in fold_set(structures, INNER_FOLDS, 0):
            error = self._judged(
                kind,
                [training[index] for index in fitted],
                [training[index] for index in tested],
            )
            energies = ENERGY_WEIGHT * (error.energy_rmse_meV_per_atom / 1000) ** 2
            losses.append(energies + error.force_rmse_eV_A**2)
        return float(np.mean(losses))


def main() -> None:
    """Measure what is not on record, and print the table."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)

    def measure(_: dict[str, Any]) -> dict[str, Any]:
        errors = Comparison(_read(options)).errors()
        return {
            "errors": {
                name: [[e.energy_rmse_meV_per_atom, e.force_rmse_eV_A] for e in each]
                for name, each in errors.items()
            }
        }

    run = {"file": options.file.name, "structures": options.structures}
    lines = run_missing(options.folder / "runs.jsonl", [run], measure)
    for line in lines:
        print(line["file"], line["structures"])  # noqa: T201
        print(markdown_table(HEAD, _table(line["errors"])))  # noqa: T201


HEAD = ("leading functions", "new ones", "energies (meV/atom)", "forces (eV/Å)")


def _table(errors: Mapping[str, Sequence[Sequence[float]]]) -> list[tuple[str, ...]]:
    """Return errors over the parts, and how they differ from those without new ones."""
    plain = np.array(errors["0"])
    rows = []
    for name, each in errors.items():
        values = np.array(each)
        differences = values - plain
        spread = differences.std(axis=0, ddof=1) / len(values) ** 0.5
        cells = (
            f"{rms(values[:, q]):.{digits}f} "
            f"({differences[:, q].mean():+.{digits}f} ± {spread[q]:.{digits}f})"
            for q, digits in ((0, 1), (1, 3))
        )
        count = "" if name == CHOSEN else str(_new(int(name)))
        rows.append((name, count, *cells))
    return rows


def _new(leading: int) -> int:
    return 2 * leading + leading * (leading - 1) // 2


def _read(options: argparse.Namespace) -> UserData:
    """Return structures of the file with at least four atoms, in random order."""
    large = [atoms for atoms in read_structures(options.file) if len(atoms) >= 4]
    order = np.random.default_rng(0).permutation(len(large))
    pool = options.folder / "pool.xyz"
    write_structures(pool, [large[i] for i in order[: options.structures].tolist()])
    return read_data(
        [pool], energy_key=None, forces_key=None, format=None, drop_bad=False
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="structures of one element")
    parser.add_argument("structures", type=int, help="how many are drawn")
    parser.add_argument("folder", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
