"""The command that runs molecular dynamics and gives a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import synthzoo
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
@click.option("--duration", type=POSITIVE, help="Factor of all durations.")
@click.option(
    "--hottest-K",
    "hottest_K",
    type=POSITIVE,
    help="Instead of the highest temperature.",
)
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
    as_json: bool,
    **options: Any,
) -> None:
    """Run molecular dynamics and say whether MODEL survives.

    START is any file that ASE reads; of several frames the last one is used, or all
    with START@:, in turn. Several models get the same structures and seeds. Exits with
    1 unless all passed. The same command goes on where a killed one stopped.
    """
    from synthzoo.stability.results import verdict_values
    from synthzoo.stability.verdict import verdict_lines

    verdicts = synthzoo.compare_md(models, start, output, **given(**options))
    if as_json:
        echo_json([verdict_values(verdict) for verdict in verdicts])
    else:
        for verdict in verdicts:
            for line in verdict_lines(verdict):
                click.echo(line)
    note(f"Read {output / 'report.md'}.")
    context.exit(0 if all(verdict.passed for verdict in verdicts) else 1)
