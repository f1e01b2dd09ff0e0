"""Native code that may crash or hang costs one item: threads with child processes.

Teachers are native code, which may end the process it runs in or never come back. Each
thread that labels has a child process that does it in its place, and waits for one
answer after the other. If the child dies or is silent for too long, the thread knows on
which item, and goes on with the next one in a new child.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from synthzoo.errors import SynthzooError, TeacherError
from synthzoo.runs.child import CRASHED, Child, Item, Lost, Make, Result

_THIS_THREAD = threading.local()


class GuardedThreads(ThreadPoolExecutor):
    """Threads of this process, each with a child that computes for it."""

    def __init__(self, count: int) -> None:
        super().__init__(count, thread_name_prefix="guarded")
        self.children: set[Child] = set()
        self.abandoned = False

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Any:
        """Run a function in one of the threads."""
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


class InProcess(Executor):
    """Runs each job at once, in this process, without a child that guards it."""

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Any:
        """Run a function, and return its result or error as a future."""
        future: Future[Any] = Future()
        outside = getattr(_THIS_THREAD, "unguarded", False)
        _THIS_THREAD.unguarded = True
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:  # noqa: BLE001  the future raises it
            future.set_exception(error)
        finally:
            _THIS_THREAD.unguarded = outside
        return future


def worker_threads(workers: int | None) -> GuardedThreads:
    """Return so many threads that each have a child process; one for each core."""
    return GuardedThreads(workers or os.cpu_count() or 1)


def abandon(executor: Executor) -> None:
    """Do not let an executor's threads finish what they do, if they are ours."""
    if isinstance(executor, GuardedThreads):
        executor.abandon()


def compute_guarded(
    make: Make[Item, Result], items: Sequence[Item], *, limit_s: float | None
) -> Iterator[Result | Lost]:
    """Yield the result of each item, computed in this thread's child process.

    In a job of `InProcess` there is no child: the items are computed here. An item on
    which the child is silent for too long is lost; one on which it dies is tried once
    more in a new child, since another cause may have hit a bystander. What was computed
    before is not computed again.

    ``make``: loads what is needed in the child and returns the function for one item;
    both are made known to the child by pickle, as are items and results.
    ``items``: what to compute, in order.
    ``limit_s``: longest time for one item; any if not given.
    Yields ``result``: in the order of the items; `Lost` where the child was lost.
    Raises what ``make`` or the function has raised.
    """
    if getattr(_THIS_THREAD, "unguarded", False):
        yield from map(make(), items)
        return
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
    """Return what a picklable function gives in this thread's child.

    See `compute_guarded`.
    """
    (result,) = compute_guarded(_Caller, [function], limit_s=limit_s)
    return result


class _Caller:
    def __call__(self, function: Callable[[], Result]) -> Result:
        return function()


def this_child() -> Child:
    """Return the child of this thread, a new one if it has none that lives."""
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
