"""Many structures through one model: batched, streamed, one file out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.errors import InputError
from synthzoo.runs.files import new_output
from synthzoo.runs.provenance import installed_versions

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.models.calculator import SynthzooCalculator

BATCH_ATOMS = 256
"""Atoms in one evaluation: more is no faster on a CPU, and takes more memory."""

PREDICTED_BY = "predicted_by"
"""Key in ``Atoms.info``: which model and which versions made the labels."""

REFERENCE = "reference_"
"""What the labels that came with a structure are called beside the predicted ones."""


@dataclass(frozen=True, kw_only=True)
class PredictSummary:
    """What `predict_file` has done.

    Attributes
    ----------
    output
        The file written.
    structures
        How many were predicted.
    seconds
        Time taken, loading included.
    predicted_by
        Model and versions, as in every frame of the output.
    """

    output: Path
    structures: int
    seconds: float
    predicted_by: str


def predict_structures(
    structures: Iterable[Atoms],
    calculator: SynthzooCalculator,
    *,
    batch_atoms: int = BATCH_ATOMS,
) -> Iterator[Atoms]:
    """Yield a labelled copy of each structure, in order; small ones share a batch.

    The labels are those of a loop over ``calculator``, up to rounding. Labels that a
    structure brings along in its own calculator are kept, as
    ``info["reference_energy"]``, ``arrays["reference_forces"]`` and so on.

    Parameters
    ----------
    structures
        Structures, taken one by one.
    calculator
        From `load_calculator`.
    batch_atoms
        Atoms computed at a time; a larger structure is computed alone.

    Yields
    ------
    atoms
        With energy, forces, energies per atom and, where the cell has a volume,
        stress in a `SinglePointCalculator`.

    Raises
    ------
    InputError
        If a structure cannot be computed; the message says which (from 0).
    """
    if batch_atoms < 1:
        raise InputError(f"batch_atoms must be at least 1, not {batch_atoms}.")
    for batch in _batches(structures, calculator, batch_atoms):
        yield from _predict_batch(batch, calculator)


def predict_file(  # noqa: PLR0913  what a user may say
    model: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    format: str | None = None,
    device: str = "auto",
    dtype: str = "float32",
    batch_atoms: int = BATCH_ATOMS,
) -> PredictSummary:
    """Predict all structures of a file; the output appears only when it is complete.

    Parameters
    ----------
    model
        Name or alias, folder of a checkpoint, or ``hf:organisation/name``.
    source
        File in any format that ASE reads.
    output
        Extended XYZ file to make.
    format
        Of the source, as ASE calls it, such as ``vasp-xml``; guessed if not given.
    device, dtype
        As for `load_calculator`.
    batch_atoms
        Atoms computed at a time.

    Raises
    ------
    InputError
        If the output exists, or a file or a structure cannot be used; the message says
        which (from 0).
    SynthzooError
        If the model cannot be loaded, as for `load_calculator`.
    """
    from synthzoo.data.structures import iter_structures, write_structures
    from synthzoo.models.calculator import load_calculator
    from synthzoo.runs.progress import progress_bar

    start = time.perf_counter()
    source, output = Path(source), Path(output)
    _check_output(source, output)
    with new_output(output):
        calculator = load_calculator(model, device=device, dtype=dtype)
        maker = _describe(model, calculator)
        predicted = predict_structures(
            iter_structures(source, format=format), calculator, batch_atoms=batch_atoms
        )
        # The number of structures is not known before the file has been read.
        progress = progress_bar(predicted, desc="predict", unit="structure")
        written = write_structures(output, _signed(progress, maker))
    return PredictSummary(
        output=output,
        structures=written,
        seconds=time.perf_counter() - start,
        predicted_by=maker,
    )


def _check_output(source: Path, output: Path) -> None:
    if output.is_dir():
        raise InputError(f"{output} is a folder; name a file to write.")
    if output.exists() and source.exists() and output.samefile(source):
        raise InputError(f"{output} is the input; choose another file to write.")


def _describe(model: str | Path, calculator: SynthzooCalculator) -> str:
    name = model.name if isinstance(model, Path) else model.rpartition("/")[2]
    versions = ", ".join(
        f"{key} {value}" for key, value in installed_versions().items()
    )
    return f"{name} (weights {calculator.config.weights_sha256}) with {versions}"


def _signed(structures: Iterable[Atoms], maker: str) -> Iterator[Atoms]:
    for atoms in structures:
        atoms.info[PREDICTED_BY] = maker
        yield atoms


def _batches(
    structures: Iterable[Atoms], calculator: SynthzooCalculator, batch_atoms: int
) -> Iterator[list[tuple[str, Atoms]]]:
    """Yield runs of checked structures, with what to call them in messages."""
    batch: list[tuple[str, Atoms]] = []
    size = 0
    for index, atoms in enumerate(structures):
        name = f"Structure number {index + 1} (index {index})"
        calculator.check(atoms, name=name)
        if batch and size + len(atoms) > batch_atoms:
            yield batch
            batch, size = [], 0
        batch.append((name, atoms))
        size += len(atoms)
    if batch:
        yield batch


def _predict_batch(
    batch: Sequence[tuple[str, Atoms]], calculator: SynthzooCalculator
) -> Iterator[Atoms]:
    from synthzoo.data.structures import check_structure
    from synthzoo.models.calculator import OverlapError

    try:
        found = calculator.compute([atoms for _, atoms in batch])
    except OverlapError:
        for name, atoms in batch:
            check_structure(atoms, name=name)  # says which
        raise
    for (_, atoms), results in zip(batch, found, strict=True):
        yield _labelled(atoms, results)


def _labelled(atoms: Atoms, results: Mapping[str, Any]) -> Atoms:
    from ase.calculators.singlepoint import SinglePointCalculator

    labelled: Atoms = atoms.copy()
    _keep_labels(labelled, atoms.calc.results if atoms.calc else {})
    labelled.calc = SinglePointCalculator(labelled, **results)
    return labelled


def _keep_labels(atoms: Atoms, brought: Mapping[str, Any]) -> None:
    """Move the labels that came with a structure to names that are free.

    Those of an earlier prediction are dropped.
    """
    from ase.io.extxyz import per_atom_properties, per_config_properties

    old = PREDICTED_BY in atoms.info
    for places, names in (
        (atoms.info, per_config_properties),
        (atoms.arrays, per_atom_properties),
    ):
        for name in names:
            if name in places:
                places[_free_name(places, name)] = places.pop(name)
            if name in brought and not old:
                places[_free_name(places, name)] = brought[name]


def _free_name(places: Mapping[str, Any], name: str) -> str:
    name = REFERENCE + name
    return name if name not in places else _free_name(places, name)
