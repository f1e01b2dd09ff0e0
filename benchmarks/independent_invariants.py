"""Count the invariants that others determine, and measure whether they are of use.

Of the basis functions of ACE, one is kept if it raises the rank of the Jacobian, with
respect to the positions of an atom's neighbours, at a random environment: then no
function of those kept before gives it (arXiv:2503.23515). Functions of fewer bodies
come first. Linear models on what is kept, on all functions, and on as many random ones,
are fitted to the same structures and tested on others.

    python benchmarks/independent_invariants.py carbon-gap17-dft-train.extxyz out
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from synthzoo.advice.data import read_data
from synthzoo.advice.invariants import Invariants
from synthzoo.advice.rows import Rows
from synthzoo.advice.simple_models import LinearKind, cutoff_of
from synthzoo.data.structures import read_structures, write_structures
from synthzoo.reports.document import markdown_table

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.records import run_missing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.advice.data import UserData

RANK_TOLERANCE = 1e-5
"""A gradient is new if so much of it is left, once those before are taken away. What
depends on others leaves less than 1e-7, the rounding errors; what does not, 1e-3."""

STEP_A = 1e-4
SIZES = (20, 80)
TESTED = 60


def raising_rank(
    jacobian: NDArray[np.float64],
) -> tuple[list[int], NDArray[np.float64]]:
    """Return the rows that are no combination of those kept before them.

    Returns ``kept``, and ``left``: what each row has that those before lack, over its
    size.

    Examples
    --------
    >>> raising_rank(np.array([[1.0, 0, 0], [2, 0, 0], [1, 1, 0]]))[0]
    [0, 2]
    """
    kept: list[int] = []
    left = np.zeros(len(jacobian))
    found = np.zeros((0, jacobian.shape[1]))
    for place, row in enumerate(jacobian):
        rest = row - found.T @ (found @ row)
        rest -= found.T @ (found @ rest)  # once more, for rounding errors
        size = np.linalg.norm(row)
        left[place] = np.linalg.norm(rest) / size if size > 0 else 0.0
        if left[place] > RANK_TOLERANCE:
            kept.append(place)
            found = np.vstack([found, rest / np.linalg.norm(rest)])
    return kept, left


def moments(invariants: Invariants) -> int:
    """Return how many numbers describe the density of an atom's neighbours.

    No more functions, less three for rotations, can be independent.
    """
    radial, angular = invariants.sizes
    kinds = len(invariants.elements)
    highest = max(angular)
    return kinds * sum(
        (2 * order + 1)
        * max(n for n, most in zip(radial, angular, strict=True) if order <= most)
        for order in range(highest + 1)
    )


def random_cluster(
    invariants: Invariants, kind: int, rng: np.random.Generator
) -> Atoms:
    """Return an atom with more neighbours within the cutoff than moments need."""
    count = moments(invariants) // 3 + 12
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    distances = invariants.cutoff_A * rng.uniform(0.3, 0.95, size=count)
    elements = invariants.elements
    names = [elements[kind], *rng.choice(elements, size=count)]
    return Atoms(names, [[0.0, 0.0, 0.0], *(directions * distances[:, None])])


def jacobian(
    invariants: Invariants, cluster: Atoms, own: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the derivatives of the first atom's functions by its neighbours."""
    columns = []
    for place in range(1, len(cluster)):
        for axis in range(3):
            ends = []
            for step in (STEP_A, -STEP_A):
                moved = cluster.copy()
                moved.positions[place, axis] += step
                ends.append(invariants.of_atoms(moved)[0, own])
            columns.append((ends[0] - ends[1]) / (2 * STEP_A))
    return np.array(columns).T


def independent(
    invariants: Invariants, rng: np.random.Generator
) -> tuple[list[int], float, float]:
    """Return functions that determine all others, and how clear the rank is.

    Returns ``kept``, ``least``: of those that were kept, what the one that is most like
    others leaves; ``most``: the same of those that were not, the largest.
    """
    kept: list[int] = []
    least, most = np.inf, 0.0
    for kind in range(len(invariants.elements)):
        own = invariants.functions_of(kind)
        own = own[np.argsort(invariants.bodies[own], kind="stable")]
        cluster = random_cluster(invariants, kind, rng)
        chosen, left = raising_rank(jacobian(invariants, cluster, own))
        others = np.setdiff1d(np.arange(len(own)), chosen)
        kept += own[chosen].tolist()
        least = min(least, float(left[chosen].min()))
        most = max(most, float(left[others].max(initial=0.0)))
    return sorted(kept), least, most


def subsets(
    invariants: Invariants, kept: Sequence[int], bodies: int, rng: np.random.Generator
) -> dict[str, list[int]]:
    """Return functions of so many bodies, by how they were chosen."""
    whole = np.flatnonzero(invariants.bodies <= bodies).tolist()
    chosen = [each for each in kept if invariants.bodies[each] <= bodies]
    drawn = sorted(rng.choice(whole, size=len(chosen), replace=False).tolist())
    return {"all": whole, "independent": chosen, "as many at random": drawn}


def errors(
    data: UserData, rows: Sequence[Rows], functions: Sequence[int], size: int
) -> list[float]:
    """Return the errors of energies and forces of a linear model."""
    chosen = list(functions)
    part = [
        Rows(energy=each.energy[chosen], forces=each.forces[:, chosen]) for each in rows
    ]
    tested = range(len(data.bulk) - TESTED, len(data.bulk))
    model = LinearKind(part)
    said = model.fit_and_say(data.bulk, range(size), tested, 0)
    found = said.judged(data.bulk.part(tested)).errors[0]
    return [found.energy_rmse_meV_per_atom, found.force_rmse_eV_A]


def main() -> None:
    """Measure what is not on record, and print the table."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    data = _read(options)
    invariants = Invariants(data.elements, cutoff_of(data.bulk.structures))
    rows: list[Rows] = []

    def measure(run: dict[str, Any]) -> dict[str, Any]:
        rng = np.random.default_rng(run["seed"])
        kept, least, most = independent(invariants, rng)
        if not rows:
            rows.extend(invariants.rows(atoms) for atoms in data.bulk.structures)
        return {
            "moments": moments(invariants) * len(invariants.elements),
            "left": [least, most],
            "models": [
                {"bodies": bodies, "functions": name, "count": len(chosen)}
                | {str(size): errors(data, rows, chosen, size) for size in SIZES}
                for bodies in (2, 3, 4)
                for name, chosen in subsets(invariants, kept, bodies, rng).items()
            ],
        }

    runs = [{"file": options.file.name, "seed": seed} for seed in range(options.seeds)]
    lines = run_missing(options.folder / "runs.jsonl", runs, measure)
    for line in lines:
        print(f"left: {line['left']}, moments: {line['moments']}")  # noqa: T201
        print(markdown_table(HEAD, [_row(model) for model in line["models"]]))  # noqa: T201


HEAD = (
    "bodies, up to",
    "functions",
    "number",
    *(f"N = {size} (meV/atom, eV/Å)" for size in SIZES),
)


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    cells = (f"{e:.1f}, {f:.3f}" for e, f in (model[str(size)] for size in SIZES))
    return (str(model["bodies"]), model["functions"], str(model["count"]), *cells)


def _read(options: argparse.Namespace) -> UserData:
    """Return structures of the file with at least four atoms, in random order."""
    large = [atoms for atoms in read_structures(options.file) if len(atoms) >= 4]
    order = np.random.default_rng(0).permutation(len(large))
    pool = options.folder / "pool.xyz"
    chosen = order[: max(SIZES) + TESTED].tolist()
    write_structures(pool, [large[index] for index in chosen])
    return read_data(
        [pool], energy_key=None, forces_key=None, format=None, drop_bad=False
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
