"""The command that measures what a start is worth: benchmark."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from synthzoo.cli.group import (
    MODEL,
    NEW,
    echo_json,
    energy_key_option,
    forces_key_option,
    format_option,
    given,
    json_option,
    main,
    note,
    workers_option,
)


class NumbersType(click.ParamType[tuple[int, ...]]):
    """Whole numbers with commas between them: 25,100,800."""

    name = "numbers"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, ...]:
        """Return the numbers."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not of the form 25,100,800.", param, ctx)


@main.command()
@click.argument("models", type=MODEL, nargs=-1, required=True)
@click.option("--training", multiple=True, required=True, help="To draw from.")
@click.option("--test", multiple=True, required=True, help="To measure on.")
@click.option("-o", "--output", type=NEW, required=True, help="Folder of the results.")
@click.option(
    "--sizes",
    type=NumbersType(),
    required=True,
    help="Numbers of structures, such as 0,25,100,800; 0 is without fine-tuning.",
)
@click.option("--draws", type=click.IntRange(min=1), help="For each size.")
@click.option(
    "--least-atoms",
    type=click.IntRange(min=1),
    help="Leave smaller structures out, such as 3 for no dimers.",
)
@click.option("--recipe", help="File or name of a recipe with a section `finetune`.")
@click.option(
    "--direct-visits",
    type=click.IntRange(min=1),
    help="Structures that a fit from nothing sees in all.",
)
@energy_key_option
@forces_key_option
@format_option
@click.option("--published", help="Curves to compare with, such as carbon-gap17.")
@workers_option
@json_option
def benchmark(
    models: tuple[str, ...],
    training: tuple[str, ...],
    test: tuple[str, ...],
    *,
    output: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure learning curves: what each of MODELS is worth.

    Each is fine-tuned on draws of a set. MODELS are checkpoints, and `direct` for a new
    network of the first one's shape. The same command goes on where a killed one
    stopped; with more models, sizes or draws it adds to what is there.
    """
    from synthzoo.benchmarking.learning_curves import describe_result, run_benchmark
    from synthzoo.recipes import load_recipe
    from synthzoo.tuning.recipe import FinetuneRecipe

    if options["recipe"] is not None:
        options["recipe"] = load_recipe(FinetuneRecipe, options["recipe"])
    summary = run_benchmark(
        models,
        training,
        test,
        output,
        on_result=lambda found: note(describe_result(found)),
        **given(**options),
    )
    if as_json:
        echo_json(dataclasses.asdict(summary))
    else:
        click.echo(summary.table.read_text(encoding="utf-8"), nl=False)
    note(f"See {summary.table}, {summary.values} and {summary.figure}.")
