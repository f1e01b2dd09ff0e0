"""What a fine-tuning is asked for, and what of it decides the result."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from synthzoo.data.frames import FrameSet, find_files, read_frames
from synthzoo.data.labelled_set import LabelledSet, as_labelled, find_keys
from synthzoo.data.level_frames import LevelFrames, part_of_level, read_levels
from synthzoo.data.levels import LOW
from synthzoo.errors import InputError
from synthzoo.finetuning.checks import Examination, examine, known_labels
from synthzoo.finetuning.earlier import Earlier, files_known, find_earlier
from synthzoo.finetuning.levels import find_keys_of_level, with_levels
from synthzoo.finetuning.plan import Plan, make_plan, starting_calculator
from synthzoo.finetuning.replay import Synthetic, find_replay, read_synthetic
from synthzoo.models.predict import predict_structures
from synthzoo.potentials import Model, find_checkpoint
from synthzoo.recipes.loading import recipe_values
from synthzoo.runs.files import hash_files
from synthzoo.runs.jobs import worker_count
from synthzoo.training.place import ON_CPU, TrainingPlace, check_place

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from synthzoo.data.labels import LabelKeys
    from synthzoo.finetuning.recipe import FinetuneRecipe
    from synthzoo.models.calculator import SynthzooCalculator
    from synthzoo.models.checkpoint import Checkpoint


Sources: TypeAlias = str | Path | Sequence[str | Path]
"""Files or patterns."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for.

    ``start``: checkpoint whose weights the fit starts from.
    ``files``, ``test``, ``replay``: labelled structures to fit, to measure with, and to
    mix in.
    ``levels``: labelled structures of other levels of theory, by name.
    ``level``: which level the model is for, if said.
    ``earlier``: model of some of the files, to compare with.
    ``replay_asked``: whether the structures to mix in were named.
    ``isolated_energies_eV``: energies of free atoms that are known.
    ``energy_key``, ``forces_key``: where the labels are, if said.
    ``format``: of the files to fit and to measure with, if said.
    ``place``: where fits run, and what makes them faster there; checked.
    ``workers``: fits that run at a time.
    ``executor``: where they run instead of on this machine.
    """

    name: str
    start: Checkpoint
    files: list[Path]
    recipe: FinetuneRecipe
    test: list[Path] = field(default_factory=list)
    replay: list[Path] = field(default_factory=list)
    levels: dict[str, list[Path]] = field(default_factory=dict)
    level: str | None = None
    earlier: Earlier | None = None
    isolated_energies_eV: dict[str, float] = field(default_factory=dict)
    replay_asked: bool = False
    energy_key: str | None = None
    forces_key: str | None = None
    format: str | None = None
    energies_only: bool = False
    drop_bad: bool = False
    compare_direct: bool = False
    place: TrainingPlace = ON_CPU
    workers: int = 1
    executor: Executor | None = None

    def manifest(self) -> dict[str, Any]:
        """Return what decides the result."""
        return {
            "start_weights_sha256": self.start.config.weights_sha256,
            "data_sha256": hash_files(self.files),
            "test_sha256": hash_files(self.test),
            "replay_sha256": hash_files(self.replay),
            "recipe": recipe_values(self.recipe),
            "isolated_energies_eV": self.isolated_energies_eV,
            "keys": [self.energy_key, self.forces_key],
            "energies_only": self.energies_only,
            "drop_bad": self.drop_bad,
            "compare_direct": self.compare_direct,
            **({} if self.format is None else {"format": self.format}),
            **self._levels_manifest(),
            **self._earlier_manifest(),
        }

    @cached_property
    def frames(self) -> LevelFrames:
        """The structures of all files but those to measure with, by level of theory."""
        return read_levels(
            self.files, self.levels, level=self.level, format=self.format
        )

    def _earlier_manifest(self) -> dict[str, Any]:
        if self.earlier is None:
            return {}
        return {"earlier_weights_sha256": self.earlier.checkpoint.config.weights_sha256}

    def _levels_manifest(self) -> dict[str, Any]:
        if not self.levels and self.level is None:
            return {}
        hashes = {name: hash_files(files) for name, files in self.levels.items()}
        return {"level": self.level, "levels": hashes}


def find_request(  # noqa: PLR0913  what a user may say
    model: Model,
    data: Sources,
    *,
    name: str,
    recipe: FinetuneRecipe,
    isolated_energies_eV: Mapping[str, float] | None,
    energy_key: str | None,
    forces_key: str | None,
    format: str | None,
    test: Sources,
    replay: Sources | None,
    levels: Mapping[str, Sources] | Sources | None,
    level: str | None,
    before: Model | None,
    energies_only: bool,
    drop_bad: bool,
    compare_direct: bool,
    place: TrainingPlace,
    workers: int | None,
    executor: Executor | None = None,
) -> Request:
    """Return what is asked for, with the files and the start that are meant."""
    place = check_place(place)
    if levels and (place.compiled or place.kernels):
        raise InputError(
            "Several levels of theory can be fitted neither compiled nor with kernels: "
            "leave --compile and --kernels out."
        )
    start = find_checkpoint(model, needed_for="finetune")
    if executor is not None:
        workers = worker_count(executor)
    files = find_files(data)
    return Request(
        name=name,
        start=start,
        files=files,
        test=find_files(test) if test else [],
        replay=find_replay(replay, start.config) if recipe.replay_share else [],
        replay_asked=replay is not None,
        levels=_named_levels(levels),
        level=level,
        earlier=None if before is None else find_earlier(before, files),
        recipe=recipe,
        isolated_energies_eV=dict(isolated_energies_eV or {}),
        energy_key=energy_key,
        forces_key=forces_key,
        format=format,
        energies_only=energies_only,
        drop_bad=drop_bad,
        compare_direct=compare_direct,
        place=place,
        workers=workers or os.cpu_count() or 1,
        executor=executor,
    )


def _named_levels(
    levels: Mapping[str, Sources] | Sources | None,
) -> dict[str, list[Path]]:
    """Return the files of each other level; those that are not named get a name."""
    if not levels:
        return {}
    named = levels if isinstance(levels, Mapping) else {LOW: levels}
    return {name: find_files(sources) for name, sources in named.items()}


@dataclass(frozen=True, kw_only=True)
class Sets:
    """What a fine-tuning works with.

    ``plan``: what will be fitted to what.
    ``test``: structures that the user keeps for testing; may be empty.
    ``test_forces``: whether these have forces; if not, those of the start stand in.
    ``synthetic``: to mix in, and to measure what is forgotten.
    """

    plan: Plan
    test: LabelledSet
    test_forces: bool
    synthetic: Synthetic


def read_sets(request: Request) -> Sets:
    """Read everything that was asked for."""
    plan = plan_fit(request, read_examined(request))
    test, forces = read_test(request, plan)
    if request.earlier is not None:
        for labelled in (plan.training, plan.held_out, test):
            request.earlier.check(labelled)
    return Sets(
        plan=plan, test=test, test_forces=forces, synthetic=read_replay(request)
    )


def read_replay(request: Request) -> Synthetic:
    """Return the synthetic structures to mix in and to measure with, computed."""
    return read_synthetic(
        request.replay,
        starting_calculator(request.start),
        labels=request.recipe.replay_labels,
    )


def read_examined(request: Request) -> Examination:
    """Return the structures to be fitted, and what the start says about them."""
    frames = request.frames
    find = find_keys_of_level if frames.others else find_keys
    keys = find(
        frames.own,
        energy_key=request.energy_key,
        forces_key=request.forces_key,
        energies_only=request.energies_only,
    )
    return examine(frames.own, keys, starting_calculator(request.start))


def plan_fit(request: Request, examined: Examination) -> Plan:
    """Return the plan for what was read."""
    plan = make_plan(
        request.start,
        examined,
        request.recipe,
        given_eV=request.isolated_energies_eV,
        drop=request.drop_bad,
        tested=bool(request.test),
        levelled=bool(request.frames.others),
    )
    doubts = (*_seen_by_start(request), *_stand_in_doubts(plan, request))
    plan = replace(plan, notes=(*plan.notes, *doubts))
    return with_levels(plan, request.frames, drop=request.drop_bad)


def _stand_in_doubts(plan: Plan, request: Request) -> list[str]:
    """Return that forces of a start which is no potential cannot replace labels."""
    levels = bool(request.frames.others)
    if not plan.energies_only or levels or plan.config.kind != "starting-point":
        return []
    return [
        f"{request.start.name} is a start for fine-tuning and no potential: its "
        "forces, which stand in for those that the data lack, mean nothing. Give "
        "structures of a cheaper method with forces as well (--with)."
    ]


def _seen_by_start(request: Request) -> list[str]:
    """Return that errors on some structures mean little, where the start saw them."""
    count = files_known(request.start.config, request.files)
    if not count:
        return []
    names = ", ".join(map(str, request.files[:count]))
    return [
        f"{request.start.name} was fitted to {names} before, so the errors on "
        "structures of these files are too small, also where a fit left them out: "
        "start from the model that it was made from."
    ]


def read_test(request: Request, plan: Plan) -> tuple[LabelledSet, bool]:
    """Return what the user keeps for testing, if anything, and whether it has forces.

    Where neither these structures nor the data have forces, the start's stand in.

    ``plan``: of the fit: its labels are named as those of the test set.
    """
    if not request.test:
        return plan.training.part([]), False
    frames = part_of_level(read_frames(request.test, format=request.format), plan.level)
    find = find_keys_of_level if plan.energies_only else find_keys
    keys = find(frames, energy_key=request.energy_key, forces_key=request.forces_key)
    if plan.keys.stress is None:
        keys = replace(keys, stress=None)
    if keys.forces is None:
        labelled = _with_stand_ins(frames, keys, starting_calculator(request.start))
    else:
        labelled = as_labelled(frames, keys)
    alone = labelled.isolated(plan.config.cutoff_A)
    return labelled.part(np.flatnonzero(~alone).tolist()), keys.forces is not None


def _with_stand_ins(
    frames: FrameSet, keys: LabelKeys, start: SynthzooCalculator
) -> LabelledSet:
    """Return structures with their energies, and with a start's forces as labels."""
    origins = [str(origin) for origin in frames.origins]
    for atoms, origin in zip(frames.structures, origins, strict=True):
        start.check(atoms, name=origin)
    predicted = predict_structures(frames.structures, start)
    return LabelledSet(
        structures=frames.structures,
        labels=[
            known_labels(atoms, found, keys)
            for atoms, found in zip(frames.structures, predicted, strict=True)
        ],
        origins=origins,
    )
