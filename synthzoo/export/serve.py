"""A model behind a socket: i-PI moves the atoms, and asks for energies and forces."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from ase import Atoms
from ase.calculators.socketio import (
    IPIProtocol,
    SocketClient,
    SocketServer,
    actualunixsocketname,
)
from ase.parallel import DummyMPI

from synthzoo.data import unconstrained
from synthzoo.data.sound import check_structure
from synthzoo.data.structures import read_structures
from synthzoo.errors import InputError, SimulationError
from synthzoo.models.place import Place
from synthzoo.potentials import (
    Model,
    at_level,
    gives_stress,
    load_potential,
    refuse_starting_point,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

PORT: int = SocketServer.default_port
"""i-PI's own."""

HOST = "localhost"
RETRY_S = 0.2


@dataclass(frozen=True, kw_only=True)
class ServeSummary:
    """What `serve` has done.

    Attributes
    ----------
    address
        Socket of the server.
    atoms
        Number of atoms.
    force_calls
        How often the server asked.
    seconds
        Time from the connection to the end.
    model_seconds
        Time of that in which the model computed.
    """

    address: str
    atoms: int
    force_calls: int
    seconds: float
    model_seconds: float


class _Protocol(IPIProtocol):
    """The protocol of i-PI; it remembers the last message, and counts atoms.

    ``atoms``: how many the client has.
    """

    def __init__(self, connection: socket.socket, atoms: int) -> None:
        super().__init__(connection)  # type: ignore[no-untyped-call]
        self.last, self._atoms = "", atoms

    def recvmsg(self) -> str:
        self.last = ""
        self.last = super().recvmsg()  # type: ignore[no-untyped-call]
        return self.last

    def recvposdata(self) -> Any:
        cell, inverse, positions = super().recvposdata()  # type: ignore[no-untyped-call]
        if len(positions) != self._atoms:
            raise InputError(
                f"The server has {len(positions)} atoms, but the structure given here "
                f"has {self._atoms}; both must be the same, in the same order."
            )
        return cell, inverse, positions


class _Client(SocketClient):
    """A client of i-PI that counts what it computes.

    ``connection``: to the server; ``atoms``: how many there are.
    """

    protocol: _Protocol

    def __init__(self, connection: socket.socket, atoms: int) -> None:
        self.protocol = _Protocol(connection, atoms)
        self.comm, self.log, self.closed = DummyMPI(), self.protocol.log, False
        self.state, self.bead_index, self.bead_initbytes = "READY", 0, b""
        self.calls, self.model_seconds = 0, 0.0

    def calculate(
        self,
        atoms: Atoms,
        use_stress: bool,  # noqa: FBT001  as ASE has it
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        begin = time.perf_counter()
        energy = unconstrained.energy_eV(atoms)
        forces = unconstrained.forces_eV_A(atoms)
        virial = np.zeros((3, 3))
        if use_stress:
            xx, yy, zz, yz, xz, xy = unconstrained.stress_eV_A3(atoms)
            stress = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
            virial = -atoms.cell.volume * stress
        self.calls += 1
        self.model_seconds += time.perf_counter() - begin
        return energy, forces, virial


def serve(  # noqa: PLR0913  what a user may say
    model: Model,
    structure: Atoms | str | Path,
    *,
    level: str | None = None,
    unix: str | None = None,
    host: str = HOST,
    port: int = PORT,
    wait_s: float = 60.0,
    device: str = "auto",
    dtype: str = "float32",
) -> ServeSummary:
    """Compute energies, forces and stress for i-PI until it says that it is done.

    Several processes may serve one server, which shares the beads of path integrals out
    among them.

    Parameters
    ----------
    model
        Checkpoint, teacher or ASE calculator, see `synthzoo.potentials.resolve`.
    structure
        Atoms in the order of the server's, or a file with them, of which the last frame
        is used. It says the elements and in which directions it is periodic; positions
        and cell come from the server.
    level
        Level of theory, of a checkpoint that has several; its default one if not given.
    unix
        Name of a UNIX socket, as in ``<address>`` of i-PI; the file is
        ``/tmp/ipi_NAME``.
    host, port
        Of the server if there is no UNIX socket.
    wait_s
        How long to wait for the server to listen.
    device, dtype
        Where and how precisely a checkpoint computes, as for `load_calculator`.

    Raises
    ------
    InputError
        If the structure cannot be computed, or if the server has another one.
    SimulationError
        If no server listens, or if it goes away.
    SynthzooError
        If the model cannot be loaded.

    Examples
    --------
    >>> done = serve("carbon", "diamond.xyz", unix="carbon")  # doctest: +SKIP
    >>> done.force_calls  # doctest: +SKIP
    3204
    """
    model = at_level(model, level)
    refuse_starting_point(model)
    atoms = _structure(structure)
    potential = load_potential(model, place=Place(device=device), dtype=dtype)
    check_structure(
        atoms, elements=potential.elements, name="The structure", overlaps=False
    )
    has_stress = atoms.cell.rank == 3 and gives_stress(potential, atoms)
    atoms.calc = potential.calculator
    name = actualunixsocketname(unix) if unix else f"{host}:{port}"
    client = _Client(_connect(name, (host, port), wait_s, unix=bool(unix)), len(atoms))
    begin = time.perf_counter()
    try:
        client.run(atoms, use_stress=has_stress)  # type: ignore[no-untyped-call]
    except (OSError, AssertionError) as error:
        _went_away(name, client, error)
    if client.protocol.last != "EXIT":
        _went_away(name, client, None)
    return ServeSummary(
        address=name,
        atoms=len(atoms),
        force_calls=client.calls,
        seconds=time.perf_counter() - begin,
        model_seconds=client.model_seconds,
    )


def _structure(structure: Atoms | str | Path) -> Atoms:
    """Return a structure without constraints."""
    atoms: Atoms
    if isinstance(structure, Atoms):
        atoms = structure.copy()
    else:
        *_, last = read_structures(structure)
        atoms = last
    atoms.set_constraint()
    return atoms


def _connect(
    name: str, address: tuple[str, int], wait_s: float, *, unix: bool
) -> socket.socket:
    """Return a connection; the server may be a little later."""
    end = time.monotonic() + wait_s
    while True:
        try:
            return _socket_of(name) if unix else socket.create_connection(address)
        except OSError as error:
            if time.monotonic() > end:
                raise SimulationError(
                    f"No server listens at {name} ({error.strerror or error}). Start "
                    "i-PI first, with the same address in its <ffsocket>."
                ) from error
        time.sleep(RETRY_S)


def _socket_of(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def _went_away(name: str, client: _Client, error: Exception | None) -> NoReturn:
    reason = f" ({error})" if error is not None and str(error) else ""
    raise SimulationError(
        f"The server at {name} went away after {client.calls} force calls without "
        f"saying that it was done{reason}. i-PI says so, ASE's SocketIOCalculator "
        "never does. If something went wrong, its own output says what: start it "
        "again, from its restart file if it wrote one, and then this command."
    ) from error
