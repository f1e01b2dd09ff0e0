"""The card of a set of structures: Markdown with a figure beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.data.frames import iter_raw_frames, read_frames
from synthzoo.data.labels import CALCULATOR, LabelKeys
from synthzoo.inspection.figure import draw_measures
from synthzoo.inspection.measures import (
    DISTANCE_STEP_A,
    bin_edges,
    measure,
    quantities_of,
    spread_of,
)
from synthzoo.inspection.summary import (
    HYBRIDISATIONS,
    Inspection,
    bond_text,
    facts_of,
    finding_text,
    inspect_frames,
    spread_rows,
)
from synthzoo.reports.document import markdown_table
from synthzoo.runs.files import new_file
from synthzoo.runs.progress import progress_bar
from synthzoo.runs.provenance import installed_versions

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.inspection.measures import Measures


DENSITY_STEP_G_CM3 = 0.5


def inspect_files(
    sources: Path | str | Sequence[Path | str],
    *,
    figure: Path | str | None = None,
    card: Path | str | None = None,
    format: str | None = None,
    **keys: str | None,
) -> Inspection:
    """Return what is in files of structures, and what seems wrong with it.

    Parameters
    ----------
    sources
        Files in any format that ASE reads, or patterns.
    figure
        Picture to write, of energies, forces, distances, densities, bonds and sizes.
    card
        Markdown file to write, with its figure beside it.
    format
        Of all sources, as ASE calls it; guessed for each if not given.
    **keys
        ``energy_key``, ``forces_key``, ``stress_key``: where the labels are.

    Raises
    ------
    InputError
        If a file cannot be read, or no structure has a label under a key.

    Examples
    --------
    >>> from synthzoo import sample_path
    >>> found = inspect_files(sample_path("silicon-pbe"))
    >>> [finding.message for finding in found.findings if finding.severity == "error"]
    []
    """
    found = inspect_frames(read_frames(sources, format=format), keys)
    if figure is not None:
        draw_measures(found.measures, Path(figure), title=found.headline)
    if card is not None:
        write_set_card(found, Path(card))
    return found


def write_set_card(found: Inspection, path: Path) -> Path:
    """Write the card of a set, and its figure under the same name, and return its path.

    ``path``: Markdown file to write; the figure ends in ``.png`` instead.
    """
    figure = path.with_suffix(".png")
    draw_measures(found.measures, figure, title=found.headline)
    with new_file(path) as partial:
        partial.write_text(_card(found, figure.name), encoding="utf-8")
    return path


def _card(found: Inspection, figure: str) -> str:
    facts = facts_of(found)
    facts.pop("bonds per atom", None)
    facts["files"] = ", ".join(
        f"{Path(name).name} ({count:,})" for name, count in found.files.items()
    )
    versions = ", ".join(
        f"{key} {value}" for key, value in installed_versions().items()
    )
    quantities = ("quantity", "smallest", "5 %", "median", "95 %", "largest", "values")
    findings = [f"- {finding_text(finding, found)}" for finding in found.findings]
    return "\n".join(
        [
            f"# {found.title}\n",
            markdown_table(("what", "in this set"), [*facts.items()]),
            f"\n![energies, forces, distances, densities, bonds, sizes]({figure})\n",
            "## Quantities\n",
            markdown_table(quantities, spread_rows(found)),
            "\n## Bonds\n",
            f"{bond_text(found)}.\n",
            _density_table(found.measures),
            "\n## Findings\n",
            *(findings or ["Nothing seems wrong."]),
            f"\nMade by `synthzoo inspect` ({versions}).\n",
        ]
    )


def _density_table(measures: Measures) -> str:
    """Return a table of the shares of bonds by density; empty without densities."""
    densities = measures.densities_g_cm3
    steps = np.floor(densities / DENSITY_STEP_G_CM3)
    known = np.unique(steps[np.isfinite(steps)])
    if not len(known):
        return ""
    carbon = set(measures.elements) == {"C"}
    names = [HYBRIDISATIONS[n] if carbon else f"{n} bonds" for n in (2, 3, 4)]
    rows = []
    for step in known:
        inside = steps == step
        bonds = measures.bonds[inside].sum(axis=0) / measures.atoms[inside].sum()
        low = step * DENSITY_STEP_G_CM3
        energy = spread_of(measures.energies_eV_per_atom[inside])
        rows.append(
            (
                f"{low:.1f}–{low + DENSITY_STEP_G_CM3:.1f}",
                f"{np.count_nonzero(inside):,}",
                f"{energy.median:.3f}" if energy else "no label",
                *(f"{100 * bonds[n]:.1f}" for n in (2, 3, 4)),
            )
        )
    header = ("density (g/cm³)", "structures", "median energy (eV/atom)")
    return markdown_table((*header, *(f"{name} (%)" for name in names)), rows)


MOST_MEASURED = 1000
"""More structures of a file would change no histogram to speak of."""
BINS = 40
ASE_LABELS = LabelKeys(energy=CALCULATOR, forces=CALCULATOR, stress=CALCULATOR)


def summary_paths(output: Path) -> tuple[Path, Path]:
    """Return where the summary of a file and its figure are written.

    Examples
    --------
    >>> [path.name for path in summary_paths(Path("runs/labelled.xyz"))]
    ['labelled.summary.json', 'labelled.summary.png']
    """
    return output.with_suffix(".summary.json"), output.with_suffix(".summary.png")


def summarise_file(
    output: Path,
    *,
    structures: int,
    counts: Mapping[str, Any],
    scratch: Path | None = None,
) -> tuple[Path, Path]:
    """Write counts and histograms of a set beside it; return the paths of both.

    Structures are read one at a time. Of a long file every second, third ... is
    measured, so that the summary takes seconds whatever was made; it says so.

    ``output``: file of structures, with labels in ASE's own place if it has any.
    ``counts``: what else is to be told, such as how many were left out.
    ``scratch``: folder for unfinished files, which a kill leaves behind; that of the
    output if not given.
    """
    every = -(-structures // MOST_MEASURED)
    taken = progress_bar(
        _every(output, every),
        desc="summary",
        unit="structure",
        total=-(-structures // every),
    )
    measures = measure(taken, ASE_LABELS)
    record, figure = summary_paths(output)
    content = {
        "file": output.name,
        "structures": structures,
        "measured": len(measures),
        "every": every,
        "counts": dict(counts),
        **summary_values(measures),
        "versions": installed_versions(),
    }
    title = f"{output.name}: {structures:,} structures"
    if len(measures) < structures:
        title += f" ({len(measures):,} measured)"
    folder = scratch or output.parent
    with new_file(folder / figure.name) as partial:
        draw_measures(measures, partial, title=title, kind="png")
    with new_file(folder / record.name) as partial:
        text = json.dumps(content, indent=1, ensure_ascii=False)
        partial.write_text(text + "\n", encoding="utf-8")
    for path in (record, figure):
        (folder / path.name).replace(path)
    return record, figure


def _every(path: Path, step: int) -> Iterator[Atoms]:
    for frame in islice(iter_raw_frames(path), 0, None, step):
        yield frame.parse()


def summary_values(measures: Measures) -> dict[str, Any]:
    """Return histograms and counts of a set as plain values that JSON can hold."""
    shown = int(measures.reach_A / DISTANCE_STEP_A)
    per_atom = measures.distances[:shown] / max(int(measures.atoms.sum()), 1)
    histograms = {
        name: _histogram(values) for name, values in quantities_of(measures).items()
    }
    return {
        "atoms": int(measures.atoms.sum()),
        "elements": dict(measures.elements),
        "kinds": dict(measures.kinds),
        "bond_shares": measures.total_bond_shares.tolist(),
        "histograms": {name: found for name, found in histograms.items() if found},
        "neighbours_per_atom": {
            "step_A": DISTANCE_STEP_A,
            "counts": per_atom.round(6).tolist(),
        },
    }


def _histogram(values: NDArray[Any]) -> dict[str, Any]:
    """Return where values lie; nothing if there are none."""
    spread = spread_of(values)
    if spread is None:
        return {}
    finite = values[np.isfinite(values)]
    edges = bin_edges(finite, BINS)
    counts = np.histogram(finite, edges)[0]
    return asdict(spread) | {"edges": edges.tolist(), "structures": counts.tolist()}
