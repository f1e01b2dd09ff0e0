"""What the demo found, and the names of its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from synthzoo.evaluation.crystals import (
        EnergyVolume,
        Relaxation,
    )
    from synthzoo.evaluation.errors import GroupErrors
    from synthzoo.zoo.card_records import ReferenceValues


PROTOCOL = "quick"
CHECK_FOLDER = "md"


@dataclass(frozen=True, kw_only=True)
class DemoCheck:
    """What a check of stability has shown.

    Attributes
    ----------
    protocol
        Which one, with shorter dynamics.
    passed
        Whether nothing went wrong.
    lines
        The verdict in words.
    """

    protocol: str
    passed: bool
    lines: tuple[str, ...]


SAMPLE = "carbon-pbe"
KINDS = ("crystals", "surfaces")
"""Strained, rattled and compressed crystals, and surfaces: no two of them related.

The disordered structures of the sample are few, of a few trajectories, and unlike each
other: 25 of them teach little about the rest.
"""

TUNED_FOLDER = "tuned"
TRAINING_FILE = "tuning.xyz"
TEST_FILE = "tuning-test.xyz"


@dataclass(frozen=True, kw_only=True)
class TunedSample:
    """What fine-tuning on a part of a DFT sample gave on the rest of it.

    Attributes
    ----------
    sample
        Name of the sample.
    training_structures, test_structures
        Sizes of the two parts; no group of related frames is in both.
    before, after
        Errors on the test structures: all, then by kind. Those before are taken with
        the best constant per atom on the training structures.
    verdict
        In words.
    seconds
        From the files to the report.
    """

    sample: str
    training_structures: int
    test_structures: int
    before: tuple[GroupErrors, ...]
    after: tuple[GroupErrors, ...]
    verdict: str
    seconds: float


RELAXED_FILE = "relaxed.xyz"
CURVE_FILE = "energy-volume.xyz"
TRAJECTORY_FILE = "dynamics.xyz"
RESULTS_FILE = "results.json"
REPORT_FILE = "report.md"
FIGURE_FILE = "demo.png"
TEMPERATURE_K = 300.0
START_K = 2 * TEMPERATURE_K
"""Half of the kinetic energy goes into the bonds of a crystal whose atoms start on
their sites. The start has exactly this temperature: a random draw for 64 atoms misses
it by 10 %.
"""

TIMESTEP_FS = 1.0
STEPS_PER_FRAME = 10
MD_CELLS = (2, 2, 2)
"""Conventional cells of diamond along each axis."""


@dataclass(frozen=True, kw_only=True)
class Dynamics:
    """Molecular dynamics of diamond at constant energy.

    Attributes
    ----------
    atoms
        Size of the cell.
    timestep_fs
        Step of the integrator.
    times_ps
        Time of each step.
    temperatures_K
        Instantaneous temperatures.
    energies_meV_per_atom
        Change of the total energy since the start.
    drift_meV_per_atom
        Slope of a straight line through those energies, times the duration.
    """

    atoms: int
    timestep_fs: float
    times_ps: tuple[float, ...]
    temperatures_K: tuple[float, ...]
    energies_meV_per_atom: tuple[float, ...]
    drift_meV_per_atom: float

    @property
    def mean_temperature_K(self) -> float:
        """The mean over the second half, after the start has spread out."""
        half = len(self.temperatures_K) // 2
        return float(np.mean(self.temperatures_K[half:]))


@dataclass(frozen=True, kw_only=True)
class DemoSummary:
    """What the demo found and where it lies.

    Attributes
    ----------
    output
        Folder with all files.
    model
        Model that was shown, as it was asked for.
    weights_sha256
        Hash of its weights.
    seed
        Of the displacements and velocities at the start.
    versions
        Packages that made the numbers.
    diamond, graphene
        The relaxed crystals.
    curve
        Energies of diamond over the volume.
    dynamics
        Molecular dynamics of diamond.
    reference
        The teacher's values, from the model's card; None without a card.
    failures
        What the model is known to get wrong, from its card.
    tuned
        What fine-tuning gave; None if it was left out.
    check
        Whether the last of the models survives a short protocol.
    seconds
        Wall time.
    """

    output: Path
    model: str
    weights_sha256: str
    seed: int
    versions: dict[str, str]
    diamond: Relaxation
    graphene: Relaxation
    curve: EnergyVolume
    dynamics: Dynamics
    reference: ReferenceValues | None
    failures: tuple[str, ...]
    tuned: TunedSample | None
    check: DemoCheck
    seconds: float

    @property
    def figure(self) -> Path:
        """The figure."""
        return self.output / FIGURE_FILE

    @property
    def report(self) -> Path:
        """The table, what was done, and what to try next."""
        return self.output / REPORT_FILE
