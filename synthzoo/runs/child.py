"""A child process: a fresh interpreter that computes items and answers after each.

It reads requests from its standard input and writes answers to its standard output,
which works on every system. The process pools of multiprocessing, and pebble's, which
is built on it, do not fit. They start nothing inside a worker of a Dask cluster that
has a nanny. They run the user's script again in each child unless its main part is
guarded. And pebble's waits for ever for a child that ends with exit code 0, as
Fortran's STOP does.
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
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, NamedTuple, NoReturn, TypeVar

from synthzoo.errors import SynthzooError

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
    "from synthzoo.runs.child import serve; serve(int(sys.argv[2]))"
)
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
)
_QUOTED_CHARACTERS = 200
_FIRST_WINDOWS_FAULT = 0xC0000000
_PR_SET_PDEATHSIG = 1
_STDIN, _STDOUT, _STDERR = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Lost:
    """Stands for the result of an item on which the child was lost.

    ``loaded``: whether it happened after what is needed was loaded.
    """

    kind: str
    reason: str
    loaded: bool


class ChildTracebackError(Exception):
    """The traceback, as text, of an error that was raised in the child."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


Messages = SimpleQueue[bytes | None]


class _Answer(NamedTuple):
    value: Any = None
    error: Exception | None = None
    traceback: str = ""
    printed: int = 0


class Child:
    """A process that computes items one by one and answers after each."""

    def __init__(self) -> None:
        # Not a pipe: nobody would empty it. Parent and child share the place in it.
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115  see `_end`
        self._process = subprocess.Popen(  # noqa: S603  our own interpreter
            [sys.executable, "-c", _START, json.dumps(sys.path), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            env={**os.environ, **_ONE_THREAD},
        )
        self._answers: Messages = SimpleQueue()
        _in_background(_read, _pipe(self._process.stdout), self._answers)
        self._heard = 0  # bytes that were printed before the last answer
        self._end = weakref.finalize(self, _end, self._process, self._printed)

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
        """Yield the result of each item, in order, as soon as it is there.

        After `Lost` there is nothing more: the process has died, or was ended since it
        was silent for too long. What `make` or its function raises is raised here.
        """
        self._printed.seek(0)
        self._printed.truncate()
        self._heard = 0
        complete = False
        try:
            for answer in self._results((make, items), limit_s):
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

    def _results(
        self, work: tuple[Any, Sequence[Any]], limit_s: float | None
    ) -> Iterator[Any]:
        lost = self._answer(START_LIMIT_S, loaded=False)
        if lost is None:
            with contextlib.suppress(OSError):  # it has died; the next answer says why
                _send(_pipe(self._process.stdin), work)
            lost = self._answer(START_LIMIT_S, loaded=False)
        if lost is not None:
            yield lost
            return
        for _ in work[1]:
            yield self._answer(limit_s, loaded=True)

    def _answer(self, limit_s: float | None, *, loaded: bool) -> Any:
        try:
            content = self._answers.get(timeout=limit_s)
        except Empty:
            reason = f"gave no answer in {limit_s:g} s"
            return Lost(kind=SILENT, reason=reason, loaded=loaded)
        if content is None:
            return Lost(kind=CRASHED, reason=self._obituary(), loaded=loaded)
        answer: _Answer = pickle.loads(content)  # noqa: S301  from our own child
        self._heard = answer.printed
        if answer.error is not None:
            raise answer.error from ChildTracebackError(answer.traceback)
        return answer.value

    def _obituary(self) -> str:
        reason = exit_reason(self._process.wait())
        self._printed.seek(self._heard)
        lines = self._printed.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"{reason}, saying: {last[-_QUOTED_CHARACTERS:]}" if last else reason


def exit_reason(code: int) -> str:
    """Return how a process ended, in words.

    The code is negative for a signal, and a large number for a crash on Windows.

    Examples
    --------
    >>> exit_reason(-11), exit_reason(3), exit_reason(0xC0000005)
    ('crashed (SIGSEGV)', 'ended its process (exit code 3)', 'crashed (0xc0000005)')
    """
    if code >= _FIRST_WINDOWS_FAULT:
        return f"crashed ({code:#x})"
    if code >= 0:
        return f"ended its process (exit code {code})"
    name = signal.Signals(-code).name
    if name == "SIGKILL":
        return "was killed by the system (SIGKILL; out of memory?)"
    return f"crashed ({name})"


def _end(process: subprocess.Popen[bytes], printed: IO[bytes]) -> None:
    process.kill()
    process.wait()
    with contextlib.suppress(OSError):  # what was not sent yet has nowhere to go
        _pipe(process.stdin).close()
    printed.close()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("The process has no such pipe.")
    return stream


def _read(stream: IO[bytes], messages: Messages) -> None:
    """Put each message of a stream into a queue, and None at its end.

    This is for a thread: nothing else waits for a pipe for a limited time everywhere.
    """
    with stream, contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            messages.put(pickle.load(stream))  # noqa: S301  our own process
    messages.put(None)


def _in_background(function: Callable[..., object], *arguments: object) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()


def _send(stream: IO[bytes], message: object) -> None:
    """Write a message; a pickle of bytes says itself where it ends."""
    content = pickle.dumps(message)  # before anything is written: it may fail
    pickle.dump(content, stream)
    stream.flush()


def serve(parent: int) -> NoReturn:
    """Compute what the parent process asks for until it is gone."""
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    requests, answers = (
        os.fdopen(os.dup(_STDIN), "rb"),
        os.fdopen(os.dup(_STDOUT), "wb"),
    )
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), _STDIN)
    os.dup2(_STDERR, _STDOUT)  # what native code prints is no answer
    work: Messages = SimpleQueue()
    _in_background(_listen, requests, work)
    with contextlib.suppress(Empty, BrokenPipeError):
        _answer(answers, _Answer())
        while (content := work.get(timeout=IDLE_LIMIT_S)) is not None:
            _serve_once(content, answers)
            _answer(answers, _Answer())
    os._exit(0)  # the thread that reads the requests cannot be interrupted


def _listen(requests: IO[bytes], work: Messages) -> None:
    """Read requests; without a parent, end this process in the middle of its work."""
    _read(requests, work)
    os._exit(0)


def _serve_once(content: bytes, answers: IO[bytes]) -> None:
    try:
        make, items = pickle.loads(content)  # noqa: S301  from our own parent
        function = make()
        _answer(answers, _Answer())
        for item in items:
            _answer(answers, _Answer(value=function(item)))
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001  the parent raises it
        text = traceback.format_exc()
        _answer(answers, _Answer(error=_portable(error), traceback=text))


def _answer(stream: IO[bytes], answer: _Answer) -> None:
    printed = os.fstat(_STDERR).st_size
    _send(stream, answer._replace(printed=printed))


def _portable(error: Exception) -> Exception:
    """Return an error, or one with its text where it cannot be pickled and read."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    except Exception:  # noqa: BLE001  anything may be wrong with a foreign class
        return SynthzooError(f"{type(error).__name__}: {error}")
    return error


def _die_with(parent: int) -> None:
    """Have the kernel end this process with its parent, even in native code.

    Elsewhere than on Linux the child ends when it sees that no requests can come any
    more, which it cannot see while native code holds the interpreter's lock.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(0)
