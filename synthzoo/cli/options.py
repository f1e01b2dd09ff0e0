"""The group of all commands, and how they read options and print."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from synthzoo import __version__
from synthzoo.cli.listing import SECTIONS, ListedByJob
from synthzoo.errors import InterruptedRunError, SynthzooError
from synthzoo.runs.files import DISK_FAULTS


class OneLineErrors(ListedByJob):
    """Turns the errors that users can mend into one line on stderr and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            with _warnings_in_one_line():
                return super().invoke(ctx)
        except SynthzooError as error:
            raise click.ClickException(" ".join(str(error).split())) from error
        except InterruptedRunError as error:
            note(f"Aborted! {error}")
            ctx.exit(1)
        except OSError as error:
            if error.errno in DISK_FAULTS:
                raise click.ClickException(str(error)) from error
            raise


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Print synthzoo's own warnings as notes: their place in the code helps nobody."""
    with warnings.catch_warnings():
        show_others = warnings.showwarning

        def show(
            message: Warning | str, category: type[Warning], *place: Any, **more: Any
        ) -> None:
            if category.__module__.startswith("synthzoo."):
                note(f"Warning: {message}")
            else:
                show_others(message, category, *place, **more)

        warnings.showwarning = show
        yield


class ModelType(click.ParamType[str]):
    """A name of the zoo, a checkpoint folder, or hf:organisation/name."""

    name = "model"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002  click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Offer the names of the zoo, or else folders."""
        from synthzoo.zoo.registry import model_cards

        names = [name for card in model_cards() for name in card.names]
        known = [CompletionItem(name) for name in names if name.startswith(incomplete)]
        return known or [CompletionItem(incomplete, type="dir")]


class NumbersType(click.ParamType[tuple[float, ...]]):
    """Numbers of a kind, int or float, with commas between them: 25,100,800."""

    name = "numbers"

    def __init__(self, kind: type[float]) -> None:
        self.kind = kind

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[float, ...]:
        """Return the numbers."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.kind(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not of the form 25,100,800.", param, ctx)


MODEL = ModelType()
READ = click.Path(path_type=Path)
POSITIVE = click.FloatRange(min=0, min_open=True)
NEW = click.Path(path_type=Path)

trust_option = click.option(
    "--trust",
    is_flag=True,
    help="Let RECIPE name any Python class as its teacher (ase:). Use it only for "
    "files of your own or of people you trust.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for other programs."
)
device_option = click.option(
    "--device", help="cpu, cuda, cuda:1, ...; by default a GPU if there is one."
)

compile_option = click.option(
    "--compile", is_flag=True, help="Compile the network for a GPU first, for minutes."
)
kernels_option = click.option(
    "--kernels",
    type=click.Choice(["openequivariance", "cuequivariance"]),
    help="Library that computes tensor products on a GPU.",
)


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set an environment variable, for child processes too, and put it back."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def _use_threads(
    context: click.Context, _: click.Parameter, threads: int | None
) -> None:
    if threads is not None:
        from synthzoo.models.engine.threads import SETTING

        context.with_resource(_environment(SETTING, str(threads)))


threads_option = click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    callback=_use_threads,
    expose_value=False,
    help="Threads of each process on a CPU; by default one for each physical core, but "
    "one alone in the processes of --workers.",
)
energy_key_option = click.option(
    "--energy-key",
    help="Key of the energies in the files, such as dft_energy; `energy` and "
    "`free_energy` are those that ASE reads itself.",
)
forces_key_option = click.option(
    "--forces-key", help="Key of the forces in the files, such as dft_forces."
)
format_option = click.option(
    "--format",
    help="Format of the files, as ASE calls it, such as vasp-xml; guessed by default.",
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Number of parallel processes; by default one for each core.",
)


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given: defaults are the called function's.

    One that may be repeated is an empty tuple if it was not given.
    """
    return {name: value for name, value in options.items() if value not in (None, ())}


def echo_json(value: Any) -> None:
    """Print JSON for other programs."""
    click.echo(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def echo_result(result: Any, *, as_json: bool) -> None:
    """Print a frozen dataclass as JSON, or one field a line.

    Several sentences have a line each, several words are on one line.
    """
    values = dataclasses.asdict(result)
    if as_json:
        echo_json(values)
        return
    width = max(map(len, values))
    for name, value in values.items():
        for number, line in enumerate(_lines(value)):
            click.echo(f"{'' if number else name:<{width}}  {line}".rstrip())


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{key}: {entry}" for key, entry in value.items()] or [""]
    if not isinstance(value, tuple):
        return [str(value)]
    entries = [str(entry) for entry in value]
    return entries if any(" " in entry for entry in entries) else [", ".join(entries)]


def echo_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns that line up."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


def note(message: str) -> None:
    """Print a message on stderr: results alone go to stdout."""
    click.echo(message, err=True)


@click.group(
    cls=OneLineErrors,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="synthzoo")
def main() -> None:
    """Interatomic potentials pre-trained on synthetic data.

    MODEL is a name from `synthzoo list`, the folder of a checkpoint, or
    hf:organisation/name, optionally with @revision; predict, evaluate and md also take
    teachers, such as LCBOP. `synthzoo COMMAND -h` explains a command.
    """


PROCESSES, DASK = "processes", "dask"


def place_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that `where_to_work` takes to a command."""
    for option in (
        click.option(
            "--scheduler", help="Address of Dask's scheduler: tcp://HOST:PORT."
        ),
        click.option(
            "--executor",
            type=click.Choice([PROCESSES, DASK]),
            default=PROCESSES,
            help="Run on this machine, or on a Dask cluster that sees the same files.",
        ),
        workers_option,
    ):
        command = option(command)
    return command


def training_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that `where_to_train` takes to a command."""
    for option in (
        click.option(
            "--tensorboard", is_flag=True, help="Also write logs for TensorBoard."
        ),
        kernels_option,
        click.option(
            "--compile",
            "compiled",
            is_flag=True,
            help="Compile the network before training.",
        ),
        click.option("--nodes", type=click.IntRange(min=1), help="Number of machines."),
        click.option(
            "--devices",
            type=click.IntRange(min=1),
            help="Number of GPUs in each machine, or of processes on a CPU.",
        ),
        device_option,
    ):
        command = option(command)
    return command


def where_to_train(*, tensorboard: bool, **place: Any) -> dict[str, Any]:
    """Return the arguments that say to a fit where it runs."""
    from synthzoo.training.place import TrainingPlace

    return {"place": TrainingPlace(**given(**place)), "tensorboard": tensorboard}


def pop_place(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options for `where_to_work` from those of a command."""
    return {name: options.pop(name) for name in ("workers", "executor", "scheduler")}


@contextlib.contextmanager
def where_to_work(
    workers: int | None, executor: str, scheduler: str | None
) -> Iterator[dict[str, Any]]:
    """Give the arguments that say to a function where its jobs run."""
    if executor == PROCESSES:
        if scheduler is not None:
            raise click.UsageError("--scheduler needs --executor dask.")
        yield given(workers=workers)
        return
    if scheduler is None:
        raise click.UsageError("--executor dask needs --scheduler tcp://HOST:PORT.")
    if workers is not None:
        raise click.UsageError("--workers is for this machine; a cluster has its own.")
    from synthzoo.runs.cluster import dask_executor

    with dask_executor(scheduler) as cluster:
        yield {"executor": cluster}


hottest_option = click.option(
    "--hottest-K",
    "hottest_K",
    type=POSITIVE,
    help="Highest temperature, instead of the protocol's.",
)
duration_option = click.option(
    "--duration", type=POSITIVE, help="Factor for all durations."
)
