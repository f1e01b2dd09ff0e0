"""Commands about models that exist: list, show, predict, verify, fetch, publish."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import get_completion_class

import synthzoo
from synthzoo.cli.elements import element_option, map_option
from synthzoo.cli.levels import level_option
from synthzoo.cli.options import (
    MODEL,
    NEW,
    POSITIVE,
    READ,
    compile_option,
    device_option,
    echo_json,
    echo_result,
    echo_table,
    format_option,
    given,
    json_option,
    kernels_option,
    main,
    note,
    threads_option,
)
from synthzoo.data.levels import in_words
from synthzoo.errors import InputError

if TYPE_CHECKING:
    from synthzoo.zoo.cards import ModelCard


@main.command("list")
@json_option
def list_models(*, as_json: bool) -> None:
    """List the models of the zoo and where each comes from.

    `synthzoo show NAME` prints the known failures of a model.
    """
    from synthzoo.zoo.find import location

    cards = synthzoo.model_cards()
    if as_json:
        echo_json([_card_values(card) for card in cards])
        return
    echo_table(
        ("NAME", "ALIASES", "ELEMENTS", "FROM", "KNOWN FAILURES", "SUMMARY"),
        [
            (
                card.name,
                ", ".join(card.aliases),
                ", ".join(card.elements),
                location(card),
                str(len(card.known_failures) or "–"),
                _summary(card),
            )
            for card in cards
        ],
    )


def _summary(card: ModelCard) -> str:
    """Return the summary, with the levels of theory of a model that has several."""
    if not card.levels:
        return card.summary
    return f"{card.summary}; levels {in_words(card.levels)}"


def _card_values(card: ModelCard) -> dict[str, Any]:
    from synthzoo.zoo.find import location

    values = dataclasses.asdict(card)
    for text in ("path", "head", "body"):
        del values[text]
    return values | {"location": location(card)}


@main.command()
@click.argument("name", type=MODEL)
@click.option("--bibtex", is_flag=True, help="Print only the citation, as BibTeX.")
@json_option
def show(name: str, *, bibtex: bool, as_json: bool) -> None:
    """Print a model's card: errors, limits, licence, citation.

    NAME may also be a checkpoint folder or hf:organisation/name. Then the elements, the
    levels of theory and the page of that checkpoint are printed.
    """
    from synthzoo.zoo.cards import render_card

    if _is_of_no_card(name):
        _show_checkpoint(name, bibtex=bibtex, as_json=as_json)
        return
    card = synthzoo.find_card(name)
    if bibtex:
        click.echo(card.citation.strip())
    elif as_json:
        echo_json(_card_values(card))
    else:
        for fact, value in _facts(card).items():
            click.echo(f"{fact:<16} {value}")
        for failure in card.known_failures:
            click.echo(f"{'known failure':<16} {failure.summary}")
        click.echo(render_card(card).removeprefix(f"---\n{card.head}---\n").rstrip())
        click.echo(f"\n{card.citation.strip()}")


def _is_of_no_card(name: str) -> bool:
    from synthzoo.zoo.references import HUB, has_checkpoint

    return name.startswith(HUB) or has_checkpoint(name)


def _show_checkpoint(name: str, *, bibtex: bool, as_json: bool) -> None:
    """Print what a checkpoint says of itself: its description and its page."""
    from synthzoo.zoo.find import find_checkpoint
    from synthzoo.zoo.registry import page_of

    checkpoint = find_checkpoint(name)
    config, page = checkpoint.config, page_of(checkpoint)
    if bibtex:
        raise InputError(f"{name} has no record of what to cite; its page may say it.")
    facts: dict[str, Any] = {
        "name": name,
        "kind": config.kind,
        "elements": config.elements,
        "cutoff_A": config.cutoff_A,
        "levels": checkpoint.levels,
    }
    if as_json:
        echo_json(facts | {"page": page})
        return
    facts |= {"elements": ", ".join(config.elements)}
    facts |= {"levels": in_words(checkpoint.levels) or "one"}
    for fact, value in facts.items():
        click.echo(f"{fact:<16} {value}")
    click.echo((page or "").rstrip())


def _facts(card: ModelCard) -> dict[str, str]:
    from synthzoo.zoo.find import location

    levels = {"levels": in_words(card.levels)} if card.levels else {}
    return {
        "name": ", ".join(card.names),
        "summary": card.summary,
        "kind": card.kind,
        "elements": ", ".join(card.elements),
        "cutoff": f"{card.cutoff_A} Å",
        "parameters": f"{card.parameters:,}",
        "labels from": f"{card.teacher.name} ({card.teacher.potential})",
        "level of theory": card.teacher.level_of_theory,
        **levels,
        "licence": _licence(card),
        "comes from": location(card),
    }


def _licence(card: ModelCard) -> str:
    from synthzoo.zoo.cards import NO_LICENCE

    if card.licence != NO_LICENCE:
        return card.licence
    return "none given by the authors: not bundled, not to be published again"


@main.command()
@click.argument("model", type=MODEL, required=False)
@click.option(
    "--all", "everything", is_flag=True, help="Fetch all models with a licence."
)
@click.option("-o", "--output", type=NEW, help="Folder to copy the checkpoint to.")
def fetch(model: str | None, output: Path | None, *, everything: bool) -> None:
    """Download a model, check it, and print its folder.

    What is already on this machine is not downloaded again.
    """
    from synthzoo.potentials import refuse_others
    from synthzoo.zoo.find import unlicensed

    if everything == (model is not None) or (everything and output is not None):
        raise click.UsageError("Give one MODEL, or --all without --output.")
    if model is not None:
        refuse_others(model, needed_for="fetch")
        click.echo(synthzoo.fetch(model, **given(destination=output)))
        return
    for folder in synthzoo.fetch_all():
        click.echo(folder)
    if names := unlicensed():
        note(f"Left out, without a licence: {', '.join(names)}. Fetch these by name.")


@main.command()
@click.argument("model", type=MODEL)
@click.option("--device", help="cpu (the default), cuda, cuda:1, ...; or auto.")
@json_option
@click.pass_context
def verify(
    context: click.Context, model: str, device: str | None, *, as_json: bool
) -> None:
    """Recompute the predictions stored with a model, and compare.

    The exit code is 1 if they differ by more than rounding errors.
    """
    from synthzoo.potentials import refuse_others

    refuse_others(model, needed_for="verify")
    result = synthzoo.verify_model(model, **given(device=device))
    if as_json:
        echo_json(dataclasses.asdict(result) | {"passed": result.passed})
    else:
        click.echo(f"{model}: {result.summary()}")
    context.exit(0 if result.passed else 1)


@main.command()
@click.argument("model", type=MODEL)
@click.argument("structures", type=READ)
@level_option
@click.option("-o", "--output", type=NEW, required=True, help="Extended XYZ to write.")
@format_option
@device_option
@compile_option
@kernels_option
@threads_option
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    help="Precision; float32 by default.",
)
@click.option(
    "--batch-atoms",
    type=click.IntRange(min=1),
    help="Number of atoms computed at a time.",
)
@json_option
def predict(
    model: str, structures: Path, output: Path, *, as_json: bool, **options: Any
) -> None:
    """Predict energies, forces and stresses of STRUCTURES.

    STRUCTURES is a file in any format that ASE reads.
    """
    summary = synthzoo.predict_file(model, structures, output, **given(**options))
    echo_result(summary, as_json=as_json)


@main.command()
@click.argument("folder", type=MODEL)
@click.argument("repository")
@click.option("--private", is_flag=True, help="Make the repository private.")
@click.option("--pull-request", is_flag=True, help="Open a pull request.")
@click.option("--dry-run", is_flag=True, help="Check everything; send nothing.")
@json_option
def publish(folder: str, repository: str, *, as_json: bool, **options: bool) -> None:
    """Send the checkpoint in FOLDER to the Hugging Face hub.

    REPOSITORY is organisation/name. The access token is that in HF_TOKEN, or of
    `hf auth login`.
    """
    from synthzoo.potentials import refuse_others

    refuse_others(folder, needed_for="publish")
    sent = synthzoo.publish(folder, repository, **options)
    if as_json:
        echo_json(dataclasses.asdict(sent))
        return
    echo_table(
        ("FILE", "BYTES", "SHA-256"),
        [(name, str(file.size), file.sha256) for name, file in sent.files.items()],
    )
    note(f"Sent to {sent.url}" if sent.url else f"Nothing was sent to {repository}.")


@main.command()
@click.option(
    "-o",
    "--output",
    type=NEW,
    default=Path("synthzoo-demo"),
    show_default=True,
    help="Folder to make.",
)
@click.option("--model", type=MODEL, help="Potential of carbon; `carbon` by default.")
@click.option(
    "--duration-ps",
    type=POSITIVE,
    help="Length of the molecular dynamics.",
)
@click.option(
    "--tune-on",
    type=click.IntRange(min=0),
    help="Number of DFT structures to fine-tune on: 25 by default, 0 for none.",
)
@json_option
def demo(output: Path, *, as_json: bool, **options: Any) -> None:
    """See it work: crystals, dynamics, fine-tuning in 2 minutes.

    The demo relaxes diamond and graphene, runs molecular dynamics, and fine-tunes on 25
    DFT structures. It takes under two minutes on two cores, and works offline. The exit
    code is 1 if its dynamics with the new potential fail.
    """
    summary = synthzoo.run_demo(output, **given(**options))
    if as_json:
        echo_result(summary, as_json=True)
    else:
        click.echo(summary.report.read_text(encoding="utf-8"))
        note(f"Everything is in {output}; look at {summary.figure} first.")
        note(
            "With DFT data of your own: `synthzoo finetune carbon DATA -o OUTPUT` for "
            "carbon, `synthzoo distill DATA --teacher TEACHER -o OUTPUT` for anything "
            "else."
        )
    click.get_current_context().exit(0 if summary.check.passed else 1)


@main.command("transmute-model")
@click.argument("model", type=MODEL)
@click.option("-o", "--output", type=NEW, required=True, help="Folder to make.")
@element_option
@map_option
@click.option("--scale", type=float, required=True, help="Factor for all lengths.")
@click.option(
    "--energy-factor", type=float, help="Factor for all energies; 1 by default."
)
@json_option
def transmute_model(model: str, output: Path, *, as_json: bool, **options: Any) -> None:
    """Scale MODEL to a starting point for other elements.

    For carbon into silicon: --element Si --scale 1.5. For a model of GaAs into one of
    InP: --map Ga:In --map As:P --scale 1.04. Nothing is fitted: at scaled
    positions, the new model gives exactly the energies of MODEL times their factor.
    """
    from synthzoo.potentials import refuse_others

    refuse_others(model, needed_for="transmute-model")
    summary = synthzoo.transmute_model(model, output, **given(**options))
    echo_result(summary, as_json=as_json)


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
