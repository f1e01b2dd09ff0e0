"""What is in a set of structures, and what its owner should know."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols
from ase.units import GPa

from synthzoo.data.frames import FrameSet, Origin
from synthzoo.data.label_choice import KeyChoice, KeyCounts, choose_label_keys
from synthzoo.data.labels import CALCULATOR, LabelKeys
from synthzoo.data.structures import GROUP_KEY
from synthzoo.errors import InputError
from synthzoo.inspection.checks import all_findings
from synthzoo.inspection.energy_models import (
    beyond_composition,
    element_energies,
    open_directions,
)
from synthzoo.inspection.findings import CheckedSet, Finding, Severity, worst
from synthzoo.inspection.measures import (
    MOST_BONDS,
    Measures,
    Spread,
    measure,
    quantities_of,
    spread_of,
)

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray


QUANTITIES = (
    "atoms per structure",
    "energy (eV/atom)",
    "energy beyond composition (eV/atom)",
    "largest force (eV/Å)",
    "force components (eV/Å)",
    "pressure (GPa)",
    "stress components (GPa)",
    "density (g/cm³)",
    "shortest distance (Å)",
)
"""In the order in which they are told."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What `inspect_structures` found.

    Attributes
    ----------
    files
        Where the structures come from, with their numbers.
    structures, atoms
        How many there are.
    elements
        Atoms of each element.
    formulas
        Structures of each composition, the most frequent first.
    kinds
        Structures of each kind, as their ``info`` says.
    groups
        Number of groups of related frames; 0 if the structures do not name any.
    periodic
        Structures by number of periodic directions.
    key_counts
        Keys that could be labels, with the numbers of structures that have them.
    keys
        Those that were looked at.
    spreads
        Where sizes, labels, densities and distances lie, by name.
    element_energies_eV
        Energy of each element that explains most of the energies; empty where the
        compositions do not tell the elements apart.
    bonds
        Share of the atoms with 0, 1, 2 ... bonds; the last one stands for more, too.
    findings
        What is wrong or worth knowing, errors first.
    measures
        The numbers behind the spreads.
    origins
        Where each structure was read; empty if they were not read from files.
    """

    files: dict[str, int]
    structures: int
    atoms: int
    elements: dict[str, int]
    formulas: dict[str, int]
    kinds: dict[str, int]
    groups: int
    periodic: dict[int, int]
    key_counts: KeyCounts
    keys: LabelKeys
    spreads: dict[str, Spread]
    element_energies_eV: dict[str, float]
    bonds: tuple[float, ...]
    findings: tuple[Finding, ...]
    measures: Measures
    origins: tuple[Origin, ...]

    def values(self) -> dict[str, Any]:
        """Return everything but the measures as plain values that JSON can hold."""
        left_out = ("measures", "origins")
        quantities = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in left_out
        }
        return {name: _plain(value) for name, value in quantities.items()}

    @property
    def title(self) -> str:
        """The names of the files, without their folders."""
        return ", ".join(Path(name).name for name in self.files) or "structures"

    @property
    def headline(self) -> str:
        """The title with the numbers of structures and atoms."""
        return f"{self.title}: {self.structures:,} structures, {self.atoms:,} atoms"

    def name(self, frame: int) -> str:
        """Return what to call a structure: its file and place, or its number.

        Parameters
        ----------
        frame
            Counted from zero.
        """
        return str(self.origins[frame]) if self.origins else str(frame)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def inspect_structures(structures: Sequence[Atoms], **keys: str | None) -> Inspection:
    """Return what is in structures and their labels, and what seems wrong with it.

    Parameters
    ----------
    structures
        At least one, labelled or not.
    **keys
        ``energy_key``, ``forces_key``, ``stress_key``: where the labels are; found
        among the usual names if not given.

    Raises
    ------
    InputError
        If there are no structures, or none has a label under a key that was given.

    Examples
    --------
    >>> from synthzoo import load_sample
    >>> found = inspect_structures(load_sample("silicon-pbe"))
    >>> found.structures, found.elements
    (147, {'Si': 1218})
    """
    return inspect_frames(FrameSet(structures=list(structures), origins=[]), keys)


def inspect_frames(frames: FrameSet, wanted: dict[str, str | None]) -> Inspection:
    """Look at structures, and name the file that each comes from."""
    structures = frames.structures
    if not structures:
        raise InputError("There are no structures to inspect.")
    choice = choose_label_keys(structures, **wanted)
    keys = choice.keys
    sources = [str(origin.file) for origin in frames.origins]
    data = CheckedSet(structures=structures, keys=keys, sources=sources or None)
    sound = [atoms for i, atoms in enumerate(structures) if i not in data.faults]
    measures = measure(sound, keys)
    groups = {atoms.info[GROUP_KEY] for atoms in structures if GROUP_KEY in atoms.info}
    return Inspection(
        files=dict(Counter(sources)),
        structures=len(structures),
        atoms=int(data.sizes.sum()),
        elements=dict(measures.elements.most_common()),
        formulas=dict(measures.formulas.most_common()),
        kinds=dict(measures.kinds.most_common()),
        groups=len(groups),
        periodic=dict(sorted(measures.periodic.items())),
        key_counts=choice.counts,
        keys=keys,
        spreads=_spreads(data, measures),
        element_energies_eV=_element_energies(data),
        bonds=tuple(measures.total_bond_shares.tolist()),
        findings=tuple(worst([*_key_findings(choice, wanted), *all_findings(data)])),
        measures=measures,
        origins=tuple(frames.origins),
    )


def _key_findings(choice: KeyChoice, wanted: dict[str, str | None]) -> list[Finding]:
    """Find keys beside those that were read; labels of two references are a warning."""
    findings: list[Finding] = []
    for what in ("energy", "forces", "stress"):
        there: dict[str, int] = getattr(choice.counts, what)
        if len(there) < 2 or wanted.get(f"{what}_key") is not None:
            continue
        rivals = choice.rivals.get(what, ())
        which = f"{', '.join(rivals)} differ" if rivals else ", ".join(there)
        message = (
            f"Several keys could be the {what}: {which}. "
            f"Looked at: {getattr(choice.keys, what)}; --{what}-key chooses another."
        )
        severity: Severity = "warning" if rivals else "note"
        findings.append(
            Finding(kind=f"several_{what}", severity=severity, message=message)
        )
    return findings


def _spreads(data: CheckedSet, measures: Measures) -> dict[str, Spread]:
    components = {
        "force components (eV/Å)": [f.ravel() for f in data.forces_eV_A.values()],
        "stress components (GPa)": [s / GPa for s in data.stresses_eV_A3.values()],
    }
    quantities = quantities_of(measures) | {
        "energy beyond composition (eV/atom)": _rest(data),
        **{name: np.concatenate([[], *parts]) for name, parts in components.items()},
    }
    spreads = {name: spread_of(quantities[name]) for name in QUANTITIES}
    return {name: spread for name, spread in spreads.items() if spread is not None}


def _rest(data: CheckedSet) -> NDArray[np.float64]:
    usable = np.isfinite(data.energies_eV) & (data.sizes > 0)
    if not usable.any():
        return np.zeros(0)
    return beyond_composition(
        data.energies_eV[usable] / data.sizes[usable], data.shares[usable]
    )


def _element_energies(data: CheckedSet) -> dict[str, float]:
    usable = np.isfinite(data.energies_eV) & (data.sizes > 0) & ~data.isolated
    if len(open_directions(data.shares[usable])):
        return {}
    fitted = element_energies(
        data.energies_eV[usable] / data.sizes[usable], data.shares[usable]
    )
    return {
        chemical_symbols[number]: float(energy)
        for number, energy in zip(data.elements, fitted, strict=True)
    }


MOST_NAMED = 8
"""Compositions or kinds that are named; the others are counted."""
MOST_FRAMES = 3
HYBRIDISATIONS = {2: "sp", 3: "sp²", 4: "sp³"}
"""What carbon with so many bonds is called."""
SMALL_SHARE = 0.0005


def inspection_lines(found: Inspection) -> list[str]:
    """Return an inspection as lines that line up."""
    facts = facts_of(found)
    width = max(map(len, facts))
    lines = [f"{name:<{width}}  {value}" for name, value in facts.items()]
    return [*lines, "", *_spread_lines(found), "", *finding_lines(found)]


def facts_of(found: Inspection) -> dict[str, str]:
    """Return what can be said in one line each, by name."""
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
    """Return the shares of atoms by number of bonds."""
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
    """Return one row of a table for each quantity."""
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
    """Return one line for each finding, with the structures that it is about."""
    if not found.findings:
        return ["Nothing seems wrong."]
    return [finding_text(finding, found) for finding in found.findings]


def finding_text(finding: Finding, found: Inspection) -> str:
    """Return a finding as one line."""
    frames = _named(map(found.name, finding.frames), len(finding.frames))
    return f"{finding.severity}: {finding.message}{frames}"


def _named(names: Iterable[str], count: int) -> str:
    if not count:
        return ""
    others = f" and {count - MOST_FRAMES:,} more" if count > MOST_FRAMES else ""
    return f" [{', '.join(islice(names, MOST_FRAMES))}{others}]"
