"""Compare a model's own uncertainty with that of its committee, on held-out structures.

    synthzoo finetune carbon 25-structures.xyz -o tuned --committee 4
    python benchmarks/uncertainty.py tuned others.xyz

Both are brought to the size of the errors by one factor, found on every second
structure, and judged on the others. The model's own, with the factor that fine-tuning
found, is judged on all. A committee costs as many evaluations as it has members; its
spread is the root mean square over the components of a force.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from synthzoo import load_calculator, load_committee
from synthzoo.cli.options import echo_table
from synthzoo.data.frames import read_frames
from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.labelled_set import LabelledSet, as_labelled
from synthzoo.evaluation.calibration import BANDS, Spread
from synthzoo.finetuning.comparison import predict_set
from synthzoo.runs.progress import progress_bar


@dataclass(frozen=True)
class Judged:
    """Spreads of force errors, one for each structure."""

    name: str
    spreads: list[Spread]

    def half(self, first: int) -> Spread:
        """Return every second structure's, from a first one on."""
        return joined(self.spreads[first::2])


def joined(spreads: list[Spread]) -> Spread:
    """Return several as one."""
    return Spread(
        errors=np.concatenate([spread.errors for spread in spreads]),
        deviations=np.concatenate([spread.deviations for spread in spreads]),
    )


def own(model: str, labelled: LabelledSet) -> Judged:
    """Return what the model says of itself."""
    found = predict_set(labelled, load_calculator(model)).residuals
    spreads = [
        Spread(errors=each.forces_eV_A, deviations=each.force_deviations_eV_A)
        for each in found
        if each.force_deviations_eV_A is not None
    ]
    if not spreads:
        raise SystemExit(f"{model} does not know how sure it is.")
    return Judged("own", spreads)


def committee(model: str, labelled: LabelledSet) -> Judged:
    """Return what its committee says: the errors are those of the mean."""
    calculator = load_committee(model)
    spreads = []
    pairs = zip(labelled.structures, labelled.labels, strict=True)
    for atoms, label in progress_bar(
        pairs, desc="committee", unit="structure", total=len(labelled)
    ):
        calculator.calculate(atoms)
        results = calculator.results
        spreads.append(
            Spread(
                errors=results["forces"] - label.forces_eV_A,
                deviations=np.sqrt(np.mean(results["forces_spread"] ** 2, axis=1)),
            )
        )
    return Judged("committee", spreads)


def row(name: str, spread: Spread) -> tuple[str, ...]:
    """Return a line of the table."""
    within = [f"{100 * spread.within(share):.1f}" for share in BANDS]
    rms = np.sqrt(np.mean(spread.errors**2))
    return (name, *within, f"{spread.rank_correlation():.3f}", f"{rms:.3f}")


def main() -> None:
    """Print a table."""
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    model, file = sys.argv[1:]
    frames = read_frames(file)
    labelled = as_labelled(frames, find_label_keys(frames.structures))
    found = [own(model, labelled), committee(model, labelled)]
    rows = [row("own, as fine-tuning left it", joined(found[0].spreads))]
    for judged in found:
        factor = judged.half(0).factor()
        rows.append(
            row(f"{judged.name}, factor {factor:.2f}", judged.half(1).scaled(factor))
        )
    head = ("UNCERTAINTY", "IN 68 %", "IN 95 %", "RANK CORRELATION", "RMSE (eV/Å)")
    echo_table(head, rows)


if __name__ == "__main__":
    main()
