"""The command that turns a checkpoint of 2023 into one of today: import-paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import synthzoo
from synthzoo.cli.options import (
    NEW,
    POSITIVE,
    READ,
    echo_result,
    format_option,
    given,
    json_option,
    main,
)


@main.command("import-paper")
@click.argument("file", type=READ)
@click.option("-o", "--output", type=NEW, required=True, help="Folder to make.")
@click.option(
    "--avg-num-neighbors",
    type=POSITIVE,
    help="Average number of neighbours in training, which FILE does not contain.",
)
@click.option(
    "--calibrate",
    "calibrate_with",
    type=READ,
    help="Structures labelled by the teacher of FILE, from which to find that number.",
)
@click.option("--energy-key", help="Key of their energies, such as ace_energy.")
@click.option("--forces-key", help="Key of their forces, such as ace_forces.")
@format_option
@click.option(
    "--element",
    "elements",
    multiple=True,
    help="Chemical symbol of each atom type, in the order of FILE; may be repeated. C "
    "by default.",
)
@click.option(
    "--cutoff",
    "cutoff_A",
    type=POSITIVE,
    help="Cutoff radius in Å; 4 by default.",
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

    FILE is one of those published with the paper of 2023, or a network of any width and
    depth with the same nonlinearities (shifted softplus) and envelope exponent (6).
    Nothing in FILE is executed.
    """
    summary = synthzoo.import_paper(file, output, **given(elements=elements, **options))
    echo_result(summary, as_json=as_json)
