"""The command that makes a potential of any material: distill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import synthzoo
from synthzoo.cli.options import (
    MODEL,
    NEW,
    POSITIVE,
    READ,
    echo_json,
    echo_result,
    energy_key_option,
    forces_key_option,
    format_option,
    json_option,
    main,
    note,
    workers_option,
)


@main.command()
@click.argument("data", nargs=-1, required=True)
@click.option(
    "--teacher",
    type=MODEL,
    required=True,
    help="Potential that knows your elements, such as chgnet:0.3.0 or nep:FILE.",
)
@click.option("-o", "--output", type=NEW, help="Folder to make.")
@click.option(
    "--minutes",
    type=POSITIVE,
    default=30.0,
    show_default=True,
    help="Time that it may take on this machine, about.",
)
@click.option("--check", "only_check", is_flag=True, help="Tell the plan; fit nothing.")
@click.option(
    "--test",
    type=READ,
    multiple=True,
    help="Labelled structures to test the result on; may be repeated.",
)
@energy_key_option
@forces_key_option
@format_option
@click.option("--drop-bad", is_flag=True, help="Leave out structures with errors.")
@click.option(
    "--compare-direct/--no-compare-direct",
    default=None,
    help="Also train a new network on your structures alone, for comparison; by "
    "default where that takes a small part of the time.",
)
@click.option("--seed", type=int, default=0, help="Random seed.")
@workers_option
@json_option
def distill(
    data: tuple[str, ...],
    *,
    output: Path | None,
    only_check: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Make a potential of any material from a few DFT structures.

    Synthetic structures are made around those in DATA and labelled by the teacher, a
    potential that knows your elements, however roughly. A small network learns them and
    is then fine-tuned on DATA. If the command is interrupted, give it again: it
    continues where it stopped.
    """
    if only_check:
        del options["seed"]
        lines = synthzoo.plan_distillation(data, **options)
        if as_json:
            echo_json({"plan": lines})
        else:
            click.echo("\n".join(lines))
        return
    if output is None:
        raise click.UsageError("Give the folder to make (-o), or --check.")
    made = synthzoo.distill(data, output=output, tell=note, **options)
    echo_result(made, as_json=as_json)
