"""What a fine-tuning did to known physics: crystals, repulsion, and energy curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers, covalent_radii

from synthzoo.data import unconstrained
from synthzoo.data.structures import dimer
from synthzoo.evaluation.crystal_properties import (
    EXPERIMENTS,
    CrystalProperties,
    from_card,
    known_crystals,
    measure_crystal,
)
from synthzoo.generation.prototypes import PROTOTYPES
from synthzoo.models.predict import predict_structures

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.models.calculator import SynthzooCalculator
    from synthzoo.zoo.card_records import ReferenceValues

NEAR = (0.33, 0.75)
"""Times the covalent bond length: two atoms so near must repel each other."""
NEAR_POINTS = 33
CELL_A = 25.0

MARGIN = 0.02
"""A deviation from the reference that grew by less than this is as it was."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A property of crystals that is compared.

    ``tolerance``: relative deviation from a reference that functionals explain.
    """

    field: str
    name: str
    unit: str
    digits: int
    tolerance: float

    def of(self, properties: CrystalProperties) -> float | None:
        """Return its value."""
        value: float | None = getattr(properties, self.field)
        return value

    def text(self, properties: CrystalProperties) -> str:
        """Return its value in words."""
        value = self.of(properties)
        return "none" if value is None else f"{value:.{self.digits}f}"


QUANTITIES = (
    Quantity(field="a_A", name="lattice constant", unit="Å", digits=3, tolerance=0.02),
    Quantity(
        field="c_A", name="lattice constant c", unit="Å", digits=3, tolerance=0.04
    ),
    Quantity(
        field="bulk_modulus_GPa",
        name="bulk modulus",
        unit="GPa",
        digits=0,
        tolerance=0.10,
    ),
    *(
        Quantity(
            field=f"c{index}_GPa",
            name=f"C{index}",
            unit="GPa",
            digits=0,
            tolerance=0.15,
        )
        for index in (11, 12, 44)
    ),
)


@dataclass(frozen=True, kw_only=True)
class CrystalChange:
    """One crystal by the start and by the tuned model.

    ``references``: what the teacher of the start and experiments say, where it is
    known.
    """

    name: str
    before: CrystalProperties
    after: CrystalProperties
    references: tuple[CrystalProperties, ...]

    def quantities(self) -> list[Quantity]:
        """Return the properties that any of the sources has."""
        sources = (self.before, self.after, *self.references)
        return [
            quantity
            for quantity in QUANTITIES
            if any(quantity.of(source) is not None for source in sources)
        ]

    def worse(self) -> Iterator[str]:
        """Yield in words what lies farther from all references than it did."""
        if self.before.a_A is not None and self.after.a_A is None:
            yield f"{self.name} no longer has an energy minimum near its known cell"
            return
        for quantity in self.quantities():
            known = [quantity.of(source) for source in self.references]
            before, after = (
                _deviation(quantity.of(source), known)
                for source in (self.before, self.after)
            )
            if after > quantity.tolerance and after > before + MARGIN:
                yield self._text(quantity)

    def known(self, quantity: Quantity) -> str:
        """Return what the references say about one of the properties."""
        return ", ".join(
            f"{source.source} {quantity.text(source)}"
            for source in self.references
            if quantity.of(source) is not None
        )

    def _text(self, quantity: Quantity) -> str:
        return (
            f"the {quantity.name} of {self.name} went from "
            f"{quantity.text(self.before)} to {quantity.text(self.after)} "
            f"{quantity.unit} ({self.known(quantity)})"
        )


def _deviation(value: float | None, known: Sequence[float | None]) -> float:
    """Return the relative deviation from the nearest reference; 0 without any."""
    if value is None:
        return 0.0
    return min(
        (abs(value / other - 1) for other in known if other is not None), default=0.0
    )


@dataclass(frozen=True, kw_only=True)
class Repulsion:
    """How near two atoms repel each other, by the start and by the tuned model.

    ``before_A``, ``after_A``: distance down to which the energy rises as they come
    nearer.
    ``nearest_A``, ``widest_A``: distances between which was looked.
    """

    element: str
    before_A: float
    after_A: float
    nearest_A: float
    widest_A: float

    def worse(self) -> Iterator[str]:
        """Yield in words that atoms attract each other where they did not."""
        if self.after_A > self.before_A:
            yield (
                f"the {self.element}–{self.element} repulsion now has a maximum at "
                f"{self.after_A:.2f} Å, and atoms closer than that attract each other "
                f"(before: {self._reach(self.before_A)})"
            )

    def text(self) -> str:
        """Return how near two atoms repel each other, in words."""
        return (
            f"Two {self.element} atoms that come nearer than {self.widest_A:.2f} Å: "
            f"{self._reach(self.before_A)} before, {self._reach(self.after_A)} after."
        )

    def _reach(self, reach_A: float) -> str:
        if reach_A >= self.widest_A:
            return "no repulsion"
        return f"repulsive down to {reach_A:.2f} Å"


_ADVICE = (
    "The best remedy is to add labelled crystals at several volumes, and pairs of "
    "atoms at short distance, to your structures."
)


@dataclass(frozen=True, kw_only=True)
class Physics:
    """What a fine-tuning did to known physics.

    ``crystals``: that the elements are known for.
    ``repulsions``: of two atoms of each element.
    """

    crystals: tuple[CrystalChange, ...]
    repulsions: tuple[Repulsion, ...]

    @property
    def worse(self) -> tuple[str, ...]:
        """What got worse, in words."""
        looked_at: tuple[CrystalChange | Repulsion, ...] = (
            *self.crystals,
            *self.repulsions,
        )
        return tuple(text for change in looked_at for text in change.worse())

    @property
    def summary(self) -> str:
        """Whether known physics got worse, in words."""
        if self.worse:
            return f"Known physics got worse: {'; '.join(self.worse)}. {_ADVICE}"
        names = [
            change.name for change in self.crystals if change.after.a_A is not None
        ]
        looked_at = ", ".join([*names, "repulsion at short distance"])
        return f"Known physics is no worse than before ({looked_at})."


def compare_physics(
    before: SynthzooCalculator,
    after: SynthzooCalculator,
    elements: Sequence[str],
    reference: ReferenceValues | None = None,
) -> Physics:
    """Return what a fine-tuning did to the known physics of some elements.

    ``reference``: what the teacher of the start says about crystals, if its card states
    that.
    """
    return Physics(
        crystals=tuple(
            CrystalChange(
                name=crystal.name,
                before=measure_crystal(crystal, before, source="before"),
                after=measure_crystal(crystal, after, source="after"),
                references=_references(crystal.name, reference),
            )
            for element in elements
            for crystal in known_crystals(element)
        ),
        repulsions=tuple(_repulsion(element, before, after) for element in elements),
    )


def _references(
    name: str, reference: ReferenceValues | None
) -> tuple[CrystalProperties, ...]:
    references = []
    if reference is not None and name in reference.crystals:
        references.append(from_card(reference.crystals[name], source=reference.teacher))
    if name in EXPERIMENTS:
        references.append(EXPERIMENTS[name])
    return tuple(references)


def _repulsion(
    element: str, before: SynthzooCalculator, after: SynthzooCalculator
) -> Repulsion:
    distances_A, pairs = dimers(element, NEAR, NEAR_POINTS)
    before_A, after_A = (
        repels_to_A(distances_A, energies_eV(pairs, model)) for model in (before, after)
    )
    return Repulsion(
        element=element,
        before_A=before_A,
        after_A=after_A,
        nearest_A=float(distances_A[0]),
        widest_A=float(distances_A[-1]),
    )


def dimers(
    element: str, reach: tuple[float, float], points: int
) -> tuple[NDArray[np.float64], list[Atoms]]:
    """Return distances in Å, and two atoms at each of them.

    ``reach``: shortest and longest distance, times twice the covalent radius.
    """
    bond_A = 2 * float(covalent_radii[atomic_numbers[element]])
    distances_A = np.linspace(*reach, points) * bond_A
    pairs = [dimer([element] * 2, distance, side_A=CELL_A) for distance in distances_A]
    return distances_A, pairs


def repels_to_A(
    distances_A: NDArray[np.float64], energies_eV: NDArray[np.float64]
) -> float:
    """Return the distance down to which energies rise, coming from the widest.

    ``distances_A``: ascending, of shape ``(n,)``.

    Examples
    --------
    >>> repels_to_A(np.array([0.6, 0.8, 1.0]), np.array([1.0, 3.0, 2.0]))
    0.8
    """
    holes = np.flatnonzero(np.diff(energies_eV) >= 0)
    return float(distances_A[holes[-1] + 1] if len(holes) else distances_A[0])


def energies_eV(
    structures: Sequence[Atoms], calculator: SynthzooCalculator
) -> NDArray[np.float64]:
    """Return the energies of some structures."""
    return np.array(
        [
            unconstrained.energy_eV(atoms)
            for atoms in predict_structures(structures, calculator)
        ]
    )


CRYSTALS: dict[str, dict[str, float]] = {
    "C": {"diamond": 1.545, "graphite-ab": 1.42},
    "Si": {"diamond": 2.352},
}
"""Crystals whose energy–volume curve is drawn, with their bond length in Å."""

CURVE_STRETCH = (0.94, 1.07)
CURVE_POINTS = 14
DIMER_REACH = (0.45, 2.2)
"""Of twice the covalent radius."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Energies of one system along one line, before and after a fine-tuning.

    ``x_label``, ``y_label``: what the axes are, with units.
    ``x``: distances in Å, or volumes in Å³ per atom.
    ``before_eV``, ``after_eV``: energies; those of a dimer from its widest distance,
    those of a crystal per atom from their minimum.
    """

    name: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    before_eV: tuple[float, ...]
    after_eV: tuple[float, ...]


def probe(
    before: SynthzooCalculator,
    after: SynthzooCalculator,
    elements: Sequence[str],
) -> list[Curve]:
    """Return the dimer of each element, and crystals where they are known."""
    curves = [_dimer(element, before, after) for element in elements]
    for element in elements:
        for name, bond_A in CRYSTALS.get(element, {}).items():
            curves.append(_crystal(element, name, bond_A, before, after))
    return curves


def _dimer(
    element: str, before: SynthzooCalculator, after: SynthzooCalculator
) -> Curve:
    distances, pairs = dimers(element, DIMER_REACH, 4 * CURVE_POINTS)
    old, new = (energies_eV(pairs, model) for model in (before, after))
    return Curve(
        name=f"{element} dimer",
        x_label="distance (Å)",
        y_label="energy (eV)",
        x=tuple(distances.tolist()),
        before_eV=tuple((old - old[-1]).tolist()),
        after_eV=tuple((new - new[-1]).tolist()),
    )


def _crystal(
    element: str,
    name: str,
    bond_A: float,
    before: SynthzooCalculator,
    after: SynthzooCalculator,
) -> Curve:
    stretches = np.linspace(*CURVE_STRETCH, CURVE_POINTS)
    cells = [PROTOTYPES[name](element, bond_A * stretch) for stretch in stretches]
    volumes = np.array([atoms.get_volume() / len(atoms) for atoms in cells])
    sizes = np.array([len(atoms) for atoms in cells])
    old, new = (energies_eV(cells, model) / sizes for model in (before, after))
    return Curve(
        name=f"{name.removesuffix('-ab')} ({element})",
        x_label="volume (Å³/atom)",
        y_label="energy (eV/atom)",
        x=tuple(volumes.tolist()),
        before_eV=tuple((old - old.min()).tolist()),
        after_eV=tuple((new - new.min()).tolist()),
    )
