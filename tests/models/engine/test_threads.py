"""Parts of a pass are shared by threads that help and never hinder."""

from __future__ import annotations

import os
import threading
import time

import pytest

from synthzoo.errors import InputError
from synthzoo.models.engine import threads
from synthzoo.models.engine.threads import (
    checked_threads,
    default_threads,
    share,
    useful_threads,
)


def test_every_part_is_done_once_and_stages_keep_their_order():
    done: list[tuple[int, int]] = []
    stages = [[(stage, part) for part in range(5)] for stage in range(20)]
    share(done.append, stages, 3)
    assert sorted(done) == sorted(part for stage in stages for part in stage)
    assert [stage for stage, _ in done] == sorted(stage for stage, _ in done)


def test_threads_work_at_the_same_time():
    """Two parts that wait for each other come to an end."""
    met = threading.Barrier(2, timeout=30)
    share(lambda _: met.wait(), [[1, 2]], 2)


def test_a_helper_that_comes_too_late_is_not_waited_for():
    """All helpers are busy elsewhere, for much longer than the work takes."""
    free = threading.Event()
    busy = threads._helpers(os.getpid(), 2).submit(free.wait, 30)
    started = time.monotonic()
    done: list[int] = []
    share(done.append, [[1, 2, 3]] * 10, 2)
    assert time.monotonic() - started < 10
    assert done == [1, 2, 3] * 10
    free.set()
    busy.result()


def test_an_error_in_any_part_is_raised():
    def fail(part: int) -> None:
        time.sleep(0.01)
        if part == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        share(fail, [[0, 1, 2, 3]], 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_has_helpers_of_its_own():
    """Those of its parent do not exist there."""
    share(lambda _: time.sleep(0.01), [[1, 2]], 2)
    child = os.fork()
    if not child:
        share(lambda _: time.sleep(0.01), [[1, 2]], 2)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_few_atoms_are_computed_by_one_thread():
    assert [useful_threads(n, 4) for n in (1, 100, 200, 10_000)] == [1, 1, 3, 4]


@pytest.mark.parametrize("given", [0, -1, 10_000, True])
def test_impossible_numbers_are_refused(given):
    with pytest.raises(InputError, match="threads must be from 1"):
        checked_threads(given)


def test_the_default_is_a_core_each_or_what_the_environment_says(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = default_threads()
    assert 1 <= cores <= (os.cpu_count() or 1)
    assert checked_threads(None) == cores
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert default_threads() == 1
    for odd in ("", "many", "0", "4096"):
        monkeypatch.setenv("OMP_NUM_THREADS", odd)
        assert default_threads() == cores


def test_the_setting_comes_first(monkeypatch):
    """It may ask for more threads than there are cores."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv(threads.SETTING, "7")
    assert default_threads() == 7
    monkeypatch.setenv(threads.SETTING, "70000")
    with pytest.raises(InputError, match="threads must be from 1"):
        default_threads()


def test_threads_of_one_core_count_once(monkeypatch, tmp_path):
    """And no more than the share of the processors that a container has."""
    for number in range(8):
        folder = tmp_path / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{number % 4},{number % 4 + 4}\n")
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(threads, "_CPUS", tmp_path)
    monkeypatch.setattr(threads, "_QUOTA", quota)
    monkeypatch.setattr(
        os, "sched_getaffinity", lambda _: {0, 1, 4, 5, 6}, raising=False
    )
    assert threads._usable_cores.__wrapped__() == 3
    quota.write_text("max 100000\n")
    assert threads._usable_cores.__wrapped__() == 3
    quota.write_text("200000 100000\n")
    assert threads._usable_cores.__wrapped__() == 2
