"""What new structures have bought: an earlier model beside the new one.

The earlier model is judged only on structures that it was not fitted to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthzoo.data.structures import group_of
from synthzoo.evaluation.errors import errors_by_group
from synthzoo.finetuning.comparison import Comparison, compare, predict_set
from synthzoo.finetuning.earlier import files_known
from synthzoo.finetuning.judge import LEFT_OUT, TEST, Judge
from synthzoo.models.calculator import SynthzooCalculator
from synthzoo.models.place import Place

if TYPE_CHECKING:
    from synthzoo.evaluation.errors import GroupErrors, Prediction
    from synthzoo.finetuning.earlier import Earlier


@dataclass(frozen=True, kw_only=True)
class FileErrors:
    """Errors of two models on the same structures of a file.

    Attributes
    ----------
    name
        The file, or what the structures are.
    before, after
        Of the earlier model and of the new one.
    """

    name: str
    before: GroupErrors
    after: GroupErrors


NEW = "new"
"""Name of structures that are fitted now, and were not before."""

FAMILIAR = 1.1
"""Forces of new structures that are predicted this much worse than those that tested a
model, or less, have shown it nothing new."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What new structures have bought.

    ``name``: of the earlier model.
    ``comparison``: that model (before) and fits to old and new structures (after) on
    structures that neither has seen.
    ``by_file``: the same by file, of files with several structures.
    ``expected_eV_A``: the earlier model's error of forces by its own report; None if it
    was not tested, or if these are structures of a test set, which nobody has chosen
    for being new.
    ``old``: on the old structures, each by a fit that has not seen it; if both models
    were tested in this way.
    """

    name: str
    comparison: Comparison
    by_file: Sequence[FileErrors]
    expected_eV_A: float | None
    old: FileErrors | None

    @property
    def surprise(self) -> float | None:
        """How much worse than expected the earlier model's forces are, as a factor."""
        if not self.expected_eV_A or self.comparison.forces is None:
            return None
        found = self.comparison.before.errors[0].force_rmse_eV_A
        return found / self.expected_eV_A

    @property
    def surprise_text(self) -> str:
        """Whether the new structures were new to the earlier model, in words."""
        if self.surprise is None:
            return ""
        text = (
            f"{self.name} predicted the forces of the new structures with "
            f"{self.surprise:.2f} times the error that it has on those that tested it "
            f"({self.expected_eV_A:.3f} eV/Å)"
        )
        if self.surprise <= FAMILIAR:
            return f"{text}: more of this kind would teach little, so you may stop."
        return f"{text}: they were new to it, so go on."


def find_gain(judge: Judge, earlier: Earlier) -> Gain | None:
    """Return what the structures have bought that an earlier model does not know.

    They are those of the first unseen set that are not of its files, and not related to
    structures of its files. None if there are none.
    """
    if not judge.unseen:
        return None
    shown = judge.unseen[0]
    old = [
        i for i, origin in enumerate(shown.labelled.origins) if earlier.knows(origin)
    ]
    known = _groups(judge, earlier)
    new = [
        index
        for index, atoms in enumerate(shown.labelled.structures)
        if group_of(atoms) not in known
    ]
    if not new:
        return None
    part = shown.labelled.part(new)
    stored = earlier.checkpoint.stored
    model = SynthzooCalculator(stored, place=Place(device=judge.device))
    comparison = compare(
        TEST if shown.name == TEST else NEW,
        part,
        predict_set(part, model),
        shown.after.part(new),
        forces=shown.forces is not None,
        seen=shown.seen,
    )
    tested = earlier.tested() if comparison.name == NEW else None
    return Gain(
        name=earlier.name,
        comparison=comparison,
        by_file=_by_file(comparison),
        expected_eV_A=tested[1].force_rmse_eV_A if tested else None,
        old=_on_old(judge, earlier, shown.after.part(old)),
    )


def _groups(judge: Judge, earlier: Earlier) -> set[str]:
    """Return the groups of the structures that an earlier model was fitted to."""
    return {
        group_of(atoms)
        for labelled in (judge.plan.training, judge.plan.held_out)
        for atoms, origin in zip(labelled.structures, labelled.origins, strict=True)
        if earlier.knows(origin)
    }


def _by_file(found: Comparison) -> list[FileErrors]:
    """Return the errors by file; none where a file is a single calculation."""
    files = [origin.rpartition("@")[0] for origin in found.labelled.origins]
    return [
        FileErrors(
            name=name,
            before=_errors(found.before, indices),
            after=_errors(found.after, indices),
        )
        for name in dict.fromkeys(files)
        for indices in [[i for i, file in enumerate(files) if file == name]]
        if len(indices) > 1
    ]


def _errors(prediction: Prediction, indices: Sequence[int]) -> GroupErrors:
    return errors_by_group([prediction.residuals[index] for index in indices])[0]


def _on_old(judge: Judge, earlier: Earlier, after: Prediction) -> FileErrors | None:
    """Return the errors of both models' further fits on the old structures."""
    name, before = earlier.tested() or ("", None)
    files = list(earlier.files)
    if (
        before is None
        or name != LEFT_OUT
        or judge.unseen[0].name != LEFT_OUT
        or before.structures != len(after.residuals)
        or files_known(judge.plan.config, files)  # the start has seen them
    ):
        return None
    return FileErrors(name="old", before=before, after=after.errors[0])
