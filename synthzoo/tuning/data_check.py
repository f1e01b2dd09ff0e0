"""Look at labelled structures as a fine-tuning would, and stop there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthzoo.errors import InputError
from synthzoo.frames import find_files
from synthzoo.hub import find_folder
from synthzoo.labelled_sets import read_labelled
from synthzoo.tuning.checks import describe, find_faults
from synthzoo.tuning.plan import make_plan, starting_calculator
from synthzoo.tuning.recipe import FinetuneRecipe


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """What `check_data` found.

    Attributes
    ----------
    structures
        How many there are.
    energy_key, forces_key
        Where the labels are.
    errors
        What must be mended before the data can be fitted, in words.
    findings
        What else is worth knowing.
    reference
        What would be done to the energies; None if there are errors.
    """

    structures: int
    energy_key: str | None
    forces_key: str | None
    errors: tuple[str, ...]
    findings: tuple[str, ...]
    reference: str | None


def check_data(  # noqa: PLR0913  what a user may say
    model: str | Path,
    data: str | Path | Sequence[str | Path],
    *,
    isolated_energies_eV: Mapping[str, float] | None = None,
    energy_key: str | None = None,
    forces_key: str | None = None,
    format: str | None = None,
    energies_only: bool = False,
) -> DataCheck:
    """Look at labelled structures as `finetune` would, and stop there.

    Parameters
    ----------
    model, data, isolated_energies_eV, energy_key, forces_key, format, energies_only
        As for `finetune`.

    Raises
    ------
    InputError
        If files cannot be read, there are no labels, or the model does not know an
        element.
    """
    start = find_folder(model)
    frames, keys = read_labelled(
        find_files(data),
        energy_key=energy_key,
        forces_key=forces_key,
        energies_only=energies_only,
        format=format,
    )
    found = find_faults(frames, keys, starting_calculator(start))
    origins = [str(origin) for origin in frames.origins]
    told = [(each.severity, describe(each, origins)) for each in found]
    errors = [text for severity, text in told if severity == "error"]
    reference = None
    if not errors:
        try:
            plan = make_plan(
                start,
                frames,
                keys,
                FinetuneRecipe(),
                given_eV=isolated_energies_eV or {},
            )
            reference = plan.reference.summary
        except InputError as error:
            errors.append(str(error))
    return DataCheck(
        structures=len(frames.structures),
        energy_key=keys.energy,
        forces_key=keys.forces,
        errors=tuple(errors),
        findings=tuple(text for severity, text in told if severity != "error"),
        reference=reference,
    )
