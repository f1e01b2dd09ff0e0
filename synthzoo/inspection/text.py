"""An inspection as text: what `synthzoo inspect` prints, and the card of a set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from synthzoo.inspection.measures import MOST_BONDS
from synthzoo.labels import CALCULATOR

if TYPE_CHECKING:
    from synthzoo.inspection.findings import Finding
    from synthzoo.inspection.summary import Inspection

MOST_NAMED = 8
"""Compositions or kinds that are named; the others are counted."""
MOST_FRAMES = 3
HYBRIDISATIONS = {2: "sp", 3: "sp²", 4: "sp³"}
"""What carbon with so many bonds is called."""
SMALL_SHARE = 0.0005


def inspection_lines(found: Inspection) -> list[str]:
    """Return an inspection as lines that line up.

    Parameters
    ----------
    found
        What was found.
    """
    facts = facts_of(found)
    width = max(map(len, facts))
    lines = [f"{name:<{width}}  {value}" for name, value in facts.items()]
    return [*lines, "", *_spread_lines(found), "", *finding_lines(found)]


def facts_of(found: Inspection) -> dict[str, str]:
    """Return what can be said in one line each, by name.

    Parameters
    ----------
    found
        What was found.
    """
    facts = {
        "structures": f"{found.structures:,} with {found.atoms:,} atoms",
        "files": _counted(found.files),
        "elements": _counted(found.elements),
        "compositions": _counted(found.formulas),
        "kinds": _counted(found.kinds) if set(found.kinds) != {"unnamed"} else "",
        "groups": f"{found.groups:,}" if found.groups else "",
        "periodic in": ", ".join(
            f"{directions} directions: {count:,}"
            for directions, count in found.periodic.items()
        ),
        "energy": _keys(found.key_counts.energy, found.keys.energy),
        "forces": _keys(found.key_counts.forces, found.keys.forces),
        "stress": _keys(found.key_counts.stress, found.keys.stress),
        "element energies": ", ".join(
            f"{symbol} {energy:.4f} eV"
            for symbol, energy in found.element_energies_eV.items()
        ),
        "bonds per atom": bond_text(found),
    }
    return {name: value for name, value in facts.items() if value}


def _counted(counts: Mapping[str, int]) -> str:
    named = ", ".join(
        f"{name} ({count:,})" for name, count in islice(counts.items(), MOST_NAMED)
    )
    others = len(counts) - MOST_NAMED
    return f"{named} and {others:,} more" if others > 0 else named


def _keys(counts: Mapping[str, int], used: str | None) -> str:
    if used is None:
        return "no label found"
    others = [f"{key} ({count:,})" for key, count in counts.items() if key != used]
    place = "in ASE's own place" if used == CALCULATOR else f"under {used!r}"
    rest = f"; also {', '.join(others)}" if others else ""
    return f"{place} in {counts[used]:,} structures{rest}"


def bond_text(found: Inspection) -> str:
    """Return the shares of atoms by number of bonds.

    Parameters
    ----------
    found
        What was found.
    """
    carbon = set(found.elements) == {"C"}
    parts = []
    for bonds, share in enumerate(found.bonds):
        if share >= SMALL_SHARE:
            name = f" ({HYBRIDISATIONS[bonds]})" if carbon and 2 <= bonds <= 4 else ""
            more = " or more" if bonds == MOST_BONDS else ""
            parts.append(f"{bonds}{more}{name}: {100 * share:.1f} %")
    return ", ".join(parts)


def _spread_lines(found: Inspection) -> list[str]:
    header = ("", "smallest", "5 %", "median", "95 %", "largest", "values")
    rows = [header, *spread_rows(found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return [
        "  ".join(
            f"{cell:<{width}}" if column == 0 else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def spread_rows(found: Inspection) -> list[tuple[str, ...]]:
    """Return one row of a table for each quantity.

    Parameters
    ----------
    found
        What was found.
    """
    rows = []
    for name, spread in found.spreads.items():
        values = (
            spread.smallest,
            spread.low,
            spread.median,
            spread.high,
            spread.largest,
        )
        whole = name == "atoms per structure"
        cells = (f"{value:.0f}" if whole else f"{value:.3f}" for value in values)
        rows.append((name, *cells, f"{spread.count:,}"))
    return rows


def finding_lines(found: Inspection) -> list[str]:
    """Return one line for each finding, with the structures that it is about.

    Parameters
    ----------
    found
        What was found.
    """
    if not found.findings:
        return ["Nothing seems wrong."]
    return [finding_text(finding, found) for finding in found.findings]


def finding_text(finding: Finding, found: Inspection) -> str:
    """Return a finding as one line.

    Parameters
    ----------
    finding
        One of the findings.
    found
        The inspection that it belongs to.
    """
    frames = _named(map(found.name, finding.frames), len(finding.frames))
    return f"{finding.severity}: {finding.message}{frames}"


def _named(names: Iterable[str], count: int) -> str:
    if not count:
        return ""
    others = f" and {count - MOST_FRAMES:,} more" if count > MOST_FRAMES else ""
    return f" [{', '.join(islice(names, MOST_FRAMES))}{others}]"
