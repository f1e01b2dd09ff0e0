"""An earlier model of some of the files of a fit, to compare with.

A tuned model keeps the hash of its data, which says what it was fitted to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from synthzoo.errors import InputError
from synthzoo.evaluation.errors import GroupErrors
from synthzoo.potentials import Model, find_checkpoint
from synthzoo.runs.files import hash_files, read_record

if TYPE_CHECKING:
    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.models.checkpoint import Checkpoint
    from synthzoo.models.config import CheckpointConfig

METRICS_FILE = "metrics.json"
"""In the folder of a tuned model: what its report says, for programs."""


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A model that was fitted to the first of the files of a fit.

    ``files``: what it was fitted to.
    """

    checkpoint: Checkpoint
    files: Sequence[Path]

    @property
    def name(self) -> str:
        """What the report calls it."""
        return Path(self.checkpoint.name).name

    def knows(self, origin: str) -> bool:
        """Return whether it was fitted to the file of a structure."""
        return Path(origin.rpartition("@")[0]) in self.files

    def check(self, labelled: LabelledSet) -> None:
        """Refuse structures on which it could not be judged."""
        foreign = sorted(set(labelled.elements) - set(self.checkpoint.config.elements))
        if foreign:
            raise InputError(
                f"{self.name} does not know {', '.join(foreign)}, so it cannot be "
                "compared on these structures: leave --before out."
            )

    def tested(self) -> tuple[str, GroupErrors] | None:
        """Return on what its own report begins, and with which errors, if it does.

        They are errors on structures that a fit has not seen.
        """
        path = self.checkpoint.folder / METRICS_FILE
        if not path.is_file():
            return None
        shown = next(iter(read_record(path, dict[str, Any]).get("unseen", [])), None)
        if shown is None:
            return None
        return shown["name"], msgspec.convert(shown["after"][0], GroupErrors)


def find_earlier(model: Model, files: Sequence[Path]) -> Earlier:
    """Return an earlier model with the files that it was fitted to."""
    checkpoint = find_checkpoint(model, needed_for="a comparison")
    name = Path(checkpoint.name).name
    count = files_known(checkpoint.config, files)
    if not count:
        raise InputError(
            f"{name} was not fitted to the first of these files, so which structures "
            "are new to it is not known: name the files that it was fitted to first, "
            "as they were, then the new ones."
        )
    if count == len(files):
        raise InputError(
            f"{name} was fitted to all of these files: name new ones, too."
        )
    return Earlier(checkpoint=checkpoint, files=files[:count])


def files_known(config: CheckpointConfig, files: Sequence[Path]) -> int:
    """Return to how many of the first files a tuned model was fitted; often none."""
    wanted = config.provenance.get("data_sha256")
    counts = range(1, len(files) + 1) if wanted else ()
    return next((n for n in counts if hash_files(files[:n]) == wanted), 0)
