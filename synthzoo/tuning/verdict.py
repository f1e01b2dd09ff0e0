"""Whether a fine-tuning helped, in a few plain sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from synthzoo.tuning.comparison import LEAST_GROUPS

if TYPE_CHECKING:
    from synthzoo.tuning.comparison import Change, Comparison

UNJUDGED = (
    "No structure was kept from the fit, so that nothing here says whether fine-tuning "
    "helps. Give labelled structures of your own with `--test`."
)

_REPLAY = (
    "More structures like these help most; `--replay` holds a fit to few of them "
    "nearer to its start."
)
_TEST = "Labelled structures of your own tell more: `--test FILE`."


def verdict(
    shown: Comparison | None, *, also: Sequence[str] = (), replayed: bool = False
) -> str:
    """Return in words whether fine-tuning helped.

    Parameters
    ----------
    shown
        The start and the tuned model on structures that the fit has not seen; None if
        there are none.
    also
        What else got worse, or is worth knowing: sentences that end the verdict.
    replayed
        Whether synthetic structures were mixed in; if not, that is advised where
        something got worse.
    """
    if shown is None:
        return " ".join([UNJUDGED, *also])
    texts = [f"{_headline(shown)}: {_errors(shown)}."]
    if not _can_tell(shown):
        texts.append(_TEST)
    elif "worse" in (shown.energy, shown.forces) and not replayed:
        texts.append(_REPLAY)
    return " ".join([*texts, *also])


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
