"""All structures of a file through one model, and one file out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.data.label_names import PREDICTED_BY
from synthzoo.errors import InputError
from synthzoo.models.place import Kernels, Place
from synthzoo.models.predict import BATCH_ATOMS
from synthzoo.potentials import (
    Model,
    Potential,
    at_level,
    is_network,
    load_potential,
    model_name,
    refuse_others,
    resolve,
)
from synthzoo.recipes.loading import teacher_name
from synthzoo.runs.files import new_output
from synthzoo.runs.provenance import installed_versions

if TYPE_CHECKING:
    from ase import Atoms


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


def predict_file(  # noqa: PLR0913  what a user may say
    model: Model,
    source: str | Path,
    output: str | Path,
    *,
    level: str | None = None,
    format: str | None = None,
    device: str = "auto",
    compile: bool = False,
    kernels: Kernels | None = None,
    dtype: str | None = None,
    batch_atoms: int | None = None,
) -> PredictSummary:
    """Predict energies, forces and stress for all structures of a file.

    The output appears when it is complete.

    Parameters
    ----------
    model
        Checkpoint, teacher or ASE calculator, see `synthzoo.potentials.resolve`.
        Energies of teachers are relative to their isolated atoms.
    source
        File in any format that ASE reads.
    output
        Extended XYZ file to make.
    level
        Level of theory, of a checkpoint that has several; its default one if not given.
    format
        Of the source, as ASE calls it, such as ``vasp-xml``; guessed if not given.
    device, compile, kernels
        Where a checkpoint computes, and how on a GPU, as for `load_calculator`.
    dtype, batch_atoms
        Precision of a checkpoint, and how many atoms it computes at a time.

    Raises
    ------
    InputError
        If the output exists, or a file or a structure cannot be used; the message says
        which (from 0).
    SynthzooError
        If the model cannot be loaded.

    Examples
    --------
    >>> import tempfile
    >>> from synthzoo import sample_path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = predict_file(
    ...         "carbon-ace-2k", sample_path("carbon-pbe"), f"{folder}/predicted.xyz"
    ...     )
    >>> done.structures
    153
    """
    from synthzoo.data.structures import iter_structures, write_structures
    from synthzoo.runs.progress import progress_bar

    start = time.perf_counter()
    source, output = Path(source), Path(output)
    _check_output(source, output)
    with new_output(output):
        found = resolve(at_level(model, level))
        if dtype is not None or (batch_atoms is not None and not is_network(found)):
            refuse_others(found, needed_for="a dtype or a number of atoms in a batch")
        place = Place(device=device, compiled=compile, kernels=kernels)
        potential = load_potential(found, place=place, dtype=dtype or "float32")
        maker = _describe(model_name(found), potential)
        predicted = potential.predict(
            iter_structures(source, format=format),
            batch_atoms=BATCH_ATOMS if batch_atoms is None else batch_atoms,
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


def _describe(name: str, potential: Potential) -> str:
    versions = ", ".join(
        f"{key} {value}" for key, value in installed_versions().items()
    )
    if potential.teacher is not None:
        name = teacher_name(potential.teacher.reference)
        what = f"SHA-256 {potential.teacher.sha256}, {potential.teacher.software}"
    elif potential.config is not None:
        name = name.rpartition("/")[2]
        what = f"weights {potential.config.weights_sha256}"
    else:
        what = f"calculator {potential.provenance['calculator']}"
    return f"{name} ({what}) with {versions}"


def _signed(structures: Iterable[Atoms], maker: str) -> Iterator[Atoms]:
    for atoms in structures:
        atoms.info[PREDICTED_BY] = maker
        yield atoms
