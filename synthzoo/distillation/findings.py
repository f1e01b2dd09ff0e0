"""What a distillation has come to: errors, curves, speed, dynamics, and a verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.data import unconstrained
from synthzoo.data.structures import read_structures
from synthzoo.distillation.atoms import strange_atoms
from synthzoo.distillation.calm import calm_start
from synthzoo.distillation.costs import label_seconds
from synthzoo.distillation.probes import Curve, curves_of
from synthzoo.distillation.stages import (
    DYNAMICS_FOLDER,
    INDEX_KEY,
    POTENTIAL_FOLDER,
    PROBES_FILE,
    PROBES_LABELLED_FILE,
    RECIPE_FILE,
    STARTS_LABELLED_FILE,
    STUDENT_FOLDER,
    TEST_LABELLED_FILE,
)
from synthzoo.evaluation.errors import Prediction, judge_set, shifted, shifts_eV
from synthzoo.finetuning.earlier import METRICS_FILE
from synthzoo.models.predict import predict_structures
from synthzoo.stability.results import read_verdicts
from synthzoo.training.build import (
    CHECKPOINT_FOLDER,
    BuildSummary,
    build_checkpoint,
)
from synthzoo.zoo.load import load_calculator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.distillation.plan import Plan
    from synthzoo.distillation.request import Request, UserData
    from synthzoo.stability.verdict import Verdict

TEACHER, STUDENT, POTENTIAL = "teacher", "student", "fine-tuned"
DIRECT = "trained directly"

KIND_ERRORS = (
    ("energy_rmse_meV_per_atom", 1, "meV/atom"),
    ("force_rmse_eV_A", 3, "eV/Å"),
)
"""Field of the errors of a kind of structures, digits, and unit."""
CLEARLY, FEWEST_OF_A_KIND = 1.1, 3
"""A kind became worse if its error is larger by this factor, on so many structures. A
potential is faster than its teacher if it is so by this factor."""


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Root-mean-square errors of a potential against the user's labels.

    Attributes
    ----------
    name
        Which potential.
    structures
        How many it was compared on.
    energy_meV_per_atom, force_eV_A
        The errors.
    """

    name: str
    structures: int
    energy_meV_per_atom: float
    force_eV_A: float

    def worse_than(self, other: Errors) -> list[str]:
        """Return of what the errors are larger: energies, forces, both or neither."""
        worse = []
        if self.energy_meV_per_atom > other.energy_meV_per_atom:
            worse.append("energies")
        if self.force_eV_A > other.force_eV_A:
            worse.append("forces")
        return worse


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """What a distillation has come to.

    Attributes
    ----------
    teacher
        Its reference.
    notes
        What the checks of the data found.
    plan
        How the time was spent.
    student
        What the pre-training gave.
    errors
        Of teacher, student, tuned and directly trained potential; of the last three on
        structures that they have not seen.
    compared
        Which structures those are, in words.
    worse
        Kinds of these structures of which fine-tuning made the errors clearly larger,
        in words.
    curves
        Energies over volumes and distances.
    teacher_s, potential_s
        Processor time for each atom and step, in the cell of the dynamics.
    dynamics
        Whether the potential survived.
    """

    teacher: str
    notes: tuple[str, ...]
    plan: Plan
    student: BuildSummary
    errors: tuple[Errors, ...]
    compared: str
    worse: tuple[str, ...]
    curves: tuple[Curve, ...]
    teacher_s: float
    potential_s: float
    dynamics: Verdict

    def of(self, name: str) -> Errors | None:
        """Return the errors of a potential."""
        return next((each for each in self.errors if each.name == name), None)

    @property
    def speed_up(self) -> float:
        """How many times as fast as its teacher the potential is."""
        return self.teacher_s / self.potential_s

    @property
    def verdict(self) -> tuple[str, ...]:
        """What the potential is worth, in words."""
        return (*_on_errors(self), _on_speed(self), _on_dynamics(self))


def _on_errors(found: Distilled) -> list[str]:
    tuned, teacher = found.of(POTENTIAL), found.of(TEACHER)
    direct = found.of(DIRECT)
    if tuned is None or teacher is None:
        return [
            "There are too few structures to test the fine-tuned potential; give "
            "labelled structures of your own with --test."
        ]
    texts = [
        f"The fine-tuned potential has errors of {_pair(tuned)} on {found.compared}."
    ]
    student = found.of(STUDENT)
    if student is not None:
        texts += _on_tuning(student, tuned)
    texts += [*_on_kinds(found.worse), *_on_better_teacher(found, teacher, tuned)]
    if direct is not None:
        worse = tuned.energy_meV_per_atom >= direct.energy_meV_per_atom
        texts.append(
            f"Training on your structures alone gives {_pair(direct)}"
            + (": the teacher did not help with energies." if worse else ".")
        )
        if teacher.force_eV_A >= direct.force_eV_A:
            texts.append(
                f"The teacher's own forces ({teacher.force_eV_A:.3f} eV/Å from your "
                "labels) are worse than those of training on your structures alone: "
                "try another teacher."
            )
    return texts


def _on_tuning(student: Errors, tuned: Errors) -> list[str]:
    """Return what fine-tuning made worse."""
    worse = tuned.worse_than(student)
    if not worse:
        return []
    return [
        f"Before fine-tuning, the student had {_pair(student)}: fine-tuning made its "
        f"{' and '.join(worse)} worse."
    ]


def _on_better_teacher(found: Distilled, teacher: Errors, tuned: Errors) -> list[str]:
    """Return whether the teacher is the better choice."""
    if teacher.worse_than(tuned):
        return []
    text = (
        f"The teacher itself has {_pair(teacher)} after one constant for each element: "
        "it is more accurate"
    )
    quick = found.speed_up < CLEARLY
    return [f"{text}, and as fast: use the teacher." if quick else f"{text}."]


def _on_kinds(worse: Sequence[str]) -> list[str]:
    if not worse:
        return []
    return [
        f"Fine-tuning made some kinds of structures worse: {'; '.join(worse)}. Add "
        "some of these to your structures if they matter."
    ]


def _pair(errors: Errors) -> str:
    return f"{errors.energy_meV_per_atom:.1f} meV/atom and {errors.force_eV_A:.3f} eV/Å"


def _on_speed(found: Distilled) -> str:
    times = found.speed_up
    text = f"{times:,.0f}" if times >= 100 else f"{times:.2g}"
    return (
        f"It takes {1e6 * found.potential_s:.0f} µs for each atom and step on one "
        f"core; the teacher takes {text} times that."
    )


def _on_dynamics(found: Distilled) -> str:
    if found.dynamics.passed:
        return "It survived the short molecular dynamics."
    failure = found.dynamics.failures[0]
    return f"It did not survive the short molecular dynamics: {failure.detail}"


def find(folder: Path, request: Request, data: UserData, plan: Plan) -> Distilled:
    """Return what the files of a finished distillation say.

    ``folder``: with all its stages.
    """
    potential = folder / POTENTIAL_FOLDER
    student = folder / STUDENT_FOLDER
    metrics = json.loads((potential / METRICS_FILE).read_text())
    (dynamics,) = read_verdicts(folder / DYNAMICS_FOLDER)
    timed = [calm_start(data.bulk)]
    return Distilled(
        teacher=request.teacher,
        notes=(*data.notes, *atom_notes(folder, data)),
        plan=plan,
        student=build_checkpoint(folder / RECIPE_FILE, student, trust=True),
        errors=(_teacher_errors(folder, data), *_learnt_errors(metrics)),
        compared=_compared(metrics),
        worse=tuple(_worse_kinds(metrics)),
        curves=tuple(_curves(folder)),
        teacher_s=label_seconds(request.teacher, timed),
        potential_s=label_seconds(f"zoo:{potential.absolute()}", timed),
        dynamics=dynamics,
    )


def atom_notes(folder: Path, data: UserData) -> list[str]:
    """Return whether isolated atoms of the user contradict the teacher, in words.

    ``folder``: with the user's structures as the teacher labels them.
    """
    chosen, found = _judged(data.bulk, folder / STARTS_LABELLED_FILE)
    return strange_atoms(chosen, found, data.isolated_eV)


def _teacher_errors(folder: Path, data: UserData) -> Errors:
    """Return the errors of the teacher on what the others are judged on, too.

    A constant for each element is taken off, found on the user's structures.
    """
    chosen, found = _judged(data.bulk, folder / STARTS_LABELLED_FILE)
    constants = shifts_eV(chosen, found)
    if data.test is not None:
        chosen, found = _judged(data.test, folder / TEST_LABELLED_FILE)
    errors = shifted(chosen, found, constants).errors[0]
    return Errors(
        name=TEACHER,
        structures=errors.structures,
        energy_meV_per_atom=errors.energy_rmse_meV_per_atom,
        force_eV_A=errors.force_rmse_eV_A,
    )


def _judged(data: LabelledSet, labelled: Path) -> tuple[LabelledSet, Prediction]:
    """Return the structures that the teacher could label, and what it says."""
    computed = read_structures(labelled)
    chosen = data.part([int(atoms.info[INDEX_KEY]) for atoms in computed])
    return chosen, judge_set(chosen, computed)


def _learnt_errors(metrics: dict[str, Any]) -> list[Errors]:
    if not metrics["unseen"]:
        return []
    unseen, direct = metrics["unseen"][0], metrics["direct"]
    found = [(STUDENT, unseen["before"]), (POTENTIAL, unseen["after"])]
    if direct is not None:
        found.append((DIRECT, direct["before"]))
    return [
        Errors(
            name=name,
            structures=groups[0]["structures"],
            energy_meV_per_atom=groups[0]["energy_rmse_meV_per_atom"],
            force_eV_A=groups[0]["force_rmse_eV_A"],
        )
        for name, groups in found
    ]


def _worse_kinds(metrics: dict[str, Any]) -> Iterator[str]:
    """Yield the kinds that were better before fine-tuning, with their errors."""
    for unseen in metrics["unseen"][:1]:
        after = {each["name"]: each for each in unseen["after"][1:]}
        for before in unseen["before"][1:]:
            changes = [
                f"{before[key]:.{digits}f} → {after[before['name']][key]:.{digits}f} "
                f"{unit}"
                for key, digits, unit in KIND_ERRORS
                if after[before["name"]][key] > CLEARLY * before[key]
            ]
            if changes and before["structures"] >= FEWEST_OF_A_KIND:
                yield f"{before['name']} ({', '.join(changes)})"


def _compared(metrics: dict[str, Any]) -> str:
    if not metrics["unseen"]:
        return "no structures"
    unseen = metrics["unseen"][0]
    count = unseen["after"][0]["structures"]
    return f"{count} {unseen['name']} structures, which no fit had seen"


def _curves(folder: Path) -> list[Curve]:
    structures = read_structures(folder / PROBES_FILE)
    by_teacher = np.full(len(structures), np.nan)
    for atoms in read_structures(folder / PROBES_LABELLED_FILE):
        by_teacher[atoms.info[INDEX_KEY]] = unconstrained.energy_eV(atoms)
    return curves_of(
        structures,
        {
            TEACHER: lambda _: by_teacher,
            STUDENT: partial(_energies, folder / STUDENT_FOLDER / CHECKPOINT_FOLDER),
            POTENTIAL: partial(_energies, folder / POTENTIAL_FOLDER),
        },
    )


def _energies(model: Path, structures: Sequence[Atoms]) -> NDArray[np.float64]:
    calculator = load_calculator(model, device="cpu")
    return np.array(
        [
            unconstrained.energy_eV(atoms)
            for atoms in predict_structures(structures, calculator)
        ]
    )
