"""The card of a set of structures: Markdown with a figure beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.document import markdown_table
from synthzoo.files import new_file
from synthzoo.inspection.measures import spread_of
from synthzoo.inspection.text import (
    HYBRIDISATIONS,
    bond_text,
    facts_of,
    finding_text,
    spread_rows,
)
from synthzoo.provenance import installed_versions
from synthzoo.set_figure import draw_measures

if TYPE_CHECKING:
    from synthzoo.inspection.measures import Measures
    from synthzoo.inspection.summary import Inspection

DENSITY_STEP_G_CM3 = 0.5


def write_set_card(found: Inspection, path: Path) -> Path:
    """Write the card of a set, and its figure under the same name, and return its path.

    Parameters
    ----------
    found
        What was found in the set.
    path
        Markdown file to write; the figure ends in ``.png`` instead.
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
