"""All that was found out about a user's data, before it is put into words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthzoo.advice.verdict import ENERGIES, FORCES, Outlook, Verdict, power_law

if TYPE_CHECKING:
    from synthzoo.advice.coverage import Coverage
    from synthzoo.advice.curve import PowerLaw
    from synthzoo.advice.data import UserData
    from synthzoo.advice.label_noise import LabelNoise
    from synthzoo.advice.starts import Start
    from synthzoo.advice.trials import Trial


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found out.

    ``trials``: of all models and sizes, the simplest model first.
    ``starts``: models of the zoo that know the elements, the best one first.
    ``tuned``: names of those that were fine-tuned.
    ``left_out``: models that were not tried, and why.
    ``by_start``: the user's environments against what the start has seen; None where
    that is not known.
    ``by_data``: the structures to simulate against the user's data; None if none were
    given, or nothing describes their atoms.
    ``origins``: names of the structures to simulate.
    ``visits``: structures that each network saw in its fits, by name and size, and how
    many `finetune` would show it.
    """

    data: UserData
    trials: tuple[Trial, ...]
    starts: tuple[Start, ...]
    tuned: tuple[str, ...]
    left_out: tuple[str, ...]
    noise: LabelNoise
    by_start: Coverage | None
    by_data: Coverage | None
    origins: tuple[str, ...]
    visits: dict[str, tuple[int, int]]
    verdict: Verdict
    outlook: Outlook | None

    @property
    def largest(self) -> list[Trial]:
        """The trials of each model with the most structures."""
        names = dict.fromkeys(trial.name for trial in self.trials)
        return [
            max((t for t in self.trials if t.name == name), key=lambda t: t.size)
            for name in names
        ]

    def curve(self, name: str, quantity: str) -> PowerLaw | None:
        """Return the learning curve of a model."""
        return power_law([t for t in self.trials if t.name == name], quantity)

    def numbers(self) -> dict[str, Any]:
        """Return all numbers, for programs."""
        return {
            "structures": len(self.data.bulk),
            "atoms": self.data.bulk.atoms,
            "elements": self.data.elements,
            "models": [_numbers_of(trial) for trial in self.trials],
            "curves": {
                trial.name: {
                    quantity: self.curve(trial.name, quantity)
                    for quantity in (ENERGIES, FORCES)
                }
                for trial in self.largest
            },
            "starts": {start.name: start.errors for start in self.starts},
            "left_out": self.left_out,
            "label_noise": self.noise,
            "environments_outside_start": self.by_start,
            "to_simulate_outside_data": self.by_data,
            "best": self.verdict.best.name,
            "enough": self.verdict.enough.name,
            "told_apart": self.verdict.told,
            "outlook": self.outlook,
            "visits": self.visits,
        }


def _numbers_of(trial: Trial) -> dict[str, Any]:
    whole = trial.prediction.errors[0]
    return {
        "name": trial.name,
        "size": trial.size,
        ENERGIES: whole.energy_rmse_meV_per_atom,
        FORCES: whole.force_rmse_eV_A,
        "folds": [
            {ENERGIES: e.energy_rmse_meV_per_atom, FORCES: e.force_rmse_eV_A}
            for e in trial.errors
        ],
    }
