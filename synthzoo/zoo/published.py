"""Checkpoints of 2023, the published ones and others, in today's format."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.errors import CheckpointError, InputError
from synthzoo.legacy.calibrate import Calibration, calibrate, with_neighbours
from synthzoo.legacy.state import Assumptions, convert_state, read_state
from synthzoo.models.checkpoint import write_checkpoint
from synthzoo.models.interface import MAX_CUTOFF_A
from synthzoo.runs.files import refuse_existing
from synthzoo.zoo.cards import NO_LICENCE, ModelCard, published_file, render_card
from synthzoo.zoo.registry import file_record, model_cards

if TYPE_CHECKING:
    from ase import Atoms
    from torch.nn import Module

    from synthzoo.models.config import CheckpointConfig
    from synthzoo.zoo.card_records import Published


ELEMENTS = ("C",)
CUTOFF_A = 4.0
"""Of the published checkpoints; the files do not hold it."""

ENERGY_TOLERANCE_EV_PER_ATOM = 1e-5
FORCE_TOLERANCE_EV_A = 2e-4


@dataclass(frozen=True, kw_only=True)
class ImportSummary:
    """What `import_paper` has made.

    Attributes
    ----------
    output
        The checkpoint.
    published_as
        Name in the register, if it is one of the published files.
    parameters
        Number of weights; those on which no energy depends are left out.
    avg_num_neighbors
        The one that was given, found, or is on the card.
    calibration
        How it was found, if it was.
    """

    output: Path
    published_as: str | None
    parameters: int
    avg_num_neighbors: float
    calibration: Calibration | None


def import_paper(  # noqa: PLR0913  the file lacks as many facts
    source: str | Path,
    output: str | Path,
    *,
    avg_num_neighbors: float | None = None,
    calibrate_with: str | Path | None = None,
    energy_key: str | None = None,
    forces_key: str | None = None,
    format: str | None = None,
    elements: Sequence[str] = ELEMENTS,
    cutoff_A: float = CUTOFF_A,
) -> ImportSummary:
    """Convert a network of nequip 0.5.6, of any width and depth, to a checkpoint.

    The checkpoint predicts what the network predicted in 2023. The network must have
    been made with the defaults of nequip 0.5.6: shifted softplus, envelope exponent 6,
    one width for all features.

    Parameters
    ----------
    source
        File that `torch.save` wrote, such as ``best_model.pth``; nothing in it is
        executed.
    output
        New folder.
    avg_num_neighbors
        Average number of neighbours, which the file does not hold; that of a published
        file is on its card.
    calibrate_with
        Labelled structures from which that number is found instead.
    energy_key, forces_key
        Where their labels are; found among the usual names if not given.
    format
        Of their file, as ASE calls it; guessed if not given.
    elements
        Chemical symbols, in the order of the model's types.
    cutoff_A
        Radial cutoff in Å, which the file does not hold either.

    Raises
    ------
    CheckpointError
        If the file is damaged, holds anything but tensors, or is of another family.
    InputError
        If the number of neighbours is not given and cannot be found, or if labels,
        elements or cutoff cannot be used.

    Examples
    --------
    >>> made = import_paper(  # doctest: +SKIP
    ...     "best_model.pth", "my-checkpoint", avg_num_neighbors=20.5
    ... )
    """
    source, output = Path(source), Path(output)
    refuse_existing(output)
    _check_facts(elements, cutoff_A)
    state = read_state(source)
    sha256 = file_record(source).sha256
    card = _card_of(sha256)
    assumed = Assumptions(
        elements=tuple(elements),
        cutoff_A=cutoff_A,
        avg_num_neighbors=_neighbours(avg_num_neighbors, calibrate_with, card, source),
    )
    model, config = convert_state(state, assumed, where=str(source))
    calibration = None
    if calibrate_with is not None:
        calibration = calibrate(
            model,
            config,
            calibrate_with,
            energy_key=energy_key,
            forces_key=forces_key,
            format=format,
        )
        config = with_neighbours(config, calibration.avg_num_neighbors)
    config = _described(config, {"source": source.name, "source_sha256": sha256}, card)
    _write(output, model, config, card)
    return ImportSummary(
        output=output,
        published_as=card.name if card else None,
        parameters=sum(weight.numel() for weight in model.parameters()),
        avg_num_neighbors=config.arguments["avg_num_neighbors"],
        calibration=calibration,
    )


def convert_published(card: ModelCard, source: Path, output: Path) -> None:
    """Turn the file of a registered model into a checkpoint, and check it.

    ``card``: a model of the register that others have published.
    ``source``: its file, seen to be the one on record.
    ``output``: new folder; it appears only when all is well.
    """
    published = published_file(card)
    assumed = Assumptions(
        elements=card.elements,
        cutoff_A=card.cutoff_A,
        avg_num_neighbors=published.avg_num_neighbors,
    )
    model, config = convert_state(read_state(source), assumed, where=str(source))
    origin = {
        "source": published.address,
        "source_sha256": published.file.sha256,
    }
    config = _described(config, origin, card)
    _check_predictions(model, config, published, name=card.name)
    _write(output, model, config, card)


def small_structures(elements: Sequence[str]) -> list[Atoms]:
    """Return structures whose predictions are kept with a checkpoint.

    Diamond, graphene and a simple cubic crystal, with every atom out of place; bond
    lengths go with the elements' covalent radii.

    ``elements``: chemical symbols; the atoms take them in turns.
    """
    from ase.build import bulk, graphene
    from ase.data import atomic_numbers, covalent_radii

    found = [
        bulk("C", a=3.6, cubic=True),
        graphene(size=(2, 2, 1), vacuum=3.0),
        bulk("C", "sc", a=1.9).repeat((2, 2, 2)),
    ]
    for seed, atoms in enumerate(found):
        atoms.rattle(0.15, seed=seed)
        symbols = [elements[index % len(elements)] for index in range(len(atoms))]
        radius = max(covalent_radii[atomic_numbers[symbol]] for symbol in elements)
        atoms.set_chemical_symbols(symbols)
        atoms.set_cell(atoms.cell * (radius / covalent_radii[6]), scale_atoms=True)
    return found


def _check_facts(elements: Sequence[str], cutoff_A: float) -> None:
    from ase.data import atomic_numbers

    known = all(element in atomic_numbers for element in elements)
    if not elements or not known or len(set(elements)) < len(elements):
        raise InputError(
            f"Expected different chemical symbols, found {', '.join(elements)}."
        )
    if not 0 < cutoff_A <= MAX_CUTOFF_A:
        raise InputError(f"The cutoff must be up to {MAX_CUTOFF_A} Å, not {cutoff_A}.")


def _neighbours(
    given: float | None,
    calibrate_with: str | Path | None,
    card: ModelCard | None,
    source: Path,
) -> float:
    """Return the number of neighbours to start with."""
    if given is not None and calibrate_with is not None:
        raise InputError("Give the number of neighbours, or data to find it with.")
    if given is not None:
        if not 0 < given < float("inf"):
            raise InputError(f"The number of neighbours must be above 0, not {given}.")
        return given
    if card is not None:
        return published_file(card).avg_num_neighbors
    if calibrate_with is not None:
        return 1.0  # replaced before it is used
    raise InputError(
        f"{source} is not one of the published files, and does not contain the average "
        "number of neighbours in training. Give --avg-num-neighbors, or --calibrate "
        "with structures that its teacher has labelled."
    )


def _card_of(sha256: str) -> ModelCard | None:
    for card in model_cards():
        if card.published is not None and card.published.file.sha256 == sha256:
            return card
    return None


def _described(
    config: CheckpointConfig, origin: dict[str, Any], card: ModelCard | None
) -> CheckpointConfig:
    """Return the description with what is known about labels and origin."""
    origin = origin | {"source_software": "nequip 0.5.6"}
    teacher = "unknown"
    if card is not None:
        teacher = card.teacher.name
        origin["licence"] = NO_LICENCE
    labels = {
        "teacher": teacher,
        "energy": "total energy of the cell minus its isolated atoms",
    }
    return dataclasses.replace(config, labels=labels, provenance=origin)


def _write(
    output: Path, model: Module, config: CheckpointConfig, card: ModelCard | None
) -> None:
    write_checkpoint(
        output,
        model=model,
        config=config,
        golden=small_structures(config.elements),
        card=render_card(card) if card else None,
    )


def _check_predictions(
    model: Module, config: CheckpointConfig, published: Published, *, name: str
) -> None:
    """Compare with what nequip 0.5.6 itself predicts, as recorded on the card."""
    from synthzoo.models.calculator import calculator_of
    from synthzoo.runs.provenance import installed_versions

    calculator = calculator_of(model, config)
    for atoms, expected in zip(
        small_structures(config.elements), published.predictions, strict=True
    ):
        calculator.calculate(atoms)
        results = calculator.results
        energy = abs(results["energy"] - expected.energy_eV) / len(atoms)
        force = np.abs(results["forces"][0] - expected.first_force_eV_A).max()
        if energy <= ENERGY_TOLERANCE_EV_PER_ATOM and force <= FORCE_TOLERANCE_EV_A:
            continue
        versions = ", ".join(" ".join(each) for each in installed_versions().items())
        raise CheckpointError(
            f"{name} does not give the same predictions here ({versions}) as in nequip "
            f"0.5.6: energies differ by {energy:.1g} eV/atom, forces by {force:.1g} "
            "eV/Å. It was not converted; please report this."
        )
