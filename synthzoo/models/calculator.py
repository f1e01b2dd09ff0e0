"""A checkpoint as an ASE calculator."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from synthzoo.errors import InputError
from synthzoo.models.isolation import MODEL_GATE, nequip_session

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.models.config import CheckpointConfig

with nequip_session():  # these imports change warnings filters and the environment
    warnings.simplefilter("ignore")
    import torch
    from ase.calculators.calculator import all_changes
    from ase.data import atomic_numbers
    from ase.stress import full_3x3_to_voigt_6_stress
    from nequip.data import AtomicDataDict
    from nequip.integrations.ase import NequIPCalculator
    from nequip.integrations.utils import basic_transforms

    from synthzoo.data.structures import SAME_PLACE_A, check_structure
    from synthzoo.models.acceleration import settle
    from synthzoo.models.graphs import NEIGHBOUR_SEARCH
    from synthzoo.models.network import build_model, load_weights

Advice = Callable[[Collection[str]], str]
Graph = dict[str, torch.Tensor]
"""nequip's ``AtomicDataDict``: structures with their neighbour lists."""


class OverlapError(InputError):
    """Two atoms lie on one place."""


class SynthzooCalculator(NequIPCalculator):  # type: ignore[misc]
    """A model of the zoo as an ASE calculator.

    It gives energy, free energy and energies per atom (eV), forces (eV/Å) and, where
    the cell has a volume, stress (eV/Å³). Pickles carry the weights with them, so that
    they work in other processes and without the checkpoint's folder; copies share the
    model, which computing does not change. Each thread needs its own copy. A forked
    process computes with one thread.
    The numbers do not depend on torch's default dtype, gradient mode or random state.

    Parameters
    ----------
    model
        Model in evaluation mode.
    config
        Description of the model.
    device
        ``cpu``, ``cuda``, ``cuda:1`` …, or ``auto`` for CUDA where there is one.
    advise
        Returns what to do about a structure of the given elements that the model does
        not know; it ends that error's message.

    Raises
    ------
    InputError
        If there is no such device. Computing raises it for a structure that has no
        atoms, positions that are not numbers, a periodic direction without cell
        vector, an absurd density, two atoms on one place, or an element that the
        model does not know.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        config: CheckpointConfig,
        *,
        device: str = "auto",
        advise: Advice | None = None,
    ) -> None:
        elements = list(config.elements)
        with MODEL_GATE.computing():
            super().__init__(
                model=model,
                device=find_device(device),
                transforms=basic_transforms(
                    model.metadata,
                    config.cutoff_A,
                    elements,
                    {element: element for element in elements},
                    neighborlist_backend=NEIGHBOUR_SEARCH,
                ),
            )
            settle(model)
        self.config = config
        self.advise = advise
        self._numbers = {atomic_numbers[element] for element in elements}

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Collection[str] = ("energy",),
        system_changes: Collection[str] = tuple(all_changes),
    ) -> None:
        """Compute everything for a structure and keep it in ``results``.

        Parameters
        ----------
        atoms
            Structure; that of the last call if not given.
        properties, system_changes
            Not needed: one evaluation gives all properties.
        """
        self.results: dict[str, Any] = {}
        atoms = self.atoms if atoms is None else atoms
        if atoms is None:
            raise InputError("The calculator has not been given a structure.")
        self.check(atoms)
        try:
            with MODEL_GATE.computing():
                super().calculate(atoms, properties, system_changes)
        except OverlapError:
            check_structure(atoms, name="The structure")  # says which atoms
            raise
        self.results["energy"] = self.results["free_energy"] = float(
            self.results["energy"]
        )
        if atoms.cell.rank < 3:
            del self.results["stress"]

    def compute(self, structures: Sequence[Atoms]) -> list[dict[str, Any]]:
        """Return the results of several structures from one evaluation of the model.

        Up to rounding they are those of `calculate`, which see. The structures must
        have passed `check`.

        Parameters
        ----------
        structures
            Structures; all of them are in memory at once.

        Raises
        ------
        OverlapError
            If two atoms lie on one place.
        """
        with MODEL_GATE.computing():
            graphs = [self.atoms_to_data(atoms) for atoms in structures]
            output = self.call_model(AtomicDataDict.batched_from_list(graphs))
        sizes = [len(atoms) for atoms in structures]
        per_atom = [
            torch.split(output[AtomicDataDict.PER_ATOM_ENERGY_KEY].reshape(-1), sizes),
            torch.split(output[AtomicDataDict.FORCE_KEY], sizes),
        ]
        whole = [
            output[AtomicDataDict.TOTAL_ENERGY_KEY].reshape(-1),
            output[AtomicDataDict.STRESS_KEY],
        ]
        return [
            _results(atoms, *tensors)
            for atoms, *tensors in zip(structures, *whole, *per_atom, strict=True)
        ]

    def check(self, atoms: Atoms, *, name: str = "The structure") -> None:
        """Refuse a structure that the model cannot compute; overlaps are seen later.

        Parameters
        ----------
        atoms
            Structure.
        name
            What to call it in the message.

        Raises
        ------
        InputError
            See the class.
        """
        check_structure(atoms, name=name, overlaps=False)
        if not self._numbers.issuperset(atoms.numbers.tolist()):
            self._refuse_elements(atoms, name)

    def atoms_to_data(self, atoms: Atoms) -> Graph:
        """Return nequip's input for a structure, its neighbour list included.

        nequip's own reader follows torch's default dtype; this is always float64.

        Parameters
        ----------
        atoms
            Structure.
        """
        graph = {
            AtomicDataDict.POSITIONS_KEY: _on_cpu(atoms.positions),
            AtomicDataDict.CELL_KEY: _on_cpu(atoms.cell.array).reshape(1, 3, 3),
            AtomicDataDict.PBC_KEY: _on_cpu(atoms.pbc).reshape(1, 3),
            AtomicDataDict.ATOMIC_NUMBERS_KEY: _on_cpu(atoms.numbers),
        }
        for transform in self.transforms:
            graph = transform(graph)
        return graph

    def call_model(self, data: Graph) -> Graph:
        """Return the model's output for one structure, or for several in one graph.

        Parameters
        ----------
        data
            Input in nequip's form.

        Raises
        ------
        OverlapError
            If two atoms lie on one place.
        """
        output: Graph = super().call_model(AtomicDataDict.to_(data, self.device))
        lengths = output[AtomicDataDict.EDGE_LENGTH_KEY]
        if len(lengths) and lengths.min() < SAME_PLACE_A:
            raise OverlapError(
                f"Two atoms lie on one place (closer than {SAME_PLACE_A} Å)."
            )
        return output

    def __deepcopy__(self, memo: dict[int, Any]) -> SynthzooCalculator:
        """Return a calculator with its own results, and with the same model."""
        other = SynthzooCalculator(self.model, self.config, device=str(self.device))
        other.__dict__.update(copy.deepcopy(self._memory(), memo))
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the checkpoint's content: no code, and no path that may move."""
        import safetensors.torch

        weights = {
            name: value.detach().cpu().contiguous()
            for name, value in self.model.state_dict().items()
        }
        dtype = str(self.model.model_dtype).removeprefix("torch.")
        content = (self.config, safetensors.torch.save(weights), dtype)
        return _restore, (*content, str(self.device)), self._memory()

    def _memory(self) -> dict[str, Any]:
        return {"atoms": self.atoms, "results": self.results, "advise": self.advise}

    def _refuse_elements(self, atoms: Atoms, name: str) -> None:
        unknown = sorted(set(atoms.symbols) - set(self.config.elements))
        advice = f" {self.advise(set(atoms.symbols))}" if self.advise else ""
        raise InputError(
            f"{name} contains {', '.join(unknown)}, but this model knows only "
            f"{', '.join(self.config.elements)}.{advice}"
        )


def find_device(device: str) -> str:
    """Return the name of a device that is there, for torch.

    Parameters
    ----------
    device
        ``cpu``, ``cuda``, ``cuda:1`` …, or ``auto``.

    Raises
    ------
    InputError
        If it is none of these, or not on this machine.
    """
    count = torch.cuda.device_count()
    if device == "auto":
        return "cuda" if count else "cpu"
    if device == "cpu":
        return device
    kind, _, index = device.partition(":")
    if kind != "cuda" or not (index or "0").isdecimal() or device.endswith(":"):
        raise InputError(
            f"device must be auto, cpu, cuda or cuda:<index>, not {device!r}."
        )
    if int(index or 0) >= count:
        raise InputError(
            f"There is no device {device!r}: torch {torch.__version__} sees "
            f"{count} CUDA device(s). Use cpu, or auto."
        )
    return device


def _restore(
    config: CheckpointConfig, weights: bytes, dtype: str, device: str
) -> SynthzooCalculator:
    import safetensors.torch

    model = build_model(config, dtype=dtype)
    load_weights(model, safetensors.torch.load(weights), where="The pickle")
    return SynthzooCalculator(
        model.eval().requires_grad_(requires_grad=False), config, device=device
    )


def _results(
    atoms: Atoms,
    energy: torch.Tensor,
    stress: torch.Tensor,
    energies: torch.Tensor,
    forces: torch.Tensor,
) -> dict[str, Any]:
    """Return one structure's share of the output as ASE's results."""
    results: dict[str, Any] = dict.fromkeys(("energy", "free_energy"), energy.item())
    results["energies"] = energies.detach().cpu().numpy()
    results["forces"] = forces.detach().cpu().numpy()
    if atoms.cell.rank == 3:
        results["stress"] = full_3x3_to_voigt_6_stress(stress.detach().cpu().numpy())
    return results


def _on_cpu(array: Any) -> torch.Tensor:
    return torch.tensor(array, device="cpu")  # whatever torch's default device is
