"""The command that runs molecular dynamics and gives a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import synthzoo
from synthzoo.cli.levels import level_option
from synthzoo.cli.options import (
    MODEL,
    NEW,
    POSITIVE,
    compile_option,
    device_option,
    duration_option,
    echo_json,
    format_option,
    given,
    hottest_option,
    json_option,
    kernels_option,
    main,
    note,
    place_options,
    pop_place,
    threads_option,
    where_to_work,
)


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
@level_option
@click.option(
    "--protocol",
    default="quick",
    show_default=True,
    help="quick, nve, ramp, anneal, npt, compress, melt-quench, or a YAML file.",
)
@click.option(
    "--replicas",
    type=click.IntRange(min=1),
    help="Number of runs with different seeds.",
)
@click.option("--seed", type=int, help="Random seed of the first run; 0 by default.")
@click.option(
    "--timestep-fs",
    type=POSITIVE,
    help="Time step; by default it depends on the lightest element.",
)
@click.option(
    "--thermostat",
    type=click.Choice(["langevin", "bussi", "nose-hoover"]),
    help="langevin by default.",
)
@duration_option
@hottest_option
@click.option(
    "--max-uncertainty",
    type=POSITIVE,
    help="End a run as failed where the model's own standard deviation of a force "
    "passes this, in eV/Å. For fine-tuned models that give one, on the CPU.",
)
@click.option("--relax", "relaxed", is_flag=True, help="Relax the structures first.")
@click.option(
    "--crystals",
    is_flag=True,
    help="Also compute lattice constants, bulk modulus and phonons of known crystals.",
)
@click.option(
    "--engine",
    type=click.Choice(["ase", "torch-sim"]),
    help="What moves the atoms: ase (the default), or torch-sim, which moves all runs "
    "as one batch, on a GPU if there is one.",
)
@format_option
@device_option
@compile_option
@kernels_option
@threads_option
@place_options
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

    START is a file that ASE reads: its last frame is the starting structure; START@:
    takes all frames in turn, START@0 the first. Several models get the same structures
    and seeds. The exit code is 0 only if all models pass. If the command is
    interrupted, give it again: it continues where it stopped.
    """
    from synthzoo.stability.results import verdict_values
    from synthzoo.stability.verdict import verdict_lines

    with where_to_work(**pop_place(options)) as where:
        verdicts = synthzoo.compare_md(
            models, start, output, **given(**options), **where
        )
    if as_json:
        echo_json([verdict_values(verdict) for verdict in verdicts])
    else:
        for verdict in verdicts:
            for line in verdict_lines(verdict):
                click.echo(line)
    note(f"The report is {output / 'report.md'}.")
    context.exit(0 if all(verdict.passed for verdict in verdicts) else 1)
