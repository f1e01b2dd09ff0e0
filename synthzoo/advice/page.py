"""The page of the advice: three sentences, then what they rest on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.advice import figures
from synthzoo.advice.curve import CONFIDENCE
from synthzoo.advice.parts import (
    PARTS_FOLDER,
    left_out_file,
    linear_file,
    recipe_file,
    training_file,
)
from synthzoo.advice.simple_models import LINEAR
from synthzoo.advice.verdict import ENERGIES, FORCES
from synthzoo.advice.words import Advice, advice_for, band, spread_of
from synthzoo.reports.document import (
    Figure,
    Heading,
    Items,
    Paragraph,
    Table,
    write_document,
)

if TYPE_CHECKING:
    from synthzoo.advice.coverage import Coverage
    from synthzoo.advice.findings import Found
    from synthzoo.reports.document import Block

SHOWN = 10
"""Structures that are named."""


def write_page(folder: Path, found: Found, made: dict[str, Any]) -> Advice:
    """Write the page with its figures, and return the advice.

    ``made``: what the page was made from, by which versions.
    """
    advice = advice_for(found)
    bulk = found.data.bulk
    blocks: list[Block] = [
        Heading(text=f"Advice on {len(bulk)} structures of {_listed(bulk.elements)}"),
        Paragraph(text=f"**{advice.use}**"),
        Paragraph(text=f"**{advice.expect}**"),
        Paragraph(text=f"**{advice.next}**"),
        *_models(folder, found),
        *_curves(folder, found),
        *_coverage(found),
        *_data(found),
        *_repeat(found, made),
    ]
    write_document(folder, blocks)
    return advice


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)


def _models(folder: Path, found: Found) -> list[Block]:
    rows = [
        (
            trial.name
            + (" (enough)" if trial.name == found.verdict.enough.name else ""),
            str(trial.size),
            *(
                f"{getattr(trial.prediction.errors[0], quantity):.{digits}f} ± "
                f"{spread_of(trial, quantity):.{digits}f}"
                for quantity, digits in ((ENERGIES, 1), (FORCES, 3))
            ),
        )
        for trial in found.largest
    ]
    header = ("Model", "Structures", "Energy RMSE (meV/atom)", "Force RMSE (eV/Å)")
    text = (
        "Each structure was tested once by models that had not seen it, nor any of its "
        "group. The number after ± is the standard error of the mean over the parts "
        "that were left out. The best model has the smallest error of forces, or, "
        "where another one's forces are not clearly worse, clearly better energies. "
        "The simplest model is enough if the differences to the best one may be due to "
        "the choice of structures: by bootstrap of groups, at 95 %. These errors say "
        "nothing of "
        "structures unlike the data: run `synthzoo md` before you trust any of them."
    )
    return [
        Heading(text="Models on the same parts of the data"),
        Table(header=header, rows=tuple(rows)),
        Paragraph(text=text),
        Figure(
            file=figures.write_errors(folder, found),
            caption="Errors; bars are those of the parts, blue is the model to use",
        ),
        *(
            [Items(texts=tuple(map(_sentence, found.left_out)))]
            if found.left_out
            else []
        ),
        *_starts(found),
    ]


def _sentence(text: str) -> str:
    return f"Not tried: {text.removesuffix('.')}."


def _starts(found: Found) -> list[Block]:
    if not found.starts:
        return []
    rows = [
        (
            f"`{start.name}`",
            f"{start.errors.energy_rmse_meV_per_atom:.1f}",
            f"{start.errors.force_rmse_eV_A:.3f}",
            "fine-tuned" if start.name in found.tuned else "",
        )
        for start in found.starts
    ]
    return [
        Paragraph(
            text="Networks of the zoo before any fit, on all of the data, after one "
            "constant per element:"
        ),
        Table(
            header=("Model", "Energy RMSE (meV/atom)", "Force RMSE (eV/Å)", ""),
            rows=tuple(rows),
        ),
        *_short(found),
    ]


def _short(found: Found) -> list[Block]:
    shorter = [
        f"{name}: {visits} instead of {usual}"
        for name, (visits, usual) in found.visits.items()
        if visits < usual
    ]
    if not shorter:
        return []
    return [
        Paragraph(
            text="To save time, fits of networks saw fewer structures, repetitions "
            f"included, than `finetune` would show them: {'; '.join(shorter)}. So "
            "their errors are too large here, most with many structures. "
            "`--fit-atoms 0` makes them whole."
        )
    ]


def _curves(folder: Path, found: Found) -> list[Block]:
    count = len(found.data.bulk)
    rows = []
    for trial in found.largest:
        forces = found.curve(trial.name, FORCES)
        energies = found.curve(trial.name, ENERGIES)
        if forces is not None and energies is not None:
            rows.append(
                (
                    trial.name,
                    f"{energies.exponent:.2f}, {forces.exponent:.2f}",
                    *(
                        f"{band(energies.at(n), 1)}; {band(forces.at(n), 3)}"
                        for n in (count, 2 * count, 4 * count)
                    ),
                )
            )
    if not rows:
        return []
    header = (
        "Model",
        "Exponents (energy, force)",
        *(f"{n} structures" for n in (count, 2 * count, 4 * count)),
    )
    return [
        Heading(text="What more structures would bring"),
        Figure(
            file=figures.write_curves(folder, found),
            caption="Learning curves; the dotted line is what you have",
        ),
        Table(header=header, rows=tuple(rows)),
        Paragraph(
            text="Energy errors in meV/atom; force errors in eV/Å. A power law is "
            "fitted to each model's errors with few and many structures. Its band "
            f"is meant to hold {100 * CONFIDENCE:.0f} % of the forecasts. Real curves "
            "flatten: beyond the largest fits, half of the exponent is assumed."
        ),
    ]


def _coverage(found: Found) -> list[Block]:
    parts: list[Block] = []
    if found.by_start is not None:
        parts += [
            Paragraph(
                text=f"Your data against `{found.starts[0].name}`: "
                f"{_outside(found.by_start)} of the synthetic structures that it was "
                "pre-trained on (a sample of them that comes with synthzoo)."
            ),
            *_named(found.by_start, found.data.bulk.origins),
        ]
    elif found.tuned:
        parts.append(
            Paragraph(
                text=f"What `{found.tuned[0]}` has seen is not known: no sample of its "
                "training structures comes with synthzoo."
            )
        )
    if found.by_data is not None:
        parts += [
            Paragraph(
                text=f"What you want to simulate, against your data: "
                f"{_outside(found.by_data)} of your data."
            ),
            *_named(found.by_data, found.origins),
        ]
    return [Heading(text="Which environments are unknown"), *parts] if parts else []


def _outside(found: Coverage) -> str:
    return (
        f"{100 * found.outside:.1f} % of the atoms of {found.seen} structures are "
        f"farther from the {found.known} known structures than 99 % of the atoms"
    )


def _named(found: Coverage, origins: tuple[str, ...] | list[str]) -> list[Block]:
    far = found.mostly_outside
    if not far:
        return []
    more = f" and {len(far) - SHOWN} more" if len(far) > SHOWN else ""
    names = ", ".join(origins[index] for index in far[:SHOWN])
    return [
        Paragraph(text=f"More than half of the atoms lie outside in {names}{more}.")
    ]


def _data(found: Found) -> list[Block]:
    noise = found.noise
    texts = [
        "The forces of each structure add up to zero: many codes see to that, so the "
        "sums say nothing of noise."
        if noise.sums_vanish
        else "Sums of forces would be explained by noise of "
        f"{noise.net_force_eV_A:.2g} eV/Å in each component.",
        "No two structures are nearly the same."
        if noise.twins_meV_per_atom is None
        else f"Energies within {noise.twins} group(s) of nearly the same structures: "
        f"standard deviation {noise.twins_meV_per_atom:.2g} meV/atom.",
        *found.data.notes,
    ]
    return [Heading(text="What the labels allow"), Items(texts=tuple(texts))]


def _linear_again(found: Found, parts: Path) -> list[str]:
    if all(trial.name != LINEAR for trial in found.trials):
        return []
    return [
        f"`{linear_file(parts)}` is the linear model of all structures, for python-ace "
        f"and LAMMPS (`pair_style pace`): `synthzoo md ace:{linear_file(parts)} "
        "start.xyz` says whether it survives dynamics.",
        f"The first part of the linear model: `synthzoo evaluate --shift "
        f"ace:{linear_file(parts, 1)} {left_out_file(parts, 1)}`; the constant that is "
        "taken off makes the error of the energies slightly smaller.",
    ]


def _repeat(found: Found, made: dict[str, Any]) -> list[Block]:
    parts = Path(PARTS_FOLDER)
    texts = [
        "All numbers are in `advice.json`. The same command, with the same data and "
        "versions, gives them again.",
        f"`{parts}/` holds what the largest fits saw and what tested them.",
        *_linear_again(found, parts),
        *(
            f"The first part of fine-tuned `{name}`: `synthzoo finetune {name} "
            f"{training_file(parts, 1)} --test {left_out_file(parts, 1)} --recipe "
            f"{recipe_file(parts, 1, name)} -o check`."
            for name in found.tuned
        ),
    ]
    versions = ", ".join(f"{name} {text}" for name, text in made["versions"].items())
    texts.append(f"Data {made['data_sha256']}; {versions}.")
    return [Heading(text="How to repeat it"), Items(texts=tuple(texts))]
