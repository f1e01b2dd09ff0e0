"""All structures of a fine-tuning, read before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.labelled_sets import LabelledSet, as_labelled, read_labelled
from synthzoo.tuning.plan import Plan, make_plan, starting_calculator
from synthzoo.tuning.replay import Synthetic, read_synthetic

if TYPE_CHECKING:
    from synthzoo.frames import FrameSet
    from synthzoo.labels import LabelKeys
    from synthzoo.tuning.request import Request


@dataclass(frozen=True, kw_only=True)
class Sets:
    """What a fine-tuning works with.

    Attributes
    ----------
    plan
        What will be fitted to what.
    test
        Structures that the user keeps for testing; may be empty.
    synthetic
        To mix in, and to measure what is forgotten.
    """

    plan: Plan
    test: LabelledSet
    synthetic: Synthetic


def read_sets(request: Request) -> Sets:
    """Read everything that was asked for.

    Parameters
    ----------
    request
        What to read.

    Raises
    ------
    InputError
        If something is missing or cannot be used.
    """
    return make_sets(request, *read_data(request))


def read_data(request: Request) -> tuple[FrameSet, LabelKeys]:
    """Return the structures to be fitted, and where their labels are.

    Parameters
    ----------
    request
        What to read.

    Raises
    ------
    InputError
        If a file cannot be read, or labels are missing or ambiguous.
    """
    return read_labelled(
        request.files,
        energy_key=request.energy_key,
        forces_key=request.forces_key,
        energies_only=request.energies_only,
        format=request.format,
    )


def make_sets(request: Request, frames: FrameSet, keys: LabelKeys) -> Sets:
    """Return everything that was asked for.

    Parameters
    ----------
    request
        What to read beside the data.
    frames, keys
        From `read_data`.

    Raises
    ------
    InputError
        If something is missing or cannot be used.
    """
    plan = make_plan(
        request.start,
        frames,
        keys,
        request.recipe,
        given_eV=request.isolated_energies_eV,
        drop=request.drop_bad,
        tested=bool(request.test),
    )
    return Sets(
        plan=plan,
        test=_labelled(request.test, request, plan),
        synthetic=read_synthetic(
            request.replay,
            starting_calculator(request.start),
            labels=request.recipe.replay_labels,
        ),
    )


def _labelled(files: Sequence[Path], request: Request, plan: Plan) -> LabelledSet:
    """Return a set to look at; its labels are where those of the fit are."""
    if not files:
        return plan.training.part([])
    frames, keys = read_labelled(
        files,
        energy_key=request.energy_key,
        forces_key=request.forces_key,
        format=request.format,
    )
    labelled = as_labelled(frames, keys)
    alone = labelled.alone(plan.config.cutoff_A)
    return labelled.part(np.flatnonzero(~alone).tolist())
