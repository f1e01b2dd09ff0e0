"""The command line: parse, call one function, print."""

from __future__ import annotations

import dataclasses
import errno
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from synthzoo import __version__
from synthzoo.errors import SynthzooError

if TYPE_CHECKING:
    from synthzoo.cards import ModelCard

OUTSIDE_CAUSES = {errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.EPERM, errno.EROFS}
"""Faults of the file system that are the user's to mend, not ours."""


class OneLineErrors(click.Group):
    """Turns the errors that users can mend into one line on stderr and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except SynthzooError as error:
            raise click.ClickException(" ".join(str(error).split())) from error
        except OSError as error:
            if error.errno in OUTSIDE_CAUSES:
                raise click.ClickException(str(error)) from error
            raise


class ModelType(click.ParamType[str]):
    """A name of the zoo, a checkpoint folder, or hf:organisation/name."""

    name = "model"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002  click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Offer the names of the zoo, or else folders."""
        from synthzoo.registry import model_cards

        names = [name for card in model_cards() for name in card.names]
        known = [CompletionItem(name) for name in names if name.startswith(incomplete)]
        return known or [CompletionItem(incomplete, type="dir")]


MODEL = ModelType()
READ = click.Path(path_type=Path)
NEW = click.Path(path_type=Path)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for other programs."
)
device_option = click.option(
    "--device", help="cpu, cuda, cuda:1, ...; the best there is if not given."
)
workers_option = click.option(
    "--workers", type=click.IntRange(min=1), help="Processes; all cores if not given."
)


def _given(**options: Any) -> dict[str, Any]:
    """Return the options that were given: defaults are the called function's."""
    return {name: value for name, value in options.items() if value is not None}


def _echo_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def _echo_result(result: Any, *, as_json: bool) -> None:
    """Print a frozen dataclass as JSON, or one field a line."""
    values = dataclasses.asdict(result)
    if as_json:
        _echo_json(values)
        return
    width = max(map(len, values))
    for name, value in values.items():
        click.echo(f"{name:<{width}}  {value}")


def _echo_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


def _note(message: str) -> None:
    click.echo(message, err=True)


@click.group(
    cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="synthzoo")
def main() -> None:
    """Interatomic potentials pre-trained on synthetic data.

    MODEL is a name from `synthzoo list`, a checkpoint folder, or hf:organisation/name,
    with @revision if wanted.
    """


@main.command("list")
@json_option
def list_models(*, as_json: bool) -> None:
    """List the models of the zoo and where each would come from."""
    from synthzoo.hub import location
    from synthzoo.registry import model_cards

    cards = model_cards()
    if as_json:
        _echo_json([_card_values(card) for card in cards])
        return
    _echo_table(
        ("NAME", "ALIASES", "ELEMENTS", "FROM", "SUMMARY"),
        [
            (
                card.name,
                ", ".join(card.aliases),
                ", ".join(card.elements),
                location(card),
                card.summary,
            )
            for card in cards
        ],
    )


def _card_values(card: ModelCard) -> dict[str, Any]:
    from synthzoo.hub import location

    values = dataclasses.asdict(card)
    for text in ("path", "head", "body"):
        del values[text]
    return values | {"location": location(card)}


@main.command()
@click.argument("name", type=MODEL)
@click.option("--bibtex", is_flag=True, help="Print only what to cite, as BibTeX.")
@json_option
def show(name: str, *, bibtex: bool, as_json: bool) -> None:
    """Print the card of a model: what it is, its errors, its limits, whom to cite."""
    from synthzoo.registry import find_card, render_card

    card = find_card(name)
    if bibtex:
        click.echo(card.citation.strip())
    elif as_json:
        _echo_json(_card_values(card))
    else:
        for fact, value in _facts(card).items():
            click.echo(f"{fact:<16} {value}")
        click.echo(render_card(card).removeprefix(f"---\n{card.head}---\n").rstrip())
        click.echo(f"\n{card.citation.strip()}")


def _facts(card: ModelCard) -> dict[str, str]:
    from synthzoo.hub import location

    return {
        "name": ", ".join(card.names),
        "summary": card.summary,
        "kind": card.kind,
        "elements": ", ".join(card.elements),
        "cutoff": f"{card.cutoff_A} Å",
        "parameters": f"{card.parameters:,}",
        "labels from": f"{card.teacher.name} ({card.teacher.potential})",
        "level of theory": card.teacher.level_of_theory,
        "licence": card.licence,
        "comes from": location(card),
    }


@main.command()
@click.argument("model", type=MODEL, required=False)
@click.option("--all", "everything", is_flag=True, help="Fetch every model of the zoo.")
@click.option("-o", "--output", type=NEW, help="Folder to copy the checkpoint to.")
def fetch(model: str | None, output: Path | None, *, everything: bool) -> None:
    """Fetch a model into the cache, check it, and print its folder."""
    from synthzoo import hub

    if everything == (model is not None) or (everything and output is not None):
        raise click.UsageError("Give one MODEL, or --all without --output.")
    if model is not None:
        click.echo(hub.fetch(model, **_given(destination=output)))
        return
    for folder in hub.fetch_all():
        click.echo(folder)


@main.command()
@click.argument("model", type=MODEL)
@click.option("--device", help="Where to compute; the processor if not given.")
@json_option
@click.pass_context
def verify(
    context: click.Context, model: str, device: str | None, *, as_json: bool
) -> None:
    """Recompute the predictions that a checkpoint carries and compare.

    Exits with 1 if they differ by more than rounding explains.
    """
    from synthzoo.checkpoint import verify_checkpoint
    from synthzoo.hub import find_folder

    result = verify_checkpoint(find_folder(model), **_given(device=device))
    if as_json:
        _echo_json(dataclasses.asdict(result) | {"passed": result.passed})
    else:
        click.echo(f"{model}: {result.summary()}")
    context.exit(0 if result.passed else 1)


@main.command()
@click.argument("model", type=MODEL)
@click.argument("structures", type=READ)
@click.option("-o", "--output", type=NEW, required=True, help="Extended XYZ to write.")
@device_option
@click.option("--dtype", type=click.Choice(["float32", "float64"]))
@click.option(
    "--batch-atoms", type=click.IntRange(min=1), help="Atoms computed at a time."
)
@json_option
def predict(
    model: str, structures: Path, output: Path, *, as_json: bool, **options: Any
) -> None:
    """Predict energy, forces and stress of all STRUCTURES, in any format ASE reads."""
    from synthzoo.predict import predict_file

    summary = predict_file(model, structures, output, **_given(**options))
    _echo_result(summary, as_json=as_json)


@main.command()
@click.argument("folder", type=READ)
@click.argument("repository")
@click.option("--private", is_flag=True, help="Only you can see the repository.")
@click.option("--pull-request", is_flag=True, help="Propose instead of commit.")
@click.option("--dry-run", is_flag=True, help="Check, say what would be sent, stop.")
@json_option
def publish(folder: Path, repository: str, *, as_json: bool, **options: bool) -> None:
    """Send the checkpoint in FOLDER to the Hugging Face REPOSITORY (organisation/name).

    The access token is taken from HF_TOKEN or from `hf auth login`.
    """
    from synthzoo.publication import publish as send

    sent = send(folder, repository, **options)
    if as_json:
        _echo_json(dataclasses.asdict(sent))
        return
    _echo_table(
        ("FILE", "BYTES", "SHA-256"),
        [(name, str(file.size), file.sha256) for name, file in sent.files.items()],
    )
    _note(f"Sent to {sent.url}" if sent.url else f"Nothing was sent to {repository}.")


@main.command()
@click.option(
    "-o",
    "--output",
    type=NEW,
    default=Path("synthzoo-demo"),
    show_default=True,
    help="Folder to make.",
)
@click.option("--model", type=MODEL, help="Model to show; carbon if not given.")
@click.option(
    "--duration-ps",
    type=click.FloatRange(min=0, min_open=True),
    help="Length of the molecular dynamics.",
)
@json_option
def demo(
    output: Path, model: str | None, duration_ps: float | None, *, as_json: bool
) -> None:
    """Relax diamond and graphene, draw an energy–volume curve, run dynamics.

    Takes under two minutes on two cores and needs no network.
    """
    from synthzoo.demo import run_demo

    summary = run_demo(output, **_given(model=model, duration_ps=duration_ps))
    if as_json:
        _echo_result(summary, as_json=True)
        return
    click.echo(summary.report.read_text(encoding="utf-8"))
    _note(f"Everything is in {output}; look at {summary.figure} first.")


@main.command()
@click.argument("recipe")
@click.option("-o", "--output", type=NEW, required=True, help="Extended XYZ to write.")
@click.option("--driver", help="Teacher that moves the atoms, such as ace:c_ace.yace.")
@workers_option
@json_option
def generate(
    recipe: str,
    output: Path,
    driver: str | None,
    workers: int | None,
    *,
    as_json: bool,
) -> None:
    """Make synthetic structures as RECIPE (a file, or a name) says.

    The same command goes on where a killed one stopped.
    """
    from synthzoo.generate import generate_structures
    from synthzoo.recipes import GenerateRecipe, load_recipe

    loaded = load_recipe(GenerateRecipe, recipe)
    loaded = dataclasses.replace(loaded, **_given(driver=driver))
    summary = generate_structures(loaded, output, workers=workers)
    _echo_result(summary, as_json=as_json)


@main.command()
@click.argument("structures", type=READ)
@click.argument("output", type=NEW)
@click.option("--teacher", help="Label source, such as ace:c_ace.yace.")
@click.option("--recipe", help="File or name of a recipe: the filters, the teacher.")
@workers_option
@json_option
def relabel(
    structures: Path,
    output: Path,
    teacher: str | None,
    recipe: str | None,
    workers: int | None,
    *,
    as_json: bool,
) -> None:
    """Label STRUCTURES with a teacher and write extended XYZ to OUTPUT.

    The same command goes on where a killed one stopped.
    """
    from synthzoo.recipes import RelabelRecipe, load_recipe
    from synthzoo.relabel import relabel_file

    if recipe is not None:
        loaded = load_recipe(RelabelRecipe, recipe)
        loaded = dataclasses.replace(loaded, **_given(teacher=teacher))
    elif teacher is not None:
        loaded = RelabelRecipe(teacher=teacher)
    else:
        raise click.UsageError("Give --teacher, or a --recipe that names one.")
    summary = relabel_file(structures, output, recipe=loaded, workers=workers)
    _echo_result(summary, as_json=as_json)


@main.command()
@click.argument("recipe")
@click.option(
    "--data",
    type=READ,
    required=True,
    multiple=True,
    help="Labelled structures; may be repeated.",
)
@click.option("-o", "--output", type=NEW, required=True, help="Checkpoint to make.")
@click.option("--start", type=MODEL, help="Checkpoint whose weights to start from.")
@json_option
def pretrain(
    recipe: str,
    data: tuple[Path, ...],
    output: Path,
    start: str | None,
    *,
    as_json: bool,
) -> None:
    """Train a network as RECIPE (a file, or a name) says and write a checkpoint.

    The same command goes on after the last whole epoch of a killed one.
    """
    from synthzoo.pretrain import pretrain as train
    from synthzoo.recipes import PretrainRecipe, load_recipe

    summary = train(load_recipe(PretrainRecipe, recipe), data, output, start=start)
    _echo_result(summary, as_json=as_json)


@main.command()
@click.argument("model", type=MODEL)
@click.argument("data", type=READ)
@click.option(
    "--shift", is_flag=True, help="Take a constant per atom off the labels' energies."
)
@click.option("--skip", multiple=True, help="Group to leave out; may be repeated.")
@click.option("--energy-key", help="Where the energies are, such as dft_energy.")
@click.option("--forces-key", help="Where the forces are, such as dft_forces.")
@json_option
def evaluate(model: str, data: Path, *, as_json: bool, **options: Any) -> None:
    """Measure the errors of MODEL against the labels in DATA, by group."""
    from synthzoo.evaluate import evaluate as measure

    result = measure(model, data, **_given(**options))
    if as_json:
        _echo_json(dataclasses.asdict(result))
        return
    _echo_table(
        ("GROUP", "STRUCTURES", "ENERGY RMSE (meV/atom)", "FORCE RMSE (eV/Å)"),
        [
            (
                group.name,
                str(group.structures),
                f"{group.energy_rmse_meV_per_atom:.1f}",
                f"{group.force_rmse_eV_A:.3f}",
            )
            for group in result.groups
        ],
    )
    if options["shift"]:
        _note(f"Taken off the labels: {result.energy_shift_eV_per_atom:.4f} eV/atom.")


@main.command()
@click.argument("teacher")
def reference(teacher: str) -> None:
    """Print what TEACHER says about diamond and graphene, for the head of a card."""
    from synthzoo.crystals import reference_values

    _echo_json(dataclasses.asdict(reference_values(teacher)))


@main.group()
def teachers() -> None:
    """Existing potentials that label structures: a catalogue, and their tests.

    TEACHER is a name from `synthzoo teachers list`, or kind:what for any other, such as
    gap:potential.xml, kim:MODEL_ID, lammps:lcbop or zoo:carbon.
    """


@teachers.command("list")
@json_option
def list_teachers(*, as_json: bool) -> None:
    """List the named teachers."""
    from synthzoo.teachers.catalogue import named_teachers

    found = named_teachers()
    if as_json:
        _echo_json([dataclasses.asdict(teacher) for teacher in found])
        return
    _echo_table(
        ("NAME", "ELEMENTS", "REFERENCE", "SUMMARY"),
        [
            (each.name, ", ".join(each.elements), each.reference, each.summary)
            for each in found
        ],
    )


@teachers.command("show")
@click.argument("name")
@json_option
def show_teacher(name: str, *, as_json: bool) -> None:
    """Print what is known about a named teacher: source, licence, whom to cite."""
    from synthzoo.teachers.catalogue import find_named

    _echo_result(find_named(name), as_json=as_json)


@teachers.command("fetch")
@click.argument("name")
@click.option("--file", type=READ, help="File that you have downloaded, to check.")
def fetch_teacher(name: str, file: Path | None) -> None:
    """Say where the file of a named teacher is published, or check one you have."""
    from synthzoo.teachers.catalogue import check_file, find_named

    named = find_named(name)
    if file is None:
        click.echo(f"published  {named.published or 'not on record'}")
        click.echo(f"licence    {named.licence or 'not on record'}")
        click.echo(f"sha256     {named.sha256 or 'not on record'}")
        return
    click.echo(check_file(named, file))
    if named.sha256 is None:
        _note(f"No SHA-256 of {named.name} is on record to compare with.")


@teachers.command("test")
@click.argument("teacher")
@click.option("--file", type=READ, help="Potential file of a named teacher.")
@json_option
@click.pass_context
def examine_teacher(
    context: click.Context, teacher: str, file: Path | None, *, as_json: bool
) -> None:
    """Test TEACHER: finite differences, an atom alone, symmetries, one known number.

    Exits with 1 if a test fails.
    """
    from synthzoo.teachers.catalogue import examine

    found, checks = examine(teacher, file=file)
    passed = all(check.passed for check in checks)
    if as_json:
        rows = [dataclasses.asdict(each) | {"passed": each.passed} for each in checks]
        alone = found.isolated_atom_energies_eV
        about = found.provenance | {"isolated_atom_energies_eV": alone}
        _echo_json(about | {"passed": passed, "checks": rows})
    else:
        _echo_table(
            ("TEST", "ELEMENT", "FOUND", "EXPECTED", "LIMIT", "UNIT", ""),
            [
                (
                    each.name,
                    each.element,
                    f"{each.found:.6f}",
                    f"{each.expected:.6f}",
                    f"{each.limit:.1g}",
                    each.unit,
                    "ok" if each.passed else "FAILED",
                )
                for each in checks
            ],
        )
        _note(f"{found.reference}: {found.software}, SHA-256 {found.sha256}")
    context.exit(0 if passed else 1)


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    For bash, add to ~/.bashrc:  eval "$(synthzoo completion bash)"
    """
    found = get_completion_class(shell)
    if found is None:  # pragma: no cover  click knows all three
        raise click.UsageError(f"click has no completion for {shell}.")
    script = found(main, {}, "synthzoo", "_SYNTHZOO_COMPLETE")
    click.echo(script.source())
