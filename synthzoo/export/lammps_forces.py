"""A model's energies, forces and stress inside LAMMPS, by its `fix external`."""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.data import atomic_numbers, chemical_symbols

from synthzoo.data import unconstrained
from synthzoo.errors import InputError, SimulationError, one_line
from synthzoo.export.atom_types import (
    check_symbols,
    elements_of_types,
    type_without_element,
)
from synthzoo.export.lammps_ranks import ranks_of
from synthzoo.export.lammps_script import zero_style
from synthzoo.models.doubt import largest_doubt, refuse_limit
from synthzoo.models.place import Place
from synthzoo.models.uncertainty import FORCES
from synthzoo.potentials import (
    Model,
    at_level,
    load_potential,
    refuse_starting_point,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.potentials import Potential

_LOG = logging.getLogger(__name__)

FIX = "synthzoo"
"""Name of the fix that adds the model's forces."""

STOP, FAILED = "synthzoo_stop", "synthzoo_failed"
"""Fix that ends the run when this variable of LAMMPS is no longer zero."""

NO_CUTOFF_A = 5.0
"""How far LAMMPS's own neighbour lists reach for a model that states no cutoff."""

IMAGES = {4: (1023, 10, 512), 8: (2097151, 21, 1048576)}
"""Bytes of an image flag: mask, bits and zero of each direction."""


class Local(NamedTuple):
    """Atoms of one process, in its order.

    ``tags``, ``types``, ``images``: ``(n,)``, as LAMMPS has them; ``positions`` in Å.
    """

    tags: NDArray[np.int64]
    types: NDArray[np.int64]
    images: NDArray[np.int64]
    positions: NDArray[np.float64]


class Share(NamedTuple):
    """What a process gets back.

    ``failure``: why nothing was computed, or None. ``energy_eV``, ``virial_eV``: of all
    atoms; the second as ``(6,)``, in the order of LAMMPS.
    ``energies_eV``, ``forces_eV_A``: of this process's atoms, in its order.
    """

    failure: BaseException | None
    energy_eV: float
    virial_eV: NDArray[np.float64]
    energies_eV: NDArray[np.float64]
    forces_eV_A: NDArray[np.float64]


class LammpsForces:
    """A model that computes for a LAMMPS object; made by `attach`.

    Attributes
    ----------
    potential
        What computes.
    calls
        How often it has computed.
    seconds
        How long it has computed in all.
    failure
        The error that stopped LAMMPS, or None.
    doubt_eV_A
        Largest standard deviation of a force component that the model itself gave;
        None if it gives none.
    """

    def __init__(
        self,
        lmp: Any,
        potential: Potential,
        elements: Sequence[str] = (),
        max_uncertainty: float | None = None,
    ) -> None:
        self.potential, self.calls, self.seconds = potential, 0, 0.0
        self.doubt_eV_A: float | None = None
        self._most_eV_A = max_uncertainty
        self.failure: BaseException | None = None
        self._lmp, self._ranks = lmp, ranks_of(lmp)
        self._named = check_symbols(elements)
        self._elements: tuple[str | None, ...] = ()
        self._labels: tuple[str | None, ...] = ()
        self._atoms = Atoms()
        self._image = IMAGES[int(lmp.extract_setting("imageint"))]
        self._blank = np.full(6, np.nan)

    @property
    def elements(self) -> tuple[str | None, ...]:
        """Chemical symbols of the atom types, once there are forces."""
        return self._elements

    @property
    def atoms(self) -> Atoms:
        """The structure that was computed last; in the first process only."""
        return self._atoms

    @property
    def rank(self) -> int:
        """Number of this process among those of LAMMPS."""
        return self._ranks.rank

    @property
    def cutoff_A(self) -> float:
        """How far LAMMPS's own neighbour lists have to reach."""
        config = self.potential.config
        return NO_CUTOFF_A if config is None else config.cutoff_A

    def connect(self) -> None:
        """Put the fix into LAMMPS, before all fixes that change forces."""
        lmp = self._lmp
        _check_lammps(lmp)
        self._labels = _labels_of_types(lmp)
        if len(self._named) > len(self._labels):
            raise InputError(
                f"{len(self._named)} elements are given, but LAMMPS has "
                f"{len(self._labels)} atom types."
            )
        for command in (
            f"pair_style {zero_style(self.cutoff_A)}",
            "pair_coeff * *",
            f"fix {FIX} all external pf/callback 1 1",
            f"fix_modify {FIX} energy yes virial yes",
            f"variable {FAILED} internal 0.0",
            f"fix {STOP} all halt 1 v_{FAILED} != 0.0 error hard",
        ):
            lmp.command(command)
        lmp.set_fix_external_callback(FIX, self._callback, lmp)

    def _callback(self, _: Any, *step: Any) -> None:
        """Give LAMMPS what it asks for; an error here would not stop it by itself."""
        share = self._scattered(*step)
        *_, forces = step
        forces[:] = share.forces_eV_A
        self._give(share)
        if share.failure is not None:
            self._stop(share.failure)

    def _scattered(
        self, _: int, count: int, tags: Any, positions: Any, forces: Any
    ) -> Share:
        """Gather the atoms, compute in the first process, and return its share."""
        numpy = self._lmp.numpy
        images = numpy.extract_atom("image").reshape(-1)[:count]
        mine = Local(
            np.array(tags, dtype=np.int64).reshape(-1),
            np.array(numpy.extract_atom("type")[:count], dtype=np.int64),
            np.array(images, dtype=np.int64),
            np.array(positions, dtype=np.float64).reshape(-1, 3),
        )
        del forces
        parts = self._ranks.gather(mine)
        shares = self._shares(parts) if parts else []
        share: Share = self._ranks.scatter(shares)
        return share

    def _shares(self, parts: list[Local]) -> list[Share]:
        sizes = [len(part.tags) for part in parts]
        if self.failure is not None:
            return [_failed(self.failure, size) for size in sizes]
        try:
            return self._computed(_joined(parts), sizes)
        except BaseException as error:  # noqa: BLE001  LAMMPS would swallow it
            return [_failed(error, size) for size in sizes]

    def _computed(self, found: Local, sizes: list[int]) -> list[Share]:
        """Return what the model computes for atoms, by process."""
        order = np.argsort(found.tags)
        atoms = self._update(found, order)
        begin = time.perf_counter()
        energy, energies, forces, virial = _evaluate(self.potential, atoms)
        self._doubt(atoms)
        self.seconds += time.perf_counter() - begin
        self.calls += 1
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        ends = np.cumsum(sizes)[:-1]
        return [
            Share(None, energy, virial, mine, pull)
            for mine, pull in zip(
                np.split(energies[back], ends),
                np.split(forces[back], ends),
                strict=True,
            )
        ]

    def _doubt(self, atoms: Atoms) -> None:
        """Remember how unsure the model is, and stop where that is too much."""
        results = getattr(atoms.calc, "results", {})
        refuse_limit(results, self._most_eV_A)
        if FORCES not in results:
            return
        found = largest_doubt(results[FORCES])
        self.doubt_eV_A = max(self.doubt_eV_A or 0.0, found.deviation_eV_A)
        if self._most_eV_A is not None and found.passes(self._most_eV_A):
            place = f"number {found.atom + 1} in the order of the IDs"
            name = f"{atoms.symbols[found.atom]}, {place}"
            told = found.text(name, self._most_eV_A)
            raise SimulationError(f"The model became unsure: {told}.")

    def _update(self, found: Local, order: NDArray[np.int64]) -> Atoms:
        """Return the atoms that LAMMPS has now, in the order of their numbers."""
        if len(found.tags) == 0 and (before := int(self._lmp.get_natoms())):
            raise SimulationError(
                f"LAMMPS has lost all of its {before} atoms: they moved too far in one "
                "step. Try a shorter timestep; `synthzoo md` says whether the model "
                "survives such conditions."
            )
        if (found.tags == 0).any():
            raise InputError(
                "LAMMPS's atoms have no numbers; remove `atom_modify id no`."
            )
        if self._lmp.extract_global("respa_levels"):
            raise InputError(
                "`run_style respa` leaves out a model's forces; use `run_style verlet`."
            )
        cell, periodic = _box(self._lmp)
        numbers = self._numbers(found.types)[order]
        if not np.array_equal(numbers, self._atoms.numbers):
            self._atoms = Atoms(numbers, pbc=periodic)
        steps = _steps(found.images[order], self._image)
        self._atoms.pbc = periodic
        self._atoms.set_cell(cell)
        self._atoms.positions = found.positions[order] + steps @ cell
        return self._atoms

    def _numbers(self, types: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the atomic numbers of atoms."""
        masses = _masses(self._lmp)
        if not self._elements:
            given = [*self._named, *[None] * (len(masses) - len(self._named))]
            named = [a or b for a, b in zip(given, self._labels, strict=True)]
            self._elements = elements_of_types(masses, named)
        for number in np.unique(types):
            if self._elements[number - 1] is None:
                raise type_without_element(int(number), masses[number - 1])
        table = [0, *(atomic_numbers[name or "X"] for name in self._elements)]
        return np.asarray(table)[types]

    def _give(self, share: Share) -> None:
        """Hand a share over to LAMMPS's fix; what it does not need costs nothing."""
        lmp, name = self._lmp, FIX.encode()
        energies = np.ascontiguousarray(share.energies_eV)
        doubles = ctypes.POINTER(ctypes.c_double)
        lmp.fix_external_set_energy_global(FIX, share.energy_eV)
        lmp.fix_external_set_virial_global(FIX, share.virial_eV)
        lmp.lib.lammps_fix_external_set_energy_peratom(
            lmp.lmp, name, energies.ctypes.data_as(doubles)
        )
        # Nobody knows the stress of single atoms: not a number, rather than nothing.
        blank = self._blank.ctypes.data_as(doubles)
        rows = (doubles * max(1, len(energies)))(*[blank] * len(energies))
        lmp.lib.lammps_fix_external_set_virial_peratom(lmp.lmp, name, rows)

    def _stop(self, failure: BaseException) -> None:
        """Let LAMMPS stop after this step: an error of Python's alone would not."""
        if self.failure is None and self.rank == 0:
            _LOG.error("The model stopped LAMMPS: %s", one_line(failure))
        self.failure = self.failure or failure
        self._lmp.set_internal_variable(FAILED, 1.0)


def attach(  # noqa: PLR0913  what a user may say
    lmp: Any,
    model: Model,
    *,
    level: str | None = None,
    elements: Sequence[str] = (),
    device: str = "auto",
    dtype: str = "float32",
    max_uncertainty: float | None = None,
) -> LammpsForces:
    """Let a model compute for a LAMMPS object of Python.

    Call it when the box exists, before the first ``fix`` and ``run``. The pair style
    becomes ``zero``. The energy is part of ``pe``, the stress part of ``press`` and of
    what barostats see, and ``compute pe/atom`` gives energies of atoms. With several
    processes mpi4py gathers the atoms in the first one, which computes.

    Parameters
    ----------
    lmp
        ``lammps.lammps(...)`` in ``units metal``.
    model
        Checkpoint, teacher or ASE calculator, see `synthzoo.potentials.resolve`.
    level
        Level of theory, of a checkpoint that has several; its default one if not given.
    elements
        Chemical symbols of the atom types, in order. Otherwise ``labelmap atom`` or the
        masses say what they are.
    device, dtype
        Where and how precisely a checkpoint computes, as for `load_calculator`.
    max_uncertainty
        Standard deviation of a force (eV/Å) above which LAMMPS is stopped. Only for
        models that give one; others are refused at the first step.

    Returns
    -------
    LammpsForces
        Counts calls and seconds, and has the ``failure`` if the model stopped LAMMPS.

    Raises
    ------
    InputError
        If LAMMPS has no box, other units, or fixes already.
    MissingExtraError
        If several processes need mpi4py.
    SynthzooError
        If the model cannot be loaded.

    Examples
    --------
    >>> from lammps import lammps  # doctest: +SKIP
    >>> lmp = lammps()  # doctest: +SKIP
    >>> lmp.file("in.box")  # units, box, atoms, masses  # doctest: +SKIP
    >>> forces = attach(lmp, "carbon")  # doctest: +SKIP
    >>> lmp.command("fix 1 all nve")  # doctest: +SKIP
    >>> lmp.command("run 100")  # doctest: +SKIP
    """
    model = at_level(model, level)
    refuse_starting_point(model)
    potential = load_potential(model, place=Place(device=device), dtype=dtype)
    forces = LammpsForces(lmp, potential, elements, max_uncertainty)
    forces.connect()
    return forces


def is_attached(lmp: Any) -> bool:
    """Return whether a LAMMPS object has a model already."""
    return bool(lmp.has_id("fix", FIX))


def has_box(lmp: Any) -> bool:
    """Return whether a LAMMPS object has a box."""
    return bool(lmp.extract_setting("box_exist"))


def _check_lammps(lmp: Any) -> None:
    if not has_box(lmp):
        raise InputError(
            "LAMMPS has no box yet: attach the model after create_box, read_data or "
            "read_restart."
        )
    if (found := lmp.extract_global("units")) != "metal":
        raise InputError(
            f"LAMMPS has `units {found}`, but models are in eV and Å: write `units "
            "metal` first, and all numbers in these units."
        )
    if is_attached(lmp):
        raise InputError("This LAMMPS object has a model already.")


def _labels_of_types(lmp: Any) -> tuple[str | None, ...]:
    """Return the elements that `labelmap atom` gives to the types."""
    found: list[str | None] = [None] * int(lmp.extract_setting("ntypes"))
    if not hasattr(lmp, "set_show_error"):  # before April 2025
        return tuple(found)
    shown = lmp.lib.lammps_set_show_error(lmp.lmp, 0)
    try:
        for symbol in chemical_symbols[1:]:
            if lmp.eval(f"is_typelabel(atom,{symbol})"):
                found[int(lmp.eval(f"label2type(atom,{symbol})")) - 1] = symbol
    except Exception:  # noqa: BLE001  what LAMMPS raises where there are no labels
        return tuple(found)
    finally:
        lmp.lib.lammps_set_show_error(lmp.lmp, shown)
    return tuple(found)


def _masses(lmp: Any) -> list[float | None]:
    """Return the masses of the types; those of single atoms are not theirs."""
    types = int(lmp.extract_setting("ntypes"))
    found = lmp.numpy.extract_atom("mass")
    if found is None:
        return [None] * types
    values = np.asarray(found).reshape(-1)[1 : types + 1]
    return [float(value) if value > 0 else None for value in values]


def _box(lmp: Any) -> tuple[NDArray[np.float64], list[bool]]:
    """Return the cell vectors and the periodic directions."""
    low, high, xy, yz, xz, periodic, _ = lmp.extract_box()
    x, y, z = np.subtract(high, low)
    return np.array([[x, 0, 0], [xy, y, 0], [xz, yz, z]]), [bool(p) for p in periodic]


def _steps(
    images: NDArray[np.int64], image: tuple[int, int, int]
) -> NDArray[np.float64]:
    """Return how many times each atom has crossed the box, ``(n, 3)``."""
    mask, bits, zero = image
    parts = [(images >> (bits * axis)) & mask for axis in range(3)]
    return (np.stack(parts, axis=1) - zero).astype(np.float64)


def _joined(parts: list[Local]) -> Local:
    return Local(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _failed(error: BaseException, size: int) -> Share:
    nothing = np.full((size, 3), np.nan)
    return Share(error, np.nan, np.full(6, np.nan), nothing[:, 0], nothing)


def _evaluate(
    potential: Potential, atoms: Atoms
) -> tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return energy, energies of atoms, forces and virial; NaN for what is lacking."""
    atoms.calc = potential.calculator
    energy = unconstrained.energy_eV(atoms)
    forces = unconstrained.forces_eV_A(atoms)
    try:
        stress = unconstrained.stress_eV_A3(atoms)
    except (PropertyNotImplementedError, NotImplementedError):
        stress = np.full(6, np.nan)
    xx, yy, zz, yz, xz, xy = -stress * atoms.cell.volume
    results = getattr(potential.calculator, "results", {})
    energies = results.get("energies", np.full(len(atoms), np.nan))
    return energy, energies, forces, np.array([xx, yy, zz, xy, xz, yz])
