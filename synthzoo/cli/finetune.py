"""The command that makes a user's own model: finetune."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

import synthzoo
from synthzoo.cli.options import (
    MODEL,
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
    workers_option,
)


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
@click.option("-o", "--output", type=NEW, help="Checkpoint to make.")
@click.option("--check", "only_check", is_flag=True, help="Look at the data only.")
@click.option("--recipe", help="File or name of a recipe with a section `finetune`.")
@click.option("--seed", type=int, help="Of the order of the structures and the split.")
@click.option(
    "--held-out-share",
    type=click.FloatRange(min=0, max=1, max_open=True),
    help="Share of the structures kept from the fit to measure its error.",
)
@click.option(
    "--test", type=READ, multiple=True, help="Labelled structures to measure with."
)
@click.option(
    "--replay",
    type=READ,
    multiple=True,
    help="Synthetic structures to mix in, if not the zoo's: a file, or `zoo`.",
)
@click.option(
    "--replay-share",
    type=click.FloatRange(min=0, max=1, max_open=True),
    help="Their share of the atoms in a batch; 0 mixes in none.",
)
@click.option(
    "--isolated-energy",
    type=IsolatedEnergyType(),
    multiple=True,
    help="Energy of a free atom on your labels' scale, such as C=-148.3 (eV).",
)
@energy_key_option
@forces_key_option
@format_option
@click.option(
    "--energies-only",
    is_flag=True,
    help="Fit to energies; the model's own forces stand in for labels.",
)
@click.option(
    "--select-by",
    type=click.Choice(["loss", "md"]),
    help="What is kept: the smallest loss, or what survives molecular dynamics.",
)
@click.option(
    "--seeds", type=click.IntRange(min=1), help="Keep the best of so many fits."
)
@click.option(
    "--committee",
    type=click.IntRange(min=2),
    help="Fit so many models, for mean and spread.",
)
@click.option("--drop-bad", is_flag=True, help="Leave out structures with errors.")
@click.option(
    "--compare-direct",
    is_flag=True,
    help="Also train from scratch on the same data, for comparison.",
)
@click.option("--device", help="cpu (as if not given), cuda, cuda:1, ...; or auto.")
@workers_option
@json_option
@click.pass_context
def finetune(
    context: click.Context,
    /,
    model: str,
    data: tuple[str, ...],
    *,
    only_check: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Fine-tune MODEL on the labelled structures in DATA.

    DATA are files, or patterns. Energies may be total energies on any scale. The
    checkpoint gives them again; its folder holds a report that says whether fine-tuning
    helped. The same command goes on after the last whole epoch of a killed one.
    """
    options["isolated_energies_eV"] = dict(options.pop("isolated_energy"))
    output = options.pop("output")
    if not only_check and output is None:
        raise click.UsageError("Give --output, or --check to look at the data only.")
    options = given(**options)
    if only_check:
        _check(context, model, data, options, as_json=as_json)
    else:
        _tune(model, data, output, options, as_json=as_json)


def _check(
    context: click.Context,
    model: str,
    data: tuple[str, ...],
    options: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    found = synthzoo.check_data(model, data, **options)
    if as_json:
        echo_json(dataclasses.asdict(found))
    else:
        click.echo(
            f"{found.structures} structures, energies under {found.energy_key}, forces "
            f"{f'under {found.forces_key}' if found.forces_key else 'not looked at'}."
        )
        for text in found.errors:
            click.echo(f"ERROR  {text}")
        for text in found.findings:
            click.echo(f"note   {text}")
        for told in (found.reference, found.fits):
            if told:
                click.echo(told)
    context.exit(1 if found.errors else 0)


def _tune(
    model: str,
    data: tuple[str, ...],
    output: Path,
    options: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    summary = synthzoo.finetune(model, data, output, tell=note, **options)
    echo_result(summary, as_json=as_json)
    note(f"Read {summary.report}; use it by the name {summary.output}.")


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
    from synthzoo.benchmarking.learning_curves import describe_result

    summary = synthzoo.run_benchmark(
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
