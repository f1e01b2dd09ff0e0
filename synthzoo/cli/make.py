"""Commands of the chain from a recipe to a model, and on files of structures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import synthzoo
from synthzoo.cli.elements import (
    element_option,
    map_option,
    subtracted_energy_option,
)
from synthzoo.cli.levels import (
    level_of_data_option,
    level_option,
    levels_option,
)
from synthzoo.cli.options import (
    MODEL,
    NEW,
    READ,
    device_option,
    echo_json,
    echo_result,
    echo_table,
    energy_key_option,
    forces_key_option,
    format_option,
    given,
    json_option,
    main,
    note,
    place_options,
    pop_place,
    training_options,
    trust_option,
    where_to_train,
    where_to_work,
    workers_option,
)

if TYPE_CHECKING:
    from synthzoo.evaluation.evaluate import Evaluation
    from synthzoo.evaluation.physics import PhysicsRow

driver_option = click.option(
    "--driver",
    help="Teacher that moves the atoms, such as ace:c_ace.yace; by default that of the "
    "recipe.",
)


@main.command()
@click.argument("recipe", default="carbon-short")
@click.option("-o", "--output", type=NEW, required=True, help="Extended XYZ to write.")
@driver_option
@trust_option
@place_options
@json_option
def generate(
    recipe: str,
    output: Path,
    driver: str | None,
    *,
    trust: bool,
    as_json: bool,
    **place: Any,
) -> None:
    """Make synthetic structures as RECIPE says.

    RECIPE is a file, or the name of a recipe of synthzoo's; the default, carbon-short,
    takes half an hour on two cores. `synthzoo estimate` measures in advance what a
    recipe costs. If the command is interrupted, give it again: it continues where it
    stopped.
    """
    with where_to_work(**place) as where:
        summary = synthzoo.generate_structures(
            recipe, output, driver=driver, trust=trust, **where
        )
    for failure in summary.failed:
        kept = f", {failure.kept} structures kept" if failure.kept else ""
        note(f"{failure.group} (seed {failure.seed}) failed{kept}: {failure.reason}")
    echo_result(summary, as_json=as_json)


@main.command()
@click.argument("structures", type=READ)
@click.argument("output", type=NEW)
@click.option("--teacher", help="Teacher, such as LCBOP or ace:c_ace.yace.")
@click.option(
    "--recipe",
    help="Recipe with a section `relabel`, for filters and teacher: a file, or the "
    "name of one of synthzoo's.",
)
@format_option
@trust_option
@place_options
@json_option
def relabel(
    structures: Path,
    output: Path,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Label STRUCTURES with energies and forces of a teacher.

    OUTPUT is written as extended XYZ. If the command is interrupted, give it again: it
    continues where it stopped.
    """
    place = pop_place(options)
    if options["recipe"] is None and options["teacher"] is None:
        raise click.UsageError("Give --teacher, or a --recipe that names one.")
    with where_to_work(**place) as where:
        summary = synthzoo.relabel_file(structures, output, **options, **where)
    if summary.failed:
        kinds = ", ".join(f"{n} {kind}" for kind, n in summary.failures.items())
        note(f"{summary.failed} failed ({kinds}): see {summary.failed_file}")
    echo_result(summary, as_json=as_json)


_WHAT_TO_TRAIN = ("start", "structures", "levels", "level")


@main.command()
@click.argument("recipe")
@click.option(
    "--data",
    type=READ,
    required=True,
    multiple=True,
    help="Labelled structures; may be repeated.",
)
@click.option("-o", "--output", type=NEW, required=True, help="Folder to make.")
@click.option("--start", type=MODEL, help="Checkpoint to start from.")
@click.option(
    "--structures",
    type=click.IntRange(min=1),
    help="Number of structures to train on; by default that of the recipe, or all.",
)
@levels_option
@level_of_data_option
@format_option
@training_options
@json_option
def pretrain(
    recipe: str,
    data: tuple[Path, ...],
    *,
    output: Path,
    format: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a network on labelled structures.

    RECIPE is a file, or the name of a recipe of synthzoo's. The result is a checkpoint.
    If the command is interrupted, give it again: it continues where it was, or from a
    few minutes before.
    """
    from synthzoo.training.place import is_first_process

    summary = synthzoo.pretrain(
        recipe,
        data,
        output,
        format=format,
        **{name: options.pop(name) for name in _WHAT_TO_TRAIN},
        **where_to_train(**options),
    )
    if is_first_process():
        echo_result(summary, as_json=as_json)


@main.command()
@click.argument("recipe")
@click.option("-o", "--output", type=NEW, required=True, help="Folder to make.")
@driver_option
@click.option(
    "--teacher",
    help="Teacher that labels, such as ace:c_ace.yace; by default that of the recipe. "
    "It also moves the atoms if the recipe names one teacher for both.",
)
@trust_option
@workers_option
@device_option
@json_option
def build(recipe: str, *, output: Path, as_json: bool, **options: Any) -> None:
    """Make a checkpoint: generate, relabel, pretrain, verify.

    RECIPE is a file, or the name of a recipe of synthzoo's. If the command is
    interrupted, give it again: it continues where it stopped.
    """
    summary = synthzoo.build_checkpoint(recipe, output, **given(**options))
    echo_result(summary, as_json=as_json)
    note(f"Use the model as {summary.checkpoint}.")


@main.command()
@click.argument("model", type=MODEL)
@click.argument("data", nargs=-1)
@click.option(
    "--with",
    "others",
    type=MODEL,
    multiple=True,
    help="Another model, or a teacher such as ase:CLASS{...}, to compare with; may be "
    "repeated.",
)
@level_option
@click.option("-o", "--output", type=NEW, help="Figure to draw, such as parity.png.")
@click.option(
    "--shift",
    is_flag=True,
    help="Remove the constant energy of each element by which model and labels differ.",
)
@click.option("--skip", multiple=True, help="Group to leave out; may be repeated.")
@click.option(
    "--physics",
    "element",
    type=click.Choice(["C", "Si"]),
    help="Measure crystals, layers, phonons and defects of this element instead; takes "
    "no DATA.",
)
@click.option(
    "--against",
    type=MODEL,
    help="With --physics: model that judges the others, usually the teacher.",
)
@energy_key_option
@forces_key_option
@format_option
@json_option
def evaluate(
    model: str,
    data: tuple[str, ...],
    others: tuple[str, ...],
    output: Path | None,
    *,
    element: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure errors of MODEL on labels in DATA, or its physics.

    Errors are printed for all structures and for each group of them.
    """
    against, level = options.pop("against"), options.pop("level")
    _check_evaluation(data, element, against, options)
    if element is not None:
        chosen = given(element=element, level=level, against=against, figure=output)
        _evaluate_physics([model, *others], chosen, as_json=as_json)
        return
    options = given(level=level, figure=output, **options)
    results = synthzoo.evaluate_models([model, *others], data, **options)
    if as_json:
        values = [dataclasses.asdict(result) for result in results]
        echo_json(values if others else values[0])
        return
    note(f"Labels: {results[0].labels}.")
    for result in results:
        if others:
            click.echo(result.model)
        _echo_errors(result)
        if result.calibration is not None:
            note(result.calibration.text())
        if options["shift"]:
            shifts = result.energy_shifts_eV.items()
            listed = ", ".join(
                f"{value:.4f} eV for each {name}" for name, value in shifts
            )
            note(f"Subtracted from the labels: {listed}.")
    if output is not None:
        note(f"The figure is in {output}.")


def _check_evaluation(
    data: tuple[str, ...],
    element: str | None,
    against: str | None,
    options: dict[str, Any],
) -> None:
    """Refuse options that do not go together."""
    if element is not None:
        if data or given(**options | {"shift": options["shift"] or None}):
            raise click.UsageError("--physics takes neither DATA nor its options.")
    elif not data:
        raise click.UsageError("Missing argument 'DATA...', or --physics ELEMENT.")
    elif against is not None:
        raise click.UsageError("--against is for --physics.")


def _evaluate_physics(
    models: list[str], options: dict[str, Any], *, as_json: bool
) -> None:
    found = synthzoo.measure_physics(models, **options)
    if as_json:
        echo_json(dataclasses.asdict(found))
        return
    judge = () if found.against is None else (found.against,)
    heads = [Path(name).name for name in (*found.models, *judge)]
    echo_table(
        ("QUANTITY", *heads, "LITERATURE"), list(map(_physics_cells, found.rows))
    )
    judged = sum(row.tolerance is not None for row in found.rows)
    for name, failed in zip(found.models, found.failed, strict=True):
        if judged:
            note(f"{name}: {failed} of {judged} quantities (✗) are wrong.")
    if "figure" in options:
        note(f"The figure is in {options['figure']}.")


def _physics_cells(row: PhysicsRow) -> tuple[str, ...]:
    marks = {True: " ✓", False: " ✗", None: ""}
    values = [
        f"{value:.4g}{marks[passed]}"
        for value, passed in zip(row.values, row.passed, strict=True)
    ]
    judge = () if row.against is None else (f"{row.against:.4g}",)
    known = "" if row.literature is None else f"{row.literature:g}"
    return (row.quantity, *values, *judge, known)


def _echo_errors(result: Evaluation) -> None:
    from synthzoo.evaluation.errors import error_columns

    columns = error_columns(result.groups)
    heads = [_first_in_capitals(name) for name in columns]
    sizes = [(group.name, str(group.structures)) for group in result.groups]
    echo_table(
        ("GROUP", "STRUCTURES", *heads),
        [
            (*size, *row)
            for size, row in zip(
                sizes, zip(*columns.values(), strict=True), strict=True
            )
        ],
    )


def _first_in_capitals(name: str) -> str:
    first, _, rest = name.partition(" ")
    return f"{first.upper()} {rest}"


@main.command()
@click.argument("teacher")
def reference(teacher: str) -> None:
    """Compute diamond and graphene with TEACHER, for a card."""
    echo_json(dataclasses.asdict(synthzoo.reference_values(teacher)))


@main.command("inspect")
@click.argument("data", type=READ, nargs=-1, required=True)
@click.option("-o", "--output", type=NEW, help="Figure to draw, such as set.png.")
@click.option("--card", type=NEW, help="Markdown page to write, with a figure.")
@energy_key_option
@forces_key_option
@click.option("--stress-key", help="Key of the stress in the files: dft_virial, ....")
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
    The exit code is 1 if there are errors among the findings.
    """
    from synthzoo.inspection.summary import inspection_lines

    found = synthzoo.inspect_files(data, **given(figure=output, card=card, **keys))
    if as_json:
        echo_json(found.values())
    else:
        click.echo("\n".join(inspection_lines(found)))
    if output is not None:
        note(f"The figure is in {output}.")
    if card is not None:
        note(f"The card is in {card}.")
    click.get_current_context().exit(
        any(finding.severity == "error" for finding in found.findings)
    )


@main.command()
@click.argument("recipe")
@driver_option
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="Number of time steps to measure at each of a few densities.",
)
@trust_option
@json_option
def estimate(
    recipe: str, driver: str | None, steps: int | None, *, trust: bool, as_json: bool
) -> None:
    """Estimate what RECIPE would make, and what it would cost.

    RECIPE is a file, or the name of a recipe of synthzoo's. The cost is measured with a
    few short trajectories.
    """
    options = given(driver=driver, steps=steps)
    found = synthzoo.estimate_cost(recipe, trust=trust, **options)
    echo_result(found, as_json=as_json)


@main.command()
@click.argument("structures", type=READ)
@click.argument("output", type=NEW)
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    required=True,
    help="Number of structures to keep.",
)
@click.option(
    "--cutoff",
    "cutoff_A",
    type=float,
    help="Radius (Å) of the atomic environments that are compared.",
)
@click.option(
    "--environments",
    type=click.IntRange(min=1),
    help="Number of atomic environments that represent each structure.",
)
@click.option(
    "--one-of-each",
    help="Keep at least one structure for each value of this key, such as kind.",
)
@format_option
@json_option
def thin(structures: Path, output: Path, *, as_json: bool, **options: Any) -> None:
    """Keep those of STRUCTURES that are least alike.

    They are written to OUTPUT in their original order.
    """
    summary = synthzoo.thin_file(structures, output, **given(**options))
    echo_result(summary, as_json=as_json)


@main.command()
@click.argument("structures", type=READ)
@click.argument("output", type=NEW)
@element_option
@map_option
@click.option("--scale", type=float, required=True, help="Factor for all lengths.")
@click.option(
    "--energy-factor", type=float, help="Factor for all energies; 1 by default."
)
@subtracted_energy_option
@energy_key_option
@forces_key_option
@format_option
@json_option
def transmute(structures: Path, output: Path, *, as_json: bool, **options: Any) -> None:
    """Scale labelled STRUCTURES to those of other elements.

    For carbon into silicon: --element Si --scale 1.5. For GaAs into InP: --map Ga:In
    --map As:P --scale 1.04. Forces and stresses are scaled so that they remain
    derivatives of the energy. The result is written to OUTPUT.
    """
    summary = synthzoo.transmute_file(structures, output, **given(**options))
    echo_result(summary, as_json=as_json)
