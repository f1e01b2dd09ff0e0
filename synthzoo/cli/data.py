"""Commands on files of structures: inspect, estimate, thin, transmute."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from synthzoo.cli.group import (
    NEW,
    READ,
    echo_json,
    echo_result,
    energy_key_option,
    forces_key_option,
    format_option,
    given,
    json_option,
    main,
    note,
    trust_option,
)


@main.command("inspect")
@click.argument("data", type=READ, nargs=-1, required=True)
@click.option("-o", "--output", type=NEW, help="Figure to write, such as set.png.")
@click.option("--card", type=NEW, help="Markdown card to write, with its figure.")
@energy_key_option
@forces_key_option
@click.option("--stress-key", help="Where the stress is, such as dft_virial.")
@format_option
@json_option
def inspect_data(
    data: tuple[Path, ...],
    output: Path | None,
    card: Path | None,
    *,
    as_json: bool,
    **keys: Any,
) -> None:
    """Say what is in DATA, and what seems wrong with it.

    DATA are files in any format that ASE reads, or patterns such as 'runs/*/OUTCAR'.
    Exits with 1 if there are errors among the findings.
    """
    from synthzoo.inspection.summary import inspect_files
    from synthzoo.inspection.text import inspection_lines

    found = inspect_files(data, **given(**keys))
    if as_json:
        echo_json(found.values())
    else:
        click.echo("\n".join(inspection_lines(found)))
    if output is not None:
        from synthzoo.set_figure import draw_measures

        draw_measures(found.measures, output, title=found.headline)
        note(f"The figure is in {output}.")
    if card is not None:
        from synthzoo.set_card import write_set_card

        note(f"The card is in {write_set_card(found, card)}.")
    click.get_current_context().exit(
        any(finding.severity == "error" for finding in found.findings)
    )


@main.command()
@click.argument("recipe")
@click.option("--driver", help="Teacher that moves the atoms, such as ace:c_ace.yace.")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="Time steps of dynamics that are measured at each of a few densities.",
)
@trust_option
@json_option
def estimate(
    recipe: str, driver: str | None, steps: int | None, *, trust: bool, as_json: bool
) -> None:
    """Measure what RECIPE would make, and what it would cost.

    RECIPE is a file, or a name. A few short trajectories are run.
    """
    from synthzoo.cost import estimate_cost
    from synthzoo.recipes import GenerateRecipe, load_recipe
    from synthzoo.teachers.tested import called_apart

    loaded = load_recipe(GenerateRecipe, recipe, teacher=driver, trust=trust)
    found = called_apart(
        partial(estimate_cost, loaded, **given(steps=steps)), loaded.driver
    )
    echo_result(found, as_json=as_json)


@main.command()
@click.argument("structures", type=READ)
@click.argument("output", type=NEW)
@click.option("--keep", type=click.IntRange(min=1), required=True, help="How many.")
@click.option(
    "--cutoff", "cutoff_A", type=float, help="Radius of environments that are compared."
)
@click.option(
    "--environments",
    type=click.IntRange(min=1),
    help="Environments that stand for each structure.",
)
@click.option(
    "--one-of-each", help="Keep at least one for each value of this key, such as kind."
)
@format_option
@json_option
def thin(structures: Path, output: Path, *, as_json: bool, **options: Any) -> None:
    """Keep those of STRUCTURES that are least like each other.

    They are written to OUTPUT in their order.
    """
    from synthzoo.recipes import ThinRecipe
    from synthzoo.thinning import thin_file

    format = options.pop("format")
    recipe = ThinRecipe(**given(**options))
    summary = thin_file(structures, output, recipe=recipe, format=format)
    echo_result(summary, as_json=as_json)


@main.command()
@click.argument("structures", type=READ)
@click.argument("output", type=NEW)
@click.option("--element", required=True, help="Chemical symbol afterwards.")
@click.option("--scale", type=float, required=True, help="Factor of all lengths.")
@click.option("--energy-factor", type=float, help="Factor of all energies; 1 at first.")
@click.option(
    "--isolated-energy",
    "isolated_atom_energy_eV",
    type=float,
    help="Energy of a free atom, taken off first (eV); none if not given.",
)
@energy_key_option
@forces_key_option
@format_option
@json_option
def transmute(structures: Path, output: Path, *, as_json: bool, **options: Any) -> None:
    """Turn STRUCTURES and labels into those of another element.

    Carbon into silicon: --element Si --scale 1.5. Forces and stress follow the factors,
    so that forces stay the gradient of the energy.
    """
    from synthzoo.transmute import Transmutation, transmute_file

    format = options.pop("format")
    change = Transmutation(**given(**options))
    summary = transmute_file(structures, output, change=change, format=format)
    echo_result(summary, as_json=as_json)
