"""Properties of carbon and silicon by several models, judged by a teacher."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from synthzoo.data.sound import listed
from synthzoo.errors import InputError
from synthzoo.evaluation import physics_measures
from synthzoo.evaluation.physics_measures import (
    ABOVE_SEPARATE,
    COMPARED_A,
    NO_MINIMUM_BELOW_A,
    Curve,
    Values,
    minima_below,
)
from synthzoo.potentials import (
    Model,
    first_at_level,
    load_potential,
    model_name,
    refuse_starting_point,
    unique,
)
from synthzoo.reports.style import BELOW, BLUE, DARK_GREY, GREEN, ORANGE

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

Curves = dict[str, Curve]


class _Subject(NamedTuple):
    """How an element is measured."""

    values: Callable[[Calculator], Values]
    curves: Callable[[Calculator], Curves]


SUBJECTS = {
    "C": _Subject(physics_measures.carbon, physics_measures.carbon_curves),
    "Si": _Subject(physics_measures.silicon, physics_measures.silicon_curves),
}


class Tolerance(NamedTuple):
    """How far a model may be from the teacher: an amount and a share of the value."""

    absolute: float = 0.0
    relative: float = 0.0


TOLERANCES = (
    (r"C2 at 0\.[56] Å", None),  # C-ACE's wall: 10,000 eV, which no fit can follow
    (r"lattice constant|bond length", Tolerance(relative=0.005)),
    (r"layer distance", Tolerance(absolute=0.1)),
    (r"pressure", Tolerance(absolute=1.0, relative=0.1)),
    (r"modulus|C11|C12|C44", Tolerance(relative=0.1)),
    (r"cm⁻¹", Tolerance(relative=0.02)),
    (re.escape(ABOVE_SEPARATE), Tolerance(absolute=10.0)),
    (r"largest deviation", Tolerance(absolute=10.0)),
    (r"minima", Tolerance()),
    (r"above (graphene|diamond)", Tolerance(absolute=20.0, relative=0.05)),
    (r"vacancy|interstitial|defect", Tolerance(absolute=0.2)),
    (r"surface energy", Tolerance(relative=0.05)),
    (r"two atoms|binding energy", Tolerance(absolute=0.2, relative=0.1)),
)
"""What is asked of each quantity: the first pattern that is found in its name holds."""

LITERATURE = {
    "C": {
        "graphene: lattice constant (Å)": (2.461, "10.1038/258136a0"),
        "diamond: lattice constant (Å)": (3.567, "10.1063/1.1661636"),
        "diamond: C11 (GPa)": (1079, "10.1063/1.1661636"),
        "diamond: C12 (GPa)": (124, "10.1063/1.1661636"),
        "diamond: C44 (GPa)": (578, "10.1063/1.1661636"),
        "diamond: bulk modulus (GPa)": (442, "10.1063/1.1661636"),
        "diamond: shear modulus (C11 - C12)/2 (GPa)": (478, "10.1063/1.1661636"),
        "diamond: Raman mode at Γ (cm⁻¹)": (1332, "10.1103/PhysRevB.1.1687"),
        "graphene: E2g mode (cm⁻¹)": (1575, "10.1063/1.1674108"),
        "graphene: vacancy (eV)": (7.5, "10.1021/nn102598m"),
        "graphene: Stone–Wales defect (eV)": (5, "10.1021/nn102598m"),
        "graphite relaxed from 2.8 Å: layer distance (Å)": (3.354, "10.1038/258136a0"),
    },
    "Si": {
        "diamond: lattice constant (Å)": (5.431, "10.1063/1.1702809"),
        "diamond: C11 (GPa)": (166, "10.1063/1.1702809"),
        "diamond: C12 (GPa)": (64, "10.1063/1.1702809"),
        "diamond: C44 (GPa)": (80, "10.1063/1.1702809"),
        "diamond: bulk modulus (GPa)": (98, "10.1063/1.1702809"),
        "diamond: shear modulus (C11 - C12)/2 (GPa)": (51, "10.1063/1.1702809"),
        "diamond: Raman mode at Γ (cm⁻¹)": (520, "10.1103/PhysRev.155.712"),
        "diamond: vacancy (eV)": (3.67, "10.1103/PhysRevX.8.041048"),
        "diamond: hexagonal interstitial (eV)": (3.72, "10.1103/PhysRevX.8.041048"),
        "diamond: tetrahedral interstitial (eV)": (3.91, "10.1103/PhysRevX.8.041048"),
        "diamond: dumbbell interstitial (eV)": (3.66, "10.1103/PhysRevX.8.041048"),
    },
}
"""Values of experiments, of defects by DFT, and the DOI of the source. Experiments were
done at room temperature."""

COLOURS = (BLUE, ORANGE, GREEN, "#8e5ea2", "#b03a48")


@dataclass(frozen=True, kw_only=True)
class PhysicsRow:
    """One quantity by each model.

    Attributes
    ----------
    quantity
        Its name, with the unit.
    values
        By each model; NaN where the model does not hold the structure together.
    against
        By the model that the others are judged by; None if there is none.
    tolerance
        Largest deviation from it that is accepted, in the unit of the quantity; None
        if the quantity is not judged.
    passed
        Whether each model lies within; None where nothing is judged.
    literature, source
        Value of an experiment, or of DFT for defects, and its DOI; None if none is on
        record.
    """

    quantity: str
    values: tuple[float, ...]
    against: float | None
    tolerance: float | None
    passed: tuple[bool | None, ...]
    literature: float | None
    source: str | None


@dataclass(frozen=True, kw_only=True)
class Physics:
    """Properties of an element by several models.

    Attributes
    ----------
    element
        Chemical symbol.
    models
        Their names.
    against
        Name of the model that the others are judged by; None if there is none.
    rows
        All quantities.
    curves
        Energies along a coordinate, by model and title.
    """

    element: str
    models: tuple[str, ...]
    against: str | None
    rows: tuple[PhysicsRow, ...]
    curves: dict[str, Curves]

    @property
    def failed(self) -> tuple[int, ...]:
        """How many quantities of each model lie outside of the tolerances."""
        columns = zip(*(row.passed for row in self.rows), strict=True)
        return tuple(column.count(False) for column in columns)


def measure_physics(
    models: Sequence[Model],
    *,
    level: str | None = None,
    element: str = "C",
    against: Model | None = None,
    figure: str | Path | None = None,
) -> Physics:
    """Measure what models say about an element: layers, elasticity, phonons, defects.

    For carbon: graphite over the layer distance in three stackings, diamond, graphene,
    their phonons and defects, other lattices, a cage, a tube, a chain, surfaces and two
    atoms. For silicon: diamond, its phonons, defects and surfaces, other crystals and
    two atoms. Each model is measured at its own lattice constants.

    Parameters
    ----------
    models
        Checkpoints, teachers or ASE calculators; see `synthzoo.potentials.resolve`.
    level
        Level of theory of the first model, if it is a checkpoint that has several; its
        default one if not given.
    element
        Chemical symbol: ``C`` or ``Si``.
    against
        Model by which the others are judged, usually the teacher of their labels.
    figure
        Picture of the curves to write.

    Raises
    ------
    InputError
        If no bench is known for the element, a model does not know it, or does not
        hold its crystals together.

    Examples
    --------
    >>> found = measure_physics(["carbon"], against="ace:c_ace.yace")  # doctest: +SKIP
    >>> found.failed  # doctest: +SKIP
    """
    if element not in SUBJECTS:
        raise InputError(
            f"There is no bench of {element}, only of {listed(list(SUBJECTS))}."
        )
    subject = SUBJECTS[element]
    subjects = first_at_level(models, level)
    everyone = [*subjects, *([] if against is None else [against])]
    names = unique([model_name(model) for model in everyone])
    calculators = [_calculator(model, element) for model in everyone]
    curves = {
        name: subject.curves(calculator)
        for name, calculator in zip(names, calculators, strict=True)
    }
    values = {
        name: dict(subject.values(calculator))
        for name, calculator in zip(names, calculators, strict=True)
    }
    judge = None if against is None else names[-1]
    for name in names:
        values[name] |= _of_curves(
            curves[name], None if judge is None else curves[judge]
        )
    judged = names if judge is None else names[:-1]
    found = Physics(
        element=element,
        models=judged,
        against=judge,
        rows=tuple(
            _row(
                quantity,
                element,
                [values[name] for name in judged],
                values.get(judge or ""),
            )
            for quantity in _all_names(values.values())
        ),
        curves=curves,
    )
    if figure is not None:
        _draw(Path(figure), found)
    return found


def _calculator(model: Model, element: str) -> Calculator:
    refuse_starting_point(model)
    potential = load_potential(model)
    if potential.elements is not None and element not in potential.elements:
        raise InputError(
            f"{model_name(model)} knows {listed(potential.elements)}, not {element}."
        )
    return potential.calculator


def _all_names(values: Iterable[dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for found in values for name in found))


def _of_curves(curves: Curves, judge: Curves | None) -> dict[str, float]:
    """Return what the curves of layers say beyond single points."""
    found: dict[str, float] = {}
    for title, curve in curves.items():
        if not title.startswith("graphite"):
            continue
        name = f"{title}: minima of the energy below {NO_MINIMUM_BELOW_A} Å"
        found[name] = len(minima_below(curve, NO_MINIMUM_BELOW_A))
        if judge is not None:
            x, apart = np.array(curve.x), np.array(curve.y) - np.array(judge[title].y)
            compared = (x > COMPARED_A[0]) & (x < COMPARED_A[1])
            name = f"{title}: largest deviation from 2.6 to 4.0 Å (meV/atom)"
            found[name] = float(np.abs(apart[compared]).max())
    return found


def _row(
    quantity: str,
    element: str,
    values: Sequence[dict[str, float]],
    judge: dict[str, float] | None,
) -> PhysicsRow:
    literature, source = LITERATURE[element].get(quantity, (None, None))
    against = None if judge is None else judge.get(quantity)
    allowed = _allowed(quantity, against)
    found = tuple(value.get(quantity, math.nan) for value in values)
    return PhysicsRow(
        quantity=quantity,
        values=found,
        against=against,
        tolerance=allowed,
        passed=tuple(
            None
            if allowed is None or against is None
            else bool(abs(value - against) <= allowed)
            for value in found
        ),
        literature=literature,
        source=source,
    )


def _allowed(quantity: str, against: float | None) -> float | None:
    """Return how far a quantity may be from that of the teacher."""
    tolerance = _tolerance_of(quantity)
    if tolerance is None or against is None:
        return None
    return tolerance.absolute + tolerance.relative * abs(against)


def _tolerance_of(quantity: str) -> Tolerance | None:
    found = (limit for pattern, limit in TOLERANCES if re.search(pattern, quantity))
    return next(found, None)


def _draw(path: Path, found: Physics) -> None:
    from matplotlib.figure import Figure

    from synthzoo.reports.style import save_figure, tidy

    titles = list(next(iter(found.curves.values())))
    figure = Figure(figsize=(4.2 * len(titles) / 2, 6.4), layout="constrained")
    panels = figure.subplots(2, len(titles) // 2).ravel()
    for axes, title in zip(panels, titles, strict=True):
        for number, (name, curves) in enumerate(found.curves.items()):
            curve = curves[title]
            judge = name == found.against
            axes.plot(
                curve.x,
                curve.y,
                label=Path(name).name,
                color=DARK_GREY if judge else COLOURS[number % len(COLOURS)],
                linestyle="--" if judge else "-",
            )
        axes.set(title=curve.title, xlabel=curve.x_label, ylabel=curve.y_label)
        if curve.drawn_to is not None:
            axes.set_ylim(-curve.drawn_to, curve.drawn_to)
        tidy(axes)
    figure.legend(*panels[0].get_legend_handles_labels(), **BELOW)
    save_figure(figure, path)
