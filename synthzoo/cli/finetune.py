"""Commands that fine-tune and compare starts: finetune, benchmark."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

import synthzoo
from synthzoo.cli.elements import IsolatedEnergyType
from synthzoo.cli.levels import level_of_data_option, levels_option
from synthzoo.cli.options import (
    MODEL,
    NEW,
    READ,
    NumbersType,
    compile_option,
    echo_json,
    echo_result,
    energy_key_option,
    forces_key_option,
    format_option,
    given,
    json_option,
    kernels_option,
    main,
    note,
    place_options,
    pop_place,
    where_to_work,
)

recipe_option = click.option(
    "--recipe",
    help="Recipe with a section `finetune`: a file, or the name of one of synthzoo's.",
)


@main.command()
@click.argument("model", type=MODEL)
@click.argument("data", nargs=-1, required=True)
@click.option("-o", "--output", type=NEW, help="Folder of the new checkpoint.")
@click.option(
    "--check", "only_check", is_flag=True, help="Check the data; fit nothing."
)
@recipe_option
@click.option(
    "--seed", type=int, help="Random seed of the split and the order of structures."
)
@click.option(
    "--held-out-share",
    type=click.FloatRange(min=0, max=1, max_open=True),
    help="Share of the structures that are not fitted, to measure the error on.",
)
@click.option(
    "--test",
    type=READ,
    multiple=True,
    help="Labelled structures to test the result on; may be repeated.",
)
@click.option(
    "--before",
    type=MODEL,
    help="Earlier model, fitted to the first of these files: the report says what "
    "the other files, with new structures, improved.",
)
@click.option(
    "--replay",
    type=READ,
    multiple=True,
    help="Synthetic structures to fit, too, so that less is forgotten: a file, or "
    "`zoo` for those that come with synthzoo.",
)
@click.option(
    "--replay-share",
    type=click.FloatRange(min=0, max=1, max_open=True),
    help="Share of these structures among the atoms of a batch; 0 for no replay.",
)
@levels_option
@level_of_data_option
@click.option(
    "--isolated-energy",
    type=IsolatedEnergyType(),
    multiple=True,
    help="Energy of an isolated atom on the scale of your labels, such as C=-148.3 "
    "(eV); may be repeated.",
)
@energy_key_option
@forces_key_option
@format_option
@click.option(
    "--energies-only",
    is_flag=True,
    help="Fit to energies alone; forces of MODEL take the place of labels.",
)
@click.option(
    "--select-by",
    type=click.Choice(["loss", "md"]),
    help="Keep the weights with the smallest loss, or those that survive molecular "
    "dynamics longest.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    help="Number of fits with different seeds, of which the best is kept.",
)
@click.option(
    "--committee",
    type=click.IntRange(min=2),
    help="Number of models in a committee, whose spread is an uncertainty.",
)
@click.option("--drop-bad", is_flag=True, help="Leave out structures with errors.")
@click.option(
    "--compare-direct",
    is_flag=True,
    help="Also train a new network on the same data, for comparison.",
)
@click.option("--device", help="cpu (the default), cuda, cuda:1, ...; or auto.")
@compile_option
@kernels_option
@place_options
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

    DATA are files in any format that ASE reads, or patterns such as 'runs/*/OUTCAR'.
    Energies may be total energies on any scale: the new checkpoint predicts them on the
    same scale. Its folder holds a report that says whether fine-tuning helped. If the
    command is interrupted, give it again: it continues where it was, or from a few
    minutes before.
    """
    options["isolated_energies_eV"] = dict(options.pop("isolated_energy"))
    output = options.pop("output")
    if not only_check and output is None:
        raise click.UsageError("Give --output, or --check to look at the data only.")
    place = pop_place(options)
    options = given(**options)
    if only_check:
        _check(
            context,
            model,
            data,
            options | given(workers=place["workers"]),
            as_json=as_json,
        )
        return
    with where_to_work(**place) as where:
        _tune(model, data, output, options | where, as_json=as_json)


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
        stress = f", stress under {found.stress_key}" if found.stress_key else ""
        click.echo(
            f"{found.structures} structures, energies under {found.energy_key}, forces "
            f"{f'under {found.forces_key}' if found.forces_key else 'not looked at'}"
            f"{stress}."
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
    note(f"The report is {summary.report}. Use the model as {summary.output}.")


@main.command()
@click.argument("models", type=MODEL, nargs=-1, required=True)
@click.option(
    "--training", multiple=True, required=True, help="Labelled structures to fit."
)
@click.option(
    "--test", multiple=True, required=True, help="Labelled structures to test on."
)
@click.option("-o", "--output", type=NEW, required=True, help="Folder of the results.")
@click.option(
    "--sizes",
    type=NumbersType(int),
    required=True,
    help="Sizes of the training sets, such as 0,25,100,800; 0 is the model as it is.",
)
@click.option(
    "--draws", type=click.IntRange(min=1), help="Number of training sets of each size."
)
@click.option(
    "--least-atoms",
    type=click.IntRange(min=1),
    help="Leave out structures with fewer atoms; 3 leaves out dimers.",
)
@recipe_option
@click.option(
    "--direct-visits",
    type=click.IntRange(min=1),
    help="Number of structures that `direct` is trained on, counting repetitions.",
)
@energy_key_option
@forces_key_option
@format_option
@click.option("--published", help="Published curves to draw, such as carbon-gap17.")
@place_options
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
    """Measure learning curves: errors by number of structures.

    Each model is fine-tuned on random training sets of each size, and tested. MODELS
    are checkpoints; `direct` is a new network of the shape of the first one, trained
    from scratch. If the command is interrupted, give it again: it continues where it
    stopped. With more models, sizes or draws it adds to the results that are there.
    """
    from synthzoo.benchmarking.learning_curves import describe_result

    with where_to_work(**pop_place(options)) as where:
        summary = synthzoo.run_benchmark(
            models,
            training,
            test,
            output,
            on_result=lambda found: note(describe_result(found)),
            **given(**options),
            **where,
        )
    if as_json:
        echo_json(dataclasses.asdict(summary))
    else:
        click.echo(summary.table.read_text(encoding="utf-8"), nl=False)
    note(f"The results are in {summary.table}, {summary.values}, {summary.figure}.")
