"""What a fine-tuning is asked for, and what of it decides the result."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from synthzoo.calculator import find_device
from synthzoo.checkpoint import read_config
from synthzoo.files import hash_files
from synthzoo.frames import find_files
from synthzoo.hub import find_folder
from synthzoo.recipes import recipe_values
from synthzoo.tuning.recipe import FinetuneRecipe
from synthzoo.tuning.replay import find_replay

Sources: TypeAlias = str | Path | Sequence[str | Path]
"""Files or patterns."""


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


def find_request(  # noqa: PLR0913  what a user may say
    model: str | Path,
    data: Sources,
    *,
    name: str,
    recipe: FinetuneRecipe | None,
    isolated_energies_eV: Mapping[str, float] | None,
    energy_key: str | None,
    forces_key: str | None,
    format: str | None,
    test: Sources,
    replay: Sources | None,
    energies_only: bool,
    drop_bad: bool,
    compare_direct: bool,
    device: str,
    workers: int | None,
) -> Request:
    """Return what is asked for, with the files and the start that are meant.

    Parameters
    ----------
    model, data
        As for `synthzoo.finetune`.
    name
        Of the checkpoint to make.
    recipe, isolated_energies_eV, energy_key, forces_key, format, test, replay
        As for `synthzoo.finetune`.
    energies_only, drop_bad, compare_direct, device, workers
        As for `synthzoo.finetune`.

    Raises
    ------
    SynthzooError
        If the start, a file or the device is not there.
    """
    start = find_folder(model)
    recipe = recipe or FinetuneRecipe()
    return Request(
        name=name,
        model=model.name if isinstance(model, Path) else model.rpartition("/")[2],
        start=start,
        files=find_files(data),
        test=find_files(test) if test else [],
        replay=find_replay(replay, read_config(start)) if recipe.replay_share else [],
        recipe=recipe,
        isolated_energies_eV=dict(isolated_energies_eV or {}),
        energy_key=energy_key,
        forces_key=forces_key,
        format=format,
        energies_only=energies_only,
        drop_bad=drop_bad,
        compare_direct=compare_direct,
        device=find_device(device),
        workers=workers or os.cpu_count() or 1,
    )
