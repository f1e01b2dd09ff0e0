"""What advice is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from synthzoo.potentials import Model, model_name
from synthzoo.runs.files import hash_files

DIRECT, WITH_GAP = "direct", "gap"
Also = Literal["direct", "gap"]
FIT_ATOMS = 30_000
"""Atoms that each fit of a network sees in all: about twenty seconds on a core."""


@dataclass(frozen=True, kw_only=True)
class AdviceRequest:
    """What was asked for; most fields are those of `synthzoo.advise`.

    ``wanted``: files of structures that shall be simulated.
    ``most_atoms``: that a fit of a network sees in all; None for no limit.
    """

    files: list[Path]
    models: list[Model]
    wanted: list[Path]
    starts: int
    also: tuple[str, ...]
    goal_eV_A: float | None
    most_atoms: int | None
    energy_key: str | None
    forces_key: str | None
    format: str | None
    drop_bad: bool
    seed: int
    workers: int

    def manifest(self) -> dict[str, Any]:
        """Return what decides the result."""
        return {
            "data_sha256": hash_files(self.files),
            "for_sha256": hash_files(self.wanted),
            "models": [str(model_name(model)) for model in self.models],
            "starts": self.starts,
            "also": list(self.also),
            "goal_eV_A": self.goal_eV_A,
            "fit_atoms": self.most_atoms,
            "keys": [self.energy_key, self.forces_key],
            "format": self.format,
            "drop_bad": self.drop_bad,
            "seed": self.seed,
        }
