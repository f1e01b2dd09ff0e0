"""Options that say where work is done: on this machine, or on a Dask cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import click

from synthzoo.cli.group import device_option, given, workers_option

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


def training_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that `where_to_train` takes to a command."""
    for option in (
        click.option("--tensorboard", is_flag=True, help="Write logs for it, too."),
        click.option(
            "--kernels",
            type=click.Choice(["openequivariance", "cuequivariance"]),
            help="Other tensor products for a GPU.",
        ),
        click.option(
            "--compile", "compiled", is_flag=True, help="Compile the network first."
        ),
        click.option("--nodes", type=click.IntRange(min=1), help="Machines."),
        click.option(
            "--devices",
            type=click.IntRange(min=1),
            help="GPUs of a machine, or processes on the CPU.",
        ),
        device_option,
    ):
        command = option(command)
    return command


def where_to_train(*, tensorboard: bool, **place: Any) -> dict[str, Any]:
    """Return the arguments that say to a fit where it runs."""
    from synthzoo.fitting.place import TrainingPlace

    return {"place": TrainingPlace(**given(**place)), "tensorboard": tensorboard}


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
