"""The command that makes one checkpoint into another: transmute-model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from synthzoo.cli.group import MODEL, NEW, echo_result, given, json_option, main


@main.command("transmute-model")
@click.argument("model", type=MODEL)
@click.option("-o", "--output", type=NEW, required=True, help="Checkpoint to make.")
@click.option("--element", required=True, help="Chemical symbol afterwards.")
@click.option("--scale", type=float, required=True, help="Factor of all lengths.")
@click.option("--energy-factor", type=float, help="Factor of all energies; 1 at first.")
@json_option
def transmute_model(model: str, output: Path, *, as_json: bool, **options: Any) -> None:
    """Turn MODEL into a starting point for another element.

    Carbon into silicon: --element Si --scale 1.5. No fit is needed: energies of the new
    one at scaled positions are exactly those of MODEL, times the factor.
    """
    from synthzoo.scaled_model import transmute_model as scale_and_rename

    summary = scale_and_rename(model, output, **given(**options))
    echo_result(summary, as_json=as_json)
