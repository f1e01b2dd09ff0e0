"""Protocols: what a model has to survive, as the recipes ``md-*.yaml`` say it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ase.data import atomic_masses, atomic_numbers

from synthzoo.errors import InputError
from synthzoo.generation.kinds.values import Thermostat
from synthzoo.recipes.schema import (
    LATER,
    NOT_EMPTY,
    Checked,
    Count,
    CountFrom0,
    Kind,
    NotNegative,
    Number,
    Positive,
    PositiveRange,
    Section,
    whole,
)

if TYPE_CHECKING:
    from ase import Atoms


PREFIX = "md-"
"""A protocol's name is that of its recipe without this."""

LONG_STEP_H_FS = 0.7
"""A longer time step than this is too long for hydrogen; for others it grows with the
square root of the mass. A bond to hydrogen swings in 9 fs."""

SAFE_SHARE = 0.6
"""Share of the longest time step that is used where none is given."""

LONGEST_DEFAULT_FS = 1.0

Points = Annotated[int, whole(3, 10_000)]


class Dynamics(Kind, tag="dynamics", frozen=True, kw_only=True):
    """A stretch of molecular dynamics.

    Attributes
    ----------
    name
        What it is called in results.
    ensemble
        Constant energy (``nve``), a thermostat (``nvt``), or a thermostat and an
        isotropic barostat (``npt``).
    duration_fs
        Simulated time.
    start_K, end_K
        Temperature of the thermostat at both ends, linear between; not for ``nve``,
        which goes on with the velocities there are.
    pressure_GPa
        For ``npt``.
    """

    name: str
    ensemble: Literal["nve", "nvt", "npt"] = "nvt"
    duration_fs: Positive
    start_K: Positive | None = None
    end_K: NotNegative | None = None
    pressure_GPa: Number = 0.0

    def target_K(self, share: float) -> float | None:
        """Return the temperature of the thermostat; None at constant energy.

        Parameters
        ----------
        share
            Of the stage's duration that has passed.
        """
        if self.start_K is None:
            return None
        end_K = self.start_K if self.end_K is None else self.end_K
        return self.start_K + share * (end_K - self.start_K)


class Conservation(Kind, tag="conservation", frozen=True, kw_only=True):
    """The same stretch at constant energy with several time steps.

    Velocity Verlet has an energy error that grows with the square of the time step, if
    the forces are the derivatives of one smooth energy. If they are not, a shorter step
    does not help.

    Attributes
    ----------
    name
        What it is called in results.
    duration_fs
        Simulated time, for each time step.
    factors
        Time steps over that of the protocol.
    """

    name: str
    duration_fs: Positive
    factors: tuple[Positive, ...] = (0.5, 1.0, 2.0)


class Dimers(Kind, tag="dimers", frozen=True, kw_only=True):
    """The energy of two atoms over their distance, for each pair of elements.

    Attributes
    ----------
    name
        What it is called in results.
    nearest, farthest
        Ends, over the sum of the covalent radii.
    points
        Number of distances.
    innermost
        End of the curve where the energy has not risen at ``nearest`` yet: some metals
        have dimers with such short bonds.
    """

    name: str = "dimers"
    nearest: Positive = 0.6
    farthest: Positive = 3.0
    points: Points = 40
    innermost: Annotated[Positive, LATER] = 0.35


class Squeeze(Kind, tag="squeeze", frozen=True, kw_only=True):
    """The energy of the structure, compressed alike in all directions.

    Attributes
    ----------
    name
        What it is called in results.
    nearest
        Shortest distance at the end, over the sum of the covalent radii.
    points
        Number of structures.
    """

    name: str = "squeeze"
    nearest: Positive = 0.7
    points: Points = 12


Stage = Dynamics | Conservation | Dimers | Squeeze
MovingStage = Dynamics | Conservation


class Limits(Checked, frozen=True, kw_only=True):
    """Where soundness ends.

    Attributes
    ----------
    fused_ratio
        Two atoms have fused below this share of the sum of their covalent radii.
    lost_ratio
        An atom is lost if nothing is within this many bond lengths, and it was not so
        at the start. The bond lengths are those of `synthzoo.data.pairs`.
    bonds, metal_bonds
        So many bonds are too many for an atom of a non-metal or metalloid, and of a
        metal; more than at the start by three in any case.
    persist_fs
        An atom counts as lost or crowded if it is so for this long.
    temperature_factor, temperature_margin_K
        The temperature has run away above so many times that of the thermostat (or that
        at the start of a stage at constant energy) and so much more.
    force_eV_A
        No force may be longer.
    energy_jump_eV
        Largest change of the total energy between two checks, beyond what the
        thermostat can do.
    energy_change_meV_per_atom
        Largest change of the total energy in a stage at constant energy.
    drift_meV_per_atom_ps
        Largest slope of the total energy in a stage at constant energy, at the
        protocol's time step; beyond what the fluctuations explain.
    uncertainty_eV_A
        The model's own standard deviation of no force component may be larger, where it
        gives one; no limit if None.
    order
        Smallest power of the time step with which the energy may fluctuate.
    volume_ratio
        Smallest and largest volume over that at the start.
    hole_eV
        A dimer may not gain more than this on the way up its wall.
    hole_eV_per_atom
        Nor a structure that is squeezed.
    wall_eV, wall_eV_per_atom
        Least height of the wall at the shortest distance, above the minimum.
    thermal_reach
        Of the curves of dimers and, per atom, of squeezed structures the part is judged
        that is lower than so many times kT at the protocol's highest temperature, above
        the minimum, or than ``wall_eV`` if that is higher. Dynamics get no farther.
        Without dynamics all of it is judged.
    """

    fused_ratio: NotNegative = 0.5
    lost_ratio: Positive = 1.25
    bonds: CountFrom0 = 8
    metal_bonds: CountFrom0 = 20
    persist_fs: NotNegative = 50.0
    temperature_factor: Positive = 3.0
    temperature_margin_K: NotNegative = 1000.0
    force_eV_A: Positive = 150.0
    energy_jump_eV: Positive = 5.0
    energy_change_meV_per_atom: Positive = 50.0
    drift_meV_per_atom_ps: Positive = 2.0
    order: NotNegative = 1.5
    volume_ratio: PositiveRange = (0.5, 2.0)
    hole_eV: NotNegative = 0.2
    hole_eV_per_atom: NotNegative = 0.02
    wall_eV: Number = 1.0
    wall_eV_per_atom: Number = 0.5
    thermal_reach: Annotated[Positive, LATER] = 20.0
    uncertainty_eV_A: Annotated[Positive | None, LATER] = None


class MdRecipe(Section, frozen=True, kw_only=True):
    """A protocol.

    Attributes
    ----------
    name
        What it is called in results; that of its file, if it comes from one.
    stages
        What is done, in this order. Curves come first wherever they stand.
    replicas
        Runs of the dynamics; they differ by their seeds only.
    timestep_fs
        Step of the integrator; one that suits the lightest atom if not given.
    thermostat
        Langevin dynamics, the stochastic rescaling of Bussi, Donadio and Parrinello, or
        a Nosé–Hoover chain. A barostat has a chain of its own.
    friction_per_fs
        Friction of the Langevin thermostat; its inverse is the time constant of the
        others.
    barostat_fs
        Time constant of the barostat.
    check_steps
        Steps between two looks at the structure.
    sample_fs
        Time between two lines of the series.
    frame_fs
        Time between two structures of the trajectory.
    save_fs
        Time between two saved states; what is lost when a run is killed.
    limits
        Where soundness ends.
    """

    section = "md"

    name: str = "custom"
    stages: Annotated[tuple[Stage, ...], NOT_EMPTY]
    replicas: Count = 1
    timestep_fs: Positive | None = None
    thermostat: Thermostat = "langevin"
    friction_per_fs: Positive = 0.01
    barostat_fs: Positive = 1000.0
    check_steps: Count = 10
    sample_fs: Positive = 10.0
    frame_fs: Positive = 50.0
    save_fs: Positive = 500.0
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        super().__post_init__()
        for stage in self.stages:
            _check_stage(stage)
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise InputError(f"Two stages of a protocol have one name: {names}.")

    @property
    def moving(self) -> tuple[MovingStage, ...]:
        """The stages in which atoms move."""
        kinds = (Dynamics, Conservation)
        return tuple(stage for stage in self.stages if isinstance(stage, kinds))

    @property
    def hottest_K(self) -> float | None:
        """The highest temperature; None if no atoms move."""
        ends = (
            stage.target_K(share)
            for stage in self.moving
            if isinstance(stage, Dynamics)
            for share in (0.0, 1.0)
        )
        if not self.moving:
            return None
        return max((end for end in ends if end is not None), default=self.first_K)

    @property
    def first_K(self) -> float:
        """Temperature of the velocities at the start."""
        for stage in self.moving:
            if isinstance(stage, Dynamics) and stage.start_K is not None:
                return stage.start_K
        return 300.0


def _check_stage(stage: Stage) -> None:
    if isinstance(stage, Dimers | Squeeze):
        return
    if isinstance(stage, Conservation):
        if len(stage.factors) < 2 or 1.0 not in stage.factors:
            raise InputError(
                f"Stage {stage.name}: factors {list(stage.factors)} should be two "
                "or more, with 1 among them."
            )
        return
    if (stage.ensemble == "nve") != (stage.start_K is None):
        raise InputError(
            f"Stage {stage.name}: start_K is needed for nvt and npt, and only there."
        )
    if stage.ensemble == "npt" and stage.end_K not in {None, stage.start_K}:
        raise InputError(
            f"Stage {stage.name}: the temperature of npt is constant; leave end_K out."
        )


def longest_step_fs(atoms: Atoms) -> float:
    """Return the longest time step that the lightest atom allows.

    Examples
    --------
    >>> from ase.build import bulk, molecule
    >>> round(longest_step_fs(molecule("H2O")), 2), round(longest_step_fs(bulk("C")), 2)
    (0.7, 2.42)
    """
    hydrogen = atomic_masses[atomic_numbers["H"]]
    return float(LONG_STEP_H_FS * (atoms.get_masses().min() / hydrogen) ** 0.5)


def default_step_fs(atoms: Atoms) -> float:
    """Return a time step that suits the lightest atom, at most 1 fs.

    Examples
    --------
    >>> from ase.build import bulk, molecule
    >>> default_step_fs(molecule("H2O")), default_step_fs(bulk("C"))
    (0.4, 1.0)
    """
    return min(LONGEST_DEFAULT_FS, round(SAFE_SHARE * longest_step_fs(atoms), 1))


def rescaled(recipe: MdRecipe, *, duration: float, hottest_K: float | None) -> MdRecipe:
    """Return a protocol with other durations, and another temperature at its top.

    ``hottest_K``: replaces the highest temperature of the protocol, wherever it stands;
    as it is if not given.
    """
    found = [
        temperature
        for stage in recipe.moving
        if isinstance(stage, Dynamics)
        for temperature in (stage.start_K, stage.end_K)
        if temperature is not None
    ]
    top_K = max(found, default=None)
    stages = [_rescaled(stage, duration, top_K, hottest_K) for stage in recipe.stages]
    return dataclasses.replace(recipe, stages=tuple(stages))


def _rescaled(
    stage: Stage, duration: float, top_K: float | None, hottest_K: float | None
) -> Stage:
    if isinstance(stage, Dimers | Squeeze):
        return stage
    stage = dataclasses.replace(stage, duration_fs=duration * stage.duration_fs)
    if isinstance(stage, Conservation) or hottest_K is None:
        return stage
    start_K, end_K = (
        hottest_K if end == top_K else end for end in (stage.start_K, stage.end_K)
    )
    if stage.start_K is None:
        return stage
    return dataclasses.replace(stage, start_K=start_K, end_K=end_K)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some steps of one stage.

    Attributes
    ----------
    stage
        Number among the stages in which atoms move.
    begin, steps, total
        Steps done before in this stage (at this time step), in this part, and in all.
    factor
        Time step over that of the protocol.
    aside
        Whether the run comes back to where the stage began: at all but one of the time
        steps of a conservation stage.
    """

    stage: int
    begin: int
    steps: int
    total: int
    factor: float = 1.0
    aside: bool = False

    @property
    def ends(self) -> bool:
        """Whether it is the last of its stage (at this time step)."""
        return self.begin + self.steps == self.total


def plan_parts(recipe: MdRecipe, timestep_fs: float) -> tuple[Part, ...]:
    """Return the parts of a replica's run, in order."""
    return tuple(
        part
        for number, stage in enumerate(recipe.moving)
        for factor in _factors(stage)
        for part in _parts(recipe, number, timestep_fs, factor)
    )


def planned_fs(recipe: MdRecipe) -> float:
    """Return the time to simulate, without what a conservation stage does aside."""
    return sum(stage.duration_fs for stage in recipe.moving)


def _factors(stage: MovingStage) -> tuple[float, ...]:
    """Return the time steps of a stage, that of the protocol last."""
    if not isinstance(stage, Conservation):
        return (1.0,)
    return (*(factor for factor in stage.factors if factor != 1.0), 1.0)


def _parts(
    recipe: MdRecipe, number: int, timestep_fs: float, factor: float
) -> Iterator[Part]:
    step_fs = timestep_fs * factor
    total = max(1, round(recipe.moving[number].duration_fs / step_fs))
    checks = max(1, round(recipe.save_fs / step_fs / recipe.check_steps))
    most = checks * recipe.check_steps
    for begin in range(0, total, most):
        yield Part(
            stage=number,
            begin=begin,
            steps=min(most, total - begin),
            total=total,
            factor=factor,
            aside=factor != 1.0,
        )


def stage_text(stage: Mapping[str, Any]) -> str:
    """Return what is done in a stage.

    Examples
    --------
    >>> heat = {"kind": "dynamics", "ensemble": "nvt", "duration_fs": 2e4}
    >>> stage_text(heat | {"start_K": 300.0, "end_K": 3000.0})
    '20 ps of dynamics, 300 → 3000 K'
    """
    if stage["kind"] == "dimers":
        return (
            f"two atoms, from {stage['farthest']:g} to {stage['nearest']:g} times the "
            "sum of their covalent radii"
        )
    if stage["kind"] == "squeeze":
        return (
            "the structure, squeezed until its nearest atoms are at "
            f"{stage['nearest']:g} times the sum of their covalent radii"
        )
    duration = f"{stage['duration_fs'] / 1000:g} ps"
    if stage["kind"] == "conservation":
        factors = ", ".join(f"{factor:g}" for factor in stage["factors"])
        return f"{duration} at constant energy with {factors} times the time step"
    return f"{duration} {_dynamics_text(stage)}"


def _dynamics_text(stage: Mapping[str, Any]) -> str:
    if stage["ensemble"] == "nve":
        return "at constant energy"
    end_K = stage["start_K"] if stage["end_K"] is None else stage["end_K"]
    text = f"of dynamics, {stage['start_K']:g} K"
    if end_K != stage["start_K"]:
        text = f"of dynamics, {stage['start_K']:g} → {end_K:g} K"
    if stage["ensemble"] == "npt":
        return f"{text}, {stage['pressure_GPa']:g} GPa"
    return text
