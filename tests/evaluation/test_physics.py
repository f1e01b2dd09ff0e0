"""The bench of an element: its structures, how it judges, and what it prints."""

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.neighborlist import neighbor_list
from click.testing import CliRunner

from synthzoo.cli import main
from synthzoo.errors import InputError
from synthzoo.evaluation import physics, physics_measures
from synthzoo.evaluation.phonons import frequencies_per_cm
from synthzoo.evaluation.physics import TOLERANCES, measure_physics
from synthzoo.evaluation.physics_measures import Curve, minima_below

if TYPE_CHECKING:
    from ase import Atoms

COPPER = bulk("Cu", a=3.59)


@pytest.fixture
def short_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure two quantities and the layers only."""

    def few(calculator: Any) -> Iterator[tuple[str, float]]:
        yield "diamond: C11 (GPa)", 1000.0 * calculator.parameters.epsilon
        yield from physics_measures.layer_energies(2.46, calculator).items()

    def curves(calculator: Any) -> dict[str, Curve]:
        y = tuple(np.array([3.0, 1.0, 2.0, 0.0, 1.0]) * calculator.parameters.epsilon)
        labels = {"x_label": "x", "y_label": "y", "x": (2.5, 2.7, 3.1, 3.5, 4.0)}
        titles = ("graphite AB", "graphite AA")
        return {title: Curve(title=title, y=y, **labels) for title in titles}  # type: ignore[arg-type]

    subject = physics._Subject(few, curves)
    monkeypatch.setitem(physics.SUBJECTS, "C", subject)


def lennard_jones(epsilon: float) -> LennardJones:
    return LennardJones(sigma=1.3, epsilon=epsilon, rc=6.0)


def test_a_crystal_that_moves_as_a_whole_has_no_frequency():
    """At Γ, a crystal with one atom in its cell has acoustic modes only."""
    assert frequencies_per_cm(COPPER, EMT()) == pytest.approx(np.zeros(3), abs=0.5)


def test_a_supercell_and_its_primitive_cell_have_the_same_modes():
    """Modes of the zone boundary fold back to Γ of a cell that is twice as large."""
    double = bulk("Cu", a=3.59, cubic=True)
    folded = frequencies_per_cm(double, EMT(), repeat=(2, 2, 2))
    at_x = frequencies_per_cm(
        COPPER, EMT(), repeat=(4, 4, 4), wave_vector=(0.5, 0.5, 0.0)
    )
    # three points X and Γ of the primitive cell are Γ of the conventional one
    assert sorted(folded)[3:] == pytest.approx(sorted([*at_x] * 3), abs=0.5)


@pytest.mark.parametrize(("stacking", "above"), [("AB", 2), ("AA", 4), ("sheared", 0)])
def test_layers_are_stacked_as_their_names_say(stacking: str, above: int):
    """Of four atoms, so many have another one straight above them."""
    atoms = physics_measures._graphite(2.46, 3.0, EMT(), stacking)
    near = neighbor_list("i", atoms, 3.0001), neighbor_list("i", atoms, 2.9999)
    assert len(near[0]) - len(near[1]) == 2 * above
    bonds = neighbor_list("d", atoms, 1.6)
    assert bonds == pytest.approx(np.full(12, 2.46 / math.sqrt(3)))


def test_slabs_have_one_broken_bond_on_each_atom_of_their_faces():
    """(111) is not cut where three bonds of an atom would be broken."""
    seen: list[Atoms] = []

    class Recording(LennardJones):
        def calculate(self, atoms: Any = None, *args: Any) -> None:
            seen.append(atoms.copy())
            super().calculate(atoms, *args)

    values = dict(
        physics_measures._surfaces("C", 3.57, 0.0, Recording(rc=1.0, sigma=0.1))
    )
    assert len(values) == 2
    bonds = [np.bincount(neighbor_list("i", atoms, 1.7)).tolist() for atoms in seen]
    assert bonds[0] == [3, *[4] * 10, 3]
    assert bonds[-1] == [2, *[4] * 10, 2]


def test_a_minimum_is_counted_between_the_ends():
    """Neither a falling end nor a minimum beyond the limit counts."""
    curve = Curve(
        title="", x_label="", y_label="", x=(1, 2, 3, 4, 5), y=(3, 1, 2, 0, 1)
    )
    assert len(minima_below(curve, 3.5)) == 1
    assert len(minima_below(curve, 4.5)) == 2
    assert minima_below(curve, 2.0) == []


@pytest.mark.usefixtures("short_bench")
def test_each_quantity_is_judged_by_its_tolerance(tmp_path: Path):
    """Equal passes; a tenth of C11 passes and more does not; curves are compared."""
    figure = tmp_path / "physics.png"
    found = measure_physics(
        [lennard_jones(1.0), lennard_jones(1.09), lennard_jones(1.2)],
        against=lennard_jones(1.0),
        figure=figure,
    )
    rows = {row.quantity: row for row in found.rows}
    stiffness = rows["diamond: C11 (GPa)"]
    assert stiffness.passed == (True, True, False)
    assert (stiffness.against, stiffness.tolerance) == (1000.0, 100.0)
    assert stiffness.literature == 1079
    deviation = rows["graphite AB: largest deviation from 2.6 to 4.0 Å (meV/atom)"]
    assert deviation.values == pytest.approx((0.0, 0.18, 0.4))
    minima = rows["graphite AB: minima of the energy below 3.2 Å"]
    assert minima.values == (1, 1, 1)
    assert found.failed[0] == 0 < found.failed[2]
    assert figure.stat().st_size > 10_000


@pytest.mark.usefixtures("short_bench")
def test_nothing_is_judged_without_a_teacher():
    """Values and literature stand alone then."""
    found = measure_physics([lennard_jones(1.0)])
    assert found.against is None
    assert {row.passed for row in found.rows} == {(None,)}
    assert found.failed == (0,)


@pytest.mark.thorough
def test_the_bench_of_carbon_by_itself_is_green():
    """Every quantity is a number, and all but the deepest wall has a tolerance."""
    check_by_itself("carbon", "C")


@pytest.mark.thorough
def test_the_bench_of_silicon_by_itself_is_green(shared: Callable[[str], Path]):
    """The same for a potential of silicon."""
    pytest.importorskip("calorine", reason="calorine is not installed")
    check_by_itself(f"nep:{shared('potentials/Si_2022_NEP4_4body.txt')}", "Si")


def check_by_itself(model: str, element: str) -> None:
    found = measure_physics([model], element=element, against=model)
    assert found.failed == (0,)
    for row in found.rows:
        assert math.isfinite(row.values[0]), row.quantity
        deepest = bool(re.match(r"C2 at 0\.[56]", row.quantity))
        assert (row.tolerance is None) == deepest, row.quantity
    known = {row.quantity for row in found.rows}
    assert set(physics.LITERATURE[element]) <= known


def test_an_element_without_a_bench_and_a_model_of_another_are_refused():
    """The message names what there is."""
    with pytest.raises(InputError, match="no bench of Cu, only of C, Si"):
        measure_physics(["carbon"], element="Cu")
    with pytest.raises(InputError, match="carbon knows C, not Si"):
        measure_physics(["carbon"], element="Si")


@pytest.mark.usefixtures("short_bench")
def test_the_command_prints_a_table_with_marks(monkeypatch: pytest.MonkeyPatch):
    """Each value has its mark, the teacher and the literature stand beside it."""
    wrong, right = lennard_jones(1.2), lennard_jones(1.0)
    load = {"carbon": wrong, "carbon-ace-2k": right}
    monkeypatch.setattr(physics, "_calculator", lambda model, _: load[str(model)])
    arguments = ["evaluate", "carbon", "--physics", "C", "--against", "carbon-ace-2k"]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0, shown.output
    (line,) = [line for line in shown.stdout.splitlines() if "C11" in line]
    assert line.split()[3:] == ["1200", "✗", "1000", "1079"]
    assert "of 14 quantities (✗) are wrong" in shown.stderr
    values = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert values["rows"][0]["passed"] == [False]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Missing argument 'DATA...', or --physics ELEMENT"),
        (["--physics", "C", "data.xyz"], "--physics takes neither DATA"),
        (["--physics", "C", "--shift"], "--physics takes neither DATA"),
        (["data.xyz", "--against", "carbon"], "--against is for --physics"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: list[str], said: str):
    """One clear line, before anything is loaded."""
    shown = CliRunner().invoke(main, ["evaluate", "carbon", *options])
    assert shown.exit_code == 2
    assert said in shown.stderr


def test_a_tolerance_pattern_is_not_hidden_by_one_before():
    """The first one that is found holds, so each has to find something."""
    names = [
        "C2 at 0.5 Å: energy above two atoms (eV)",
        "chain: bond length (Å)",
        "graphite relaxed from 2.8 Å: layer distance (Å)",
        "graphite at 3.1 Å: pressure along z (GPa)",
        "diamond: C12 (GPa)",
        "graphene: E2g mode (cm⁻¹)",
        "graphite at 2.4 Å: energy above separate layers (meV/atom)",
        "graphite AB: largest deviation from 2.6 to 4.0 Å (meV/atom)",
        "graphite AB: minima of the energy below 3.2 Å",
        "bcc: energy above diamond (meV/atom)",
        "diamond: vacancy (eV)",
        "diamond (111) 1×1: surface energy (J/m²)",
        "C2 at 0.8 Å: energy above two atoms (eV)",
    ]
    found = [physics._tolerance_of(name) for name in names]
    assert found == [tolerance for _, tolerance in TOLERANCES]
