"""The report of a stability check: the verdict first, then what it rests on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.errors import InputError
from synthzoo.reports.document import (
    Figure,
    Heading,
    Items,
    Paragraph,
    Table,
    write_document,
)
from synthzoo.runs.files import write_text
from synthzoo.stability import figures
from synthzoo.stability.observables import observed_means, short_names, shown_of
from synthzoo.stability.protocol import stage_text
from synthzoo.stability.survival import compare_survival, describe_survival
from synthzoo.stability.verdict import IN_WORDS, failure_text

if TYPE_CHECKING:
    from synthzoo.reports.document import Block
    from synthzoo.stability.crystals import CrystalCheck
    from synthzoo.stability.observables import Shown
    from synthzoo.stability.verdict import Verdict

METRICS_FILE = "observables.json"

MOST_FAILURES = 12
"""That are told one by one."""
TOLD_ELSEWHERE = ("recipe", "settings")
"""Parts of the provenance that are told as the protocol; whole in the JSON file."""
TOLD_ONCE = "versions"
"""A model's record repeats those of the run."""

MEANS = (
    "Means over the replicas: the last frame of each, and for g(r) and diffusion the "
    "second half of the planned time."
)
HYBRIDS = "Atoms with 2, 3 and 4 bonds are sp, sp² and sp³ atoms."

NOTHING = "–"


def write_report(
    folder: Path,
    verdicts: Sequence[Verdict],
    crystals: Mapping[str, Sequence[CrystalCheck]] | None = None,
) -> Path:
    """Write the report of one or several models with its figures, and its numbers.

    Series and trajectories are read from the folders of the replicas, frame by frame.

    ``verdicts``: at least one; of the same protocol and the same starting structures.
    """
    if not verdicts:
        raise InputError("There is no verdict to report.")
    names = short_names([verdict.model for verdict in verdicts])
    models = [
        shown_of(verdict, name) for verdict, name in zip(verdicts, names, strict=True)
    ]
    checks = {
        name: tuple((crystals or {}).get(verdict.model, ()))
        for verdict, name in zip(verdicts, names, strict=True)
    }
    path = write_document(folder, _blocks(folder, models, checks))
    text = json.dumps(_metrics(models, checks), indent=1, ensure_ascii=False)
    write_text(folder / METRICS_FILE, text + "\n")
    return path


def headline(shown: Shown) -> str:
    """Return in a few sentences whether a model passed, and how it failed first."""
    verdict = shown.verdict
    word = "passed" if verdict.passed else "failed"
    texts = [f"**{shown.name} {word} `{verdict.protocol}`.**"]
    if shown.lifetimes:
        texts.append(describe_survival(shown.lifetimes, shown.planned_ps))
    if verdict.failures:
        first = min(verdict.failures, key=lambda failure: failure.time_fs)
        texts.append(f"First failure: {failure_text(first)}")
    return " ".join(texts)


def _blocks(
    folder: Path,
    models: Sequence[Shown],
    crystals: Mapping[str, Sequence[CrystalCheck]],
) -> list[Block]:
    verdicts = [shown.verdict for shown in models]
    title = f"{verdicts[0].protocol}: {', '.join(shown.name for shown in models)}"
    return [
        Heading(text=title),
        *(Paragraph(text=headline(shown)) for shown in models),
        *_comparison(models),
        _overview(models),
        *_pictures(folder, models),
        *_failures(models),
        *_atoms(models),
        *_crystals(crystals),
        *_notes(models),
        *_replicas(models),
        *_protocol(verdicts[0]),
        Heading(text="Provenance"),
        Items(texts=tuple(_provenance(verdicts))),
    ]


def _comparison(models: Sequence[Shown]) -> list[Block]:
    alive = [(shown.name, shown.lifetimes) for shown in models if shown.lifetimes]
    texts = compare_survival(alive)
    return [Paragraph(text=" ".join(texts))] if texts else []


def _overview(models: Sequence[Shown]) -> Table:
    header = (
        "Model",
        "Verdict",
        "Replicas alive",
        "Half failed after (ps)",
        "First failure",
        "Energy drift (meV/atom/ps)",
        "Order in the time step",
        "Largest uncertainty of a force (eV/Å)",
    )
    return _filled(header, [_overview_row(shown) for shown in models])


def _filled(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table without the columns that hold nothing."""
    kept = [
        column
        for column in range(len(header))
        if any(row[column] != NOTHING for row in rows)
    ]
    return Table(
        header=tuple(header[column] for column in kept),
        rows=tuple(tuple(row[column] for column in kept) for row in rows),
    )


def _overview_row(shown: Shown) -> tuple[str, ...]:
    verdict, curve = shown.verdict, shown.survival
    failures = sorted(verdict.failures, key=lambda failure: failure.time_fs)
    drifts = [drift for r in verdict.replicas for drift in r.drifts]
    orders = [r.order for r in verdict.replicas if r.order is not None]
    doubts = [r.doubt_eV_A for r in verdict.replicas if r.doubt_eV_A is not None]
    worst = max((abs(d.drift_meV_per_atom_ps) for d in drifts), default=None)
    return (
        shown.name,
        "passed" if verdict.passed else "FAILED",
        f"{curve.replicas - curve.failures} of {curve.replicas}" if curve else NOTHING,
        _number(curve.median_ps if curve else None, ".3g"),
        IN_WORDS[failures[0].kind] if failures else "none",
        _number(worst, ".3g"),
        _number(min(orders, default=None), ".2f"),
        _number(max(doubts, default=None), ".3g"),
    )


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def _pictures(folder: Path, models: Sequence[Shown]) -> list[Block]:
    """Draw what there is something to draw of."""
    pictures: list[Block] = []
    moved = [shown for shown in models if shown.verdict.replicas]
    if sum(len(shown.verdict.replicas) for shown in moved) > 1:
        path = figures.write_survival(folder, moved)
        pictures.append(Figure(file=path, caption="Survival of the replicas"))
    if any(shown.series for shown in models):
        path = figures.write_dynamics(folder, models)
        pictures.append(Figure(file=path, caption="Temperature and energy"))
    if any(shown.observables for shown in models):
        path = figures.write_bonds(folder, models)
        pictures.append(Figure(file=path, caption="Bonds of the atoms"))
        path = figures.write_radial(folder, models)
        pictures.append(Figure(file=path, caption="Distances and motion"))
    if any(found.partial for shown in models for found in shown.observables):
        path = figures.write_partial(folder, models)
        pictures.append(Figure(file=path, caption="Distances by pairs of elements"))
    if any(len(r.drifts) > 1 for shown in models for r in shown.verdict.replicas):
        path = figures.write_drift(folder, models)
        pictures.append(Figure(file=path, caption="Energy conservation"))
    if any(shown.verdict.scans for shown in models):
        path = figures.write_scans(folder, models)
        pictures.append(Figure(file=path, caption="Dimers and squeezed structure"))
    return pictures


def _protocol(verdict: Verdict) -> list[Block]:
    recipe, settings = (verdict.provenance.get(key) for key in TOLD_ELSEWHERE)
    if not (isinstance(recipe, Mapping) and isinstance(settings, Mapping)):
        return []
    texts = [f"{stage['name']}: {stage_text(stage)}" for stage in recipe["stages"]]
    return [
        Heading(text=f"The protocol {verdict.protocol}"),
        Items(texts=tuple(texts)),
        Paragraph(
            text=(
                f"Time step {settings['timestep_fs']:g} fs, {settings['thermostat']} "
                f"thermostat; the structure was checked every {recipe['check_steps']} "
                "steps."
            )
        ),
    ]


def _failures(models: Sequence[Shown]) -> list[Block]:
    texts = [text for shown in models for text in _failures_of(shown)]
    if not texts:
        return []
    more = len(texts) - MOST_FAILURES
    if more > 0:
        texts = [*texts[:MOST_FAILURES], f"and {more} more; see the table of replicas"]
    return [Heading(text="What failed"), Items(texts=tuple(texts))]


def _failures_of(shown: Shown) -> Iterator[str]:
    for scan in shown.verdict.scans:
        if scan.failure:
            yield f"{shown.name}, {scan.name}: {failure_text(scan.failure)}"
    for replica in shown.verdict.replicas:
        if replica.failure:
            text = failure_text(replica.failure)
            yield f"{shown.name}, replica {replica.replica}: {text}"


def _atoms(models: Sequence[Shown]) -> list[Block]:
    rows = [_atoms_row(shown) for shown in models if shown.observables]
    if not rows:
        return []
    carbon = any(shown.is_carbon for shown in models)
    header = (
        "Model",
        "Bonds of an atom at the end",
        "sp / sp² / sp³ at the end (%)",
        "First peak of g(r) (Å)",
        "Diffusion (cm²/s)",
        "Rings of 5 / 6 / 7 per atom at the end",
    )
    return [
        Heading(text="What the atoms did"),
        _filled(header, rows),
        Paragraph(text=f"{MEANS} {HYBRIDS if carbon else ''}".strip()),
        *_pairs(models),
    ]


def _pairs(models: Sequence[Shown]) -> list[Block]:
    """Return bonds and distances by pairs of elements, if there are several."""
    rows = [row for shown in models if shown.observables for row in _pair_rows(shown)]
    if not rows:
        return []
    header = ("Model", "Atom–neighbour", "Bonds at the end", "First peak of g(r) (Å)")
    return [_filled(header, rows)]


def _pair_rows(shown: Shown) -> Iterator[tuple[str, ...]]:
    means = observed_means(shown.observables)
    peaks = means["first_peaks_by_pair_A"]
    for name, bonds in means["bonds_by_pair_at_the_end"].items():
        mirrored = "–".join(reversed(name.split("–")))
        peak = peaks.get(name, peaks.get(mirrored))
        yield shown.name, name, f"{bonds:.2f}", _number(peak, ".2f")


def _atoms_row(shown: Shown) -> tuple[str, ...]:
    means = observed_means(shown.observables)
    shares = means["bond_shares_at_the_end"]
    rings = means["rings_per_atom_at_the_end"]
    return (
        shown.name,
        f"{shown.mean_bonds:.2f}",
        " / ".join(f"{100 * shares[bonds]:.0f}" for bonds in (2, 3, 4))
        if shown.is_carbon
        else NOTHING,
        _number(means["first_peak_A"], ".2f"),
        _number(means["diffusion_cm2_s"], ".1e"),
        NOTHING
        if rings is None
        else " / ".join(f"{rings.get(size, 0.0):.2f}" for size in (5, 6, 7)),
    )


def _crystals(crystals: Mapping[str, Sequence[CrystalCheck]]) -> list[Block]:
    rows = [_crystal_row(name, c) for name, checks in crystals.items() for c in checks]
    if not rows:
        return []
    header = (
        "Model",
        "Crystal",
        "a (Å)",
        "c (Å)",
        "Bulk modulus (GPa)",
        "Lowest / highest mode (THz)",
        "Reference",
    )
    return [
        Heading(text="Crystals"),
        _filled(header, rows),
        Paragraph(
            text=(
                "A negative frequency is an imaginary one: the crystal falls apart "
                "along this mode. Phonons do not affect the verdict."
            )
        ),
    ]


def _crystal_row(model: str, found: CrystalCheck) -> tuple[str, ...]:
    modes = NOTHING
    if found.lowest_THz is not None and found.highest_THz is not None:
        modes = f"{round(found.lowest_THz, 1) + 0.0:.1f} / {found.highest_THz:.1f}"
    return (
        model,
        found.name,
        "no minimum" if found.a_A is None else f"{found.a_A:.3f}",
        _number(found.c_A, ".3f"),
        _number(found.bulk_modulus_GPa, ".0f"),
        modes,
        _reference(found),
    )


def _reference(found: CrystalCheck) -> str:
    if found.reference is None or found.reference_a_A is None:
        return NOTHING
    text = f"{found.reference}: {found.reference_a_A:.3f} Å"
    if found.reference_bulk_modulus_GPa is None:
        return text
    return f"{text}, {found.reference_bulk_modulus_GPa:.0f} GPa"


def _notes(models: Sequence[Shown]) -> list[Block]:
    notes = dict.fromkeys(note for shown in models for note in shown.verdict.notes)
    return [Heading(text="Notes"), Items(texts=tuple(notes))] if notes else []


def _replicas(models: Sequence[Shown]) -> list[Block]:
    rows = [
        (
            f"{shown.name} {replica.replica}",
            str(replica.start),
            str(replica.seed),
            f"{replica.simulated_fs / 1000:g} of {replica.planned_fs / 1000:g}",
            IN_WORDS[replica.failure.kind] if replica.failure else "alive",
            f"{replica.seconds:.0f}",
            f"`{'/'.join(replica.trajectory.parts[-3:])}`",
        )
        for shown in models
        for replica in shown.verdict.replicas
    ]
    if not rows:
        return []
    header = ("Replica", "Start", "Seed", "ps", "End", "Seconds", "Trajectory")
    return [Heading(text="Replicas"), Table(header=header, rows=tuple(rows))]


def _provenance(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Return what is common to all models once, and the rest for each."""
    first = verdicts[0].provenance
    for key, value in first.items():
        if key in TOLD_ELSEWHERE:
            continue
        if all(verdict.provenance.get(key) == value for verdict in verdicts):
            yield f"{_words(key)}: {_plain_text(value)}"
            continue
        for verdict in verdicts:
            text = _plain_text(verdict.provenance.get(key))
            yield f"{_words(key)} of {verdict.model}: {text}"


def _words(key: str) -> str:
    return key.replace("_", " ")


def _plain_text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(
            f"{_words(key)} {_plain_text(item)}"
            for key, item in value.items()
            if key != TOLD_ONCE
        )
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain_text, value))
    return str(value)


def _metrics(
    models: Sequence[Shown], crystals: Mapping[str, Sequence[CrystalCheck]]
) -> dict[str, Any]:
    """Return what the report says, for programs."""
    return {
        shown.name: {
            "passed": shown.verdict.passed,
            "survival": dataclasses.asdict(shown.survival) if shown.survival else None,
            "observables": observed_means(shown.observables)
            if shown.observables
            else None,
            "crystals": [dataclasses.asdict(check) for check in crystals[shown.name]],
        }
        for shown in models
    }
