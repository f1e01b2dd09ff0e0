"""Structures that torch-sim moves together, with a network of the zoo."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from ase import units
from ase.calculators.calculator import Calculator
from nequip.data import AtomicDataDict
from nequip.data.transforms.neighborlist import NeighborListPruneTransform

from synthzoo.data.pairs import find_pairs
from synthzoo.models import graphs

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray
    from torch import Tensor

    from synthzoo.models.calculator import SynthzooCalculator
    from synthzoo.stability.integrators import Settings

SKIN_A = 0.5
"""Neighbours are searched for anew when an atom has moved by half of this."""

DTYPE = torch.float64
"""Of positions and momenta; the network computes in its own."""


class Batch:
    """Structures of one kind of dynamics, one system of torch-sim each.

    Time, mass and momentum have the same units in torch-sim as in ASE.

    ``calculator``: of the network; what moves is on its device.
    ``settings``: time step, and friction of the Langevin thermostat.
    """

    def __init__(
        self,
        calculator: SynthzooCalculator,
        structures: Sequence[Atoms],
        settings: Settings,
        *,
        heated: bool,
    ) -> None:
        self._model = BatchedNetwork(calculator, [atoms.pbc for atoms in structures])
        self._state = _state_of(structures, self._model.device)
        self._fill(self._model(self._state))
        self._heated = heated
        timestep = self._number(settings.timestep_fs * units.fs)
        if heated:
            friction = self._number(settings.friction_per_fs / units.fs)
            self._update = _update(
                "nvt_langevin", self._model, timestep, gamma=friction
            )
        else:
            self._update = _update("nve", self._model, timestep)
        self._state.rng = torch.initial_seed()

    def step(self, target_K: float | None) -> None:
        """Move all atoms by one time step.

        ``target_K``: temperature of the thermostat, if there is one.
        """
        if not self._heated or target_K is None:
            self._state = self._update(self._state)
            return
        self._state = self._update(self._state, kT=self._number(target_K * units.kB))
        self._rest_centres()

    def keep(self, wanted: Sequence[int]) -> None:
        """Leave out the other structures.

        ``wanted``: numbers of the structures, in order.
        """
        self._state = self._state[list(wanted)]
        self._model.keep(wanted)

    def show(self, structures: Sequence[Atoms]) -> None:
        """Bring structures to where they are, with energy and forces.

        ``structures``: those of the batch, in its order; they are moved and get a
        calculator.
        """
        sizes = [len(atoms) for atoms in structures]
        places = np.cumsum(sizes)[:-1]
        arrays = [
            np.split(tensor.cpu().numpy(), places)
            for tensor in (
                self._state.positions,
                self._state.momenta,
                self._state.forces,
            )
        ]
        energies = self._state.energy.tolist()
        for atoms, energy, positions, momenta, forces in zip(
            structures, energies, *arrays, strict=True
        ):
            atoms.positions[:] = positions
            atoms.set_momenta(momenta)
            atoms.calc = Given({"energy": energy, "forces": forces.copy()})

    def _fill(self, output: dict[str, Tensor]) -> None:
        self._state.energy, self._state.forces = output["energy"], output["forces"]

    def _number(self, value: float) -> Tensor:
        return torch.tensor(value, dtype=DTYPE, device=self._model.device)

    def _rest_centres(self) -> None:
        """Take the momentum of the centre of mass off, as ASE's thermostats do."""
        state, systems = self._state, self._state.system_idx
        masses = state.masses.unsqueeze(-1)
        sums = torch.zeros((state.cell.shape[0], 4), dtype=DTYPE, device=state.device)
        sums.index_add_(0, systems, torch.cat([state.momenta, masses], dim=1))
        velocities = sums[:, :3] / sums[:, 3:]
        state.momenta = state.momenta - masses * velocities[systems]


class BatchedNetwork:
    """A network of the zoo as a model of torch-sim, which asks for no more than this.

    It knows itself along which cell vectors the structures are periodic, so that the
    states' own flag can be off: torch-sim leaves positions unwrapped then, which
    mean-squared displacements need. The cells must stay as they are.

    A structure with two atoms on one place or with a position that is no number has an
    energy and forces that are no numbers; the others are not touched by that.

    ``periodic``: for each structure, whether it is periodic along its three cell
    vectors.
    """

    dtype = DTYPE

    def __init__(
        self, calculator: SynthzooCalculator, periodic: Sequence[NDArray[np.bool_]]
    ) -> None:
        self.device = torch.device(calculator.device)
        self._pass = calculator.torch_pass
        config = calculator.config
        types, neighbours = graphs.transforms_for(
            self._pass.network, config.elements, config.cutoff_A
        )
        self._types = types.to(self.device)
        self._cutoff_A = float(neighbours.r_max)
        self._prune = None
        if neighbours.per_edge_type_cutoff is not None:
            self._prune = NeighborListPruneTransform(
                self._cutoff_A, neighbours.per_edge_type_cutoff, neighbours.type_names
            ).to(self.device)
        self._periodic = np.array(periodic)
        self._edges: _Edges | None = None

    def keep(self, wanted: Sequence[int]) -> None:
        """Forget the other structures.

        ``wanted``: numbers of the structures, in order.
        """
        self._periodic, self._edges = self._periodic[list(wanted)], None

    def __call__(self, state: Any) -> dict[str, Tensor]:
        """Return energies (eV), forces (eV/Å) and stresses (eV/Å³).

        ``state``: state of torch-sim with ``b`` systems of ``n`` atoms in all; the
        energies have shape ``(b,)``, forces ``(n, 3)``, stresses ``(b, 3, 3)``.
        """
        graph = self._graph(state)
        output = self._pass.evaluate(graph)
        keys = {
            "energy": AtomicDataDict.TOTAL_ENERGY_KEY,
            "forces": AtomicDataDict.FORCE_KEY,
            "stress": AtomicDataDict.STRESS_KEY,
        }
        results = {name: output[key].detach().to(DTYPE) for name, key in keys.items()}
        results["energy"] = results["energy"].reshape(-1)
        return _without_lost(results, state)

    def _graph(self, state: Any) -> dict[str, Tensor]:
        positions = state.positions.detach().clone()
        if self._edges is None or self._edges.is_outdated(positions):
            reach_A = self._cutoff_A + SKIN_A
            self._edges = _Edges(state, self._periodic, reach_A)
        index, shifts = self._edges.within(positions, self._cutoff_A)
        pbc = torch.as_tensor(self._periodic, device=self.device)
        graph = self._types(
            {
                AtomicDataDict.POSITIONS_KEY: positions,
                AtomicDataDict.CELL_KEY: state.cell.mT.contiguous(),
                AtomicDataDict.PBC_KEY: pbc,
                AtomicDataDict.ATOMIC_NUMBERS_KEY: state.atomic_numbers,
                AtomicDataDict.BATCH_KEY: state.system_idx,
                AtomicDataDict.NUM_NODES_KEY: torch.bincount(state.system_idx),
                AtomicDataDict.EDGE_INDEX_KEY: index,
                AtomicDataDict.EDGE_CELL_SHIFT_KEY: shifts,
            }
        )
        pruned: dict[str, Tensor] = graph if self._prune is None else self._prune(graph)
        return pruned


class Given(Calculator):
    """Energy and forces that are known for the structure as it is."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  as ASE has it

    def __init__(self, results: dict[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.results = results

    def get_property(
        self,
        name: str,
        atoms: Atoms | None = None,  # noqa: ARG002  whatever it is, it is this one
        allow_calculation: bool = True,  # noqa: ARG002, FBT001, FBT002  ASE's
    ) -> Any:
        """Return a result."""
        return self.results[name]


class _Edges:
    """All pairs of atoms within a reach, for as long as no atom has moved far."""

    def __init__(self, state: Any, periodic: NDArray[np.bool_], reach_A: float) -> None:
        self._positions = state.positions.detach().clone()
        index, shifts = _search(state, periodic, reach_A)
        device = state.device
        self._index = torch.as_tensor(index, device=device)
        self._shifts = torch.as_tensor(shifts, device=device)
        cells = state.cell.mT[state.system_idx[self._index[0]]]
        self._offsets = torch.einsum("ei,eij->ej", self._shifts, cells)

    def is_outdated(self, positions: Tensor) -> bool:
        """Return whether an atom has moved far, or to no place at all."""
        moved = (positions - self._positions).norm(dim=1).max()
        return not bool(moved < SKIN_A / 2)

    def within(self, positions: Tensor, cutoff_A: float) -> tuple[Tensor, Tensor]:
        """Return the pairs that are near enough now, and their cell shifts."""
        first, second = self._index
        vectors = positions[second] - positions[first] + self._offsets
        near = vectors.norm(dim=1) <= cutoff_A
        return self._index[:, near], self._shifts[near]


def _search(
    state: Any, periodic: NDArray[np.bool_], reach_A: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return pairs and cell shifts; none of structures with places that are none."""
    from ase import Atoms

    positions = state.positions.cpu().numpy()
    cells = state.cell.mT.cpu().numpy()
    ends = np.cumsum(torch.bincount(state.system_idx).cpu().numpy())
    pairs: list[NDArray[np.int64]] = [np.empty((2, 0), np.int64)]
    shifts: list[NDArray[np.float64]] = [np.empty((0, 3))]
    for end, cell, pbc, count in zip(
        ends, cells, periodic, np.diff(ends, prepend=0), strict=True
    ):
        places = positions[end - count : end]
        if not np.isfinite(places).all():
            continue
        atoms = Atoms(f"X{count}", positions=places, cell=cell, pbc=pbc)
        found = find_pairs(atoms, reach_A)
        across = found.vectors_A - (places[found.second] - places[found.first])
        shifts.append(np.rint(across @ np.linalg.inv(atoms.cell.complete())))
        both = np.stack([found.first, found.second]).astype(np.int64)
        pairs.append(both + int(end - count))
    return np.concatenate(pairs, axis=1), np.concatenate(shifts)


def _quiet_import() -> Any:
    """Return torch-sim, whose import is slow and tells of what torch has deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch_sim
    return torch_sim


def _update(
    kind: str, model: BatchedNetwork, timestep: Tensor, **settings: Tensor
) -> Callable[..., Any]:
    """Return the step of an integrator, from a state of torch-sim to the next one."""
    torch_sim = _quiet_import()
    if hasattr(torch_sim, f"{kind}_step"):
        step = getattr(torch_sim, f"{kind}_step")
        return partial(step, model=model, dt=timestep, **settings)
    # Before torch-sim 0.4. Each step of a thermostat is given its temperature.
    none = torch.zeros_like(timestep)
    make = getattr(torch_sim, kind)
    return cast("Callable[..., Any]", make(model, dt=timestep, kT=none, **settings)[1])


def _state_of(structures: Sequence[Atoms], device: torch.device) -> Any:
    def tensor(arrays: Sequence[Any], dtype: torch.dtype = DTYPE) -> Tensor:
        return torch.as_tensor(np.concatenate(arrays), dtype=dtype, device=device)

    sizes = [len(atoms) for atoms in structures]
    count, total = len(structures), sum(sizes)
    return _quiet_import().integrators.md.MDState(
        positions=tensor([atoms.positions for atoms in structures]),
        momenta=tensor([atoms.get_momenta() for atoms in structures]),
        masses=tensor([atoms.get_masses() for atoms in structures]),
        cell=tensor([atoms.cell.array.T[None] for atoms in structures]),
        pbc=False,
        atomic_numbers=tensor([atoms.numbers for atoms in structures], torch.int64),
        system_idx=tensor([np.repeat(np.arange(count), sizes)], torch.int64),
        energy=torch.zeros(count, dtype=DTYPE, device=device),
        forces=torch.zeros((total, 3), dtype=DTYPE, device=device),
    )


def _without_lost(found: dict[str, Tensor], state: Any) -> dict[str, Tensor]:
    """Give no numbers for structures that have an atom at no place."""
    lost = ~torch.isfinite(state.positions).all(dim=1)
    systems = torch.zeros(len(found["energy"]), dtype=torch.bool, device=lost.device)
    systems[state.system_idx[lost]] = True
    found["energy"][systems] = torch.nan
    found["stress"][systems] = torch.nan
    found["forces"][systems[state.system_idx]] = torch.nan
    return found
