"""Compare models with the same labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.data.frames import read_frames
from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.level_frames import part_of_level
from synthzoo.data.sound import check_set
from synthzoo.data.structures import kind_of
from synthzoo.errors import InputError
from synthzoo.evaluation.calibration import Calibration, calibration, spreads
from synthzoo.evaluation.errors import (
    ALL,
    GroupErrors,
    Residual,
    judge_set,
    shifted,
    shifts_eV,
)
from synthzoo.evaluation.parity import write_parity_of
from synthzoo.potentials import (
    Model,
    first_at_level,
    level_of,
    load_potential,
    model_name,
    resolve,
    unique,
)
from synthzoo.runs.progress import progress_bar

if TYPE_CHECKING:
    from synthzoo.data.frames import FrameSet
    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.data.labels import LabelKeys


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Errors of a model on a set.

    Attributes
    ----------
    model, data
        What was compared.
    labels
        Where energies and forces were read.
    energy_shifts_eV
        Constant for each element that was taken off the labels before the comparison;
        empty if not asked.
    groups
        Errors over all structures first, then by group.
    calibration
        How well the model's standard deviations describe its errors; None if it gives
        none.
    """

    model: str
    data: str
    labels: str
    energy_shifts_eV: dict[str, float]
    groups: tuple[GroupErrors, ...]
    calibration: Calibration | None = None


def evaluate_models(  # noqa: PLR0913  what to compare, and how
    models: Sequence[Model],
    source: Path | str | Sequence[Path | str],
    *,
    level: str | None = None,
    figure: str | Path | None = None,
    shift: bool = False,
    skip: Sequence[str] = (),
    energy_key: str | None = None,
    forces_key: str | None = None,
    format: str | None = None,
) -> list[Evaluation]:
    """Compare models with the same labels.

    Parameters
    ----------
    models
        Checkpoints, teachers such as ``ase:mace.calculators.MACECalculator{…}``, or
        ASE calculators; see `synthzoo.potentials.resolve`. Energies of teachers are
        relative to their isolated atoms.
    source
        Labelled structures: files in any format that ASE reads, or patterns.
    level
        Level of theory of the first model, if it is a checkpoint that has several; its
        default one if not given.
    figure
        Picture to write, of predictions over labels.
    shift
        Whether to subtract a constant for each element from the labels, with which
        they agree best with each model (least squares of energies per atom). This is
        for total energies whose isolated atoms are not known. Where the compositions
        leave freedom, the smallest constants are taken.
    skip
        Groups to leave out.
    energy_key, forces_key
        Where the labels are; found among the usual names if not given.
    format
        Of all files, as ASE calls it; guessed for each if not given.

    Raises
    ------
    InputError
        If a file cannot be read, a group to skip does not occur, no structure is left,
        or labels are missing or ambiguous.

    Examples
    --------
    >>> from synthzoo import sample_path
    >>> (found,) = evaluate_models(["carbon-ace-2k"], sample_path("carbon-pbe"))
    >>> found.groups[0].name, found.groups[0].structures
    ('all', 153)
    """
    models = [resolve(model) for model in first_at_level(models, level)]
    frames = part_of_level(read_frames(source, format=format), level_of(models[0]))
    keys = find_label_keys(
        frames.structures, energy_key=energy_key, forces_key=forces_key
    )
    labelled, data = _labelled(frames, keys, skip)
    names = unique([model_name(model) for model in models])
    potentials = list(map(load_potential, models))
    for name, potential in zip(names, potentials, strict=True):
        if potential.elements is not None:
            check_set(labelled.structures, potential.elements, by=name)
    predictions = []
    for model, potential in zip(models, potentials, strict=True):
        predicted = progress_bar(
            potential.predict(labelled.structures),
            desc=f"evaluate {model_name(model)}",
            unit="structure",
            total=len(labelled),
        )
        predictions.append(judge_set(labelled, predicted))
    shifts = [shifts_eV(labelled, found) if shift else {} for found in predictions]
    predictions = [
        shifted(labelled, found, constants)
        for found, constants in zip(predictions, shifts, strict=True)
    ]
    if figure is not None:
        write_parity_of(
            Path(figure), labelled, dict(zip(names, predictions, strict=True))
        )
    return [
        Evaluation(
            model=name,
            data=data,
            labels=str(keys),
            energy_shifts_eV=constants,
            groups=found.errors,
            calibration=_calibration(found.residuals),
        )
        for name, found, constants in zip(names, predictions, shifts, strict=True)
    ]


def _calibration(residuals: Sequence[Residual]) -> Calibration | None:
    forces = [each.force_deviations_eV_A for each in residuals]
    energies = [each.energy_deviation_eV for each in residuals]
    known = [each for each in forces if each is not None]
    if len(known) < len(residuals):
        return None
    sizes = np.array([len(each.forces_eV_A) for each in residuals])
    return calibration(
        *spreads(residuals, known, np.array(energies, dtype=float) / sizes)
    )


def _labelled(
    frames: FrameSet, keys: LabelKeys, skip: Sequence[str]
) -> tuple[LabelledSet, str]:
    """Return a set without the groups to skip, and the names of its files."""
    from synthzoo.data.labelled_set import as_labelled

    found = as_labelled(frames, keys)
    names = ", ".join(file.name for file in frames.files)
    groups = [kind_of(atoms, unnamed=ALL) for atoms in found.structures]
    if unknown := sorted(set(skip) - set(groups)):
        raise InputError(
            f"{names} holds no structure of the group {', '.join(unknown)} to skip. "
            f"Its groups are: {', '.join(sorted(set(groups)))}."
        )
    kept = [index for index, group in enumerate(groups) if group not in skip]
    if not kept:
        raise InputError(f"{names} holds no structure outside of {', '.join(skip)}.")
    return found.part(kept), names
