"""The report of a fine-tuning: what was found, done, gained and forgotten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.document import (
    Figure,
    Heading,
    Items,
    Paragraph,
    Table,
    to_markdown,
    write_document,
)
from synthzoo.files import write_text
from synthzoo.tuning import figures
from synthzoo.tuning.report_text import (
    data_text,
    direct_text,
    drift_text,
    fit_text,
    forgetting_text,
    provenance_items,
)
from synthzoo.tuning.results import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthzoo.document import Block
    from synthzoo.evaluate import GroupErrors
    from synthzoo.tuning.comparison import Comparison
    from synthzoo.tuning.physics import CrystalChange
    from synthzoo.tuning.results import Results

METRICS_FILE = "metrics.json"


def write_report(folder: Path, results: Results) -> None:
    """Write figures, report and metrics.

    Parameters
    ----------
    folder
        Where to write.
    results
        What the fine-tuning gave.
    """
    write_document(folder, _blocks(folder, results))
    text = json.dumps(metrics(results), indent=1, ensure_ascii=False)
    write_text(folder / METRICS_FILE, text + "\n")


def card_text(results: Results, name: str) -> str:
    """Return a card for the tuned checkpoint, to be completed by its owner.

    Parameters
    ----------
    results
        What the fine-tuning gave.
    name
        Of the checkpoint.
    """
    head = "---\nlibrary_name: synthzoo\ntags:\n- interatomic-potential\n---\n"
    plan = results.plan
    elements = ", ".join(plan.reference.sources)
    blocks = [
        Heading(text=name),
        Paragraph(
            text=f"{results.model}, fine-tuned on {len(plan.training)} labelled "
            f"structures of {elements}. {results.verdict}"
        ),
        *_errors(results),
        Paragraph(text=plan.reference.summary),
        Paragraph(text=f'In Python: `synthzoo.load_calculator("{name}")`.'),
        Heading(text="Limits and licence"),
        Paragraph(
            text="To be written by who publishes it: what the labels are, where the "
            "model may be trusted, and under which licence it is."
        ),
    ]
    return head + to_markdown(blocks)


def _blocks(folder: Path, results: Results) -> list[Block]:
    shown = results.unseen[0] if results.unseen else results.training
    return [
        Heading(text=f"Fine-tuning of {results.model}"),
        Paragraph(text=f"**{results.verdict}**"),
        *_errors(results),
        Figure(file=figures.write_parity(folder, shown), caption="Parity"),
        *_groups(folder, shown),
        Heading(text="What was found in the data"),
        Paragraph(text=data_text(results.plan)),
        Paragraph(text=results.plan.reference.summary),
        *([Items(texts=results.plan.notes)] if results.plan.notes else []),
        *_forgetting(folder, results),
        Heading(text="How it was fitted"),
        Paragraph(text=fit_text(results)),
        *_selection(results),
        Figure(file=figures.write_loss(folder, results.losses), caption="Loss"),
        Heading(text="Provenance"),
        Items(texts=tuple(provenance_items(results))),
    ]


def _errors(results: Results) -> list[Block]:
    rows = []
    for comparison in (*results.unseen, results.training):
        rows += [
            _row(comparison.name, "before", comparison.before.errors[0]),
            _row(comparison.name, "after", comparison.after.errors[0]),
        ]
    if results.direct:
        scratch = results.direct.comparison
        rows.append(_row(scratch.name, "from scratch", scratch.before.errors[0]))
    header = (
        "Structures",
        "Model",
        "Number",
        "Energy RMSE (meV/atom)",
        "Force RMSE (eV/Å)",
    )
    text = (
        "Before: the model that the fit started from, its energies shifted to yours. "
        "Training structures were seen by the fit: their errors say nothing about "
        "others."
    )
    if results.direct:
        text += f" {direct_text(results.direct, results.plan.recipe.visits)}"
    return [Table(header=header, rows=tuple(rows)), Paragraph(text=text)]


def _row(name: str, model: str, errors: GroupErrors) -> tuple[str, ...]:
    return (
        name,
        model,
        str(errors.structures),
        f"{errors.energy_rmse_meV_per_atom:.1f}",
        f"{errors.force_rmse_eV_A:.3f}",
    )


def _groups(folder: Path, shown: Comparison) -> list[Block]:
    if len(shown.after.errors) < 3:
        return []
    rows = []
    for before, after in zip(shown.before.errors, shown.after.errors, strict=True):
        energies = (before.energy_rmse_meV_per_atom, after.energy_rmse_meV_per_atom)
        forces = (before.force_rmse_eV_A, after.force_rmse_eV_A)
        rows.append(
            (
                before.name,
                str(before.structures),
                f"{energies[0]:.1f} → {energies[1]:.1f}",
                f"{forces[0]:.3f} → {forces[1]:.3f}",
            )
        )
    header = ("Group", "Number", "Energy RMSE (meV/atom)", "Force RMSE (eV/Å)")
    return [
        Table(header=header, rows=tuple(rows)),
        Figure(file=figures.write_groups(folder, shown), caption="Errors by group"),
    ]


def _forgetting(folder: Path, results: Results) -> list[Block]:
    blocks: list[Block] = [Heading(text="What became of the rest")]
    if results.synthetic:
        blocks.append(
            Paragraph(text=forgetting_text(results.synthetic, results.replay))
        )
    path = figures.write_probes(folder, results.curves)
    return [
        *blocks,
        *_crystals(results.physics.crystals),
        Items(texts=tuple(found.text() for found in results.physics.repulsions)),
        Figure(file=path, caption="Simple systems before and after"),
    ]


def _crystals(crystals: Sequence[CrystalChange]) -> list[Block]:
    """Return a table of lattice and elastic constants, beside what is known of them."""
    rows = [
        (
            crystal.name,
            f"{quantity.name} ({quantity.unit})",
            quantity.text(crystal.before),
            quantity.text(crystal.after),
            crystal.known(quantity),
        )
        for crystal in crystals
        for quantity in crystal.quantities()
    ]
    header = ("Crystal", "Property", "Before", "After", "Known")
    return [Table(header=header, rows=tuple(rows))] if rows else []


def _selection(results: Results) -> list[Block]:
    if not results.selection:
        return []
    rows = tuple(
        (
            f"{found.name}{' (kept)' if found.kept else ''}",
            f"{100 * found.survived:.0f} %",
            drift_text(found.drift_meV_per_atom_ps),
            f"{found.force_rmse_eV_A:.3f}",
        )
        for found in results.selection
    )
    header = (
        "Weights",
        "Time survived",
        "Energy drift (meV/atom/ps)",
        "Force RMSE (eV/Å)",
    )
    return [Table(header=header, rows=rows)]
