"""How a budget of time is spent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk
from ase.data import chemical_symbols

from synthzoo.data.labelled_set import LabelledSet
from synthzoo.data.labels import Labels
from synthzoo.distillation import plan as planning
from synthzoo.distillation.calm import squeezable
from synthzoo.distillation.costs import Costs
from synthzoo.distillation.plan import (
    FEWEST_STRUCTURES,
    LONGER_SHARE,
    make_plan,
    recipe_of,
    spend,
)
from synthzoo.distillation.request import Request
from synthzoo.errors import InputError
from synthzoo.finetuning.recipe import FinetuneRecipe, resolve_recipe
from synthzoo.generation.kinds.from_file import Around
from synthzoo.models.recipe import ModelRecipe

if TYPE_CHECKING:
    from ase import Atoms

COSTS = Costs(label_s_per_atom=1e-3, visit_s_per_atom=2e-4)
SLOW = Costs(label_s_per_atom=2e-2, visit_s_per_atom=2e-4)


def request(
    minutes: float = 30.0,
    *,
    direct: bool | None = True,
    workers: int = 1,
    test: Sequence[Path] = (),
) -> Request:
    return Request(
        files=[],
        teacher="nep:some.txt",
        minutes=minutes,
        test=list(test),
        energy_key=None,
        forces_key=None,
        format=None,
        drop_bad=False,
        compare_direct=direct,
        seed=3,
        workers=workers,
    )


@pytest.fixture(scope="module")
def copper() -> LabelledSet:
    structures = [bulk("Cu", cubic=True).repeat((2, 2, 1)) for _ in range(20)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=seed)
    labels = [
        Labels(energy_eV=-60.0, forces_eV_A=np.zeros((16, 3))) for _ in structures
    ]
    return LabelledSet(
        structures=structures, labels=labels, origins=[""] * len(structures)
    )


@pytest.mark.parametrize("costs", [COSTS, SLOW])
@pytest.mark.parametrize("minutes", [15.0, 60.0])
def test_a_plan_keeps_to_its_time_and_uses_it(copper, costs: Costs, minutes: float):
    plan = spend(request(minutes), copper, ModelRecipe(), costs)
    assert 0.85 * minutes < plan.minutes <= minutes


def test_the_teacher_is_timed_on_cells_as_large_as_synthetic_ones(monkeypatch):
    """A label of two atoms takes nearly as long as one of sixteen."""
    timed: list[int] = []

    def seconds(_: str, structures: Sequence[Atoms]) -> float:
        timed.extend(len(atoms) for atoms in structures)
        return 1e-3

    monkeypatch.setattr(planning, "label_seconds", seconds)
    monkeypatch.setattr(planning, "visit_seconds", lambda *_: 2e-4)
    crystal = bulk("CuAu", "cesiumchloride", a=3.1)
    labels = Labels(energy_eV=-1.0, forces_eV_A=np.zeros((2, 3)))
    data = LabelledSet(structures=[crystal], labels=[labels], origins=[""])
    make_plan(request(60), data)
    assert timed == [Around(structures="", count=1).min_atoms]


def test_more_time_and_quicker_teachers_give_more_structures(copper):
    def structures(minutes: float, costs: Costs) -> int:
        return spend(request(minutes), copper, ModelRecipe(), costs).structures

    assert structures(20, SLOW) < structures(40, SLOW) < structures(40, COSTS)


def test_no_comparison_leaves_more_for_the_student(copper):
    with_it = spend(request(), copper, ModelRecipe(), COSTS)
    without = spend(request(direct=False), copper, ModelRecipe(), COSTS)
    assert without.tuning_s < with_it.tuning_s / 2
    assert without.structures > with_it.structures


def test_a_comparison_that_takes_much_of_the_time_is_left_out_and_told(copper):
    """It is made if somebody asks for it, or has the time."""
    short, long, asked = (
        spend(request(minutes, direct=direct), copper, ModelRecipe(), COSTS)
        for minutes, direct in ((4, None), (60, None), (60, True))
    )
    assert not short.compare_direct
    assert "--compare-direct" in " ".join(short.lines())
    assert long == asked
    assert "--compare-direct" not in " ".join(long.lines())


def test_a_slow_teacher_computes_less_for_each_structure(copper):
    """Most of the time would otherwise go into relaxations in large cells."""

    def around(costs: Costs) -> dict[str, Any]:
        plan = spend(request(), copper, ModelRecipe(), costs)
        sections = recipe_of(plan, request(), copper, "starts.xyz", "squeezed.xyz")
        part: dict[str, Any] = sections["generate"]["parts"][0]
        return part

    quick = Costs(label_s_per_atom=5e-4, visit_s_per_atom=2e-4)
    assert "relax_steps" not in around(quick)
    assert around(SLOW)["relax_steps"] < Around(structures="", count=1).relax_steps


def test_a_test_set_saves_the_fits_that_leave_a_part_out(copper):
    alone = spend(request(), copper, ModelRecipe(), COSTS)
    tested = spend(request(test=[Path("test.xyz")]), copper, ModelRecipe(), COSTS)
    assert tested.tuning_s < alone.tuning_s / 3


def test_fine_tuning_may_be_longer_where_there_is_time(copper):
    """As far as it takes a given share of it."""
    found = {
        minutes: spend(request(minutes, direct=False), copper, ModelRecipe(), COSTS)
        for minutes in (2, 60)
    }
    assert found[2].most_visits < found[60].most_visits
    for minutes, plan in found.items():
        assert plan.tuning_s <= LONGER_SHARE * 60 * minutes
        assert f"{plan.most_visits} structures" in " ".join(plan.lines())


def test_trials_are_not_planned_where_none_are_made(copper):
    plans = {
        count: spend(request(600), copper.part(range(count)), ModelRecipe(), COSTS)
        for count in (4, 5)
    }
    usual = resolve_recipe(FinetuneRecipe(), [16] * 4).visits
    assert plans[4].most_visits == usual
    assert plans[5].most_visits > usual


def test_too_short_a_time_is_refused_with_the_one_that_is_enough(copper, monkeypatch):
    """What the message asks for is then accepted."""
    monkeypatch.setattr(planning, "label_seconds", lambda *_: 1e-3)
    monkeypatch.setattr(planning, "visit_seconds", lambda *_: 2e-4)
    with pytest.raises(InputError, match=r"take about \d+ minutes") as error:
        make_plan(request(0.5), copper)
    needed = float(str(error.value).split("about ")[1].split()[0])
    assert make_plan(request(needed + 0.5), copper).structures >= FEWEST_STRUCTURES


def test_much_time_buys_a_wider_network(copper, monkeypatch):
    monkeypatch.setattr(planning, "label_seconds", lambda *_: 1e-3)
    monkeypatch.setattr(
        planning, "visit_seconds", lambda model, _: 1e-5 * sum(model.num_features)
    )
    short, long = (make_plan(request(minutes), copper).model for minutes in (15, 300))
    assert short.num_features < long.num_features


def test_alloys_of_other_compositions_are_made_of_metals_only():
    """A compound is not: nobody needs its elements on each other's sites."""

    def kinds(compound: str, prototype: str, a: float) -> list[str]:
        atoms = bulk(compound, prototype, a=a, cubic=True)
        labels = Labels(energy_eV=-1.0, forces_eV_A=np.zeros((len(atoms), 3)))
        data = LabelledSet(structures=[atoms], labels=[labels], origins=[""])
        plan = spend(request(60), data, ModelRecipe(), COSTS)
        sections = recipe_of(plan, request(), data, "starts.xyz", "squeezed.xyz")
        return [part["kind"] for part in sections["generate"]["parts"]]

    assert "crystals" in kinds("CuAu", "cesiumchloride", 3.1)
    assert "crystals" not in kinds("InP", "zincblende", 5.87)
    assert "around" in kinds("InP", "zincblende", 5.87)


def test_pairs_of_thirty_elements_leave_room_for_other_structures():
    """Nearly all structures would be dimers, or more than all."""
    atoms = bulk("Cu", cubic=True).repeat((2, 2, 2))
    atoms.symbols[:30] = chemical_symbols[1:31]
    labels = Labels(energy_eV=-1.0, forces_eV_A=np.zeros((len(atoms), 3)))
    data = LabelledSet(structures=[atoms], labels=[labels], origins=[""])
    plan = spend(request(5), data, ModelRecipe(), COSTS)
    sections = recipe_of(plan, request(), data, "starts.xyz", "squeezed.xyz")
    parts = {part["kind"]: part for part in sections["generate"]["parts"]}
    assert parts["dimers"]["count"] < 10
    assert parts["around"]["count"] > plan.structures / 2


def test_the_recipe_makes_as_many_structures_as_planned(copper, tmp_path: Path):
    from synthzoo.data.structures import write_structures
    from synthzoo.generation.parts import maker_of
    from synthzoo.generation.recipe import GenerateRecipe
    from synthzoo.generation.start_files import with_hashes
    from synthzoo.recipes.loading import parse_recipe

    starts = tmp_path / "starts.xyz"
    write_structures(starts, copper.structures)
    plan = spend(request(), copper, ModelRecipe(), COSTS)
    squeezed = tmp_path / "squeezed.xyz"
    write_structures(squeezed, squeezable(copper))
    sections = recipe_of(plan, request(), copper, str(starts), str(squeezed))
    parsed = parse_recipe(GenerateRecipe, sections["generate"], source="plan")
    recipe = with_hashes(parsed)
    made = sum(maker_of(part).structures(part, recipe.species) for part in recipe.parts)
    assert made == pytest.approx(plan.structures, rel=0.05)
