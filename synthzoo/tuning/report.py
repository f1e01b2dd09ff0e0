"""The report of a fine-tuning: what was found, done, gained and forgotten."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.document import (
    Figure,
    Heading,
    Items,
    Paragraph,
    Table,
    to_html,
    to_markdown,
)
from synthzoo.recipes import recipe_values
from synthzoo.tuning import figures
from synthzoo.tuning.comparison import verdict

if TYPE_CHECKING:
    from synthzoo.curves import TrainingLoss
    from synthzoo.document import Block
    from synthzoo.evaluate import GroupErrors
    from synthzoo.tuning.comparison import Comparison
    from synthzoo.tuning.judge import SeedResult
    from synthzoo.tuning.plan import Plan
    from synthzoo.tuning.probes import Curve
    from synthzoo.tuning.replay import Synthetic
    from synthzoo.tuning.selection import Candidate

MARKDOWN_FILE = "report.md"
HTML_FILE = "report.html"
METRICS_FILE = "metrics.json"

UNJUDGED = (
    "No structure was kept from the fit, so that nothing here says whether fine-tuning "
    "helps. Give labelled structures of your own with `--test`, or `--held-out-share`."
)


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a fine-tuning gave.

    Attributes
    ----------
    model
        Name of the start.
    plan
        What was fitted to what.
    batch_atoms
        Size of the batches that the fit has come to.
    losses
        Training errors of each epoch.
    seeds
        What the fits are worth of which the best is kept; empty for one fit.
    selection
        What weights are worth that were put through dynamics, the best first; empty
        if none were.
    replay
        Synthetic structures that were mixed in, and those to measure with.
    training
        Before and after on the training set.
    unseen
        The same on sets that the fit has not seen, the most telling one first.
    synthetic
        The same on the synthetic structures to measure with, if there are any.
    direct
        From scratch (before) and fine-tuned (after), if asked for.
    curves
        Simple systems, before and after.
    provenance
        What made the checkpoint.
    seconds
        Time that it took, up to the report.
    """

    model: str
    plan: Plan
    batch_atoms: int
    losses: Sequence[TrainingLoss]
    seeds: Sequence[SeedResult]
    selection: Sequence[Candidate]
    replay: Synthetic
    training: Comparison
    unseen: Sequence[Comparison]
    synthetic: Comparison | None
    direct: Comparison | None
    curves: Sequence[Curve]
    provenance: dict[str, Any]
    seconds: float

    @property
    def verdict(self) -> str:
        """Whether it helped, in words."""
        return verdict(self.unseen[0]) if self.unseen else UNJUDGED


def write_report(folder: Path, results: Results) -> None:
    """Write figures, report and metrics.

    Parameters
    ----------
    folder
        Where to write.
    results
        What the fine-tuning gave.
    """
    blocks = _blocks(folder, results)
    (folder / MARKDOWN_FILE).write_text(to_markdown(blocks), encoding="utf-8")
    (folder / HTML_FILE).write_text(to_html(blocks), encoding="utf-8")
    text = json.dumps(metrics(results), indent=1, ensure_ascii=False)
    (folder / METRICS_FILE).write_text(text + "\n", encoding="utf-8")


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


def metrics(results: Results) -> dict[str, Any]:
    """Return everything that was measured, for programs.

    Parameters
    ----------
    results
        What the fine-tuning gave.
    """
    plan = results.plan
    return {
        "verdict": results.verdict,
        "reference": dataclasses.asdict(plan.reference),
        "findings": list(plan.notes),
        "training": _values(results.training),
        "unseen": [_values(found) for found in results.unseen],
        "synthetic": _values(results.synthetic) if results.synthetic else None,
        "direct": _values(results.direct) if results.direct else None,
        "probes": [dataclasses.asdict(curve) for curve in results.curves],
        "seeds": [dataclasses.asdict(found) for found in results.seeds],
        "selection": [dataclasses.asdict(found) for found in results.selection],
        "losses": [dataclasses.asdict(loss) for loss in results.losses],
        "recipe": recipe_values(plan.recipe),
        "provenance": results.provenance,
        "seconds": round(results.seconds, 1),
    }


def _values(comparison: Comparison) -> dict[str, Any]:
    return {
        "name": comparison.name,
        "energy": comparison.energy,
        "forces": comparison.forces,
        "before": [dataclasses.asdict(group) for group in comparison.before.errors],
        "after": [dataclasses.asdict(group) for group in comparison.after.errors],
    }


def _blocks(folder: Path, results: Results) -> list[Block]:
    shown = results.unseen[0] if results.unseen else results.training
    return [
        Heading(text=f"Fine-tuning of {results.model}"),
        Paragraph(text=f"**{results.verdict}**"),
        *_errors(results),
        Figure(file=figures.write_parity(folder, shown), caption="Parity"),
        *_groups(folder, shown),
        Heading(text="What was found in the data"),
        Paragraph(text=_data_text(results.plan)),
        Paragraph(text=results.plan.reference.summary),
        *([Items(texts=results.plan.notes)] if results.plan.notes else []),
        *_forgetting(folder, results),
        Heading(text="How it was fitted"),
        Paragraph(text=_fit_text(results)),
        *_selection(results),
        Figure(file=figures.write_loss(folder, results.losses), caption="Loss"),
        Heading(text="Provenance"),
        Items(texts=tuple(_provenance(results))),
    ]


def _errors(results: Results) -> list[Block]:
    rows = []
    for comparison in (*results.unseen, results.training):
        rows += [
            _row(comparison.name, "before", comparison.before.errors[0]),
            _row(comparison.name, "after", comparison.after.errors[0]),
        ]
    if results.direct:
        rows.append(
            _row(results.direct.name, "from scratch", results.direct.before.errors[0])
        )
    header = (
        "Structures",
        "Model",
        "Number",
        "Energy RMSE (meV/atom)",
        "Force RMSE (eV/Å)",
    )
    return [
        Table(header=header, rows=tuple(rows)),
        Paragraph(
            text="Before: the model that the fit started from, its energies shifted to "
            "yours. Training structures were seen by the fit: their errors say nothing "
            "about others."
        ),
    ]


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


def _data_text(plan: Plan) -> str:
    text = (
        f"Energies under `{plan.keys.energy}`, forces under "
        f"`{plan.keys.forces or 'no key'}`. "
        f"{len(plan.training)} structures with {plan.training.atoms} atoms were fitted"
    )
    if len(plan.held_out):
        text += f"; {len(plan.held_out)} were held out and only looked at in the end"
    if plan.energies_only:
        text += (
            "; there are no forces: those of the pre-trained model stand in for them, "
            "in the fit and in the errors below"
        )
    if plan.isolated:
        text += f"; {plan.isolated} isolated atom(s) gave the energy reference"
    return text + "."


def _forgetting(folder: Path, results: Results) -> list[Block]:
    blocks: list[Block] = [Heading(text="What became of the rest")]
    if results.synthetic:
        blocks.append(Paragraph(text=_forgotten(results.synthetic, results.replay)))
    findings = tuple(text for curve in results.curves for text in curve.findings)
    path = figures.write_probes(folder, results.curves)
    return [
        *blocks,
        Items(texts=findings),
        Figure(file=path, caption="Simple systems before and after"),
    ]


def _forgotten(comparison: Comparison, replay: Synthetic) -> str:
    before, after = comparison.before.errors[0], comparison.after.errors[0]
    numbers = f"{after.structures} synthetic structures"
    if not replay.taught:
        return (
            f"On {numbers} the energies moved by {after.energy_rmse_meV_per_atom:.1f} "
            f"meV/atom and the forces by {after.force_rmse_eV_A:.3f} eV/Å (root mean "
            "square, one constant per atom taken off)."
        )
    return (
        f"On {numbers} that the fit has not seen, the errors against the teacher of "
        f"the start went from {before.energy_rmse_meV_per_atom:.1f} to "
        f"{after.energy_rmse_meV_per_atom:.1f} meV/atom and from "
        f"{before.force_rmse_eV_A:.3f} to {after.force_rmse_eV_A:.3f} eV/Å: "
        f"{after.force_rmse_eV_A / before.force_rmse_eV_A:.2f} times the error of the "
        "forces. One constant per atom is taken off. Your labels may be right where "
        "the teacher is wrong; what is lost counts where you have no labels"
        + ("." if len(replay.mixed) else ", and `--replay` keeps it.")
    )


def _fit_text(results: Results) -> str:
    plan, recipe = results.plan, results.plan.recipe
    text = (
        f"{recipe.visits} structures were shown in all, in batches of "
        f"{results.batch_atoms} atoms{_shortage(results)}, with a learning rate of "
        f"{recipe.learning_rate:g} that falls to zero along a cosine. "
    )
    text += _kept_text(results)
    if len(results.replay.mixed):
        text += (
            f" Of {len(results.replay.mixed)} synthetic structures, some were mixed "
            f"into each batch: {100 * recipe.replay_share:.0f} % of its atoms."
        )
    return text + _seeds_text(results) + _checks_text(plan)


def _kept_text(results: Results) -> str:
    if results.selection:
        return (
            "Averaged weights were kept on the way, too, and chosen by what they do in "
            "molecular dynamics."
        )
    text = "The averaged weights of the last step are kept"
    if results.seeds:
        return f"{text}."
    return f"{text}: nothing is chosen by held-out structures."


def _selection(results: Results) -> list[Block]:
    if not results.selection:
        return []
    rows = tuple(
        (
            f"{found.name}{' (kept)' if found.kept else ''}",
            f"{100 * found.survived:.0f} %",
            _drift_text(found.drift_meV_per_atom_ps),
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


def _drift_text(value: float | None) -> str:
    return "did not come so far" if value is None else f"{value:.2f}"


def _shortage(results: Results) -> str:
    wanted = results.plan.recipe.batch_atoms
    return f" (not {wanted}: memory was short)" if results.batch_atoms < wanted else ""


def _seeds_text(results: Results) -> str:
    if not results.seeds:
        return ""
    found = "; ".join(
        f"{seed.seed}{' (kept)' if seed.kept else ''}: "
        f"{seed.errors.energy_rmse_meV_per_atom:.1f} meV/atom, "
        f"{seed.errors.force_rmse_eV_A:.3f} eV/Å"
        for seed in results.seeds
    )
    return (
        f" The best of {len(results.seeds)} fits was chosen by the loss on the "
        f"held-out structures, whose errors it flatters a little. By seed: {found}."
    )


def _checks_text(plan: Plan) -> str:
    if plan.recipe.committee:
        return (
            f" A committee of {plan.recipe.committee} lies in `committee/`: each "
            "member was fitted to all training structures but its own share of them, "
            "on which it was tested."
        )
    if not plan.checks:
        return ""
    fitted, left = plan.checks[0]
    return (
        f" All {len(plan.training)} structures were fitted. To say what that is worth, "
        f"the same fit was made to {len(fitted)} of them and tested on the other "
        f"{len(left)}."
    )


def _provenance(results: Results) -> list[str]:
    made = results.provenance
    versions = ", ".join(f"{name} {text}" for name, text in made["versions"].items())
    return [
        f"Start: {results.model}, weights {made['start_weights_sha256']}",
        f"Data: {made['data_sha256']}",
        f"Recipe: {made['finetune_recipe']} (`recipe.yaml`), seed {made['seed']}",
        f"{versions}; {results.seconds:.0f} s",
    ]
