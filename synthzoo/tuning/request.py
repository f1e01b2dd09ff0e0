"""What a fine-tuning is asked for, and what of it decides the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.checkpoint import read_config
from synthzoo.files import hash_files
from synthzoo.recipes import recipe_values

if TYPE_CHECKING:
    from synthzoo.tuning.recipe import FinetuneRecipe


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for.

    Attributes
    ----------
    name
        Of the checkpoint to make.
    model, start
        What the start was called, and its folder.
    files, test, replay
        Labelled structures to fit, to measure with, and to mix in.
    recipe
        How to fit.
    isolated_energies_eV
        Energies of free atoms that are known.
    energy_key, forces_key
        Where the labels are, if said.
    format
        Of the files to fit and to measure with, if said.
    energies_only, drop_bad, compare_direct
        As for `synthzoo.finetune`.
    device
        Where to fit.
    workers
        Fits that run at a time.
    """

    name: str
    model: str
    start: Path
    files: list[Path]
    recipe: FinetuneRecipe
    test: list[Path] = field(default_factory=list)
    replay: list[Path] = field(default_factory=list)
    isolated_energies_eV: dict[str, float] = field(default_factory=dict)
    energy_key: str | None = None
    forces_key: str | None = None
    format: str | None = None
    energies_only: bool = False
    drop_bad: bool = False
    compare_direct: bool = False
    device: str = "cpu"
    workers: int = 1

    def manifest(self) -> dict[str, Any]:
        """Return what decides the result."""
        return {
            "start_weights_sha256": read_config(self.start).weights_sha256,
            "data_sha256": hash_files(self.files),
            "test_sha256": hash_files(self.test),
            "replay_sha256": hash_files(self.replay),
            "recipe": recipe_values(self.recipe),
            "isolated_energies_eV": self.isolated_energies_eV,
            "keys": [self.energy_key, self.forces_key],
            "energies_only": self.energies_only,
            "drop_bad": self.drop_bad,
            "compare_direct": self.compare_direct,
            **({} if self.format is None else {"format": self.format}),
        }
