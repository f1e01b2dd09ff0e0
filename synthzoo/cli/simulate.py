"""Commands that take a model to where simulations run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import synthzoo
from synthzoo.cli.levels import level_option
from synthzoo.cli.options import (
    MODEL,
    NEW,
    POSITIVE,
    READ,
    device_option,
    echo_result,
    given,
    json_option,
    main,
    note,
    threads_option,
)

dtype_option = click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    help="Precision; float32 by default.",
)


def _symbols(
    _: click.Context, __: click.Parameter, text: str | None
) -> tuple[str, ...]:
    """Return the symbols of a list with commas."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


@main.command()
@click.argument("model", type=MODEL)
@click.argument("script", type=READ)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@level_option
@click.option(
    "--elements",
    callback=_symbols,
    metavar="C,Si,...",
    help="Elements of the atom types, in order. Otherwise type labels, `pair_coeff * "
    "*` or masses say what they are.",
)
@click.option(
    "--max-uncertainty",
    type=POSITIVE,
    help="Stop where the model's own standard deviation of a force passes this, in "
    "eV/Å. For fine-tuned models that give one, on the CPU.",
)
@device_option
@dtype_option
@threads_option
def lammps(
    model: str, script: Path, *, arguments: tuple[str, ...], **options: Any
) -> None:
    """Run an input file of LAMMPS with MODEL as the potential.

    SCRIPT is your own file, in units metal: MODEL takes the place of its pair_style.
    ARGUMENTS are LAMMPS's own switches, behind two dashes: synthzoo lammps carbon
    in.melt -- -var T 300 -log melt.log
    """
    done = synthzoo.run_lammps(model, script, **given(arguments=arguments, **options))
    if done.rank == 0 and done.force_calls:
        own = done.seconds - done.model_seconds
        note(
            f"{done.force_calls} force calls for {done.atoms} atoms: "
            f"{1000 * done.model_seconds / done.force_calls:.3g} ms each; LAMMPS took "
            f"{100 * own / done.model_seconds:.2g} % more."
        )
    if done.doubt_eV_A is not None:
        note(
            "Largest standard deviation of a force, by the model: "
            f"{done.doubt_eV_A:.2g} eV/Å."
        )


@main.command()
@click.argument("model", type=MODEL)
@click.argument("structure", type=READ)
@level_option
@click.option("--unix", metavar="NAME", help="UNIX socket, as i-PI's input names it.")
@click.option("--host", help="Machine of i-PI; localhost by default.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port; 31415 by default.")
@click.option(
    "--wait-s",
    type=click.FloatRange(min=0),
    help="Seconds to wait until i-PI listens; 60 by default.",
)
@device_option
@dtype_option
@threads_option
def serve(model: str, structure: Path, **options: Any) -> None:
    """Compute for i-PI, through a socket, with MODEL.

    STRUCTURE is a file with the atoms in i-PI's order. It says the elements and in
    which directions the cell is periodic. Give --unix NAME, or --host and --port.
    """
    done = synthzoo.serve(model, structure, **given(**options))
    if done.force_calls:
        note(
            f"{done.force_calls} force calls for {done.atoms} atoms: "
            f"{1000 * done.model_seconds / done.force_calls:.3g} ms each."
        )


@main.command()
@click.argument("model", type=MODEL)
@level_option
@click.option(
    "-o",
    "--output",
    type=NEW,
    required=True,
    help="File to make; its name ends in .nequip.pt2.",
)
@click.option(
    "--target",
    type=click.Choice(["ase", "batch", "pair_nequip"]),
    help="For nequip's calculator of ASE (the default), for torch-sim, or for "
    "pair_nequip of LAMMPS.",
)
@click.option("--device", help="cpu (the default) or cuda.")
@dtype_option
@json_option
def export(model: str, output: Path, *, as_json: bool, **options: Any) -> None:
    """Compile MODEL to machine code that nequip's programs load.

    Compiling takes minutes. The file is compared with the model before it is kept. It
    holds for this kind of machine and these versions of torch and nequip. Loading such
    a file runs it as a program: load only those of people whom you trust.
    """
    done = synthzoo.export_model(model, output, **given(**options))
    echo_result(done, as_json=as_json)
