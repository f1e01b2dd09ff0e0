"""The command that turns a checkpoint of 2023 into one of today: import-paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import synthzoo
from synthzoo.cli.options import (
    NEW,
    READ,
    echo_result,
    format_option,
    given,
    json_option,
    main,
)


@main.command("import-paper")
@click.argument("file", type=READ)
@click.option("-o", "--output", type=NEW, required=True, help="Checkpoint to make.")
@click.option(
    "--avg-num-neighbors",
    type=click.FloatRange(min=0, min_open=True),
    help="Average number of neighbours in training; FILE does not hold it.",
)
@click.option(
    "--calibrate",
    "calibrate_with",
    type=READ,
    help="Structures labelled by FILE's teacher, to find that number with.",
)
@click.option("--energy-key", help="Where their energies are, such as ace_energy.")
@click.option("--forces-key", help="Where their forces are, such as ace_forces.")
@format_option
@click.option(
    "--element",
    "elements",
    multiple=True,
    help="Chemical symbol of a type, in FILE's order; C if not given.",
)
@click.option(
    "--cutoff",
    "cutoff_A",
    type=click.FloatRange(min=0, min_open=True),
    help="Cutoff in Å; 4 if not given.",
)
@json_option
def import_paper(
    file: Path,
    output: Path,
    elements: tuple[str, ...],
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Convert FILE, a network of nequip 0.5.6, to a checkpoint.

    Made for the files published with the paper of 2023 and others like them, of any
    width and depth: default nonlinearities (shifted softplus), envelope exponent 6.
    Nothing in FILE is executed.
    """
    summary = synthzoo.import_paper(file, output, **given(elements=elements, **options))
    echo_result(summary, as_json=as_json)
