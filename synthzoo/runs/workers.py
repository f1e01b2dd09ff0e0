"""Native code in a process of its own: its death or silence costs one item only.

Teachers are native code, which may end the process it runs in or never come back. Each
thread that labels has a child process that does it in its place, and waits for one
answer after the other. If the child dies or is silent for too long, the thread knows on
which item, and goes on with the next one in a new child.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import IO, Any, NamedTuple, TypeVar

from synthzoo.errors import SynthzooError, TeacherError

Item = TypeVar("Item")
Result = TypeVar("Result")
Make = Callable[[], Callable[[Item], Result]]
"""Loads what is needed in the child and returns what is called for each item."""

START_LIMIT_S = 600.0
"""A child that has not loaded its teacher by then is given up."""

IDLE_LIMIT_S = 300.0
"""A child without work for so long ends: its memory may be wanted elsewhere."""

CRASHED, SILENT = "crashed", "no answer in time"

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from synthzoo.runs.workers import serve; serve(int(sys.argv[2]), int(sys.argv[3]))"
)
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
)
_QUOTED_CHARACTERS = 200
_PR_SET_PDEATHSIG = 1
_STDOUT = 1
_THIS_THREAD = threading.local()


@dataclass(frozen=True, kw_only=True)
class Lost:
    """Stands for the result of an item on which the child was lost.

    Attributes
    ----------
    kind
        `CRASHED` or `SILENT`.
    reason
        What happened, in words.
    loaded
        Whether it happened after what is needed was loaded.
    """

    kind: str
    reason: str
    loaded: bool


class ChildTracebackError(Exception):
    """The traceback, as text, of an error that was raised in the child."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _Answer(NamedTuple):
    value: Any = None
    error: Exception | None = None
    traceback: str = ""
    printed: int = 0


class Child:
    """A process that computes items one by one and answers after each."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        # Not a pipe: nobody would empty it. Parent and child share the place in it.
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115  see `_end`
        arguments = [json.dumps(sys.path), str(theirs.fileno()), str(os.getpid())]
        self._process = subprocess.Popen(  # noqa: S603  our own interpreter
            [sys.executable, "-c", _START, *arguments],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_ONE_THREAD},
        )
        theirs.close()
        self._heard = 0  # bytes that were printed before the last answer
        self._end = weakref.finalize(
            self, _end, self._process, self._connection, self._printed
        )

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def compute(
        self, make: Make[Item, Result], items: Sequence[Item], limit_s: float | None
    ) -> Iterator[Result | Lost]:
        """Yield the result of each item as soon as it is there.

        Parameters
        ----------
        make
            Called once for all items; picklable, as are items and results.
        items
            What to compute, in order.
        limit_s
            Longest time for one item.

        Yields
        ------
        result
            In the order of the items. After `Lost` there is nothing more: the process
            has died, or was ended since it was silent for too long.

        Raises
        ------
        Exception
            What ``make`` or the function that it returned has raised.
        """
        self._printed.seek(0)
        self._printed.truncate()
        self._heard = 0
        complete = False
        try:
            for answer in self._answers((make, items), limit_s):
                yield answer
                if isinstance(answer, Lost):
                    return
            complete = True
        finally:
            if not complete:
                self.close()

    def close(self) -> None:
        """End the process; nothing that it might still do is of interest."""
        self._end()

    def kill(self) -> None:
        """Kill the process from another thread; the one that waits for it finds out."""
        self._process.kill()

    def _answers(
        self, work: tuple[Any, Sequence[Any]], limit_s: float | None
    ) -> Iterator[Any]:
        lost = self._answer(START_LIMIT_S, loaded=False)
        if lost is None:
            with contextlib.suppress(OSError):  # it has died; the next answer says why
                self._connection.send(work)
            lost = self._answer(START_LIMIT_S, loaded=False)
        if lost is not None:
            yield lost
            return
        for _ in work[1]:
            yield self._answer(limit_s, loaded=True)

    def _answer(self, limit_s: float | None, *, loaded: bool) -> Any:
        try:
            if not self._connection.poll(limit_s):
                reason = f"gave no answer in {limit_s:g} s"
                return Lost(kind=SILENT, reason=reason, loaded=loaded)
            answer: _Answer = self._connection.recv()
        except (EOFError, OSError):
            return Lost(kind=CRASHED, reason=self._obituary(), loaded=loaded)
        self._heard = answer.printed
        if answer.error is not None:
            raise answer.error from ChildTracebackError(answer.traceback)
        return answer.value

    def _obituary(self) -> str:
        code = self._process.wait()
        if code == -signal.SIGKILL:
            reason = "was killed by the system (SIGKILL; out of memory?)"
        elif code < 0:
            reason = f"crashed ({signal.Signals(-code).name})"
        else:
            reason = f"ended its process (exit code {code})"
        self._printed.seek(self._heard)
        lines = self._printed.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"{reason}, saying: {last[-_QUOTED_CHARACTERS:]}" if last else reason


def _end(
    process: subprocess.Popen[bytes], connection: Connection, printed: IO[bytes]
) -> None:
    process.kill()
    process.wait()
    connection.close()
    printed.close()


class GuardedThreads(ThreadPoolExecutor):
    """Threads of this process, each with a child that computes for it.

    Parameters
    ----------
    count
        How many.
    """

    def __init__(self, count: int) -> None:
        super().__init__(count, thread_name_prefix="guarded")
        self.children: set[Child] = set()
        self.abandoned = False

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Any:
        """Run a function in one of the threads.

        Parameters
        ----------
        function
            What to run.
        *arguments, **named
            Its arguments.
        """
        return super().submit(self._run, function, *arguments, **named)

    def abandon(self) -> None:
        """End all children at once, in the middle of whatever they do."""
        self.abandoned = True
        for child in list(self.children):
            child.kill()

    def __exit__(self, kind: object, *_: object) -> None:
        """Wait for the threads and end their children; after an error, at once."""
        if kind is not None:
            self.abandon()
        self.shutdown()
        for child in self.children:
            child.close()
        self.children.clear()

    def _run(self, function: Any, *arguments: Any, **named: Any) -> Any:
        _THIS_THREAD.pool = self
        return function(*arguments, **named)


def abandon(executor: Executor) -> None:
    """Do not let an executor's threads finish what they do, if they are ours.

    Parameters
    ----------
    executor
        Any; only `GuardedThreads` can be told.
    """
    if isinstance(executor, GuardedThreads):
        executor.abandon()


def compute_guarded(
    make: Make[Item, Result], items: Sequence[Item], *, limit_s: float | None
) -> Iterator[Result | Lost]:
    """Yield the result of each item, computed in this thread's child process.

    An item on which the child is silent for too long is lost; one on which it dies is
    tried once more in a new child, since another cause may have hit a bystander.
    What was computed before is not computed again.

    Parameters
    ----------
    make
        Loads what is needed in the child and returns the function for one item; both
        are made known to the child by pickle, as are items and results.
    items
        What to compute, in order.
    limit_s
        Longest time for one item; any if not given.

    Yields
    ------
    result
        In the order of the items; `Lost` where the child was lost.

    Raises
    ------
    TeacherError
        If the child is lost before the first item, as often as it is started.
    Exception
        What ``make`` or the function has raised.
    """
    done, is_retry = 0, False
    while done < len(items):
        for result in this_child().compute(make, items[done:], limit_s):
            lost = result if isinstance(result, Lost) else None
            if lost is not None and lost.kind == CRASHED and not is_retry:
                is_retry = True
                break
            if lost is not None and not lost.loaded:
                raise TeacherError(f"The teacher {lost.reason} while it was loaded.")
            yield result
            done, is_retry = done + 1, False


def call_guarded(
    function: Callable[[], Result], *, limit_s: float | None
) -> Result | Lost:
    """Return what a function gives in this thread's child; see `compute_guarded`.

    Parameters
    ----------
    function
        Picklable.
    limit_s
        Longest time; any if not given.

    Raises
    ------
    Exception
        What the function has raised.
    """
    (result,) = compute_guarded(_Caller, [function], limit_s=limit_s)
    return result


class _Caller:
    def __call__(self, function: Callable[[], Result]) -> Result:
        return function()


def this_child() -> Child:
    """Return the child of this thread, a new one if it has none that lives.

    Raises
    ------
    SynthzooError
        If the thread belongs to a pool that was told to stop.
    """
    pool: GuardedThreads | None = getattr(_THIS_THREAD, "pool", None)
    child: Child | None = getattr(_THIS_THREAD, "child", None)
    if child is None or not child.alive:
        close_child()
        child = _THIS_THREAD.child = Child()
        if pool is not None:
            pool.children.add(child)
    if pool is not None and pool.abandoned:  # looked at last: `abandon` sees the child
        child.close()
        raise SynthzooError("The run was stopped.")
    return child


def close_child() -> None:
    """End the child of this thread, if it has one."""
    pool: GuardedThreads | None = getattr(_THIS_THREAD, "pool", None)
    child: Child | None = getattr(_THIS_THREAD, "child", None)
    if child is not None:
        child.close()
        del _THIS_THREAD.child
        if pool is not None:
            pool.children.discard(child)


def serve(descriptor: int, parent: int) -> None:
    """Compute what the parent asks for until it is gone; the child's whole life.

    Parameters
    ----------
    descriptor
        Of the connection to the parent.
    parent
        Number of the parent's process.
    """
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    connection = Connection(descriptor)
    with contextlib.suppress(EOFError, OSError):
        while True:
            _send(connection, _Answer())
            if not connection.poll(IDLE_LIMIT_S):
                return
            _serve_once(connection)


def _serve_once(connection: Connection) -> None:
    content = connection.recv_bytes()
    try:
        make, items = pickle.loads(content)  # noqa: S301  from our own parent
        function = make()
        _send(connection, _Answer())
        for item in items:
            _send(connection, _Answer(value=function(item)))
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:  # noqa: BLE001  the parent raises it
        text = traceback.format_exc()
        _send(connection, _Answer(error=_portable(error), traceback=text))


def _send(connection: Connection, answer: _Answer) -> None:
    printed = os.fstat(_STDOUT).st_size
    connection.send(answer._replace(printed=printed))


def _portable(error: Exception) -> Exception:
    """Return an error, or one with its text where it cannot be pickled and read."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    except Exception:  # noqa: BLE001  anything may be wrong with a foreign class
        return SynthzooError(f"{type(error).__name__}: {error}")
    return error


def _die_with(parent: int) -> None:
    """Have the kernel end this process with the thread that started it.

    Elsewhere than on Linux the child ends when it cannot send its next answer.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)
