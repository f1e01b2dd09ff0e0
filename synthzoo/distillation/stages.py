"""The stages of a distillation: each leaves files, and is not done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.data.structures import read_structures, write_structures
from synthzoo.distillation.calm import calm_start, squeezable
from synthzoo.distillation.probes import probe_structures
from synthzoo.distillation.replay import to_replay
from synthzoo.distillation.request import check_against
from synthzoo.finetuning.run import finetune
from synthzoo.generation.starts import bare
from synthzoo.labelling.recipe import RelabelRecipe
from synthzoo.labelling.relabel import relabel_file
from synthzoo.runs.resumable import is_missing
from synthzoo.stability.check import run_md
from synthzoo.training.build import CHECKPOINT_FOLDER, LABELLED_FILE, build_checkpoint

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.distillation.plan import Plan
    from synthzoo.distillation.request import Request, UserData

RECIPE_FILE = "recipe.yaml"
STARTS_FILE, STARTS_LABELLED_FILE = "starts.xyz", "starts-teacher.xyz"
SQUEEZED_FILE = "squeezed.xyz"
TEST_FILE, TEST_LABELLED_FILE = "test.xyz", "test-teacher.xyz"
REPLAY_FILE = "replay.xyz"
PROBES_FILE, PROBES_LABELLED_FILE = "probes.xyz", "probes-teacher.xyz"
STUDENT_FOLDER, POTENTIAL_FOLDER, DYNAMICS_FOLDER = "student", "potential", "md"

INDEX_KEY = "index"
"""Key in ``Atoms.info``: number of a structure in the file before its labelling."""


def stages(
    request: Request, data: UserData, plan: Plan, folder: Path
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what to do, one after the other: a name in words, and a function.

    ``data``: the user's structures. ``plan``: how the time is spent. ``folder``: with
    the recipe and the starts.
    """
    student, potential = folder / STUDENT_FOLDER, folder / POTENTIAL_FOLDER

    def label(source: str, output: str) -> Callable[[], object]:
        return lambda: _label(request, folder / source, folder / output)

    if request.test:
        yield (
            "the teacher on your test structures",
            label(TEST_FILE, TEST_LABELLED_FILE),
        )
    yield "the teacher on simple systems", label(PROBES_FILE, PROBES_LABELLED_FILE)
    yield (
        "synthetic structures, their labels, and a student",
        lambda: build_checkpoint(
            folder / RECIPE_FILE, student, workers=request.workers, trust=True
        ),
    )
    yield "fine-tuning", lambda: _tune(request, data.bulk, plan, folder)
    yield "dynamics", lambda: _run_md(request, data.bulk, potential, folder)


def write_inputs(folder: Path, data: UserData) -> None:
    """Write what the teacher labels first, and what synthetic structures start from."""
    inputs = {STARTS_FILE: _bare(data.bulk), PROBES_FILE: probe_structures(data.bulk)}
    if data.test is not None:
        inputs[TEST_FILE] = _bare(data.test)
    if squeezed := squeezable(data.bulk):
        inputs[SQUEEZED_FILE] = squeezed
    for name, structures in inputs.items():
        for index, atoms in enumerate(structures):
            atoms.info[INDEX_KEY] = index
        write_structures(folder / name, structures)


def _bare(data: LabelledSet) -> list[Atoms]:
    return [bare(atoms, pbc=atoms.pbc) for atoms in data.structures]


def _label(request: Request, source: Path, output: Path) -> None:
    if is_missing(output):
        recipe = RelabelRecipe(teacher=request.teacher, max_force_eV_A=None)
        relabel_file(source, output, recipe=recipe, workers=request.workers)


def label_starts(request: Request, data: UserData, folder: Path) -> None:
    """Label the user's structures by the teacher; refuse labels that cannot be."""
    _label(request, folder / STARTS_FILE, folder / STARTS_LABELLED_FILE)
    computed = read_structures(folder / STARTS_LABELLED_FILE)
    numbers = [int(atoms.info[INDEX_KEY]) for atoms in computed]
    check_against(data, numbers, computed)


def _tune(request: Request, data: LabelledSet, plan: Plan, folder: Path) -> None:
    student, potential = folder / STUDENT_FOLDER, folder / POTENTIAL_FOLDER
    replay = folder / REPLAY_FILE
    if not is_missing(potential):
        return
    synthetic = read_structures(student / LABELLED_FILE)
    replayed, share = to_replay(synthetic, data.structures)
    if is_missing(replay):
        write_structures(replay, replayed)
    finetune(
        student / CHECKPOINT_FOLDER,
        request.files,
        potential,
        energy_key=request.energy_key,
        forces_key=request.forces_key,
        format=request.format,
        test=request.test,
        replay=replay,
        replay_share=share,
        most_visits=plan.most_visits,
        drop_bad=request.drop_bad,
        compare_direct=plan.compare_direct,
        seed=request.seed,
        workers=request.workers,
    )


def _run_md(request: Request, data: LabelledSet, potential: Path, folder: Path) -> None:
    output = folder / DYNAMICS_FOLDER
    if is_missing(output):
        run_md(
            potential,
            calm_start(data),
            output,
            seed=request.seed,
            workers=request.workers,
            device="cpu",
        )
