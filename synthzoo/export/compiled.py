"""A model as machine code for nequip's own programs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.errors import InputError
from synthzoo.models.checkpoint import load_stored
from synthzoo.models.devices import find_device
from synthzoo.models.engine.jit import processor
from synthzoo.models.portable import write_portable
from synthzoo.potentials import (
    Model,
    at_level,
    find_checkpoint,
    refuse_starting_point,
)
from synthzoo.runs.provenance import installed_versions

if TYPE_CHECKING:
    from synthzoo.models.portable import Target


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What `export_model` has done.

    Attributes
    ----------
    output
        The file written.
    target
        For which programs.
    device
        ``cpu`` or ``cuda``.
    processor
        For which processor the code was made; on others it may fail or crash.
    versions
        With which versions of packages.
    largest_difference
        From the network, relative to the largest energy, force or stress, or to 1.
    seconds
        Time taken.
    """

    output: Path
    target: Target
    device: str
    processor: str
    versions: dict[str, Any]
    largest_difference: float
    seconds: float


def export_model(
    model: Model,
    output: str | Path,
    *,
    level: str | None = None,
    target: Target = "ase",
    device: str = "cpu",
    dtype: str = "float32",
) -> ExportSummary:
    """Compile a checkpoint to machine code that nequip's own programs load.

    Compiling takes minutes and a C++ compiler. The file is compared with the network,
    and kept only if it computes the same. It is a program for one kind of machine: load
    such files only from people whom you trust.

    Parameters
    ----------
    model
        Checkpoint, see `synthzoo.potentials.resolve`.
    output
        File to make; its name ends in ``.nequip.pt2``.
    level
        Level of theory, of a model that has several; its default one if not given.
    target
        ``ase`` for nequip's calculator, ``batch`` for torch-sim, ``pair_nequip`` for a
        LAMMPS with that pair style.
    device, dtype
        Where and how precisely it will compute.

    Raises
    ------
    InputError
        If there is no such target or device, if the output exists, or if the model is
        no checkpoint.
    SynthzooError
        If it cannot be compiled, or computes otherwise when it is.

    Examples
    --------
    >>> made = export_model("carbon", "carbon.nequip.pt2")  # doctest: +SKIP
    >>> made.largest_difference < 1e-5  # doctest: +SKIP
    True
    """
    model = at_level(model, level)
    refuse_starting_point(model)
    found = find_checkpoint(model, needed_for="export")
    device = find_device(device)
    if device not in {"cpu", "cuda"}:
        raise InputError(f"Code is made for cpu or cuda, not for {device} alone.")
    start = time.perf_counter()
    stored = load_stored(found, dtype=dtype)
    worst = write_portable(stored, target, device, Path(output))
    return ExportSummary(
        output=Path(output),
        target=target,
        device=device,
        processor=processor()[0],
        versions=installed_versions(),
        largest_difference=worst,
        seconds=time.perf_counter() - start,
    )
