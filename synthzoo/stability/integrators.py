"""ASE's integrators for the stages of a protocol, with a state that can be saved."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from ase.md.velocitydistribution import Stationary
from ase.md.verlet import VelocityVerlet

from synthzoo.generation.dynamics import make_thermostat
from synthzoo.stability.fixed import keep_fixed
from synthzoo.stability.protocol import Dynamics

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.generation.kinds.values import Thermostat
    from synthzoo.stability.protocol import MovingStage

State = dict[str, Any]
"""Numbers and lists of numbers that an integrator carries from step to step."""

_CHAIN = ("_thermostat._eta", "_thermostat._p_eta")
_BAROSTAT = (*_CHAIN, "_barostat._xi", "_barostat._p_xi", "_p_eps")
_STATES: dict[str, tuple[str, ...]] = {
    "_NoseHooverChain": _CHAIN,
    "IsotropicMTKNPT": _BAROSTAT,
}
"""ASE gives no access to them. All others have no state but that of the generator."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How all stages of a protocol are integrated."""

    thermostat: Thermostat
    friction_per_fs: float
    timestep_fs: float
    barostat_fs: float


def make_integrator(
    atoms: Atoms,
    stage: MovingStage,
    settings: Settings,
    rng: np.random.Generator,
    target_K: float | None,
) -> Any:
    """Return what moves the atoms in a stage.

    ``atoms``: structure with momenta and a calculator; its constraints are replaced,
    but for fixed atoms.
    ``target_K``: temperature of the thermostat; None at constant energy.
    """
    if target_K is None:
        keep_fixed(atoms)
        return VelocityVerlet(atoms, settings.timestep_fs * units.fs)
    if isinstance(stage, Dynamics) and stage.ensemble == "npt":
        return _barostat(atoms, stage, settings, target_K)
    return make_thermostat(atoms, settings, rng, target_K)


def _barostat(
    atoms: Atoms, stage: Dynamics, settings: Settings, target_K: float
) -> IsotropicMTKNPT:
    """Return the chains of Martyna, Tobias and Klein.

    They count the degrees of freedom of the centre of mass, which rests here: the
    temperature is lowered by their share.
    """
    atoms.set_constraint()
    Stationary(atoms, preserve_temperature=False)
    return IsotropicMTKNPT(
        atoms,
        settings.timestep_fs * units.fs,
        temperature_K=target_K * (1 - 1 / len(atoms)),
        pressure_au=stage.pressure_GPa * units.GPa,
        tdamp=units.fs / settings.friction_per_fs,
        pdamp=settings.barostat_fs * units.fs,
    )


def integrator_state(integrator: Any) -> State:
    """Return what an integrator carries from step to step, beside the atoms."""
    names = _STATES.get(type(integrator).__name__, ())
    values = [functools.reduce(getattr, name.split("."), integrator) for name in names]
    plain = [np.asarray(value).tolist() for value in values]
    return dict(zip(names, plain, strict=True))


def restore_integrator(integrator: Any, state: State) -> None:
    """Give an integrator what an earlier one of its kind carried.

    ``integrator``: from `make_integrator`; the atoms are those at the time of the
    state.
    ``state``: from `integrator_state`; nothing at the start of a stage.
    """
    for name, value in state.items():
        *path, last = name.split(".")
        owner = functools.reduce(getattr, path, integrator)
        setattr(owner, last, np.array(value) if isinstance(value, list) else value)
