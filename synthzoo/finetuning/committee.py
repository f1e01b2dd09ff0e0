"""A committee: several models as one calculator, with their spread as uncertainty."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from synthzoo.errors import InputError
from synthzoo.models.calculator import properties_of
from synthzoo.potentials import Model, find_checkpoint
from synthzoo.zoo.load import load_calculator

if TYPE_CHECKING:
    from ase import Atoms
    from ase.outputs import Properties

    from synthzoo.models.calculator import SynthzooCalculator

MEMBERS_FOLDER = "committee"
"""In a checkpoint's folder: one checkpoint for each member."""

SPREADS = {"energy": "energy_spread", "forces": "forces_spread"}
"""What the standard deviations over the members are called."""


class CommitteeCalculator(Calculator):
    """The mean of several models, and how far they differ.

    Beside energy, forces and the other properties of its members, ``results`` holds the
    standard deviations over the members: ``energy_spread`` (eV, of the whole cell) and
    ``forces_spread`` (eV/Å, of shape ``(n_atoms, 3)``). Where they are large, the
    training data say little; where they are small, all members may still be wrong in
    the same way.

    Parameters
    ----------
    members
        At least two calculators of the same elements.

    Raises
    ------
    InputError
        If there are fewer than two members.
    """

    implemented_properties = [  # noqa: RUF012  ase's own way
        "energy",
        "energies",
        "free_energy",
        "forces",
        "stress",
    ]

    def __init__(self, members: Sequence[SynthzooCalculator]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if len(members) < 2:
            raise InputError(f"A committee needs two members, not {len(members)}.")
        self.members = tuple(members)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Collection[str] = ("energy",),
        system_changes: Collection[str] = tuple(all_changes),
    ) -> None:
        """Compute everything for a structure and keep it in ``results``."""
        super().calculate(  # type: ignore[no-untyped-call]
            atoms, properties, system_changes
        )
        found: list[dict[str, Any]] = []
        for member in self.members:
            member.calculate(self.atoms)
            found.append(dict(member.results))
        self.results = {
            name: np.mean([results[name] for results in found], axis=0)
            for name in found[0]
            if name in self.implemented_properties
        }
        for name in ("energy", "free_energy"):
            self.results[name] = float(self.results[name])
        for name, spread in SPREADS.items():
            self.results[spread] = np.std(
                [results[name] for results in found], axis=0, ddof=1
            )

    def export_properties(self) -> Properties:
        """Return the results that ASE has names for, for ``Atoms.get_properties``."""
        return properties_of(self.results)


def load_committee(
    model: Model, *, device: str = "auto", dtype: str = "float32"
) -> CommitteeCalculator:
    """Return a committee of fine-tuned models as an ASE calculator.

    ``finetune(…, committee=4)`` makes such a committee.

    Parameters
    ----------
    model
        The checkpoint, as for `synthzoo.potentials.resolve`.
    device, dtype
        As for `synthzoo.load_calculator`.

    Raises
    ------
    InputError
        If the checkpoint has no committee.
    CheckpointError
        If one of its checkpoints is damaged.

    Examples
    --------
    >>> atoms.calc = load_committee("my-carbon")  # doctest: +SKIP
    >>> atoms.get_potential_energy()  # doctest: +SKIP
    >>> atoms.calc.results["forces_spread"]  # doctest: +SKIP
    """
    folder = find_checkpoint(model, needed_for="a committee").folder / MEMBERS_FOLDER
    places = sorted(folder.iterdir()) if folder.is_dir() else []
    if not places:
        raise InputError(
            f"{model} has no committee: fine-tune with --committee to make one."
        )
    return CommitteeCalculator(
        [load_calculator(place, device=device, dtype=dtype) for place in places]
    )
