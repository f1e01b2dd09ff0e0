"""The command that makes a user's own model: finetune."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from synthzoo.cli.group import MODEL, NEW, echo_result, given, json_option, main, note


class IsolatedEnergyType(click.ParamType[tuple[str, float]]):
    """An element and the energy of its free atom: C=-148.3."""

    name = "element=eV"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, float]:
        """Return symbol and energy in eV."""
        if isinstance(value, tuple):
            return value
        element, separator, energy = str(value).partition("=")
        try:
            number = float(energy)
        except ValueError:
            separator = ""
        if not separator or not element:
            self.fail(f"{value!r} is not of the form C=-148.3 (eV).", param, ctx)
        return element, number


@main.command()
@click.argument("model", type=MODEL)
@click.argument("data", nargs=-1, required=True)
@click.option("-o", "--output", type=NEW, required=True, help="Checkpoint to make.")
@click.option("--recipe", help="File or name of a recipe with a section `finetune`.")
@click.option("--seed", type=int, help="Of the order of the structures and the split.")
@click.option(
    "--held-out-share",
    type=click.FloatRange(min=0, max=1, max_open=True),
    help="Share of the structures kept from the fit to measure its error.",
)
@click.option(
    "--isolated-energy",
    type=IsolatedEnergyType(),
    multiple=True,
    help="Energy of a free atom on your labels' scale, such as C=-148.3 (eV).",
)
@click.option("--energy-key", help="Where the energies are, such as dft_energy.")
@click.option("--forces-key", help="Where the forces are, such as dft_forces.")
@json_option
def finetune(
    model: str,
    data: tuple[str, ...],
    output: Path,
    recipe: str | None,
    isolated_energy: tuple[tuple[str, float], ...],
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Fine-tune MODEL on the labelled structures in DATA: files, or patterns.

    The same command goes on after the last whole epoch of a killed one.
    """
    from synthzoo.finetuning import finetune as tune
    from synthzoo.recipes import load_recipe
    from synthzoo.tuning_recipe import FinetuneRecipe

    loaded = load_recipe(FinetuneRecipe, recipe) if recipe else FinetuneRecipe()
    names = {field.name for field in dataclasses.fields(FinetuneRecipe)}
    set_here = {name: options.pop(name) for name in names & options.keys()}
    summary = tune(
        model,
        data,
        output,
        recipe=dataclasses.replace(loaded, **given(**set_here)),
        isolated_energies_eV=dict(isolated_energy),
        **given(**options),
    )
    echo_result(summary, as_json=as_json)
    note(f"Use it: `synthzoo predict {output} structures.xyz -o predicted.xyz`")
