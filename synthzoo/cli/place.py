"""Options that say where work is done: on this machine, or on a Dask cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import click

from synthzoo.cli.group import given, workers_option

PROCESSES, DASK = "processes", "dask"


def place_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that `where_to_work` takes to a command."""
    for option in (
        click.option("--scheduler", help="Of Dask, such as tcp://login1:8786."),
        click.option(
            "--executor",
            type=click.Choice([PROCESSES, DASK]),
            default=PROCESSES,
            help="Work here, or on a Dask cluster that sees the same files.",
        ),
        workers_option,
    ):
        command = option(command)
    return command


@contextlib.contextmanager
def where_to_work(
    workers: int | None, executor: str, scheduler: str | None
) -> Iterator[dict[str, Any]]:
    """Give the arguments that say to a stage of the chain where it works."""
    if executor == PROCESSES:
        if scheduler is not None:
            raise click.UsageError("--scheduler goes with --executor dask.")
        yield given(workers=workers)
        return
    if scheduler is None:
        raise click.UsageError("--executor dask needs --scheduler tcp://HOST:PORT.")
    if workers is not None:
        raise click.UsageError("--workers is for this machine; a cluster has its own.")
    from synthzoo.cluster import dask_executor

    with dask_executor(scheduler) as cluster:
        yield {"executor": cluster}
