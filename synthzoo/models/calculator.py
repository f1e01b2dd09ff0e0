"""A checkpoint as an ASE calculator."""

from __future__ import annotations

import copy
import functools
import logging
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ase.calculators.calculator import Calculator, all_changes, compare_atoms
from ase.data import atomic_numbers, chemical_symbols
from ase.outputs import Properties, all_outputs
from ase.stress import full_3x3_to_voigt_6_stress

from synthzoo.data.sound import SAME_PLACE_A, check_structure
from synthzoo.errors import GuessedEnergyWarning, InputError
from synthzoo.models.config import GUESSED
from synthzoo.models.engine.evaluator import Evaluator
from synthzoo.models.engine.threads import checked_threads
from synthzoo.models.place import ANYWHERE, Place, find_place
from synthzoo.models.stored import StoredNetwork

if TYPE_CHECKING:
    from ase import Atoms
    from torch.nn import Module

    from synthzoo.models.config import CheckpointConfig
    from synthzoo.models.engine.evaluator import Result
    from synthzoo.models.torch_pass import TorchPass

_LOG = logging.getLogger(__name__)

Advice = Callable[[Collection[str]], str]


class OverlapError(InputError):
    """Two atoms are at the same position."""


class SynthzooCalculator(Calculator):
    """A model of the zoo as an ASE calculator.

    It gives energy, free energy and energies per atom (eV), forces (eV/Å) and, where
    the cell has a volume, stress (eV/Å³). On the CPU synthzoo's compiled engine
    computes, which needs no torch; on other devices, and for networks that the engine
    does not know, torch does.

    Where the checkpoint knows how sure it is, and the engine computes, ``results`` also
    holds standard deviations: ``energy_uncertainty`` (eV, of the whole cell) and
    ``forces_uncertainty`` (eV/Å, of each component of the force on an atom, of shape
    ``(n_atoms,)``).

    Pickles carry the weights with them, so that they work in other processes and
    without the checkpoint's folder; copies share the weights, which computing does not
    change. Each thread needs its own copy. The numbers depend neither on the number of
    threads, up to rounding, nor on torch's default dtype, gradient mode or random
    state.

    Parameters
    ----------
    stored
        The network.
    place
        Where to compute. On the CPU nothing is compiled if the engine computes.
    threads
        How many may compute on the CPU; one for each physical core if not given, or
        fewer if ``OMP_NUM_THREADS`` says so.
    advise
        Returns what to do about a structure of the given elements that the model does
        not know; it ends that error's message.
    torch_pass
        What computes with torch on the device, where it has been made already.

    Raises
    ------
    InputError
        If there is no such device, if the kernels are not for it, or for an absurd
        number of threads. Computing raises it for a structure that has no atoms,
        positions that are not numbers, a periodic direction without cell vector, an
        absurd density, two atoms on one place, or an element that the model does not
        know.
    CheckpointError
        If the weights are not those of the network that is described.
    MissingExtraError
        If the kernels are not installed.
    SynthzooError
        If the network cannot be compiled, or computes otherwise when it is.
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
        stored: StoredNetwork,
        *,
        place: Place = ANYWHERE,
        threads: int | None = None,
        advise: Advice | None = None,
        torch_pass: TorchPass | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stored, self.config = stored, stored.config
        self.place = find_place(place)
        self.threads = checked_threads(threads)
        self.advise = advise
        self._numbers = {atomic_numbers[element] for element in self.config.elements}
        if torch_pass is not None:
            self.torch_pass = torch_pass
        self._guessed = _guessed_numbers(self.config)
        self._evaluator: Evaluator | None = None
        if self.device == "cpu" and stored.compiled is not None:
            if self.place.compiled:
                _tell_that_engine_computes()
                self.place = replace(self.place, compiled=False)
            self._evaluator = Evaluator(stored.compiled, threads=self.threads)
        else:
            self.torch_pass  # noqa: B018  faults of the network are seen here

    @property
    def device(self) -> str:
        """Where it computes, as torch calls it."""
        return self.place.device

    @property
    def engine_computes(self) -> bool:
        """Whether the engine computes, not torch."""
        return self._evaluator is not None

    @cached_property
    def torch_pass(self) -> TorchPass:
        """What computes with torch; made when it is first asked for."""
        from synthzoo.models.acceleration import torch_pass_of

        return torch_pass_of(self.stored, self.place)

    @property
    def model(self) -> Module:
        """The network of torch as nequip evaluates it, on the device."""
        return self.torch_pass.network

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
        found = None if self._evaluator is None else self._evaluator.again(atoms)
        if found is None:
            self.check(atoms)
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        if found is None and self._evaluator is not None:
            found = self._evaluator.compute(atoms)
        elif found is None:
            (found,) = self.torch_pass.compute([atoms])
        if found.closest_A < SAME_PLACE_A:
            check_structure(atoms, name="The structure")  # says which atoms
            raise _overlap()
        self.results = self._as_ase_has_them(atoms, found)

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
        return [
            self._as_ase_has_them(atoms, result)
            for atoms, result in zip(structures, self.evaluate(structures), strict=True)
        ]

    def evaluate(self, structures: Sequence[Atoms]) -> list[Result]:
        """Return what `compute` does as the engine has it, or torch.

        Parameters
        ----------
        structures
            Structures, which must have passed `check`.

        Raises
        ------
        OverlapError
            If two atoms are at the same position.
        """
        if self._evaluator is not None:
            found = self._evaluator.compute_all(structures)
        else:
            found = self.torch_pass.compute(structures)
        if any(result.closest_A < SAME_PLACE_A for result in found):
            raise _overlap()
        return found

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:  # noqa: ARG002
        """Return what has changed since the last calculation, however little.

        Parameters
        ----------
        atoms
            Structure.
        tol
            Not used: comparing exactly is quicker, and as good.
        """
        changes: list[str] = compare_atoms(self.atoms, atoms, tol=None)
        return changes

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
        if not self._guessed.isdisjoint(atoms.numbers.tolist()):
            self._tell_of_guesses()

    def export_properties(self) -> Properties:
        """Return the results that ASE has names for, for ``Atoms.get_properties``."""
        return properties_of(self.results)

    def __deepcopy__(self, memo: dict[int, Any]) -> SynthzooCalculator:
        """Return a calculator with its own results, and with the same weights."""
        other = SynthzooCalculator(
            self.stored,
            place=self.place,
            threads=self.threads,
            torch_pass=vars(self).get("torch_pass"),
        )
        other.__dict__.update(copy.deepcopy(self._memory(), memo))
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the checkpoint's content: no code, and no path that may move."""
        return _restore, (self.stored, self.place, self.threads), self._memory()

    def _as_ase_has_them(self, atoms: Atoms, found: Result) -> dict[str, Any]:
        energy = float(found.energies.sum())
        results: dict[str, Any] = {"energy": energy, "free_energy": energy}
        results["energies"], results["forces"] = found.energies, found.forces
        if atoms.cell.rank == 3:
            stress = found.virial / atoms.cell.volume
            results["stress"] = full_3x3_to_voigt_6_stress(stress)
        if self.stored.uncertainty is not None and found.features is not None:
            results |= self.stored.uncertainty.results(found.features)
        return results

    def _memory(self) -> dict[str, Any]:
        names = ("atoms", "results", "advise", "_guessed")
        return {name: getattr(self, name) for name in names}

    def _tell_of_guesses(self) -> None:
        """Warn once that energies have an unknown constant."""
        names = ", ".join(chemical_symbols[number] for number in sorted(self._guessed))
        self._guessed = set()
        warnings.warn(
            f"This model was fine-tuned on structures without {names}: energies of "
            "structures with that element are off by an unknown constant for each of "
            "its atoms, and its forces were not fitted.",
            GuessedEnergyWarning,
            stacklevel=3,
        )

    def _refuse_elements(self, atoms: Atoms, name: str) -> None:
        unknown = sorted(set(atoms.symbols) - set(self.config.elements))
        advice = f" {self.advise(set(atoms.symbols))}" if self.advise else ""
        raise InputError(
            f"{name} contains {', '.join(unknown)}, but this model knows only "
            f"{', '.join(self.config.elements)}.{advice}"
        )


def _guessed_numbers(config: CheckpointConfig) -> set[int]:
    """Return the atomic numbers of elements whose energies were guessed."""
    named = config.labels.get(GUESSED)
    known = named if isinstance(named, list) else []
    return {atomic_numbers[element] for element in config.elements if element in known}


def properties_of(results: Mapping[str, Any]) -> Properties:
    """Return results without those of synthzoo's own, which ASE would refuse."""
    known = {name: value for name, value in results.items() if name in all_outputs}
    return Properties(known)


def calculator_of(
    network: Module, config: CheckpointConfig, *, device: str = "cpu"
) -> SynthzooCalculator:
    """Return a calculator of a network of torch, which is its own from now on.

    ``network``: of the described architecture, in evaluation mode.
    """
    from synthzoo.models.torch_pass import TorchPass

    stored = StoredNetwork.of(network, config)
    network = network.requires_grad_(requires_grad=False)
    place = find_place(Place(device=device))
    torch_pass = TorchPass(network, config, place.device)
    return SynthzooCalculator(stored, place=place, torch_pass=torch_pass)


@functools.cache
def _tell_that_engine_computes() -> None:
    """Say it once in a process."""
    _LOG.warning(
        "`compile` changes nothing on the CPU: synthzoo's engine computes there, which "
        "is faster than what torch compiles."
    )


def _restore(stored: StoredNetwork, place: Place, threads: int) -> SynthzooCalculator:
    return SynthzooCalculator(stored, place=place, threads=threads)


def _overlap() -> OverlapError:
    return OverlapError(
        f"Two atoms are at the same position (closer than {SAME_PLACE_A} Å)."
    )
