"""A real Dask cluster on this machine: a scheduler and workers, one process each."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parents[1]
LIMIT_S = 60.0


class DaskCluster:
    """Processes that can be killed.

    Parameters
    ----------
    folder
        Where the scheduler notes its address, and all write their logs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._note = folder / "scheduler.json"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"
        )
        end = time.monotonic() + LIMIT_S
        while not self._note.is_file() or not self._note.read_text():
            assert time.monotonic() < end, "the scheduler did not start"
            time.sleep(0.05)
        self.address: str = json.loads(self._note.read_text())["address"]

    def add_worker(self, *, cwd: Path = HERE) -> subprocess.Popen[bytes]:
        """Start a worker with one thread and no nanny that would replace it."""
        worker = self._start(
            "worker", "--nthreads", "1", "--no-nanny", "--no-dashboard", cwd=cwd
        )
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        """End everything."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()

    def _start(
        self, role: str, *options: str, cwd: Path = HERE
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{role}", *options]
        with (self._folder / f"{role}.log").open("ab") as log:
            return subprocess.Popen(
                [*command, "--scheduler-file", str(self._note)],
                cwd=cwd,
                env={**os.environ, "PYTHONPATH": str(HERE)},
                stdout=log,
                stderr=log,
            )


@contextlib.contextmanager
def dask_cluster(folder: Path, workers: int) -> Iterator[DaskCluster]:
    """Give a cluster with some workers."""
    cluster = DaskCluster(folder)
    try:
        for _ in range(workers):
            cluster.add_worker()
        yield cluster
    finally:
        cluster.close()
