"""A child process computes for its thread: what happens when it dies or is silent."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthzoo.errors import SynthzooError, TeacherError
from synthzoo.runs import child
from synthzoo.runs.child import CRASHED, SILENT
from synthzoo.runs.workers import (
    GuardedThreads,
    InProcess,
    call_guarded,
    close_child,
    compute_guarded,
    this_child,
)

HERE = Path(__file__).parents[2]
ITEMS = list(range(6))


def square(number: int) -> int:
    return number**2


def make_square() -> Callable[[int], int]:
    return square


class Faulty:
    """Squares numbers, does something else for one, and counts its calls in a file."""

    def __init__(self, calls: Path, fault: Callable[[], object]) -> None:
        self.calls, self.fault = calls, fault

    def __call__(self, number: int) -> int:
        """Note the call and answer, or do the other thing."""
        with self.calls.open("a") as stream:
            stream.write(f"{number}\n")
        if number in {2, 3}:
            self.fault()
        return number**2


def crash() -> None:
    ctypes.string_at(0)


def crash_once(marker: Path) -> None:
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def abort_with_a_word() -> None:
    os.write(2, b"Error termination: out of neighbours\n\n")
    os._exit(7)


def hang_in_c() -> None:
    ctypes.PyDLL(None).sleep(1000)


def load_badly() -> Callable[[int], int]:
    raise TeacherError("no such file")


class TwoPartsError(Exception):
    """Cannot be read back from a pickle: it wants two arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first}, {second}")


def raise_two_parts() -> None:
    raise TwoPartsError("a", "b")


@pytest.fixture(autouse=True)
def _own_child():
    yield
    close_child()


def run(calls: Path, fault: Callable[[], object], limit_s: float = 60.0) -> list[Any]:
    return list(compute_guarded(partial(Faulty, calls, fault), ITEMS, limit_s=limit_s))


def calls_of(calls: Path) -> list[int]:
    return [int(line) for line in calls.read_text().split()]


def is_alive(pid: int) -> bool:
    """Return whether a process is there, and is not only waiting to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until_gone(pid: int, limit_s: float = 10.0) -> bool:
    end = time.monotonic() + limit_s
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not is_alive(pid)


def test_results_come_in_order_from_one_child():
    """Nothing is lost when nothing breaks; the child is another process and stays."""
    assert list(compute_guarded(make_square, ITEMS, limit_s=60)) == [
        0,
        1,
        4,
        9,
        16,
        25,
    ]
    pids = {call_guarded(os.getpid, limit_s=60) for _ in range(3)}
    assert pids == {this_child().pid}
    assert os.getpid() not in pids


def test_a_crash_costs_its_item_only(tmp_path: Path):
    """A segmentation fault is named; other items are computed once, it itself twice."""
    calls = tmp_path / "calls"
    found = run(calls, crash)
    assert found[:2] + found[4:] == [0, 1, 16, 25]
    assert [(lost.kind, lost.reason) for lost in found[2:4]] == [
        (CRASHED, "crashed (SIGSEGV)")
    ] * 2
    assert calls_of(calls) == [0, 1, 2, 2, 3, 3, 4, 5]


def test_a_bystander_is_tried_again(tmp_path: Path):
    """What died once, killed from outside, is computed in the second attempt."""
    calls = tmp_path / "calls"
    found = run(calls, partial(crash_once, tmp_path / "marker"))
    assert found == [0, 1, 4, 9, 16, 25]
    assert calls_of(calls) == [0, 1, 2, 2, 3, 4, 5]


def test_the_last_word_is_part_of_the_reason(tmp_path: Path):
    """Codes that end the process say why before they do."""
    found = run(tmp_path / "calls", abort_with_a_word)
    assert found[2].reason == (
        "ended its process (exit code 7), saying: Error termination: out of neighbours"
    )


def test_a_hang_is_ended(tmp_path: Path):
    """Code that sleeps in C is killed after the limit, and is not tried again."""
    calls = tmp_path / "calls"
    found = run(calls, hang_in_c, limit_s=0.5)
    assert found[:2] + found[4:] == [0, 1, 16, 25]
    assert [(lost.kind, lost.reason) for lost in found[2:4]] == [
        (SILENT, "gave no answer in 0.5 s")
    ] * 2
    assert calls_of(calls) == ITEMS


@pytest.mark.parametrize("fault", [crash, hang_in_c])
def test_a_child_that_is_lost_while_loading_stops_the_work(
    fault: Any, monkeypatch: pytest.MonkeyPatch
):
    """No item is to blame then."""
    monkeypatch.setattr(child, "START_LIMIT_S", 2.0)
    with pytest.raises(TeacherError, match=r"(SIGSEGV|no answer).* while it was load"):
        list(compute_guarded(fault, ITEMS, limit_s=60))


def test_errors_pass_from_the_child():
    """An error is raised as what it is, with the child's traceback as its cause."""
    with pytest.raises(TeacherError, match="no such file") as caught:
        list(compute_guarded(load_badly, ITEMS, limit_s=60))
    assert "load_badly" in str(caught.value.__cause__)
    with pytest.raises(SynthzooError, match="TwoPartsError: a, b"):
        call_guarded(raise_two_parts, limit_s=60)


def draw() -> float:
    return float(np.random.rand())  # noqa: NPY002  what foreign code does


def test_the_child_has_one_thread_and_its_own_random_state():
    """Nothing but the items decides the results."""
    assert call_guarded(partial(os.getenv, "OMP_NUM_THREADS"), limit_s=60) == "1"
    before = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(3)  # noqa: NPY002
        expected = draw()
        np.random.seed(3)  # noqa: NPY002
        assert call_guarded(draw, limit_s=60) != expected
        assert draw() == expected
    finally:
        np.random.set_state(before)  # noqa: NPY002


def hang_visibly(marker: Path) -> None:
    """Hang in C, with the interpreter's lock, as soon as a file says so."""
    marker.touch()
    hang_in_c()


def work_visibly(marker: Path) -> None:
    """Be at work for long, as soon as a file says so."""
    marker.touch()
    time.sleep(1000)


SCRIPT = """
import sys
from functools import partial
from pathlib import Path
from synthzoo.runs.workers import call_guarded, this_child
from tests.runs import test_workers
print(this_child().pid, flush=True)
function = getattr(test_workers, sys.argv[1])
call_guarded(partial(function, Path(sys.argv[2])), limit_s=None)
"""
WITHOUT_PRCTL = """
from synthzoo.runs import child
child._START = child._START.replace(
    "import serve;", "import serve; import synthzoo.runs.child as c; c._die_with = id;"
)
"""


def child_of_killed_parent(
    script: str, work: Callable[[Path], None], marker: Path, *, begun: bool
) -> bool:
    """Kill a process; return whether its child is gone soon afterwards."""
    with subprocess.Popen(
        [sys.executable, "-c", script, work.__name__, str(marker)],
        cwd=HERE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        while begun and not marker.exists():
            time.sleep(0.01)
        assert is_alive(pid)
        process.kill()
    return wait_until_gone(pid)


@pytest.mark.parametrize("begun", [True, False])
def test_a_child_does_not_outlive_its_parent(tmp_path: Path, *, begun: bool):
    """Even one that hangs in C, or starts, is gone at once when the run is killed."""
    marker = tmp_path / "begun"
    assert child_of_killed_parent(SCRIPT, hang_visibly, marker, begun=begun)


def test_a_busy_child_ends_with_its_parent_on_any_system(tmp_path: Path):
    """It sees the end of its requests in the middle of its work, without prctl."""
    script, marker = WITHOUT_PRCTL + SCRIPT, tmp_path / "begun"
    assert child_of_killed_parent(script, work_visibly, marker, begun=True)


def test_threads_end_their_children():
    """After the pool, no process is left; each thread had one of its own."""
    barrier = threading.Barrier(2)

    def child_of_thread() -> int:
        barrier.wait()
        return this_child().pid

    with GuardedThreads(2) as pool:
        futures = [pool.submit(child_of_thread) for _ in range(2)]
        found = [future.result() for future in futures]
        assert len(set(found)) == 2
        assert all(map(is_alive, found))
    assert not any(map(is_alive, found))


def test_abandoned_threads_stop_at_once():
    """Ctrl-C does not wait for a hung teacher."""
    start = time.monotonic()
    with GuardedThreads(1) as pool:
        future = pool.submit(call_guarded, partial(time.sleep, 1000), limit_s=None)
        while not pool.children:
            time.sleep(0.01)
        pool.abandon()
        with pytest.raises(SynthzooError, match="stopped"):
            future.result()
    assert time.monotonic() - start < 30


def pids(_: int) -> tuple[int, object]:
    return os.getpid(), call_guarded(os.getpid, limit_s=60)


def executors() -> list[Callable[[], Executor]]:
    return [
        partial(ThreadPoolExecutor, 1),
        partial(ProcessPoolExecutor, 1, mp_context=get_context("spawn")),
    ]


@pytest.mark.parametrize("make", executors())
def test_any_executor_keeps_a_child_per_worker(make: Callable[[], Executor]):
    """The child is used again by the same worker, and is gone after it."""
    with make() as executor:
        found = list(executor.map(pids, range(3)))
        assert len(set(found)) == 1
        worker, child = found[0]
        assert isinstance(child, int)
        assert child != worker
    assert wait_until_gone(child)


def test_a_child_that_died_between_two_works_is_replaced():
    """The next work begins in a new one."""
    first = call_guarded(os.getpid, limit_s=60)
    assert isinstance(first, int)
    os.kill(first, signal.SIGKILL)
    assert call_guarded(os.getpid, limit_s=60) not in {first, None}


def test_an_idle_child_ends():
    """Workers of a cluster do other things, too; no memory is held for ever."""
    code = (
        "import os; from synthzoo.runs import child; "
        "child.IDLE_LIMIT_S = 0.1; child.serve(os.getppid())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,  # which stays open: the parent lives
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.wait(timeout=60) == 0


def test_exit_code_zero_is_a_loss(tmp_path: Path):
    """Fortran's STOP ends the process as if all were well; nobody waits for ever."""
    found = run(tmp_path / "calls", partial(os._exit, 0))
    assert found[2].reason == "ended its process (exit code 0)"


def test_a_script_without_a_guarded_main_part_can_have_children(tmp_path: Path):
    """The user's script is not run again in the child, as multiprocessing would."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os; from synthzoo.runs.workers import call_guarded\n"
        "print(call_guarded(os.getpid, limit_s=None) != os.getpid())\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=HERE, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def call_in_child(answer: Any) -> None:
    answer.put(call_guarded(os.getpid, limit_s=60))
    close_child()


def test_a_daemonic_process_can_have_children():
    """A worker of Dask with a nanny is one; multiprocessing forbids it children."""
    context = get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=call_in_child, args=(answer,), daemon=True)
    process.start()
    assert answer.get(timeout=60) not in {os.getpid(), process.pid}
    process.join()


def test_in_process_jobs_have_no_child():
    """For what cannot be sent to another process; an error is the future's."""
    with InProcess() as executor:
        assert executor.submit(call_guarded, os.getpid, limit_s=60).result() == (
            os.getpid()
        )
        failing = executor.submit(compute_guarded, load_badly, ITEMS, limit_s=60)
        with pytest.raises(TeacherError, match="no such file"):
            list(failing.result())
