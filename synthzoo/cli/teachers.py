"""Commands about teachers: list, show, fetch, test."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

import synthzoo
from synthzoo.cli.options import (
    READ,
    echo_json,
    echo_result,
    echo_table,
    json_option,
    main,
    note,
)

MOST_SHOWN = 4
"""Elements that have room in a table."""


@main.group()
def teachers() -> None:
    """List, fetch and test the potentials that label structures.

    TEACHER is a name from `synthzoo teachers list`, or has the form kind:what, such as
    gap:potential.xml, kim:MODEL_ID, lammps:lcbop or zoo:carbon.
    """


@teachers.command("list")
@json_option
def list_teachers(*, as_json: bool) -> None:
    """List published potentials that can be named as teachers."""
    found = synthzoo.named_teachers()
    if as_json:
        echo_json([dataclasses.asdict(teacher) for teacher in found])
        return
    echo_table(
        ("NAME", "ELEMENTS", "REFERENCE", "SUMMARY"),
        [
            (each.name, _short(each.elements), each.reference, each.summary)
            for each in found
        ],
    )


def _short(elements: tuple[str, ...]) -> str:
    count = len(elements)
    return ", ".join(elements) if count <= MOST_SHOWN else f"{count} elements"


@teachers.command("show")
@click.argument("name")
@json_option
def show_teacher(name: str, *, as_json: bool) -> None:
    """Print the source, licence and citation of a teacher."""
    echo_result(synthzoo.find_teacher(name), as_json=as_json)


@teachers.command("fetch")
@click.argument("name")
@click.option("--file", type=READ, help="Downloaded file to compare with that one.")
def fetch_teacher(name: str, file: Path | None) -> None:
    """Say where the file of a teacher is published, or check yours."""
    named = synthzoo.find_teacher(name)
    if file is None:
        click.echo(f"published  {named.published or 'not on record'}")
        click.echo(f"licence    {named.licence or 'not on record'}")
        click.echo(f"sha256     {named.sha256 or 'not on record'}")
        return
    click.echo(synthzoo.check_teacher_file(name, file))
    if named.sha256 is None:
        note(f"No SHA-256 of {named.name} is on record to compare with.")


@teachers.command("test")
@click.argument("teacher")
@click.option("--file", type=READ, help="Potential file of a named teacher.")
@json_option
@click.pass_context
def examine_teacher(
    context: click.Context, teacher: str, file: Path | None, *, as_json: bool
) -> None:
    """Test TEACHER: gradients, symmetries and known numbers.

    Forces are compared with finite differences of the energy. Isolated atoms, rotations
    and one known number are tested, too. The exit code is 1 if a test fails.
    """
    from synthzoo.potentials import teacher_reference
    from synthzoo.teachers.catalogue import is_named

    if file is None and not is_named(teacher):
        teacher = teacher_reference(teacher)
    found = synthzoo.examine_teacher(teacher, file=file)
    passed = all(check.passed for check in found.checks)
    if as_json:
        rows = [
            dataclasses.asdict(each) | {"passed": each.passed} for each in found.checks
        ]
        alone = found.isolated_atom_energies_eV
        about = found.provenance | {"isolated_atom_energies_eV": alone}
        echo_json(about | {"passed": passed, "checks": rows})
    else:
        echo_table(
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
                for each in found.checks
            ],
        )
        made = found.provenance
        note(
            f"{found.reference}: {made['teacher_software']}, "
            f"SHA-256 {made['teacher_sha256']}"
        )
    context.exit(0 if passed else 1)
