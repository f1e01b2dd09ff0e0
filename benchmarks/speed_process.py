"""A subject of `engine_speed.py` in a process of its own, which works when it is asked.

So libraries and their threads do not disturb each other, and time and memory are the
subject's own. Questions and answers are lines of JSON. Memory is read where Linux
shows it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__)
sys.path.insert(0, str(HERE.parents[1]))

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "SYNTHZOO_THREADS",
    ),
    "1",
)
WARM_UPS, WARM_UP_S = 4, 2.0
"""Calls before those that count, and when they are enough if calls are slow."""

SMALL = 8
KIB_PER_MIB = 1024


class SubjectError(Exception):
    """The process of a subject ended; the message is its last word."""


class Subject:
    """A process that computes with one potential, or trains one network.

    ``name``: of `speed_subjects.CALCULATORS` or, if it is to be trained, of `NETWORKS`.
    ``folder``: that of `speed_subjects.load`; logs are written there, too.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                _command(name, folder, "serve"),
                env=os.environ | ONE_THREAD,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self, **question: Any) -> dict[str, Any]:
        """Return the answer of `_answers` to a question.

        Raises `SubjectError` if the process ends instead.
        """
        try:
            _pipe(self._process.stdin).write(json.dumps(question) + "\n")
            _pipe(self._process.stdin).flush()
        except BrokenPipeError:
            pass  # the missing answer says so
        line = _pipe(self._process.stdout).readline()
        if not line:
            self.close()
            raise SubjectError(_last_line(self._log))
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            _pipe(pipe).close()
        self._process.wait()


def start_cpu_s(name: str, folder: Path) -> float:
    """Return the processor time of a new process up to its first energy and its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        _command(name, folder, "start"),
        env=os.environ | ONE_THREAD,
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SubjectError((done.stderr.splitlines() or ["no message"])[-1])
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _command(name: str, folder: Path, task: str) -> list[str]:
    return [sys.executable, str(HERE), name, str(folder), task]


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def _last_line(log: Path) -> str:
    return (log.read_text(errors="replace").splitlines() or ["no message"])[-1]


def main(name: str, folder: Path, task: str) -> None:
    """Work as the process of a subject."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print what they like
    if task == "start":
        from ase.build import bulk

        from benchmarks.speed_subjects import load

        atoms = bulk("C")
        atoms.calc = load(name, folder)
        atoms.get_potential_energy()
        return
    for answer in _answers(name, folder):
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answers(name: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the answers to the questions on standard input.

    A question names the ``work``, the number of ``atoms`` and the ``seconds`` of
    processor time that it may take. It is answered with calls, their time, and the peak
    of memory since the last question, in MiB. For the work ``memory`` that is only what
    has come on top of a small structure.
    """
    from benchmarks.speed_work import timed

    find = _work_of(name, folder)
    current, pieces = None, None
    for line in sys.stdin:
        question = json.loads(line)
        asked = question["work"], question["atoms"]
        base_mib = 0.0
        if question["work"] == "memory":
            _warm_up(find("dynamics", SMALL))
            ctypes.CDLL(None).malloc_trim(0)  # what was freed is no reserve
            base_mib = _status_mib("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak
        if pieces is None or asked != current:
            current, pieces = asked, find(*asked)
            _warm_up(pieces)
        found = timed(pieces, question["seconds"])._asdict()
        yield found | {"peak_mib": _status_mib("VmHWM") - base_mib}


def _work_of(
    name: str, folder: Path
) -> Callable[[str, int], Iterator[Callable[[], object]]]:
    """Return what finds pieces of work by their name and number of atoms."""
    from benchmarks import speed_subjects, speed_work

    elements = speed_subjects.ELEMENTS.get(name, ("C",))
    calculator = None

    def find(work: str, atoms: int) -> Iterator[Callable[[], object]]:
        nonlocal calculator
        if work == "training":
            cutoff_A = speed_subjects.describe(speed_subjects.MODEL).cutoff_A
            network = speed_subjects.load_network(name)
            return speed_work.training_steps(network, elements, cutoff_A)
        calculator = calculator or speed_subjects.load(name, folder)
        crystal = speed_work.diamond(atoms, elements)
        if work == "new structures":
            return speed_work.new_structures(crystal, calculator)
        return speed_work.dynamics(crystal, calculator)

    return find


def _warm_up(pieces: Iterator[Callable[[], object]]) -> None:
    from benchmarks.speed_work import timed

    spent_s = 0.0
    for _ in range(WARM_UPS):
        spent_s += timed(pieces, 0.0).cpu_s
        if spent_s > WARM_UP_S:
            return


def _status_mib(field: str) -> float:
    """Return how much memory this process has or had, as the kernel counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / KIB_PER_MIB
    raise KeyError(field)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
