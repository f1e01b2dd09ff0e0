"""Measure how smooth energies are along lines through structures.

    python benchmarks/smoothness.py judges.xyz OUTPUT carbon-ace-2k my-carbon \
        --against ace:c_ace.yace

All atoms of a structure are moved along a random direction, by up to `--span` Å (root
mean square over the atoms) to both sides. The reference, a smooth potential, says how
many extrema such a line has and how strongly it bends. For each model, OUTPUT.md has

spurious    extrema per line beyond those of the reference
missing     extrema of the reference that the model lacks, per line
curvature   root mean square error of the second derivative, in eV/Å² per atom
roughness   root mean square of the fourth differences of the energy per atom, in meV:
            what a smooth curve of these points has next to none of
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.data.structures import read_structures
from synthzoo.potentials import Model, load_potential, model_name
from synthzoo.reports.document import markdown_table

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

POINTS = 41
LEAST_ATOMS = 3


def main() -> None:
    """Measure all models on the same lines."""
    options = _options()
    rng = np.random.default_rng(options.seed)
    found = [
        atoms
        for atoms in read_structures(options.structures)
        if len(atoms) >= LEAST_ATOMS
    ]
    chosen = rng.permutation(len(found))[: options.count]
    offsets_A = np.linspace(-options.span, options.span, POINTS)
    lines = [line_through(found[index], offsets_A, rng) for index in chosen]
    step_A = offsets_A[1] - offsets_A[0]
    reference = energies_along(options.against, lines)
    rows = []
    for model in (options.against, *options.models):
        energies = energies_along(model, lines)
        more = extrema(energies) - extrema(reference)
        bends = curvature(energies, step_A) - curvature(reference, step_A)
        rows.append(
            (
                model_name(model),
                f"{np.maximum(more, 0).mean():.2f}",
                f"{np.maximum(-more, 0).mean():.2f}",
                f"{np.sqrt((bends**2).mean()):.3g}",
                f"{1000 * roughness(energies):.3g}",
            )
        )
    header = ("Model", "Spurious", "Missing", "Curvature", "Roughness")
    options.output.with_suffix(".md").write_text(
        markdown_table(header, rows) + "\n", encoding="utf-8"
    )


def line_through(
    atoms: Atoms, offsets_A: NDArray[np.float64], rng: np.random.Generator
) -> list[Atoms]:
    """Return a structure with all atoms moved along one random direction."""
    direction = rng.normal(size=(len(atoms), 3))
    direction -= direction.mean(axis=0)
    direction *= np.sqrt(len(atoms)) / np.linalg.norm(direction)
    line = []
    for offset in offsets_A:
        moved = atoms.copy()
        moved.positions += offset * direction
        line.append(moved)
    return line


def energies_along(model: Model, lines: list[list[Atoms]]) -> NDArray[np.float64]:
    """Return the energies per atom of lines, of shape ``(lines, points)``."""
    potential = load_potential(model, dtype="float64")
    structures = [atoms for line in lines for atoms in line]
    energies = [
        atoms.get_potential_energy() / len(atoms)
        for atoms in potential.predict(structures)
    ]
    return np.array(energies).reshape(len(lines), -1)


def extrema(energies: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many extrema each line has within its ends."""
    rising = np.diff(energies, axis=1) > 0
    found: NDArray[np.int64] = np.sum(rising[:, 1:] != rising[:, :-1], axis=1)
    return found


def curvature(energies: NDArray[np.float64], step_A: float) -> NDArray[np.float64]:
    """Return the second derivatives along lines."""
    found: NDArray[np.float64] = np.diff(energies, n=2, axis=1) / step_A**2
    return found


def roughness(energies: NDArray[np.float64]) -> float:
    """Return the root mean square of the fourth differences."""
    return float(np.sqrt((np.diff(energies, n=4, axis=1) ** 2).mean()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("structures", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--against", required=True)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--span", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
