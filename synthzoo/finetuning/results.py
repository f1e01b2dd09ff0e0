"""What a fine-tuning gave: for the report, and for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthzoo.finetuning.comparison import LEAST_GROUPS
from synthzoo.recipes.loading import recipe_values

if TYPE_CHECKING:
    from synthzoo.finetuning.certainty import Certainty
    from synthzoo.finetuning.comparison import Change, Comparison
    from synthzoo.finetuning.gain import Gain
    from synthzoo.finetuning.judge import LevelErrors, SeedResult
    from synthzoo.finetuning.length import Trials
    from synthzoo.finetuning.physics import Curve, Physics
    from synthzoo.finetuning.plan import Plan
    from synthzoo.finetuning.replay import Synthetic
    from synthzoo.finetuning.select_by_md import Candidate
    from synthzoo.training.curves import TrainingLoss


UNJUDGED = (
    "No structure was kept from the fit, so this report cannot say whether "
    "fine-tuning helps. Give labelled structures of your own with `--test`."
)

_REPLAY = (
    "More structures like these help most; `--replay` keeps a fit to few structures "
    "closer to the pre-trained model."
)
_TEST = "Labelled structures of your own tell more: `--test FILE`."


def verdict(
    shown: Comparison | None, *, also: Sequence[str] = (), replayed: bool = False
) -> str:
    """Return in words whether fine-tuning helped.

    ``shown``: the start and the tuned model on structures that the fit has not seen;
    None if there are none.
    ``also``: what else got worse, or is worth knowing: sentences that end the verdict.
    ``replayed``: whether synthetic structures were mixed in; if not, that is advised
    where something got worse.
    """
    if shown is None:
        return " ".join([UNJUDGED, *also])
    texts = [f"{_headline(shown)}: {_errors(shown)}."]
    if not _can_tell(shown):
        texts.append(_TEST)
    elif "worse" in (shown.energy, shown.forces) and not replayed:
        texts.append(_REPLAY)
    return " ".join([*texts, *also])


def gain_text(gain: Gain) -> str:
    """Return what the new structures have bought, in words."""
    return (
        f"Beside {gain.name}, {_errors(gain.comparison)}. {gain.surprise_text}".strip()
    )


def advice(alone: Comparison, level: str | None) -> str:
    """Return which of two models to use, in words: of one level, or of all.

    ``alone``: the fit to one level (before), and to all levels (after).
    ``level``: what that level is called.
    """
    text = f"Beside a fit to {level} alone, {_errors(alone)}: "
    changes = {alone.energy, alone.forces} - {None}
    if "worse" in changes and "better" not in changes:
        return text + "use the model of that fit, in the folder `alone`."
    if "better" in changes and "worse" not in changes:
        return text + "use this model."
    old, new = alone.before.errors[0], alone.after.errors[0]
    if new.energy_rmse_meV_per_atom <= old.energy_rmse_meV_per_atom:
        return text + "which one is better is not clear; this one is by its energies."
    return (
        text + "which one is better is not clear; by its energies, it is that of the "
        "folder `alone`."
    )


def _can_tell(shown: Comparison) -> bool:
    return shown.groups >= LEAST_GROUPS and not shown.seen


def _headline(shown: Comparison) -> str:
    if shown.seen:
        return (
            "Whether fine-tuning helped on other structures cannot be told, since most "
            "of yours are nearly the same or of one group, and the fit has seen some "
            "like those that test it"
        )
    if shown.groups < LEAST_GROUPS:
        return (
            "Whether fine-tuning helped cannot be told from "
            f"{shown.groups} independent structure(s), of which frames of one group "
            f"count once; at least {LEAST_GROUPS} are needed"
        )
    changes = {shown.energy, shown.forces} - {None}
    if "better" in changes and "worse" not in changes:
        return "Fine-tuning helped"
    if "better" in changes:
        return "Fine-tuning helped in one respect and did harm in another"
    if "worse" in changes:
        return "Fine-tuning did not help: it made the model worse"
    return "Whether fine-tuning helped cannot be told from so few structures"


def _errors(shown: Comparison) -> str:
    old, new = shown.before.errors[0], shown.after.errors[0]
    parts = [
        f"energies {_text(shown, shown.energy)} ({old.energy_rmse_meV_per_atom:.1f} → "
        f"{new.energy_rmse_meV_per_atom:.1f} meV/atom)"
    ]
    if shown.forces is not None:
        parts.append(
            f"forces {_text(shown, shown.forces)} ({old.force_rmse_eV_A:.3f} → "
            f"{new.force_rmse_eV_A:.3f} eV/Å)"
        )
    return f"on {new.structures} {shown.name} structures, {', '.join(parts)}"


def _text(shown: Comparison, change: Change) -> str:
    return _TEXT[change] if _can_tell(shown) else "changed"


_TEXT: dict[Change, str] = {
    "better": "are better",
    "worse": "are worse",
    "unclear": "did not clearly change",
}


@dataclass(frozen=True, kw_only=True)
class DirectTraining:
    """What training from scratch on the same structures gave.

    ``comparison``: from scratch (before) and fine-tuned (after).
    ``visits``, ``epochs``: structures that a fit saw in all, and how often it saw each.
    ``energy_rmse_meV_per_atom``, ``force_rmse_eV_A``: in the last epoch, on the
    structures that were fitted: mean over the fits.
    """

    comparison: Comparison
    visits: int
    epochs: int
    energy_rmse_meV_per_atom: float
    force_rmse_eV_A: float


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a fine-tuning gave.

    ``batch_atoms``: size of the batches that the fit has come to.
    ``trials``: fits that said how long to fit.
    ``seeds``: what the fits are worth of which the best is kept; empty for one fit.
    ``selection``: what weights are worth that were put through dynamics, the best
    first; empty if none were.
    ``replay``: synthetic structures that were mixed in, and those to measure with.
    ``training``: before and after on the training set.
    ``unseen``: the same on sets that the fit has not seen, the most telling one first.
    ``synthetic``: the same on the synthetic structures to measure with, if there are
    any.
    ``direct``: training from scratch, if asked for.
    ``alone``: fits to one level of theory (before) and to all (after), if there are
    several.
    ``levels``: errors at the other levels of theory.
    ``physics``: crystals and the repulsion of near atoms, before and after.
    ``certainty``: how sure the model is, if that is known.
    ``gain``: what new structures have bought, if an earlier model was named.
    ``seconds``: time that it took, up to the report.
    """

    model: str
    plan: Plan
    batch_atoms: int
    losses: Sequence[TrainingLoss]
    trials: Trials
    seeds: Sequence[SeedResult]
    selection: Sequence[Candidate]
    replay: Synthetic
    training: Comparison
    unseen: Sequence[Comparison]
    synthetic: Comparison | None
    direct: DirectTraining | None
    alone: Comparison | None
    levels: Sequence[LevelErrors]
    curves: Sequence[Curve]
    physics: Physics
    certainty: Certainty | None
    gain: Gain | None
    provenance: dict[str, Any]
    seconds: float

    @property
    def verdict(self) -> str:
        """Whether it helped and kept known physics, in words."""
        shown = self.unseen[0] if self.unseen else None
        told = [
            gain_text(self.gain) if self.gain else "",
            advice(self.alone, self.plan.level) if self.alone else "",
            self.physics.summary,
            self.plan.reference.guess_text,
        ]
        return verdict(
            shown,
            also=[text for text in told if text],
            replayed=len(self.replay.mixed) > 0,
        )


def metrics(results: Results) -> dict[str, Any]:
    """Return everything that was measured, for programs."""
    plan = results.plan
    return {
        "verdict": results.verdict,
        "reference": dataclasses.asdict(plan.reference),
        "findings": list(plan.notes),
        "training": _values(results.training),
        "unseen": [_values(entry) for entry in results.unseen],
        "synthetic": _values(results.synthetic) if results.synthetic else None,
        "direct": _direct_values(results.direct) if results.direct else None,
        "alone": _values(results.alone) if results.alone else None,
        "levels": [dataclasses.asdict(level) for level in results.levels],
        "physics": dataclasses.asdict(results.physics),
        "calibration": (
            dataclasses.asdict(results.certainty.calibration)
            if results.certainty
            else None
        ),
        "probes": [dataclasses.asdict(curve) for curve in results.curves],
        "gain": _gain_values(results.gain) if results.gain else None,
        "trials": dataclasses.asdict(results.trials),
        "seeds": [dataclasses.asdict(entry) for entry in results.seeds],
        "selection": [dataclasses.asdict(entry) for entry in results.selection],
        "losses": [dataclasses.asdict(loss) for loss in results.losses],
        "recipe": recipe_values(plan.recipe),
        "provenance": results.provenance,
        "seconds": round(results.seconds, 1),
    }


def _gain_values(gain: Gain) -> dict[str, Any]:
    return _values(gain.comparison) | {
        "model": gain.name,
        "expected_eV_A": gain.expected_eV_A,
        "surprise": gain.surprise,
        "by_file": [dataclasses.asdict(each) for each in gain.by_file],
        "old": dataclasses.asdict(gain.old) if gain.old else None,
    }


def _direct_values(direct: DirectTraining) -> dict[str, Any]:
    values = {
        field.name: getattr(direct, field.name)
        for field in dataclasses.fields(direct)
        if field.name != "comparison"
    }
    return _values(direct.comparison) | values


def _values(comparison: Comparison) -> dict[str, Any]:
    return {
        "name": comparison.name,
        "energy": comparison.energy,
        "forces": comparison.forces,
        "groups": comparison.groups,
        "seen": comparison.seen,
        "before": [dataclasses.asdict(group) for group in comparison.before.errors],
        "after": [dataclasses.asdict(group) for group in comparison.after.errors],
    }
