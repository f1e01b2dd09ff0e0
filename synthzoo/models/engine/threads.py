"""Threads for the parts of a pass: as many as help, and none that waits awake."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from synthzoo.errors import InputError

ATOMS_PER_THREAD = 64
"""With fewer atoms for each, threads lose more by waiting than they gain."""

MOST = 1024

SETTING = "SYNTHZOO_THREADS"
"""Environment variable that says how many threads compute in each process."""

_CPUS = Path("/sys/devices/system/cpu")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def checked_threads(threads: int | None) -> int:
    """Return how many threads compute at most; `default_threads` if not given.

    Raises `InputError` for an impossible number.
    """
    if threads is None:
        return default_threads()
    if isinstance(threads, bool) or not 1 <= threads <= MOST:
        raise InputError(f"threads must be from 1 to {MOST}, not {threads!r}.")
    return threads


def default_threads() -> int:
    """Return how many threads compute in this process if nobody says so in a call.

    That is what the environment variable ``SYNTHZOO_THREADS`` says; else the number of
    physical cores that this process may use. Where ``OMP_NUM_THREADS`` is set, as it is
    in processes that share the cores with others of their kind, there are no more than
    that.
    """
    if wanted := _number_in(SETTING):
        return checked_threads(wanted)
    cores = _usable_cores()
    return min(cores, _number_in("OMP_NUM_THREADS") or cores)


def _number_in(variable: str) -> int | None:
    """Return the number in an environment variable, if there is one above 0."""
    text = os.environ.get(variable, "").partition(",")[0].strip()
    return int(text) if text.isdecimal() and int(text) else None


def useful_threads(atoms: int, threads: int) -> int:
    """Return how many of some threads are worth while for a number of atoms."""
    return max(1, min(threads, atoms // ATOMS_PER_THREAD))


@cache
def _usable_cores() -> int:
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:  # not on this system
        return os.cpu_count() or 1
    cores = {_core(number) for number in allowed}
    return max(1, min(len(cores), _quota()))


def _core(number: int) -> str:
    """Return what is the same for the threads of a physical core."""
    path = _CPUS / f"cpu{number}" / "topology" / "thread_siblings_list"
    try:
        return path.read_text()
    except OSError:
        return str(number)


def _quota() -> int:
    """Return how many processors' time a container may use."""
    try:
        quota, period = _QUOTA.read_text().split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):  # none, or no limit
        return MOST


@cache
def _helpers(process: int, threads: int) -> ThreadPoolExecutor:  # noqa: ARG001
    """Return threads of a process; a fork has lost those of its parent."""
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="synthzoo")


def share(
    work: Callable[[Any], object], stages: Sequence[Sequence[Any]], threads: int
) -> None:
    """Do the parts of each stage, a stage after the other.

    ``work``: does a part; it leaves the interpreter free for others meanwhile.
    ``threads``: this one and helpers. A helper that comes too late, because the machine
    is busy, is not waited for.
    """
    for parts in stages:
        if len(parts) == 1:
            work(parts[0])
        else:
            _share_stage(work, parts, threads)


def _share_stage(
    work: Callable[[Any], object], parts: Sequence[Any], threads: int
) -> None:
    turns = count()

    def take() -> None:
        while (turn := next(turns)) < len(parts):
            work(parts[turn])

    helpers = _helpers(os.getpid(), threads)
    futures: list[Future[None]] = [
        helpers.submit(take) for _ in range(min(threads, len(parts)) - 1)
    ]
    try:
        take()
    finally:
        for future in futures:
            if not future.cancel():
                future.result()
