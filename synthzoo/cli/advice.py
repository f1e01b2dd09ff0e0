"""Commands that give advice: which model, and which structures to compute next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import synthzoo
from synthzoo.cli.elements import pseudo_option
from synthzoo.cli.options import (
    MODEL,
    NEW,
    POSITIVE,
    READ,
    duration_option,
    echo_result,
    energy_key_option,
    forces_key_option,
    format_option,
    given,
    hottest_option,
    json_option,
    main,
    note,
    workers_option,
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
    "--known",
    multiple=True,
    help="Structures that have been computed, such as your data: a file or a pattern; "
    "may be repeated. They are not chosen again.",
)
@click.option(
    "--protocol",
    help="Dynamics whose frames are candidates, too: quick, ramp, anneal, npt, "
    "melt-quench or a YAML file, as for md. By default ramp if STRUCTURES are no more "
    "than are to be chosen, otherwise none.",
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
@click.option(
    "--code",
    help="DFT code whose inputs are written, a folder for each structure: vasp, "
    "espresso, cp2k or gpaw.",
)
@click.option(
    "--template",
    type=READ,
    help="Input of yours whose settings are used for all structures: an INCAR, an "
    "input of pw.x or CP2K, or a YAML file of GPAW's keywords.",
)
@pseudo_option
@click.option(
    "--k-spacing",
    "k_spacing_1_A",
    type=POSITIVE,
    help="Largest distance of k-points in these inputs, with the factor 2π (1/Å); 0.3, "
    "or what the template says, by default.",
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

    They are chosen from STRUCTURES, or also from dynamics that MODEL runs from them.
    Their labels would lower the uncertainty of all candidates most, so no two are
    alike. MODEL has to know how sure it is, as models made by finetune do.
    """
    summary = synthzoo.suggest(model, structures, output, **given(**options))
    echo_result(summary, as_json=as_json)


@main.command()
@click.argument("data", type=READ, nargs=1, required=True)
@click.argument("models", type=MODEL, nargs=-1, metavar="[MODEL]...")
@click.option("-o", "--output", type=NEW, required=True, help="Folder to make.")
@click.option(
    "--data",
    "more",
    type=READ,
    multiple=True,
    help="Another file of labelled structures; may be repeated.",
)
@click.option(
    "--for",
    "simulate",
    type=READ,
    multiple=True,
    help="Structures that you want to simulate: are they like the data? May be "
    "repeated.",
)
@click.option(
    "--goal",
    "goal_eV_A",
    type=POSITIVE,
    help="Force error that you want (eV/Å): how many structures would it take?",
)
@click.option(
    "--starts",
    type=click.IntRange(min=0),
    help="Number of networks of the zoo to fine-tune, if no MODEL is named; 1 by "
    "default.",
)
@click.option(
    "--also",
    type=click.Choice(["direct", "gap"]),
    multiple=True,
    help="direct: also train a new network on the data alone, which takes long. gap: "
    "also fit a Gaussian approximation potential with SOAP, which takes minutes.",
)
@click.option(
    "--fit-atoms",
    type=click.IntRange(min=0),
    help="Atoms that each fit of a network sees in all, at most; 30,000 by default, 0 "
    "for as many as with finetune.",
)
@energy_key_option
@forces_key_option
@format_option
@click.option("--drop-bad", is_flag=True, help="Leave out structures with errors.")
@click.option("--seed", type=click.IntRange(min=0), help="Random seed; 0 by default.")
@workers_option
@json_option
def advise(
    data: Path,
    models: tuple[str, ...],
    output: Path,
    more: tuple[Path, ...],
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Say which model suits DATA, and what to compute next.

    Simple models and fine-tuned networks are compared on parts of DATA that they have
    not seen, with few structures and with many. The report in the new folder has the
    errors, learning curves, unknown environments, and advice in three sentences. The
    command takes minutes. MODEL names the networks to fine-tune, instead of the best
    one of the zoo.
    """
    summary = synthzoo.advise(
        [data, *more], output, models=models, tell=note, **given(**options)
    )
    echo_result(summary, as_json=as_json)
