"""Look at labelled structures as a fine-tuning would, and stop there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.errors import InputError
from synthzoo.finetuning.checks import describe
from synthzoo.finetuning.jobs import describe_jobs, make_jobs
from synthzoo.finetuning.length import describe_trials, most_visits
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.finetuning.replay import NOTHING, comes_with_synthzoo
from synthzoo.finetuning.request import (
    Request,
    Sets,
    Sources,
    find_request,
    plan_fit,
    read_examined,
    read_replay,
    read_test,
)
from synthzoo.recipes.loading import settle_recipe
from synthzoo.training.place import TrainingPlace

if TYPE_CHECKING:
    from synthzoo.models.place import Kernels
    from synthzoo.potentials import Model


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """What `check_data` found.

    Attributes
    ----------
    structures
        How many there are.
    energy_key, forces_key
        Where the labels are.
    stress_key
        Where stress or virial is that would be fitted; None if there is none, or if a
        check doubts it.
    errors
        What must be mended before the data can be fitted, in words.
    findings
        What else is worth knowing.
    reference
        What would be done to the energies; None if there are errors.
    fits
        What would be fitted and tested, and what that costs; None if there are errors.
    """

    structures: int
    energy_key: str | None
    forces_key: str | None
    stress_key: str | None
    errors: tuple[str, ...]
    findings: tuple[str, ...]
    reference: str | None
    fits: str | None


def check_data(  # noqa: PLR0913  what a user may say
    model: Model,
    data: str | Path | Sequence[str | Path],
    *,
    recipe: FinetuneRecipe | str | Path | None = None,
    isolated_energies_eV: Mapping[str, float] | None = None,
    energy_key: str | None = None,
    forces_key: str | None = None,
    format: str | None = None,
    test: str | Path | Sequence[str | Path] = (),
    replay: str | Path | Sequence[str | Path] | None = None,
    levels: Mapping[str, Sources] | Sources | None = None,
    level: str | None = None,
    before: Model | None = None,
    energies_only: bool = False,
    drop_bad: bool = False,
    compare_direct: bool = False,
    device: str = "cpu",
    compile: bool = False,
    kernels: Kernels | None = None,
    workers: int | None = None,
    **settings: Any,
) -> DataCheck:
    """Look at labelled structures as `finetune` would, and stop there.

    Each structure is computed once. The replayed structures that come with synthzoo are
    not: they are known to be sound.

    Parameters
    ----------
    model, data, recipe, isolated_energies_eV, energy_key, forces_key, format, test
        As for `finetune`.
    replay, levels, level, before, energies_only, drop_bad, compare_direct
        As for `finetune`.
    device, compile, kernels, workers
        As for `finetune`.
    **settings
        As for `finetune`.

    Raises
    ------
    InputError
        If files cannot be read, there are no labels, or the model does not know an
        element.

    Examples
    --------
    >>> from synthzoo import sample_path
    >>> found = check_data("carbon", sample_path("carbon-pbe"))  # doctest: +SKIP
    >>> found.errors  # doctest: +SKIP
    ()
    """
    request = find_request(
        model,
        data,
        name="",
        recipe=settle_recipe(FinetuneRecipe, recipe, **settings),
        isolated_energies_eV=isolated_energies_eV,
        energy_key=energy_key,
        forces_key=forces_key,
        format=format,
        test=test,
        replay=replay,
        levels=levels,
        level=level,
        before=before,
        energies_only=energies_only,
        drop_bad=drop_bad,
        compare_direct=compare_direct,
        place=TrainingPlace(device=device, compiled=compile, kernels=kernels),
        workers=workers,
    )
    examined = read_examined(request)
    frames, keys = examined.frames, examined.keys
    origins = [str(origin) for origin in frames.origins]
    errors, findings = [], []
    for found in examined.findings:
        text = describe(found, origins)
        if found.severity != "error":
            findings.append(text)
        elif drop_bad and found.frames:
            findings.append(f"To be left out: {text}")
        else:
            errors.append(text)
    sets = None
    if not errors:
        try:
            plan = plan_fit(request, examined)
            findings += [note for note in plan.notes if note not in findings]
            tested, forces = read_test(request, plan)
            sets = Sets(
                plan=plan,
                test=tested,
                test_forces=forces,
                synthetic=NOTHING
                if comes_with_synthzoo(request.replay)
                else read_replay(request),
            )
        except InputError as error:
            errors.append(str(error))
    return DataCheck(
        structures=len(frames.structures),
        energy_key=keys.energy,
        forces_key=keys.forces,
        stress_key=keys.stress,
        errors=tuple(errors),
        findings=tuple(findings),
        reference=sets.plan.reference.summary if sets else None,
        fits=_fits(request, sets) if sets else None,
    )


def _fits(request: Request, sets: Sets) -> str:
    """Return what would be fitted and tested, and what that costs, in words."""
    plan = sets.plan
    text = f"{len(plan.training)} structures are to be fitted"
    if len(plan.held_out):
        text += f", {len(plan.held_out)} held out"
    if len(sets.test):
        text += f", {len(sets.test)} tested on"
    if plan.isolated:
        text += f"; {plan.isolated} isolated atom(s) give the energy reference"
    for level in plan.levels:
        text += (
            f"; {len(level.training)} of level {level.name}, {level.shared} of them "
            f"also of level {plan.level}"
        )
    texts = [
        f"{text}. {describe_jobs(make_jobs(request, sets), request.workers)}",
        *filter(None, [describe_trials(plan, most_visits(plan, request.recipe))]),
    ]
    if plan.related and not len(sets.test):
        texts.append(
            "Most structures are nearly the same or of one group: the structures that "
            "test the fit are much like those that it has seen. Give other structures "
            "with --test."
        )
    return " ".join(texts)
