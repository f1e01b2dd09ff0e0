"""Commands on the environments of atoms."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import synthzoo
from synthzoo.cli.levels import level_option
from synthzoo.cli.options import (
    MODEL,
    NEW,
    POSITIVE,
    READ,
    NumbersType,
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
@level_option
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
    help="Lay the environments onto an earlier map: its projection (.safetensors), or "
    "a model that comes with a map of what it was trained on, such as carbon.",
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
@click.option("--seed", type=click.IntRange(min=0), help="Random seed.")
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


@main.command("local-energies")
@click.argument("teacher")
@click.argument("structures", type=READ, nargs=-1, required=True)
@click.option("-o", "--output", type=NEW, required=True, help="Folder of the results.")
@click.option(
    "--regressor",
    "regressors",
    type=click.Choice(["gpr", "network", "dkl"]),
    multiple=True,
    help="What learns: GPR and a network by default; dkl is a deep kernel. May be "
    "repeated.",
)
@click.option(
    "--sizes",
    type=NumbersType(int),
    help="Numbers of environments to fit, such as 1000,10000; by default as many as "
    "there are, up to 200000.",
)
@click.option(
    "--environments",
    type=click.IntRange(min=10),
    help="Most environments to describe; half as many again as the largest size by "
    "default.",
)
@click.option(
    "--representatives",
    type=NumbersType(int),
    help="M of GPR, 5000 by default; several, such as 5000,1000, for comparison.",
)
@click.option(
    "--sigma",
    "sigmas_meV",
    type=NumbersType(float),
    help="Regularisation of GPR in meV, 10 by default; several for comparison.",
)
@click.option("--zeta", type=click.IntRange(min=1), help="Power of the kernel; 4.")
@click.option(
    "--width", type=click.IntRange(min=1), help="Features of each hidden layer; 800."
)
@click.option(
    "--visits",
    type=click.IntRange(min=1),
    help="Environments that a network is shown, counting repetitions.",
)
@click.option(
    "--learning-rate",
    type=POSITIVE,
    help="Of networks; 0.001 by default.",
)
@click.option(
    "--dropout",
    type=click.FloatRange(0, 1, max_open=True),
    help="Of networks; none by default.",
)
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    help="Parts into which trajectories are divided; 5 by default.",
)
@click.option(
    "--tested",
    type=click.IntRange(min=1),
    help="Number of parts that errors are measured on; all by default.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Random seed.")
@format_option
@json_option
def local_energies(
    teacher: str,
    structures: tuple[Path, ...],
    output: Path,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Learn energies of atoms by TEACHER: learning curves.

    TEACHER is a name from `synthzoo teachers list`, has the form kind:what, such as
    ace:c_ace.yace, or is a network of the zoo. It labels the atoms of STRUCTURES, of
    which more and more are fitted; errors are those on other trajectories. The largest
    fits are kept, for `synthzoo.load_local_energies` in Python. If the command is
    interrupted, give it again: it continues where it stopped. With more sizes or
    regressors it adds to the results that are there.
    """
    summary = synthzoo.learn_local_energies(
        teacher, structures, output, **given(**options)
    )
    if as_json:
        echo_json(dataclasses.asdict(summary))
        return
    if summary.said:
        note(summary.said)
    click.echo(summary.table.read_text(encoding="utf-8"), nl=False)
    note(f"The results are in {summary.table}, {summary.values}, {summary.figure}.")
