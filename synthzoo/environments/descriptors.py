"""What describes the environment of an atom: a model's features, or SOAP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from synthzoo.environments.soap import soap_of, spectra_of
from synthzoo.errors import InputError
from synthzoo.models.hidden import with_features
from synthzoo.models.predict import checked_batches
from synthzoo.potentials import Model, is_network, load_potential, model_name
from synthzoo.runs.progress import progress_bar

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.models.calculator import SynthzooCalculator
    from synthzoo.models.engine.evaluator import Result

BATCH_ATOMS = 256
SOAP_CUTOFF_A = 3.7
"""As in doi 10.1039/d2dd00137c, as are the numbers of functions for one element."""
RADIAL_FUNCTIONS, LARGEST_ANGULAR = 12, 6
FEWER_FUNCTIONS = 6, 4
"""For compounds, whose spectra have a part for each pair of elements."""


def features(model: Model, atoms: Atoms) -> NDArray[np.float32]:
    """Return what a network knows of each atom of a structure.

    These are the features after the last layer, from which the energies of the atoms
    are read. They do not change when the structure is rotated or moved, and depend on
    neighbours within the network's reach only.

    Parameters
    ----------
    model
        A model of the zoo, a checkpoint folder, ``hf:…``, or a calculator from
        `load_calculator`.
    atoms
        Structure.

    Returns
    -------
    features
        Of shape ``(n_atoms, n_features)``, without unit.

    Raises
    ------
    InputError
        If the model is not such a network, or the structure cannot be computed.

    Examples
    --------
    >>> from ase.build import bulk
    >>> features("carbon", bulk("C")).shape
    (2, 64)
    """
    calculator = network_calculator(model)
    calculator.check(atoms)
    return computed_by(calculator, [atoms]).features


def network_calculator(model: Model) -> SynthzooCalculator:
    """Return the calculator of a network of ours; refuse what has no features."""
    if not is_network(model):
        raise InputError(
            f"{model_name(model)} is no network of synthzoo, so it has no features of "
            "atoms; name a model of `synthzoo list` or a checkpoint folder."
        )
    return cast("SynthzooCalculator", load_potential(model).calculator)


@dataclass(frozen=True, kw_only=True)
class Computed:
    """What a network computes for all atoms of some structures.

    ``features``: ``(n_atoms, n_features)``.
    ``energies_eV``: of atoms, ``(n_atoms,)``.
    ``forces_eV_A``: ``(n_atoms, 3)``.
    """

    features: NDArray[np.float32]
    energies_eV: NDArray[np.float64]
    forces_eV_A: NDArray[np.float64]


def computed_by(
    calculator: SynthzooCalculator, structures: Sequence[Atoms]
) -> Computed:
    """Return what a network computes for structures, each of which it sees once."""
    atoms = sum(len(each) for each in structures)
    found: list[Result] = []
    with progress_bar(desc="features", unit="atom", total=atoms) as bar:
        for batch in checked_batches(structures, calculator, BATCH_ATOMS):
            found += with_features(calculator, [each for _, each in batch])
            bar.update(sum(len(each) for _, each in batch))
    features = [np.asarray(each.features, dtype=np.float32) for each in found]
    return Computed(
        features=np.concatenate(features),
        energies_eV=np.concatenate([each.energies for each in found]),
        forces_eV_A=np.concatenate([each.forces for each in found]),
    )


def soap_settings(elements: Sequence[str]) -> dict[str, Any]:
    """Return what `soap_of` is given for structures of some elements."""
    single = len(elements) == 1
    radial, angular = (RADIAL_FUNCTIONS, LARGEST_ANGULAR) if single else FEWER_FUNCTIONS
    return {
        "elements": list(elements),
        "cutoff_A": SOAP_CUTOFF_A,
        "radial": radial,
        "angular": angular,
        "smooth": True,
    }


def soap_for(elements: Sequence[str]) -> Any:
    """Return the SOAP descriptor for structures of some elements."""
    return soap_of(**soap_settings(elements))


def soap_features(structures: Sequence[Atoms], soap: Any) -> NDArray[np.float32]:
    """Return the power spectra of all atoms of structures, as unit vectors."""
    bar = progress_bar(structures, desc="SOAP", unit="structure", total=len(structures))
    return np.concatenate([spectra_of(atoms, soap) for atoms in bar])
