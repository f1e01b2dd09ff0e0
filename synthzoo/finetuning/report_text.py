"""The words of the report of a fine-tuning: what was found, done and forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthzoo.finetuning.length import LEAST_GAIN

if TYPE_CHECKING:
    from synthzoo.finetuning.comparison import Comparison
    from synthzoo.finetuning.length import Trials
    from synthzoo.finetuning.plan import Plan
    from synthzoo.finetuning.recipe import ReplayLabels
    from synthzoo.finetuning.replay import Synthetic
    from synthzoo.finetuning.results import DirectTraining, Results

ALONE_FOLDER = "alone"
"""In the folder of a model of several levels: the one of its default level alone."""


def data_text(plan: Plan) -> str:
    """Return what was found in the data, in words."""
    text = (
        f"Energies under `{plan.keys.energy}`, forces under "
        f"`{plan.keys.forces or 'no key'}`. "
        f"{len(plan.training)} structures with {plan.training.atoms} atoms were fitted"
    )
    stresses = sum(label.stress_eV_A3 is not None for label in plan.training.labels)
    if stresses and plan.recipe.stress_weight:
        text += f", with the stress of {stresses} of them (`{plan.keys.stress}`)"
    if len(plan.held_out):
        text += f"; {len(plan.held_out)} were held out and only looked at in the end"
    if plan.energies_only and plan.levels:
        text += (
            "; there are no forces: the fit had those of other levels of theory. Where "
            "structures have none, the errors of forces below are differences from the "
            "pre-trained model"
        )
    elif plan.energies_only:
        text += (
            "; there are no forces: those of the pre-trained model stand in for them, "
            "in the fit and in the errors below, but for test structures with forces"
        )
    if plan.isolated:
        text += f"; {plan.isolated} isolated atom(s) gave the energy reference"
    return text + "."


def forgetting_text(comparison: Comparison, replay: Synthetic) -> str:
    """Return what became of the synthetic structures, in words."""
    before, after = comparison.before.errors[0], comparison.after.errors[0]
    numbers = f"{after.structures} synthetic structures"
    if not replay.taught:
        return (
            f"On {numbers} the energies moved by {after.energy_rmse_meV_per_atom:.1f} "
            f"meV/atom and the forces by {after.force_rmse_eV_A:.3f} eV/Å (root mean "
            "square, after one constant per atom was subtracted)."
        )
    return (
        f"On {numbers} that the fit has not seen, the errors against the teacher of "
        f"the start went from {before.energy_rmse_meV_per_atom:.1f} to "
        f"{after.energy_rmse_meV_per_atom:.1f} meV/atom and from "
        f"{before.force_rmse_eV_A:.3f} to {after.force_rmse_eV_A:.3f} eV/Å: "
        f"{after.force_rmse_eV_A / before.force_rmse_eV_A:.2f} times the error of the "
        "forces. One constant per atom was subtracted from the energies. Your labels "
        "may be right where the teacher is wrong; what is lost counts where you have "
        "no labels" + ("." if len(replay.mixed) else ", and `--replay` keeps it.")
    )


def fit_text(results: Results) -> str:
    """Return how the fit was made, in words."""
    plan, recipe = results.plan, results.plan.recipe
    text = (
        f"{recipe.visits} structures were shown in all, in batches of "
        f"{results.batch_atoms} atoms{_shortage(results)}, with a learning rate of "
        f"{recipe.learning_rate:g} that falls to zero along a cosine. "
    )
    text += _length_text(results.trials) + _kept_text(results)
    if len(results.replay.mixed):
        text += (
            f" Of {len(results.replay.mixed)} synthetic structures, some were mixed "
            f"into the batches: {100 * recipe.replay_share:.0f} % of their atoms, "
            f"held to {_REPLAY_TEXT[recipe.replay_labels]}."
        )
    return text + _seeds_text(results) + _checks_text(plan)


_REPLAY_TEXT: dict[ReplayLabels, str] = {
    "start": "the model's own predictions before fine-tuning",
    "teacher": (
        "the forces of its teacher, or the model's own predictions where there are none"
    ),
}


def _length_text(trials: Trials) -> str:
    """Return what trials said about the length of the fit, in words."""
    if not trials.usual:
        return ""
    text = (
        f"{len(trials.usual)} trial fits that saw {trials.usual[0].visits} structures, "
        "each without another part of the data, said how long to fit. They took "
        f"{100 * trials.fitted.gain:.0f} % off the loss on the structures that they "
        f"saw, and {100 * trials.left_out.gain:.0f} % off that on the others"
    )
    if not trials.longer:
        return f"{text}, so longer fits were not tried. "
    shorter = trials.usual[trials.longer[0].fold]
    told = []
    for trial in trials.longer:
        less = 1 - trial.left_out.end / shorter.left_out.end
        told.append(
            f"with {trial.visits} structures, its loss on the others became "
            f"{100 * abs(less):.1f} % {'smaller' if less >= 0 else 'larger'}"
        )
        shorter = trial
    return (
        f"{text}. The worst of them was then made longer: {', and '.join(told)}. That "
        f"is taken as a gain from {100 * LEAST_GAIN:.0f} % on. "
    )


def _kept_text(results: Results) -> str:
    if results.selection:
        return (
            "Averaged weights were also kept during the fit. Those that are kept now "
            "were chosen by short molecular dynamics."
        )
    text = "The averaged weights of the last step are kept"
    if results.seeds:
        return f"{text}."
    return f"{text}: no weights are chosen by held-out structures."


def drift_text(value: float | None) -> str:
    """Return a drift of the energy, which may not have been reached, in words.

    ``value``: in meV/atom/ps, or None.
    """
    return "did not come so far" if value is None else f"{value:.2f}"


def _shortage(results: Results) -> str:
    wanted = results.plan.recipe.batch_atoms
    return f" (not {wanted}: memory was short)" if results.batch_atoms < wanted else ""


def _seeds_text(results: Results) -> str:
    if not results.seeds:
        return ""
    seeds = "; ".join(
        f"{seed.seed}{' (kept)' if seed.kept else ''}: "
        f"{seed.errors.energy_rmse_meV_per_atom:.1f} meV/atom, "
        f"{seed.errors.force_rmse_eV_A:.3f} eV/Å"
        for seed in results.seeds
    )
    return (
        f" The best of {len(results.seeds)} fits was chosen by the loss on the "
        "held-out structures, so their errors look slightly too small. By seed: "
        f"{seeds}."
    )


def _checks_text(plan: Plan) -> str:
    if plan.recipe.committee:
        return (
            f" A committee of {plan.recipe.committee} lies in `committee/`: each "
            "member was fitted to all training structures but its own share of them, "
            "on which it was tested."
        )
    if not plan.checks:
        return ""
    return (
        f" All {len(plan.training)} structures were fitted. To estimate the error of "
        f"this fit, {len(plan.checks)} further fits of the same length each left out a "
        "part of them and were tested on it, so that each structure was tested once "
        "by a fit that had not seen it" + _related_text(plan) + "."
    )


def _related_text(plan: Plan) -> str:
    if not plan.related:
        return ""
    return (
        ", though it had seen others like it: most structures are nearly the same or "
        "of one group. So this check is weak; `--test` with other structures is better"
    )


def direct_text(direct: DirectTraining, tuned_visits: int | None) -> str:
    """Return how far training from scratch went, in words.

    ``tuned_visits``: structures that the fine-tuned model saw in all.
    """
    return (
        f"From scratch: a new network of the same shape saw {direct.visits} structures "
        f"in all, {direct.epochs} times each (the tuned model: {tuned_visits} in all). "
        "In the last of these passes, its errors on the structures that it was fitted "
        f"to were {direct.energy_rmse_meV_per_atom:.1f} meV/atom and "
        f"{direct.force_rmse_eV_A:.3f} eV/Å. The key `direct_visits` of a recipe makes "
        "its training longer."
    )


def alone_text(plan: Plan) -> str:
    """Return what the fit to one of several levels of theory was, in words."""
    text = (
        f"{plan.level} alone: the same fit without the other levels; its model lies in "
        f"`{ALONE_FOLDER}/`."
    )
    if plan.energies_only:
        text += (
            " As with `--energies-only`, forces of the pre-trained model stood in for "
            "the missing ones."
        )
    return text


def provenance_items(results: Results) -> list[str]:
    """Return what made the checkpoint, in words."""
    made = results.provenance
    versions = ", ".join(f"{name} {text}" for name, text in made["versions"].items())
    return [
        f"Start: {results.model}, weights {made['start_weights_sha256']}",
        f"Data: {made['data_sha256']}",
        f"Recipe: {made['finetune_recipe']} (`recipe.yaml`), seed {made['seed']}",
        f"{versions}; {results.seconds:.0f} s",
    ]
