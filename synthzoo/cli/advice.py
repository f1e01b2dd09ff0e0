"""The command that says which structures to compute next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import synthzoo
from synthzoo.cli.options import (
    MODEL,
    NEW,
    READ,
    duration_option,
    echo_result,
    format_option,
    given,
    hottest_option,
    json_option,
    main,
)


@main.command()
@click.argument("model", type=MODEL)
@click.argument("structures", type=READ, nargs=-1, required=True)
@click.option(
    "-o", "--output", type=NEW, required=True, help="Extended XYZ file to write."
)
@click.option(
    "-n",
    "count",
    type=click.IntRange(min=1),
    help="Number of structures to choose; 20 by default.",
)
@click.option(
    "--protocol",
    help="Dynamics whose frames are candidates, too: quick, ramp, anneal, npt, "
    "melt-quench or a YAML file, as for md. If STRUCTURES are no more than are to be "
    "chosen, ramp by default; otherwise none.",
)
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    help="Number of runs of these dynamics; 4 by default.",
)
@hottest_option
@duration_option
@click.option("--seed", type=int, help="Random seed of the first run; 0 by default.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Runs at a time; one for each core by default.",
)
@format_option
@json_option
def suggest(
    model: str,
    structures: tuple[Path, ...],
    output: Path,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Choose the structures that are most worth computing next.

    They are chosen from STRUCTURES, or also from dynamics that MODEL runs from them:
    those with whose labels MODEL would be surest of all candidates, no two alike. MODEL
    has to know how sure it is, as models made by finetune do.
    """
    summary = synthzoo.suggest(model, structures, output, **given(**options))
    echo_result(summary, as_json=as_json)
