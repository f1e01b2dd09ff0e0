"""Errors of a model on labelled structures, by group."""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.units import GPa

from synthzoo.data import unconstrained
from synthzoo.data.flat import stack_stresses
from synthzoo.data.frames import read_frames
from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.labelled_set import rms
from synthzoo.data.labels import own_labels
from synthzoo.data.sound import check_set
from synthzoo.data.structures import kind_of
from synthzoo.errors import InputError
from synthzoo.evaluation.calibration import Calibration, Spread, calibration
from synthzoo.models.uncertainty import ENERGY, FORCES
from synthzoo.potentials import Model, load_potential, model_name, resolve, unique
from synthzoo.reports.style import BLUE, DARK_GREY, GREEN, ORANGE
from synthzoo.runs.progress import progress_bar

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from synthzoo.data.frames import FrameSet
    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.data.labels import LabelKeys, Labels


ALL = "all"
MAX_NAME = 24
"""Characters of a model's name in a figure."""


@dataclass(frozen=True, kw_only=True)
class GroupErrors:
    """Root-mean-square errors over the structures of one group.

    Attributes
    ----------
    name
        Group, or ``"all"``.
    structures, atoms
        How many there are.
    energy_rmse_meV_per_atom
        After one constant per element, the same for all groups, was taken off if asked.
    force_rmse_eV_A
        Over all components.
    stress_rmse_GPa
        Over all components of the structures with stress labels; None if no structure
        has one, or the model gives no stress.
    """

    name: str
    structures: int
    atoms: int
    energy_rmse_meV_per_atom: float
    force_rmse_eV_A: float
    stress_rmse_GPa: float | None = None


@dataclass(frozen=True, kw_only=True)
class Residual:
    """Prediction minus label of one structure.

    Attributes
    ----------
    group
        Name of its group; ``"all"`` if it has none.
    energy_eV_per_atom
        Difference of the energies.
    forces_eV_A
        Differences of the forces, of shape ``(n_atoms, 3)``.
    stress_eV_A3
        Differences of the stress, of shape ``(6,)``; NaN if there is none.
    energy_deviation_eV, force_deviations_eV_A
        Standard deviations that the model gave, of the energy of the structure and of
        force components, of shape ``(n_atoms,)``; None if it gave none.
    """

    group: str
    energy_eV_per_atom: float
    forces_eV_A: NDArray[np.float64]
    stress_eV_A3: NDArray[np.float64]
    energy_deviation_eV: float | None = None
    force_deviations_eV_A: NDArray[np.float64] | None = None


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says about a labelled set.

    Attributes
    ----------
    energies_eV_per_atom
        Of shape ``(n_structures,)``.
    forces_eV_A
        All forces, one structure after the other, of shape ``(n_atoms, 3)``.
    stresses_eV_A3
        Of shape ``(n_structures, 6)``; NaN where the model gives none.
    residuals
        Prediction minus label of each structure.
    """

    energies_eV_per_atom: NDArray[np.float64]
    forces_eV_A: NDArray[np.float64]
    stresses_eV_A3: NDArray[np.float64]
    residuals: list[Residual]

    @property
    def errors(self) -> tuple[GroupErrors, ...]:
        """The errors over all structures first, then by group."""
        return errors_by_group(self.residuals)

    def moved(self, constants_eV_per_atom: NDArray[np.float64]) -> Prediction:
        """Return it with all energies moved by constants.

        Parameters
        ----------
        constants_eV_per_atom
            Added to the energy per atom of each structure, of shape ``(n,)``.
        """
        return dataclasses.replace(
            self,
            energies_eV_per_atom=self.energies_eV_per_atom + constants_eV_per_atom,
            residuals=[
                dataclasses.replace(
                    found, energy_eV_per_atom=found.energy_eV_per_atom + constant
                )
                for found, constant in zip(
                    self.residuals, constants_eV_per_atom.tolist(), strict=True
                )
            ],
        )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Errors of a model on a set.

    Attributes
    ----------
    model, data
        What was compared.
    labels
        Where energies and forces were read.
    energy_shifts_eV
        Constant for each element that was taken off the labels before the comparison;
        empty if not asked.
    groups
        Errors over all structures first, then by group.
    calibration
        How well the model's standard deviations describe its errors; None if it gives
        none.
    """

    model: str
    data: str
    labels: str
    energy_shifts_eV: dict[str, float]
    groups: tuple[GroupErrors, ...]
    calibration: Calibration | None = None


def evaluate_models(  # noqa: PLR0913  what to compare, and how
    models: Sequence[Model],
    source: Path | str | Sequence[Path | str],
    *,
    figure: str | Path | None = None,
    shift: bool = False,
    skip: Sequence[str] = (),
    energy_key: str | None = None,
    forces_key: str | None = None,
    format: str | None = None,
) -> list[Evaluation]:
    """Compare models with the same labels.

    Parameters
    ----------
    models
        Checkpoints, teachers such as ``ase:mace.calculators.MACECalculator{…}``, or
        ASE calculators; see `synthzoo.potentials.resolve`. Energies of teachers are
        relative to their isolated atoms.
    source
        Labelled structures: files in any format that ASE reads, or patterns.
    figure
        Picture to write, of predictions over labels.
    shift
        Whether to subtract a constant for each element from the labels, with which
        they agree best with each model (least squares of energies per atom). This is
        for total energies whose isolated atoms are not known. Where the compositions
        leave freedom, the smallest constants are taken.
    skip
        Groups to leave out.
    energy_key, forces_key
        Where the labels are; found among the usual names if not given.
    format
        Of all files, as ASE calls it; guessed for each if not given.

    Raises
    ------
    InputError
        If a file cannot be read, a group to skip does not occur, no structure is left,
        or labels are missing or ambiguous.

    Examples
    --------
    >>> from synthzoo import sample_path
    >>> (found,) = evaluate_models(["carbon-ace-2k"], sample_path("carbon-pbe"))
    >>> found.groups[0].name, found.groups[0].structures
    ('all', 153)
    """
    frames = read_frames(source, format=format)
    keys = find_label_keys(
        frames.structures, energy_key=energy_key, forces_key=forces_key
    )
    labelled, data = _labelled(frames, keys, skip)
    models = [resolve(model) for model in models]
    names = unique([model_name(model) for model in models])
    potentials = list(map(load_potential, models))
    for name, potential in zip(names, potentials, strict=True):
        if potential.elements is not None:
            check_set(labelled.structures, potential.elements, by=name)
    predictions = []
    for model, potential in zip(models, potentials, strict=True):
        predicted = progress_bar(
            potential.predict(labelled.structures),
            desc=f"evaluate {model_name(model)}",
            unit="structure",
            total=len(labelled),
        )
        predictions.append(judge_set(labelled, predicted))
    shifts = [shifts_eV(labelled, found) if shift else {} for found in predictions]
    predictions = [
        shifted(labelled, found, constants)
        for found, constants in zip(predictions, shifts, strict=True)
    ]
    if figure is not None:
        _draw(Path(figure), labelled, dict(zip(names, predictions, strict=True)))
    return [
        Evaluation(
            model=name,
            data=data,
            labels=str(keys),
            energy_shifts_eV=constants,
            groups=found.errors,
            calibration=_calibration(found.residuals),
        )
        for name, found, constants in zip(names, predictions, shifts, strict=True)
    ]


def _calibration(residuals: Sequence[Residual]) -> Calibration | None:
    forces = [each.force_deviations_eV_A for each in residuals]
    energies = [each.energy_deviation_eV for each in residuals]
    known = [each for each in forces if each is not None]
    if len(known) < len(residuals):
        return None
    sizes = np.array([len(each.forces_eV_A) for each in residuals])
    return calibration(
        Spread(
            errors=np.concatenate([each.forces_eV_A for each in residuals]),
            deviations=np.concatenate(known),
        ),
        Spread(
            errors=np.array([each.energy_eV_per_atom for each in residuals]),
            deviations=np.array(energies, dtype=float) / sizes,
        ),
    )


def shifts_eV(labelled: LabelledSet, found: Prediction) -> dict[str, float]:
    """Return a constant for each element that brings predictions closest to labels.

    Least squares of the energies per atom; of several solutions the smallest.
    """
    elements = labelled.elements
    residuals = np.array([each.energy_eV_per_atom for each in found.residuals])
    shares = _shares(labelled, elements)
    constants = np.linalg.lstsq(shares, -residuals, rcond=1e-8)[0]
    return dict(zip(elements, constants.tolist(), strict=True))


def shifted(
    labelled: LabelledSet, found: Prediction, constants_eV: Mapping[str, float]
) -> Prediction:
    """Return predictions with a constant for each element added."""
    shares = _shares(labelled, list(constants_eV))
    return found.moved(shares @ np.array(list(constants_eV.values())))


def _shares(labelled: LabelledSet, elements: Sequence[str]) -> NDArray[np.float64]:
    """Return the share of each element in each structure."""
    sizes = np.array([len(atoms) for atoms in labelled.structures])
    shares: NDArray[np.float64] = labelled.counts(elements) / sizes[:, None]
    return shares


def judge_set(labelled: LabelledSet, predicted: Iterable[Atoms]) -> Prediction:
    """Return predictions of a set with their residuals.

    ``predicted``: the structures, labelled by a model, in order.
    """
    energies, forces, stresses, residuals = [], [], [], []
    for atoms, label in zip(predicted, labelled.labels, strict=True):
        energies.append(unconstrained.energy_eV(atoms) / len(atoms))
        forces.append(unconstrained.forces_eV_A(atoms))
        stresses.append(_stress_eV_A3(atoms))
        residuals.append(residual_of(atoms, label))
    return Prediction(
        energies_eV_per_atom=np.array(energies),
        forces_eV_A=np.concatenate(forces),
        stresses_eV_A3=np.array(stresses).reshape(-1, 6),
        residuals=residuals,
    )


def _stress_eV_A3(predicted: Atoms) -> NDArray[np.float64]:
    """Return the stress that a model gave with the energy; NaN if it gave none."""
    return np.asarray(own_labels(predicted).get("stress", np.full(6, np.nan)))


def _labelled(
    frames: FrameSet, keys: LabelKeys, skip: Sequence[str]
) -> tuple[LabelledSet, str]:
    """Return a set without the groups to skip, and the names of its files."""
    from synthzoo.data.labelled_set import as_labelled

    found = as_labelled(frames, keys)
    names = ", ".join(file.name for file in frames.files)
    groups = [kind_of(atoms, unnamed=ALL) for atoms in found.structures]
    if unknown := sorted(set(skip) - set(groups)):
        raise InputError(
            f"{names} holds no structure of the group {', '.join(unknown)} to skip. "
            f"Its groups are: {', '.join(sorted(set(groups)))}."
        )
    kept = [index for index, group in enumerate(groups) if group not in skip]
    if not kept:
        raise InputError(f"{names} holds no structure outside of {', '.join(skip)}.")
    return found.part(kept), names


def _short(model: str) -> str:
    """Return a name for a legend: no folder, no module, no arguments."""
    name = Path(str(model).partition("{")[0]).name
    return (name.rpartition(".")[2] if name.startswith("ase:") else name)[:MAX_NAME]


def _draw(
    path: Path, labelled: LabelledSet, predictions: Mapping[str, Prediction]
) -> None:
    from matplotlib.figure import Figure

    from synthzoo.reports.style import save_figure

    figure = Figure(dpi=120, layout="constrained")
    clouds = [
        Cloud(name=_short(name), prediction=found, colour=colour)
        for (name, found), colour in zip(
            predictions.items(), itertools.cycle(COLOURS), strict=False
        )
    ]
    draw_parity(figure, labelled, clouds)
    save_figure(figure, path)


def residual_of(predicted: Atoms, label: Labels) -> Residual:
    """Return prediction minus label."""
    difference = unconstrained.energy_eV(predicted) - label.energy_eV
    (stress,) = stack_stresses([label])
    return Residual(
        group=kind_of(predicted, unnamed=ALL),
        energy_eV_per_atom=difference / len(predicted),
        forces_eV_A=unconstrained.forces_eV_A(predicted) - label.forces_eV_A,
        stress_eV_A3=_stress_eV_A3(predicted) - stress,
        energy_deviation_eV=predicted.info.get(ENERGY),
        force_deviations_eV_A=predicted.arrays.get(FORCES),
    )


def errors_by_group(residuals: Sequence[Residual]) -> tuple[GroupErrors, ...]:
    """Return the errors over all structures first, then by group."""
    groups: dict[str, list[Residual]] = defaultdict(list)
    groups[ALL] = list(residuals)
    for found in residuals:
        if found.group != ALL:
            groups[found.group].append(found)
    return tuple(_errors(name, group) for name, group in groups.items())


def _errors(name: str, group: Sequence[Residual]) -> GroupErrors:
    energies = np.array([found.energy_eV_per_atom for found in group])
    forces = np.concatenate([found.forces_eV_A for found in group])
    stresses = np.array([found.stress_eV_A3 for found in group])
    stresses = stresses[np.isfinite(stresses)]
    return GroupErrors(
        name=name,
        structures=len(group),
        atoms=len(forces),
        energy_rmse_meV_per_atom=1000 * rms(energies),
        force_rmse_eV_A=rms(forces),
        stress_rmse_GPa=rms(stresses) / GPa if len(stresses) else None,
    )


def error_columns(errors: Sequence[GroupErrors]) -> dict[str, list[str]]:
    """Return the errors of some groups in words, by what they are of.

    Stress is left out where no group has an error of it.
    """
    columns = {
        "Energy RMSE (meV/atom)": [f"{e.energy_rmse_meV_per_atom:.1f}" for e in errors],
        "Force RMSE (eV/Å)": [f"{e.force_rmse_eV_A:.3f}" for e in errors],
    }
    stresses = [e.stress_rmse_GPa for e in errors]
    if any(stress is not None for stress in stresses):
        columns["Stress RMSE (GPa)"] = [
            "–" if stress is None else f"{stress:.2f}" for stress in stresses
        ]
    return columns


COLOURS = (BLUE, ORANGE, GREEN, "#8a5fbf", DARK_GREY)
"""One for each model; then again."""

MAX_POINTS = 20_000
"""More force components are thinned evenly: nobody sees them all."""


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """One model's predictions.

    ``prediction``: what the model says about the set.
    """

    name: str
    prediction: Prediction
    colour: str


def draw_parity(figure: Figure, labelled: LabelledSet, clouds: Sequence[Cloud]) -> None:
    """Draw energies per atom, force components and stress over their labels.

    ``figure``: empty; it gets two panels, or three where stress is known.
    """
    stresses = labelled.stresses_eV_A3.ravel() / GPa
    known = np.isfinite(stresses)
    panels = 3 if known.any() else 2
    figure.set_size_inches(4.5 * panels, 4.4)
    left, middle, *right = figure.subplots(1, panels)
    sizes = np.array([len(atoms) for atoms in labelled.structures])
    energies = labelled.energies_eV / sizes
    forces = labelled.forces_eV_A.ravel()
    step = max(1, len(forces) // MAX_POINTS)
    for cloud in clouds:
        errors = cloud.prediction.errors[0]
        _scatter(
            left,
            energies,
            cloud.prediction.energies_eV_per_atom,
            cloud.colour,
            f"{cloud.name}: {errors.energy_rmse_meV_per_atom:.1f} meV/atom",
        )
        _scatter(
            middle,
            forces[::step],
            cloud.prediction.forces_eV_A.ravel()[::step],
            cloud.colour,
            f"{cloud.name}: {errors.force_rmse_eV_A:.3f} eV/Å",
        )
        if right and errors.stress_rmse_GPa is not None:
            _scatter(
                right[0],
                stresses[known],
                cloud.prediction.stresses_eV_A3.ravel()[known] / GPa,
                cloud.colour,
                f"{cloud.name}: {errors.stress_rmse_GPa:.2f} GPa",
            )
    _finish(left, "energy", "eV/atom")
    _finish(middle, "force component", "eV/Å")
    for axes in right:
        _finish(axes, "stress component", "GPa")


def _scatter(
    axes: Axes,
    labels: NDArray[np.float64],
    predictions: NDArray[np.float64],
    colour: str,
    name: str,
) -> None:
    size = 14 if len(labels) < 500 else 4
    axes.scatter(
        labels,
        predictions,
        s=size,
        color=colour,
        alpha=0.6,
        linewidths=0,
        label=name,
        rasterized=True,
    )


def _finish(axes: Axes, quantity: str, unit: str) -> None:
    ends = np.array([*axes.get_xlim(), *axes.get_ylim()])
    limits = ends.min(), ends.max()
    axes.plot(limits, limits, color="0.4", linewidth=0.8, zorder=0)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.ticklabel_format(useOffset=False)
    axes.locator_params(nbins=6)
    axes.set_xlabel(f"{quantity}, label ({unit})")
    axes.set_ylabel(f"{quantity}, predicted ({unit})")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="upper left")
