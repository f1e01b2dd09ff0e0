"""A model computes for i-PI through a socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.socketio import SocketIOCalculator, actualunixsocketname
from ase.io import write

from synthzoo.errors import InputError, SimulationError
from synthzoo.export.serve import ServeSummary, serve
from synthzoo.zoo.load import load_calculator
from tests.extras import need

if TYPE_CHECKING:
    from ase import Atoms

MODEL = "carbon-ace-2k"
IPI = Path(sys.executable).with_name("i-pi")


def diamond() -> Atoms:
    """Return eight atoms out of place, in an oblique cell."""
    atoms: Atoms = bulk("C", cubic=True)
    strain = np.array([[0.02, 0.03, 0], [0, 0, 0.01], [0, 0, -0.02]])
    atoms.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
    atoms.rattle(0.08, seed=1)
    return atoms


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


def unix_name() -> str:
    """Return a name that no other test uses."""
    return f"synthzoo-{os.getpid()}-{threading.get_ident()}"


@pytest.mark.parametrize("kind", ["unix", "port"])
def test_the_server_gets_what_the_calculator_computes(kind: str) -> None:
    """Energy, forces and stress of two structures, over both kinds of socket."""
    at: Any = unix_name() if kind == "unix" else free_port()
    here: dict[str, Any] = {kind: at}
    there: dict[str, Any] = {{"unix": "unixsocket"}.get(kind, kind): at}
    atoms, own = diamond(), load_calculator(MODEL, device="cpu")
    with ThreadPoolExecutor(1) as pool:
        with SocketIOCalculator(**there, timeout=60) as calculator:
            done = pool.submit(serve, MODEL, atoms, **here, device="cpu")
            for _ in range(2):
                found, expected = atoms.copy(), atoms.copy()
                found.calc, expected.calc = calculator, own
                np.testing.assert_allclose(
                    found.get_forces(), expected.get_forces(), atol=1e-5
                )
                np.testing.assert_allclose(
                    found.get_stress(), expected.get_stress(), atol=1e-7
                )
                assert found.get_potential_energy() == pytest.approx(
                    expected.get_potential_energy(), abs=1e-5
                )
                atoms.rattle(0.01, seed=2)
        with pytest.raises(SimulationError, match=r"after 2 force calls.*ASE's"):
            done.result(timeout=60)


def served(answer: Callable[[socket.socket], None]) -> Future[ServeSummary]:
    """Let a server do something with the first client, and return what came of it."""
    with socket.socket() as server, ThreadPoolExecutor(1) as pool:
        server.bind(("localhost", 0))
        server.listen()
        port = server.getsockname()[1]
        done = pool.submit(serve, MODEL, diamond(), port=port, device="cpu")
        client, _ = server.accept()
        with client:
            answer(client)
    return done


def test_a_server_that_goes_away_ends_in_one_clear_error() -> None:
    """It has to say that it is done; otherwise something has happened to it."""
    done = served(lambda client: client.sendall(b"STATUS      "))
    with pytest.raises(SimulationError, match=r"went away after 0 force calls.*again"):
        done.result(timeout=60)


def test_a_server_with_other_atoms_is_refused() -> None:
    """Positions alone do not say which elements they are of."""

    def send(client: socket.socket) -> None:
        numbers = [np.eye(3), np.eye(3), np.int32(1), np.zeros(3)]
        client.sendall(b"POSDATA     " + b"".join(part.tobytes() for part in numbers))

    with pytest.raises(InputError, match=r"server has 1 atoms, but.* has 8"):
        served(send).result(timeout=60)


def test_nobody_listens() -> None:
    """The address that was tried is in the message."""
    with pytest.raises(SimulationError, match=r"No server listens at /tmp/ipi_nobody"):
        serve(MODEL, diamond(), unix="nobody", wait_s=0.0, device="cpu")


SHOWN = (Path(__file__).parents[2] / "docs" / "i-pi.md").read_text(encoding="utf-8")
INPUT = SHOWN.partition("```xml\n")[2].partition("```")[0]
"""What the documentation shows: with fewer beads and steps it is the test's."""

CHANGES = (
    ("nbeads='16'", "nbeads='4'"),
    ("stride='10'", "stride='1'"),
    ("1000", "4"),
    ("mode='nvt'", "mode='nve'"),
)


@pytest.mark.thorough
def test_path_integrals_of_ipi(tmp_path: Path) -> None:
    """Four beads of a small cell for a few steps; ASE computes the same energies."""
    need("ipi", "ipi")
    atoms, name = bulk("C", cubic=True), unix_name()
    lengths = "  ".join(f"{length:.6f}" for length in atoms.cell.cellpar())
    rows = [f"C {x:.8f} {y:.8f} {z:.8f}" for x, y, z in atoms.positions]
    head = f"{len(atoms)}\n# CELL(abcABC): {lengths} positions{{angstrom}} "
    text = "\n".join([f"{head}cell{{angstrom}}", *rows, ""])
    (tmp_path / "start.xyz").write_text(text)
    changed = INPUT.replace("<address> carbon", f"<address> {name}")
    for old, new in CHANGES:
        assert old in changed
        changed = changed.replace(old, new)
    (tmp_path / "input.xml").write_text(changed)
    with subprocess.Popen(
        [sys.executable, IPI, "input.xml"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        done = serve(MODEL, atoms, unix=name, wait_s=120, device="cpu")
        assert server.wait(timeout=60) == 0
    assert done.force_calls == 5 * 4
    step, _, conserved, potential, *_ = np.loadtxt(tmp_path / "run.out").T
    assert step.tolist() == [0, 1, 2, 3, 4]
    atoms.calc = load_calculator(MODEL, device="cpu")
    hartree = 27.211386
    assert potential[0] * hartree == pytest.approx(
        atoms.get_potential_energy(), abs=1e-4
    )
    assert np.ptp(conserved) * hartree < 0.02
    assert not Path(actualunixsocketname(name)).exists()


def test_the_structure_may_be_a_file(tmp_path: Path) -> None:
    """Its elements must be known to the model."""
    write(tmp_path / "silicon.xyz", bulk("Si"))
    with pytest.raises(InputError, match="Si"):
        serve(MODEL, tmp_path / "silicon.xyz", device="cpu")
