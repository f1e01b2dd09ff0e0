"""The report of a fine-tuning, its metrics, and a card for the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.evaluation.errors import error_columns
from synthzoo.finetuning import figures
from synthzoo.finetuning.certainty import FAR
from synthzoo.finetuning.earlier import METRICS_FILE
from synthzoo.finetuning.gain import NEW
from synthzoo.finetuning.report_text import (
    alone_text,
    data_text,
    direct_text,
    drift_text,
    fit_text,
    forgetting_text,
    provenance_items,
)
from synthzoo.finetuning.results import metrics
from synthzoo.reports.document import (
    Figure,
    Heading,
    Items,
    Paragraph,
    Table,
    to_markdown,
    write_document,
)
from synthzoo.runs.files import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthzoo.evaluation.errors import GroupErrors
    from synthzoo.finetuning.certainty import Certainty
    from synthzoo.finetuning.comparison import Comparison
    from synthzoo.finetuning.gain import Gain
    from synthzoo.finetuning.physics import CrystalChange
    from synthzoo.finetuning.results import Results
    from synthzoo.reports.document import Block


def write_report(folder: Path, results: Results) -> None:
    """Write figures, report and metrics."""
    write_document(folder, _blocks(folder, results))
    text = json.dumps(metrics(results), indent=1, ensure_ascii=False)
    write_text(folder / METRICS_FILE, text + "\n")


def card_text(results: Results, name: str) -> str:
    """Return a card for the tuned checkpoint, to be completed by its owner."""
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
        *_levels_of_card(results, name),
        Heading(text="Limits and licence"),
        Paragraph(
            text=(
                "To be written by whoever publishes this model: what the labels are, "
                "where the model may be trusted, and under which licence it is."
            )
        ),
    ]
    return head + to_markdown(blocks)


def _blocks(folder: Path, results: Results) -> list[Block]:
    shown = results.unseen[0] if results.unseen else results.training
    return [
        Heading(text=f"Fine-tuning of {results.model}"),
        Paragraph(text=f"**{results.verdict}**"),
        *_errors(results),
        *(_gain(results.gain) if results.gain else []),
        Figure(file=figures.write_parity(folder, shown), caption="Parity"),
        *_groups(folder, shown),
        *_certainty(folder, results.certainty),
        Heading(text="What was found in the data"),
        Paragraph(text=data_text(results.plan)),
        Paragraph(text=results.plan.reference.summary),
        *([Items(texts=results.plan.notes)] if results.plan.notes else []),
        *_levels(results),
        *_forgetting(folder, results),
        Heading(text="How it was fitted"),
        Paragraph(text=fit_text(results)),
        *_selection(results),
        Figure(file=figures.write_loss(folder, results.losses), caption="Loss"),
        Heading(text="Provenance"),
        Items(texts=tuple(provenance_items(results))),
    ]


def _errors(results: Results) -> list[Block]:
    named: list[tuple[str, str, GroupErrors]] = []
    for comparison in (*results.unseen, results.training):
        named += [
            (comparison.name, "before", comparison.before.errors[0]),
            (comparison.name, "after", comparison.after.errors[0]),
        ]
    if results.alone:
        alone = f"{results.plan.level} alone"
        named.append((results.alone.name, alone, results.alone.before.errors[0]))
    if results.direct:
        scratch = results.direct.comparison
        named.append((scratch.name, "from scratch", scratch.before.errors[0]))
    columns = error_columns([errors for *_, errors in named])
    heads = [(name, model, str(errors.structures)) for name, model, errors in named]
    texts = zip(*columns.values(), strict=True)
    rows = [(*head, *text) for head, text in zip(heads, texts, strict=True)]
    header = ("Structures", "Model", "Number", *columns)
    text = (
        "Before: the model that the fit started from, with its energies shifted to "
        "yours. Training structures were seen by the fit: their errors say nothing "
        "about others."
    )
    if results.alone:
        text += f" {alone_text(results.plan)}"
    if results.direct:
        text += f" {direct_text(results.direct, results.plan.recipe.visits)}"
    return [Table(header=header, rows=tuple(rows)), Paragraph(text=text)]


def _gain(gain: Gain) -> list[Block]:
    """Return the errors of an earlier model and of the new one, by file."""
    whole = gain.comparison
    parts = [(f"{whole.name}, all", whole.before.errors[0], whole.after.errors[0])]
    if any(
        each.after.structures < whole.after.errors[0].structures
        for each in gain.by_file
    ):
        parts += [(each.name, each.before, each.after) for each in gain.by_file]
    if gain.old:
        parts.append(("old, left out in turn", gain.old.before, gain.old.after))
    errors = [each for _, before, after in parts for each in (before, after)]
    heads = [(name, model) for name, *_ in parts for model in (gain.name, "now")]
    columns = error_columns(errors)
    rows = tuple(
        (*head, str(each.structures), *text)
        for head, each, text in zip(
            heads, errors, zip(*columns.values(), strict=True), strict=True
        )
    )
    text = (
        f"None of the {whole.name} structures, nor any related to them, was fitted by "
        f"{gain.name}, and now each was predicted by a fit that had not seen it."
    )
    if whole.name == NEW:
        text += (
            " Structures that were computed because the earlier model was unsure of "
            "them show more of a gain than others would."
        )
    if gain.surprise is not None:
        text += f" {gain.surprise_text}"
    if gain.old:
        text += (
            f" The old ones: errors of the further fits of each model, {gain.name}'s "
            "by its own report."
        )
    return [
        Heading(text="What the new structures bought"),
        Table(header=("Structures", "Model", "Number", *columns), rows=rows),
        Paragraph(text=text),
    ]


def _levels(results: Results) -> list[Block]:
    """Return what was learnt of other levels of theory."""
    if not results.levels:
        return []
    plan = results.plan
    columns = error_columns([level.errors for level in results.levels])
    rows = [
        (level.name, str(level.errors.structures), str(level.shared), *text)
        for level, text in zip(
            results.levels, zip(*columns.values(), strict=True), strict=True
        )
    ]
    texts = [
        f"{level.name}: energies under `{level.keys.energy}`, forces under "
        f"`{level.keys.forces or 'no key'}`. "
        + " ".join([level.reference.summary, *level.notes])
        for level in plan.levels
    ]
    return [
        Heading(text="Levels of theory"),
        Paragraph(
            text=f"The model has a last layer and constants for {plan.level}, which is "
            f"its default level, and for {', '.join(x.name for x in plan.levels)}; all "
            "other weights are shared. The other levels took "
            f"{100 * plan.recipe.level_share:.0f} % of the atoms of a batch. Their "
            "errors are on structures that were fitted. Shared structures "
            f"have labels of {plan.level}, too."
        ),
        Table(header=("Level", "Structures", "Shared", *columns), rows=tuple(rows)),
        Items(texts=tuple(texts)),
    ]


def _levels_of_card(results: Results, name: str) -> list[Block]:
    plan = results.plan
    if not plan.levels:
        return []
    others = ", ".join(f"`{level.name}`" for level in plan.levels)
    return [
        Paragraph(
            text=f"Levels of theory: `{plan.level}`, the default, and {others}: "
            f'`synthzoo.load_calculator("{name}", level="{plan.levels[0].name}")`, or '
            "`--level` on the command line. The errors above are those of "
            f"`{plan.level}`."
        )
    ]


def _groups(folder: Path, shown: Comparison) -> list[Block]:
    if len(shown.after.errors) < 3:
        return []
    before, after = (
        error_columns(prediction.errors) for prediction in (shown.before, shown.after)
    )
    columns = [
        [f"{old} → {new}" for old, new in zip(before[name], after[name], strict=True)]
        for name in after
    ]
    heads = [(group.name, str(group.structures)) for group in shown.after.errors]
    rows = [
        (*head, *text)
        for head, text in zip(heads, zip(*columns, strict=True), strict=True)
    ]
    return [
        Table(header=("Group", "Number", *after), rows=tuple(rows)),
        Figure(file=figures.write_groups(folder, shown), caption="Errors by group"),
    ]


def _certainty(folder: Path, certainty: Certainty | None) -> list[Block]:
    if certainty is None:
        return []
    usual = certainty.usual_eV_A
    return [
        Heading(text="How sure the model is"),
        Paragraph(
            text="The model also predicts how large its errors are, as standard "
            "deviations: the less an atom is like those that were fitted, the larger. "
            f"Their size was fitted to the errors on the {certainty.calibrated_on} "
            f"structures. {certainty.calibration.text()}"
        ),
        Paragraph(
            text=f"99 % of the deviations of these atoms are below {usual:.2g} eV/Å. "
            f"`synthzoo md --max-uncertainty {FAR * usual:.2g}` ends a run where atoms "
            "are far from all of them, and `synthzoo suggest` chooses the structures "
            "that would teach the model most."
        ),
        Figure(
            file=figures.write_reliability(folder, certainty), caption="Reliability"
        ),
    ]


def _forgetting(folder: Path, results: Results) -> list[Block]:
    blocks: list[Block] = [Heading(text="Forgetting and known physics")]
    if results.synthetic:
        blocks.append(
            Paragraph(text=forgetting_text(results.synthetic, results.replay))
        )
    path = figures.write_probes(folder, results.curves)
    return [
        *blocks,
        *_crystals(results.physics.crystals),
        Items(
            texts=tuple(repulsion.text() for repulsion in results.physics.repulsions)
        ),
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
            f"{candidate.name}{' (kept)' if candidate.kept else ''}",
            f"{100 * candidate.survived:.0f} %",
            drift_text(candidate.drift_meV_per_atom_ps),
            f"{candidate.force_rmse_eV_A:.3f}",
        )
        for candidate in results.selection
    )
    header = (
        "Weights",
        "Time survived",
        "Energy drift (meV/atom/ps)",
        "Force RMSE (eV/Å)",
    )
    return [Table(header=header, rows=rows)]
