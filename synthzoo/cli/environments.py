"""Commands on the environments of atoms."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import synthzoo
from synthzoo.cli.options import (
    MODEL,
    NEW,
    READ,
    echo_json,
    format_option,
    given,
    json_option,
    main,
    note,
)

if TYPE_CHECKING:
    from synthzoo.environments.map import MapSummary


@main.command("map")
@click.argument("model", type=MODEL)
@click.argument("structures", type=READ, nargs=-1, required=True)
@click.option("-o", "--output", type=NEW, required=True, help="Page (.html) to write.")
@click.option(
    "--by",
    type=click.Choice(["model", "soap"]),
    multiple=True,
    help="What describes environments: features of the model (default) or SOAP; both "
    "for comparison.",
)
@click.option(
    "--method",
    type=click.Choice(["umap", "tsne", "pca"]),
    help="How they come into the plane: UMAP by default.",
)
@click.option(
    "--onto",
    type=READ,
    help="Projection (.safetensors) of an earlier map: lay the environments onto it.",
)
@click.option(
    "--environments",
    type=click.IntRange(min=10),
    help="Most atoms that are shown; 30,000 by default.",
)
@click.option(
    "--like",
    multiple=True,
    help="Crystal to compare environments with: diamond, graphite, or a file; may be "
    "repeated.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    help="Key of the files whose values colour the environments; may be repeated.",
)
@click.option(
    "--clusters", type=click.IntRange(min=0), help="Number of clusters; 7 by default."
)
@click.option("--seed", type=click.IntRange(min=0), help="Of all that is random.")
@format_option
@json_option
def map_(
    model: str,
    structures: tuple[Path, ...],
    output: Path,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Draw the environments of atoms in STRUCTURES as a map.

    Environments that are alike for MODEL are close to each other. OUTPUT is a page for
    any browser, where a click on a point shows the atom and its neighbours; beside it
    are a picture, the structures with the places of their atoms, and the projection,
    which --onto takes. Each of STRUCTURES is a set with a colour of its own.
    """
    summary = synthzoo.map_environments(model, structures, output, **given(**options))
    if as_json:
        echo_json(dataclasses.asdict(summary))
        return
    _print(summary)


def _print(summary: MapSummary) -> None:
    if summary.said:
        note(summary.said)
    click.echo(f"{summary.environments:,} environments: {summary.page}")
    for each in summary.separation:
        silhouette = (
            "" if each.silhouette is None else f"; silhouette {each.silhouette:.2f}"
        )
        click.echo(
            f"by {each.by}: of the ten nearest environments, {each.purity:.0%} have as "
            f"many bonds{silhouette}"
        )
    for by, shares in summary.outside.items():
        for name, share in shares.items():
            click.echo(f"by {by}: {share:.1%} of {name} lies outside of the map")
