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
    from numpy.typing import NDArray

    from synthzoo.models.config import CheckpointConfig
    from synthzoo.models.graphs import Graph

with nequip_session():  # these imports change warnings filters and the environment
    warnings.simplefilter("ignore")
    import numpy as np
    import torch
    from ase.calculators.calculator import Calculator, all_changes
    from ase.data import atomic_numbers
    from ase.stress import full_3x3_to_voigt_6_stress

    from synthzoo.data.structures import SAME_PLACE_A, check_structure
    from synthzoo.models import graphs
    from synthzoo.models.network import build_model, load_weights

Advice = Callable[[Collection[str]], str]


class OverlapError(InputError):
    """Two atoms are at the same position."""


class SynthzooCalculator(Calculator):
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

    implemented_properties = [  # noqa: RUF012  as ASE has it
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
    ]

    def __init__(
        self,
        model: torch.nn.Module,
        config: CheckpointConfig,
        *,
        device: str = "auto",
        advise: Advice | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.config = config
        self.advise = advise
        self.device = torch.device(find_device(device))
        with MODEL_GATE.computing():
            self.model = model.to(self.device)
            self.transforms = graphs.transforms_for(
                model, config.elements, config.cutoff_A
            )
        self._numbers = {atomic_numbers[element] for element in config.elements}

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Collection[str] = ("energy",),
        system_changes: Collection[str] = tuple(all_changes),
    ) -> None:
        """Compute everything for a structure and keep it in ``results``."""
        self.results: dict[str, Any] = {}
        atoms = self.atoms if atoms is None else atoms
        if atoms is None:
            raise InputError("The calculator has not been given a structure.")
        self.check(atoms)
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        try:
            with MODEL_GATE.computing():
                output = self.call_model(self.atoms_to_data(atoms))
        except OverlapError:
            check_structure(atoms, name="The structure")  # says which atoms
            raise
        (self.results,) = _results([atoms], output)

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
            If two atoms are at the same position.
        """
        with MODEL_GATE.computing():
            data = [self.atoms_to_data(atoms) for atoms in structures]
            output = self.call_model(graphs.join(data))
        return _results(structures, output)

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
        """Return the network's input for a structure, its neighbour list included.

        It is float64, whatever torch's default dtype is.

        Parameters
        ----------
        atoms
            Structure.
        """
        graph = {
            graphs.POSITIONS: _on_cpu(atoms.positions),
            graphs.CELL: _on_cpu(atoms.cell.array).reshape(1, 3, 3),
            graphs.PERIODIC: _on_cpu(atoms.pbc).reshape(1, 3),
            graphs.NUMBERS: _on_cpu(atoms.numbers),
        }
        for transform in self.transforms:
            graph = transform(graph)
        return graph

    def call_model(self, data: Graph) -> Graph:
        """Return the model's output for one structure, or for several in one graph.

        Parameters
        ----------
        data
            Its input; see `synthzoo.models.graphs`.

        Raises
        ------
        OverlapError
            If two atoms are at the same position.
        """
        here = {name: value.to(self.device) for name, value in data.items()}
        output: Graph = self.model(here)
        lengths = output[graphs.LENGTHS]
        if len(lengths) and lengths.min() < SAME_PLACE_A:
            raise OverlapError(
                f"Two atoms are at the same position (closer than {SAME_PLACE_A} Å)."
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
        dtype = str(next(self.model.parameters()).dtype).removeprefix("torch.")
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

    ``device``: ``cpu``, ``cuda``, ``cuda:1`` …, or ``auto``.
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


def _results(structures: Sequence[Atoms], output: Graph) -> list[dict[str, Any]]:
    """Return each structure's share of the output as ASE's results."""
    energies = output[graphs.ENERGY].reshape(-1).tolist()
    stresses = _numpy(output[graphs.STRESS]).reshape(-1, 3, 3)
    ends = np.cumsum([len(atoms) for atoms in structures])[:-1]
    per_atom = np.split(_numpy(output[graphs.ENERGIES]).reshape(-1), ends)
    forces = np.split(_numpy(output[graphs.FORCES]), ends)
    found = []
    for number, atoms in enumerate(structures):
        results: dict[str, Any] = dict.fromkeys(
            ("energy", "free_energy"), energies[number]
        )
        results["energies"] = per_atom[number]
        results["forces"] = forces[number]
        if atoms.cell.rank == 3:
            results["stress"] = full_3x3_to_voigt_6_stress(stresses[number])
        found.append(results)
    return found


def _numpy(tensor: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array


def _on_cpu(array: Any) -> torch.Tensor:
    return torch.tensor(array, device="cpu")  # whatever torch's default device is
