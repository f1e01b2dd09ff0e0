"""Bring a user's total energies and a model's energies onto one scale."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from synthzoo.errors import InputError
from synthzoo.inspection.energy_models import RANK_TOLERANCE, tied_elements
from synthzoo.models.architectures import architecture_of
from synthzoo.models.stored import StoredNetwork

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from synthzoo.models.config import CheckpointConfig


MAX_SPREAD_EV_PER_ATOM = 0.5
"""What may be left between labels and model; more is no difference of methods."""

STRONG_DISAGREEMENT_EV_PER_ATOM = 0.3
"""Between the isolated atoms and the mean of the labels, above which it is said."""

MAX_DISAGREEMENT_EV_PER_ATOM = 5.0
"""Above it, isolated atoms and labels cannot be of one method."""

MAD_TO_SIGMA = 1.4826
"""From the median of absolute deviations to the width of a normal distribution."""

ROUNDS = 5
WILD_SIGMAS, WILD_FLOOR_EV = 5.0, 0.01
"""Values further from the median are left out, round by round."""

Source = Literal["given", "found", "fitted"]


@dataclass(frozen=True, kw_only=True)
class EnergyReference:
    """How a user's total energies relate to a model's energies.

    ``shifts_eV``: energy of a free atom of each of the model's elements on the user's
    scale, minus the model's own: it is added for each atom. Where free atoms are not
    known, it also holds how much more weakly the data bind atoms than the model.
    ``binding_eV``: how much more weakly the data bind atoms of each element than the
    model, on average, where free atoms are known. The fit is to learn it, since an
    energy that is added for each atom would move free atoms, too.
    ``isolated_atom_energies_eV``: energy of the free atom of each element on the user's
    scale: given, found, or the model's own moved by the shift.
    ``sources``: where each element's isolated-atom energy comes from; elements that the
    data do not hold are missing.
    ``mean_difference_eV_per_atom``: mean of labels minus model, both relative to
    isolated atoms; 0 where these are not known.
    ``spread_eV_per_atom``: width of what is left between labels and shifted model,
    robust against single wild structures.
    ``undetermined``: elements of which the data do not tell the energies apart, because
    their shares never vary independently; ``together`` is what is known of them.
    ``guessed``: elements of the model that the data do not hold, and whose free atoms
    are not known: their shift is the mean of the others'.
    """

    shifts_eV: dict[str, float]
    binding_eV: dict[str, float]
    isolated_atom_energies_eV: dict[str, float]
    sources: dict[str, Source]
    mean_difference_eV_per_atom: float
    spread_eV_per_atom: float
    undetermined: tuple[str, ...]
    together: tuple[str, ...]
    guessed: tuple[str, ...]

    @property
    def aligned_eV(self) -> dict[str, float]:
        """What brings the model's energies nearest to the labels, for each atom."""
        return {
            name: shift + self.binding_eV[name]
            for name, shift in self.shifts_eV.items()
        }

    @property
    def summary(self) -> str:
        """A sentence or more for people."""
        parts = [self._shift_text(), *self._warnings()]
        return " ".join(parts)

    def _shift_text(self) -> str:
        origins = {
            source: [name for name in self.sources if self.sources[name] == source]
            for source in ("given", "found", "fitted")
        }
        texts = {
            "given": "isolated-atom energies given for {}",
            "found": "isolated-atom energies found in the data for {}",
            "fitted": "energies fitted to labels minus pre-trained model for {}",
        }
        found = [
            texts[source].format(", ".join(names))
            for source, names in origins.items()
            if names
        ]
        moved = ", ".join(
            f"{name} {self.shifts_eV[name]:+.4f}" for name in self.sources
        )
        return (
            f"Energy reference: {'; '.join(found)}. Added to the model's energies (eV "
            f"per atom): {moved}; the remaining spread is "
            f"{self.spread_eV_per_atom:.3f} eV/atom."
        )

    def _warnings(self) -> list[str]:
        texts = []
        difference = self.mean_difference_eV_per_atom
        if abs(difference) > STRONG_DISAGREEMENT_EV_PER_ATOM:
            texts.append(
                f"Relative to isolated atoms, the labels lie {difference:+.2f} eV/atom "
                "from the pre-trained model's energies on average (other functionals "
                "bind differently). The fit begins with this difference, and isolated "
                "atoms keep their energy."
            )
        if self.undetermined:
            texts.append(
                f"The data fix only the energy of {' and that of '.join(self.together)}"
                f", not those of {', '.join(self.undetermined)} one by one, because "
                "their shares never vary independently. Energies of other compositions "
                "will be off by a constant; give isolated-atom energies to avoid that."
            )
        if self.guessed:
            texts.append(self.guess_text)
        if fitted := [name for name in self.sources if self.sources[name] == "fitted"]:
            texts.append(self._unknown_atoms(fitted))
        return texts

    @property
    def guess_text(self) -> str:
        """What it means that energies of some elements are guessed; may be empty."""
        if not self.guessed:
            return ""
        names = " or ".join(self.guessed)
        return (
            f"The data hold no {names}. What is added to the model's energy of such an "
            "atom is a guess, the mean of what is added for the other elements: "
            f"energies of structures with {names} are off by a constant for each of "
            "these atoms, and their forces were not fitted. Add such structures to the "
            f"data, or at least give --isolated-energy {self.guessed[0]}=ENERGY."
        )

    def _unknown_atoms(self, names: Sequence[str]) -> str:
        alone = ", ".join(
            f"{name} {self.isolated_atom_energies_eV[name]:.4f} eV" for name in names
        )
        return (
            "Without isolated atoms in the data, an isolated atom of the tuned model "
            f"has a fitted energy ({alone}). On average, atomisation and cohesive "
            "energies therefore stay those of the pre-trained model. If your method "
            "binds atoms more or less strongly, these energies are wrong by the "
            "difference, which may be 1 eV per atom. Energy differences between "
            "structures of the same atoms are not affected. To correct this, add a "
            "frame of one atom to the data or give its energy: "
            f"--isolated-energy {names[0]}=ENERGY."
        )


def find_reference(
    elements: Sequence[str],
    counts: NDArray[np.int64],
    labels_eV: NDArray[np.float64],
    predictions_eV: NDArray[np.float64],
    *,
    known_eV: Mapping[str, tuple[float, Source]],
    model_isolated_eV: Mapping[str, float],
) -> EnergyReference:
    """Return the shift per element that brings a model onto the labels' scale.

    Isolated-atom energies are the shift where they are known. What is left on average
    is fitted by least squares on the energies per atom: for other elements it is the
    shift, for these it is how strongly the data bind. Where the data do not determine
    the elements apart, the smallest correction is taken. An element of which nothing is
    known gets the mean of the other shifts: in most codes the energies of all elements
    lie on one side of those relative to isolated atoms.

    ``elements``: chemical symbols of the model, in the order of the columns of
    ``counts``.
    ``counts``: atoms of each element, of shape ``(n_structures, n_elements)``.
    ``labels_eV``, ``predictions_eV``: total energies of each structure, of shape
    ``(n_structures,)``.
    ``known_eV``: isolated-atom energies on the labels' scale, and whether they were
    given or found.
    """
    _refuse_unknown(known_eV, elements)
    atoms = counts.sum(axis=1)
    shares = counts / atoms[:, None]
    left = (labels_eV - predictions_eV) / atoms
    present = counts.sum(axis=0) > 0
    shifts = np.array(
        [known_eV[name][0] - model_isolated_eV[name] if name in known_eV else 0.0
         for name in elements]
    )  # fmt: skip
    unknown = present & np.array([name not in known_eV for name in elements])
    left = left - shares @ shifts
    if unknown.any():
        shifts[unknown] = _least_squares(shares[:, unknown], left)
        left = left - shares[:, unknown] @ shifts[unknown]
    mean = 0.0 if unknown.any() else float(left.mean())
    _refuse_strangers(mean, known_eV)
    binding = np.zeros(len(elements))
    if present.any():
        correction = _least_squares(shares[:, present], left)
        left = left - shares[:, present] @ correction
        binding[present] = correction
        shifts[unknown] += binding[unknown]
        binding[unknown] = 0.0
    guessed = ~present & np.array([name not in known_eV for name in elements])
    shifts[guessed] = shifts[~guessed].mean() if not guessed.all() else 0.0
    tied = tied_elements(
        [name for name, open_ in zip(elements, unknown, strict=True) if open_],
        shares[:, unknown],
    )
    moved = dict(zip(elements, shifts.tolist(), strict=True))
    return EnergyReference(
        shifts_eV=moved,
        binding_eV=dict(zip(elements, binding.tolist(), strict=True)),
        isolated_atom_energies_eV={
            name: known_eV[name][0]
            if name in known_eV
            else model_isolated_eV[name] + moved[name]
            for name in elements
        },
        sources={
            name: known_eV[name][1] if name in known_eV else "fitted"
            for name, there in zip(elements, present, strict=True)
            if there
        },
        mean_difference_eV_per_atom=mean,
        spread_eV_per_atom=MAD_TO_SIGMA * float(np.median(np.abs(left))),
        undetermined=tied.elements,
        together=tied.together,
        guessed=tuple(
            name for name, open_ in zip(elements, guessed, strict=True) if open_
        ),
    )


def check_spread(reference: EnergyReference) -> None:
    """Stop if what is left after alignment cannot be a difference between methods."""
    if reference.spread_eV_per_atom <= MAX_SPREAD_EV_PER_ATOM:
        return
    raise InputError(
        "After the best constant per element is subtracted, energy labels and "
        f"pre-trained model still differ by {reference.spread_eV_per_atom:.2f} eV/atom "
        f"(limit {MAX_SPREAD_EV_PER_ATOM}). Either the energies are not total energies "
        "in eV (per atom? other units?), or they come from several levels of theory, "
        "or the structures are unlike any that this model knows. Look at them with "
        "`synthzoo evaluate MODEL DATA --shift`."
    )


def find_isolated(
    counts: NDArray[np.int64],
    labels_eV: NDArray[np.float64],
    elements: Sequence[str],
    isolated: NDArray[np.bool_],
) -> dict[str, float]:
    """Return the energy of each element of which the data hold a single atom.

    ``counts``: atoms of each element, of shape ``(n_structures, n_elements)``.
    ``labels_eV``: total energies, of shape ``(n_structures,)``.
    ``elements``: chemical symbols, in the order of the columns of ``counts``.
    """
    found: dict[str, float] = {}
    for index in np.flatnonzero(isolated):
        name = elements[int(np.argmax(counts[index]))]
        energy = float(labels_eV[index])
        if name in found and abs(found[name] - energy) > 1e-3:
            raise InputError(
                f"The data hold several isolated {name} atoms with different energies "
                f"({found[name]:.4f} and {energy:.4f} eV). Keep the one of your level "
                f"of theory, or give it: --isolated-energy {name}=ENERGY."
            )
        found[name] = energy
    return found


def _refuse_unknown(
    known_eV: Mapping[str, tuple[float, Source]], elements: Sequence[str]
) -> None:
    if others := sorted(set(known_eV) - set(elements)):
        raise InputError(
            f"Isolated-atom energies are given for {', '.join(others)}, but the model "
            f"knows {', '.join(elements)}."
        )


def _refuse_strangers(
    mean_eV_per_atom: float, known_eV: Mapping[str, tuple[float, Source]]
) -> None:
    if abs(mean_eV_per_atom) <= MAX_DISAGREEMENT_EV_PER_ATOM:
        return
    known = ", ".join(
        f"{name} {energy:.4f} eV ({source})"
        for name, (energy, source) in known_eV.items()
    )
    raise InputError(
        f"Relative to the isolated atoms ({known}), the labels lie "
        f"{mean_eV_per_atom:+.2f} eV/atom from the pre-trained model's energies. The "
        "isolated atoms were not computed like the labels: with another code, other "
        "pseudopotentials or other units. Give the right energies, or none."
    )


def _least_squares(
    shares: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the smallest of the best solutions; wild values do not count."""
    kept = np.ones(len(values), dtype=bool)
    for _ in range(ROUNDS):
        found, *_ = np.linalg.lstsq(shares[kept], values[kept], rcond=RANK_TOLERANCE)
        solution = np.asarray(found, dtype=np.float64)
        left = values - shares @ solution
        left = np.abs(left - np.median(left))
        kept = left <= WILD_SIGMAS * MAD_TO_SIGMA * np.median(left) + WILD_FLOOR_EV
    return solution


def with_reference(
    weights: Mapping[str, torch.Tensor],
    config: CheckpointConfig,
    reference: EnergyReference,
) -> StoredNetwork:
    """Return a model whose energies are the user's, with its description.

    The shifts are kept and added in float64, whatever the precision of the weights: a
    total energy of a million eV keeps its meV.

    ``weights``: of the fitted model, on the scale of the checkpoint it started from.
    """
    architecture = architecture_of(config.builder)
    old = architecture.energy_terms(weights, config.elements).shifts_eV
    shifts_eV = {
        name: reference.shifts_eV[name] + shift_eV
        for name, shift_eV in zip(config.elements, old, strict=True)
    }
    moved = dataclasses.replace(
        config,
        arguments=architecture.shifted(config.arguments, shifts_eV),
        isolated_atom_energies_eV=reference.isolated_atom_energies_eV,
    )
    shifted = architecture.shifted_weights(weights, list(shifts_eV.values()))
    arrays = {name: value.numpy() for name, value in shifted.items()}
    return StoredNetwork(moved, arrays, moved.dtype, "The fitted model")
