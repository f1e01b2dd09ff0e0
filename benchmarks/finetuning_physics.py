"""Fine-tune on random draws of a set, and measure errors and diamond's stiffness.

    python benchmarks/finetuning_physics.py carbon train.extxyz out --draws 11 12 13 \
        --sizes 30 --recipe old.yaml --recipe new.yaml

Each run is `synthzoo.finetune` on one draw (no dimers), tested on all other structures
of the file. A recipe is a YAML file with a section `finetune`; `defaults` stands for
the command's own choice. What a run found is kept in its folder, so that the same
command goes on after a kill; the table is printed at the end.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo import finetune
from synthzoo.data.structures import kind_of, read_structures, write_structures
from synthzoo.finetuning.earlier import METRICS_FILE
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.recipes.loading import load_recipe
from synthzoo.reports.document import markdown_table

if TYPE_CHECKING:
    from ase import Atoms

DEFAULTS = "defaults"
CRYSTAL = "diamond"
PROPERTIES = ("a_A", "bulk_modulus_GPa", "c11_GPa", "c12_GPa", "c44_GPa")


def main() -> None:
    """Run what is not there yet, and print the table."""
    options = _options()
    structures = [
        atoms
        for atoms in read_structures(options.data)
        if len(atoms) > 2 and (not options.kinds or kind_of(atoms) in options.kinds)
    ]
    rows = []
    for size in options.sizes:
        for draw in options.draws:
            order = np.random.default_rng(draw).permutation(len(structures))
            parts = tuple(
                [structures[index] for index in part]
                for part in (order[:size], order[size:])
            )
            rows += [
                _row(options, size, draw, recipe, parts) for recipe in options.recipe
            ]
    header = ("structures", "draw", "recipe", "energy (meV/atom)", "force (eV/Å)")
    print(markdown_table((*header, *PROPERTIES, "repulsive to (Å)"), rows))  # noqa: T201  the result


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[30])
    parser.add_argument("--draws", type=int, nargs="+", default=[11])
    parser.add_argument("--kinds", nargs="+", help="Of structures; all if not given.")
    parser.add_argument("--recipe", action="append", default=[])
    options = parser.parse_args()
    options.recipe = options.recipe or [DEFAULTS]
    return options


def _row(
    options: argparse.Namespace,
    size: int,
    draw: int,
    recipe: str,
    parts: tuple[list[Atoms], ...],
) -> tuple[str, ...]:
    name = "defaults" if recipe == DEFAULTS else Path(recipe).stem
    folder = options.output / f"{size}-{draw}"
    output = folder / name
    if not output.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / "training.xyz", folder / "test.xyz"]
        for file, part in zip(files, parts, strict=True):
            if not file.is_file():
                write_structures(file, part)
        chosen = None if recipe == DEFAULTS else load_recipe(FinetuneRecipe, recipe)
        finetune(
            options.model, files[0], output, test=files[1], recipe=chosen, workers=1
        )
    found: dict[str, Any] = json.loads((output / METRICS_FILE).read_text("utf-8"))
    errors = found["unseen"][0]["after"][0]
    crystals = {crystal["name"]: crystal for crystal in found["physics"]["crystals"]}
    values = crystals[CRYSTAL]["after"]
    (repulsion,) = found["physics"]["repulsions"]
    return (
        str(size),
        str(draw),
        name,
        f"{errors['energy_rmse_meV_per_atom']:.1f}",
        f"{errors['force_rmse_eV_A']:.3f}",
        *(f"{values[key]:.4g}" for key in PROPERTIES),
        f"{repulsion['after_A']:.2f}",
    )


if __name__ == "__main__":
    main()
