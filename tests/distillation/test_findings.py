"""What a distillation is said to be worth."""

from __future__ import annotations

from itertools import starmap
from pathlib import Path
from typing import Any

import pytest

from synthzoo.distillation.costs import Costs
from synthzoo.distillation.findings import (
    DIRECT,
    POTENTIAL,
    STUDENT,
    TEACHER,
    Distilled,
    Errors,
    _worse_kinds,
)
from synthzoo.distillation.plan import Plan
from synthzoo.distillation.probes import Curve
from synthzoo.distillation.report import RESULTS_FILE, write_report
from synthzoo.models.recipe import ModelRecipe
from synthzoo.stability.verdict import Failure, ReplicaResult, Verdict
from synthzoo.training.build import BuildSummary

Pair = tuple[float, float]


def dynamics(failure: Failure | None = None) -> Verdict:
    replica = ReplicaResult(
        model="potential",
        replica=1,
        start=0,
        seed=0,
        survived=failure is None,
        planned_fs=1800.0,
        simulated_fs=900.0,
        steps=900,
        failure=failure,
        drifts=(),
        order=None,
        seconds=1.0,
        folder=Path("md"),
    )
    return Verdict(
        model="potential",
        protocol="quick",
        formula="Cu32",
        passed=failure is None,
        scans=(),
        replicas=(replica,),
        provenance={},
    )


def distilled(
    errors: dict[str, Pair],
    *,
    failure: Failure | None = None,
    worse: tuple[str, ...] = (),
    teacher_s: float = 1e-2,
) -> Distilled:
    return Distilled(
        teacher="nep:some.txt",
        notes=(),
        plan=Plan(
            structures=400,
            dynamics=6,
            epochs=20,
            model=ModelRecipe(),
            costs=Costs(label_s_per_atom=1e-2, visit_s_per_atom=1e-4),
            generation_s=60.0,
            training_s=120.0,
            tuning_s=60.0,
            most_visits=900,
            compare_direct=True,
            direct_s=30.0,
        ),
        student=BuildSummary(
            checkpoint=Path("student/checkpoint"),
            structures=400,
            labelled=398,
            epochs=20,
            energy_rmse_meV_per_atom=9.0,
            force_rmse_eV_A=0.1,
            verification="equal",
            seconds={},
        ),
        errors=tuple(
            Errors(
                name=name, structures=25, energy_meV_per_atom=energy, force_eV_A=force
            )
            for name, (energy, force) in errors.items()
        ),
        compared="25 structures, which no fit had seen",
        worse=worse,
        curves=(
            Curve(
                name="Cu–Cu",
                kind="distance",
                x=(2.0, 3.0),
                energies_eV={TEACHER: (float("nan"), 0.0), POTENTIAL: (1.0, 0.0)},
            ),
        ),
        teacher_s=teacher_s,
        potential_s=1e-4,
        dynamics=dynamics(failure),
    )


GOOD = {TEACHER: (20.0, 0.3), POTENTIAL: (8.0, 0.05), DIRECT: (50.0, 0.4)}


def test_a_teacher_that_is_more_accurate_and_as_fast_is_recommended():
    found = {TEACHER: (11.0, 0.136), POTENTIAL: (11.7, 0.153), DIRECT: (98.3, 0.663)}
    slow = " ".join(distilled(found).verdict)
    assert "The teacher itself has 11.0 meV/atom and 0.136 eV/Å" in slow
    assert "use the teacher" not in slow
    quick = " ".join(distilled(found, teacher_s=1e-4).verdict)
    assert "it is more accurate, and as fast: use the teacher." in quick
    mixed = " ".join(distilled(found | {POTENTIAL: (11.7, 0.13)}).verdict)
    assert "teacher itself" not in mixed


def test_a_good_potential_is_called_good_and_quick():
    text = " ".join(distilled(GOOD).verdict)
    assert "8.0 meV/atom and 0.050 eV/Å" in text
    assert "the teacher takes 100 times that" in text
    assert "survived" in text
    assert "another teacher" not in text


def test_a_teacher_that_does_not_help_is_named():
    """Training on the user's structures alone is better in both."""
    bad = GOOD | {DIRECT: (5.0, 0.02)}
    text = " ".join(distilled(bad).verdict)
    assert "the teacher did not help with energies" in text
    assert "try another teacher" in text


def test_a_fine_tuning_that_does_harm_is_named():
    found = {TEACHER: (20.0, 0.3), STUDENT: (7.0, 0.06), POTENTIAL: (8.0, 0.05)}
    text = " ".join(distilled(found).verdict)
    assert "the student had 7.0 meV/atom" in text
    assert "made its energies worse" in text


def of_kind(name: str, pair: Pair, structures: int = 5) -> dict[str, Any]:
    energy, force = pair
    return {
        "name": name,
        "structures": structures,
        "energy_rmse_meV_per_atom": energy,
        "force_rmse_eV_A": force,
    }


def test_kinds_of_structures_that_became_worse_are_named():
    """Those with clearly larger errors, on more than one or two structures."""
    before = [("all", (9.0, 0.1)), ("melt", (9.0, 0.2)), ("bulk", (2.0, 0.1))]
    after = [("all", (5.0, 0.1)), ("melt", (15.0, 0.19)), ("bulk", (2.1, 0.05))]
    unseen = {
        "before": [*starmap(of_kind, before), of_kind("slab", (1.0, 0.1), 2)],
        "after": [*starmap(of_kind, after), of_kind("slab", (3.0, 0.1), 2)],
    }
    worse = tuple(_worse_kinds({"unseen": [unseen]}))
    assert worse == ("melt (9.0 → 15.0 meV/atom)",)
    assert worse[0] in " ".join(distilled(GOOD, worse=worse).verdict)
    assert tuple(_worse_kinds({"unseen": []})) == ()


def test_dynamics_that_fail_say_how():
    failure = Failure(
        kind="fused", stage="heat", time_fs=900.0, step=900, detail="Atoms 1 and 2."
    )
    text = " ".join(distilled(GOOD, failure=failure).verdict)
    assert "did not survive the short molecular dynamics: Atoms 1 and 2." in text


def test_too_few_structures_to_test_are_said():
    text = " ".join(distilled({TEACHER: (20.0, 0.3)}).verdict)
    assert "--test" in text


@pytest.mark.parametrize("file", ["report.md", "report.html", RESULTS_FILE])
def test_a_report_has_errors_and_curves(file: str, tmp_path: Path):
    """Numbers for programs, too; what is no number is null there."""
    write_report(tmp_path, distilled(GOOD))
    text = (tmp_path / file).read_text()
    assert "0.05" in text
    assert file.endswith("html") or "NaN" not in text  # a picture may hold anything
