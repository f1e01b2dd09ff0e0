"""The advice in three sentences, each with its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.advice.curve import FARTHEST
from synthzoo.advice.gap import GAP
from synthzoo.advice.parts import PARTS_FOLDER, gap_file, linear_file
from synthzoo.advice.simple_models import CONSTANT, LINEAR, PAIRS
from synthzoo.advice.starts import TUNED, UNTUNED
from synthzoo.advice.verdict import ENERGIES, FORCES, Worth
from synthzoo.data.labelled_set import rms

if TYPE_CHECKING:
    from synthzoo.advice.curve import Forecast
    from synthzoo.advice.findings import Found
    from synthzoo.advice.trials import Trial

USELESS = 0.5
"""A model whose error of forces is more than this share of the forces themselves
explains too little of them."""
SMALL = 0.03
"""An error of forces below this share of them needs no further work."""
SIMPLE = (CONSTANT, PAIRS, LINEAR, GAP)
CUT = 0.5
"""Fits of networks that are shorter say too little of what whole ones would give."""
MANY_OUTSIDE = 0.1
"""Share of environments outside that is a reason to compute others."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to use, what to expect, and what to do next."""

    use: str
    expect: str
    next: str


def advice_for(found: Found) -> Advice:
    """Return the advice."""
    return Advice(use=_use(found), expect=_expect(found), next=_next(found))


def errors_text(trial: Trial) -> str:
    """Return the errors of a model with the standard errors of their means."""
    energies, forces = (_with_spread(trial, name) for name in (ENERGIES, FORCES))
    return f"{forces} eV/Å and {energies} meV/atom"


def _with_spread(trial: Trial, quantity: str) -> str:
    value = getattr(trial.prediction.errors[0], quantity)
    digits = 3 if quantity == FORCES else 1
    return f"{value:.{digits}f} ± {spread_of(trial, quantity):.{digits}f}"


def spread_of(trial: Trial, quantity: str) -> float:
    """Return the standard error of the mean of an error over the folds."""
    values = trial.values(quantity)
    return float(values.std(ddof=1) / len(values) ** 0.5)


def _use(found: Found) -> str:
    texts = (_useless(found), _choice(found), _harm(found), _cut_short(found))
    return " ".join(filter(None, texts))


def _useless(found: Found) -> str:
    error = found.verdict.enough.prediction.errors[0].force_rmse_eV_A
    if error <= USELESS * rms(found.data.bulk.forces_eV_A):
        return ""
    return "No model that was tried explains most of the forces."


def _harm(found: Found) -> str:
    """Return what fine-tuning makes of the network that is to be used without it."""
    name = found.verdict.enough.name.removeprefix(UNTUNED)
    tuned = [trial for trial in found.largest if trial.name == f"{TUNED}{name}"]
    if not _unfitted(found) or not tuned:
        return ""
    return f"Fine-tuned on {tuned[0].size} structures, it has {errors_text(tuned[0])}."


def _unfitted(found: Found) -> bool:
    """Return whether the model to use is a network as it comes."""
    return found.verdict.enough.name.startswith(UNTUNED)


def _cut_short(found: Found) -> str:
    """Return whether a network might have been chosen, had its fits been whole."""
    shares = [visits / usual for visits, usual in found.visits.values()]
    simple = found.verdict.enough.name in SIMPLE or _unfitted(found)
    if not simple or min(shares, default=1.0) > CUT:
        return ""
    return (
        f"But fits of networks were cut to as little as {100 * min(shares):.0f} % of "
        "what `finetune` does: whole ones (`--fit-atoms 0`) may be better."
    )


def _choice(found: Found) -> str:
    best, enough = found.verdict.best, found.verdict.enough
    tested = f"on structures that its fits to {enough.size} others had not seen"
    if _unfitted(found):
        tested = "on your structures, with one constant per element fitted to others,"
    text = f"Use the {_called(enough.name)}: its errors {tested} are"
    text = f"{text} {errors_text(enough)}"
    if not found.verdict.told:
        return (
            f"{text}, the smallest of forces; there are too few unrelated structures "
            "to say whether a simpler model is as good."
        )
    if enough is not best:
        return (
            f"{text}, not clearly larger than those of the {_called(best.name)} "
            f"({errors_text(best)}), which is less simple."
        )
    simpler = _simpler(found)
    if simpler is None:
        return f"{text}; no simpler model was tried."
    better = " and ".join(found.verdict.clearly_better)
    return (
        f"{text}; its {better} are clearly better than those of the next simpler "
        f"model, the {_called(simpler.name)} ({errors_text(simpler)})."
    )


def _simpler(found: Found) -> Trial | None:
    names = [trial.name for trial in found.largest]
    place = names.index(found.verdict.enough.name)
    return found.largest[place - 1] if place else None


def _called(name: str) -> str:
    if name == LINEAR:
        return f"linear model (`{linear_file(Path(PARTS_FOLDER))}`)"
    if name in (CONSTANT, PAIRS):
        return name
    if name == GAP:
        return f"GAP (`{gap_file(Path(PARTS_FOLDER))}`)"
    kind, _, model = name.partition(" ")
    if kind in (TUNED, UNTUNED):
        return f"{kind} `{model}`"
    return "directly trained network"


def _expect(found: Found) -> str:
    """Return what all structures would give, beside the size of the forces."""
    size = rms(found.data.bulk.forces_eV_A)
    count = len(found.data.bulk)
    if found.outlook is None:
        error = found.verdict.enough.prediction.errors[0].force_rmse_eV_A
        return f"Expect errors of about {error:.3f} eV/Å; {_share(error, size)}."
    now, energies = found.outlook.now, found.outlook.energies_now
    fitted = (
        "Expect" if _unfitted(found) else f"Fitted to all {count} structures, expect"
    )
    return (
        f"{fitted} {band(now, 3)} eV/Å and "
        f"{band(energies, 1)} meV/atom on others of their kinds, by its learning "
        f"curve; {_share(now.error, size)}{_floor(found)}."
    )


def _share(error: float, size: float) -> str:
    if size == 0:
        return "all forces of the data vanish"
    text = f"the forces themselves are {size:.3g} eV/Å (root mean square)"
    if error > USELESS * size:
        return f"{text}, so this explains little of them"
    return f"{text}, so the error is {100 * error / size:.0f} % of them"


def _floor(found: Found) -> str:
    noise = found.noise
    text = ""
    if not noise.sums_vanish:
        text += (
            f"; no model can be better than the noise of the labels, "
            f"{noise.net_force_eV_A:.1g} eV/Å by the sums of their forces"
        )
    return text


def band(forecast: Forecast, digits: int) -> str:
    """Return a forecast with its band."""
    return (
        f"{forecast.error:.{digits}f} ({forecast.lowest:.{digits}f} to "
        f"{forecast.highest:.{digits}f})"
    )


def _next(found: Found) -> str:
    texts = (_more(found), _overtaken(found), _goal(found), _elsewhere(found))
    return " ".join(filter(None, texts))


_WORTH: dict[Worth, str] = {
    "yes": "Compute more",
    "no": "More structures of the same kinds are not worth it",
    "unclear": "These structures are too few to tell whether more are worth it",
}


def _more(found: Found) -> str:
    count = len(found.data.bulk)
    if found.outlook is None and len({trial.size for trial in found.trials}) > 1:
        return "No learning curve of this model was made."
    if found.outlook is None:
        return "There are too few structures for a learning curve: compute more."
    outlook, now = found.outlook, found.outlook.now
    if _unfitted(found):
        return "More structures do not change this network, which is not fitted."
    told = (
        f"twice as many structures ({2 * count}) would bring forces from "
        f"{now.error:.3f} to {band(outlook.doubled, 3)} eV/Å, and energies from "
        f"{outlook.energies_now.error:.1f} to {band(outlook.energies_doubled, 1)} "
        "meV/atom"
    )
    if now.error < SMALL * rms(found.data.bulk.forces_eV_A):
        return f"The errors are small already: {told}."
    return f"{_WORTH[outlook.worthwhile]}: {told}."


def _overtaken(found: Found) -> str:
    """Return whether another model is expected to be better with more structures.

    Simpler ones are looked at, and all if the one to use does not learn from more.
    """
    enough = found.verdict.enough.name
    names = [trial.name for trial in found.largest]
    for times in (2, 4):
        count = times * len(found.data.bulk)
        own = found.curve(enough, FORCES)
        others = names if _unfitted(found) else names[: names.index(enough)]
        for name in others:
            law = found.curve(name, FORCES)
            if law and own and law.at(count).error < own.at(count).error:
                return (
                    f"With {count} structures, the {_called(name)} may have the "
                    f"smaller errors of forces, {band(law.at(count), 3)} eV/Å."
                )
    return ""


def _goal(found: Found) -> str:
    outlook = found.outlook
    if outlook is None or outlook.goal_eV_A is None:
        return ""
    goal = f"{outlook.goal_eV_A:g} eV/Å"
    if outlook.goal_eV_A >= outlook.now.error:
        return f"Forces of {goal} are reached with what is there."
    if outlook.needed is None:
        return (
            f"Forces of {goal} are out of reach for this model: by its learning curve "
            f"they take more than {FARTHEST} times as many structures."
        )
    return f"Forces of {goal} would take about {outlook.needed} structures."


def _elsewhere(found: Found) -> str:
    wanted = found.by_data
    if wanted is None:
        return ""
    share = f"{100 * wanted.outside:.0f} % of the atoms of what you want to simulate"
    if wanted.outside > MANY_OUTSIDE:
        return (
            f"But {share} are unlike all in your data: compute some of these "
            "structures first (`synthzoo suggest` chooses)."
        )
    return f"Only {share} are unlike all in your data."
