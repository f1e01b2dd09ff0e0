"""The command that runs molecular dynamics and gives a verdict."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synthzoo.cli.options import (
    MODEL,
    NEW,
    device_option,
    echo_json,
    format_option,
    given,
    json_option,
    main,
    note,
    workers_option,
)

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.stability.protocol import MdRecipe

_FRAMES = re.compile(r"(?P<path>.+)@(?P<index>[-:\d]+)")
"""A file and the frames to take of it; another "@" is a part of the file's name."""

POSITIVE = click.FloatRange(min=0, min_open=True)


@main.command()
@click.argument("models", type=MODEL, nargs=-1, required=True, metavar="MODEL...")
@click.argument("start")
@click.option(
    "-o",
    "--output",
    type=NEW,
    default=Path("synthzoo-md"),
    show_default=True,
    help="Folder to make.",
)
@click.option(
    "--protocol",
    default="quick",
    show_default=True,
    help="quick, nve, ramp, anneal, npt, compress, melt-quench, or a YAML file.",
)
@click.option("--replicas", type=click.IntRange(min=1), help="Runs of the dynamics.")
@click.option("--seed", type=int, help="Of the first replica; 0 if not given.")
@click.option("--timestep-fs", type=POSITIVE, help="Chosen by the lightest atom.")
@click.option(
    "--thermostat",
    type=click.Choice(["langevin", "bussi", "nose-hoover"]),
    help="Langevin if not given.",
)
@click.option("--duration", type=POSITIVE, default=1.0, help="Factor of all durations.")
@click.option("--hottest-K", type=POSITIVE, help="Instead of the highest temperature.")
@click.option("--relax", "relaxed", is_flag=True, help="Relax the structure first.")
@click.option("--crystals", is_flag=True, help="Measure known crystals, too.")
@click.option(
    "--engine",
    type=click.Choice(["ase", "torch-sim"]),
    help="torch-sim moves all replicas as one batch, on a GPU if there is one; "
    "ase if not given.",
)
@format_option
@device_option
@workers_option
@json_option
@click.pass_context
def md(
    context: click.Context,
    /,
    models: tuple[str, ...],
    start: str,
    *,
    output: Path,
    protocol: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Run molecular dynamics and say whether MODEL survives.

    START is any file that ASE reads; of several frames the last one is used, or all
    with START@:, in turn. Several models get the same structures and seeds. Exits with
    1 unless all passed. The same command goes on where a killed one stopped.
    """
    from synthzoo.stability.check import compare_stability, find_protocol
    from synthzoo.stability.results import verdict_values
    from synthzoo.stability.verdict import verdict_lines

    recipe = find_protocol(protocol)
    verdicts = compare_stability(
        models,
        _read(start, options.pop("format")),
        output,
        protocol=_changed(recipe, options),
        **given(**options),
    )
    if as_json:
        echo_json([verdict_values(verdict) for verdict in verdicts])
    else:
        for verdict in verdicts:
            for line in verdict_lines(verdict):
                click.echo(line)
    note(f"Read {output / 'report.md'}.")
    context.exit(0 if all(verdict.passed for verdict in verdicts) else 1)


def _changed(recipe: MdRecipe, options: dict[str, Any]) -> MdRecipe:
    """Return the protocol with what the options say; they are taken from the others."""
    from synthzoo.stability.protocol import rescaled

    said = {key: options.pop(key) for key in ("replicas", "timestep_fs", "thermostat")}
    duration, hottest_K = options.pop("duration"), options.pop("hottest_k")
    recipe = dataclasses.replace(recipe, **given(**said))
    return rescaled(recipe, duration=duration, hottest_K=hottest_K)


def _read(start: str, format: str | None) -> list[Atoms]:
    """Return the last frame of a file, or those that an index asks for."""
    from synthzoo.data.structures import read_structures
    from synthzoo.errors import InputError

    chosen = _FRAMES.fullmatch(start)
    if chosen is None or Path(start).exists():
        return read_structures(start, format=format)[-1:]
    frames = read_structures(chosen["path"], format=format)
    index = chosen["index"]
    try:
        wanted = [int(part) if part else None for part in index.split(":")]
        taken = frames[slice(*wanted)] if ":" in index else [frames[int(index)]]
    except (ValueError, IndexError, TypeError) as error:
        raise InputError(
            f"{index!r} chooses none of the {len(frames)} frames of {chosen['path']}; "
            "write an index or a slice as in Python, such as @0 or @::10."
        ) from error
    if not taken:
        raise InputError(f"{index!r} chooses none of the {len(frames)} frames.")
    return taken
