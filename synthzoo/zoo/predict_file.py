"""All structures of a file through one model, and one file out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.data.label_names import PREDICTED_BY
from synthzoo.errors import InputError
from synthzoo.models.predict import BATCH_ATOMS, predict_structures
from synthzoo.runs.files import new_output
from synthzoo.runs.provenance import installed_versions

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.models.calculator import SynthzooCalculator


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
    model: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    format: str | None = None,
    device: str = "auto",
    dtype: str = "float32",
    batch_atoms: int = BATCH_ATOMS,
) -> PredictSummary:
    """Predict energies, forces and stress for all structures of a file.

    The output appears when it is complete.

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
    from synthzoo.zoo.load import load_calculator

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
