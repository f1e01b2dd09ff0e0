"""The loss of a fit, of nequip's terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nequip.data import AtomicDataDict

if TYPE_CHECKING:
    from synthzoo.recipes import FitRecipe


def loss_of(recipe: FitRecipe, *, gaps: bool = False) -> dict[str, Any]:
    """Return what nequip makes the loss of.

    Errors of energy per atom and of force components enter as squares; beyond the
    recipe's limits, if it has any, they go on growing as a straight line (Huber 1964,
    doi:10.1214/aoms/1177703732), so that a few structures far from equilibrium do not
    outweigh all others.

    Parameters
    ----------
    recipe
        Weights of both, and the limits.
    gaps
        Whether labels may be missing (NaN), and then count nothing.
    """
    return {
        "_target_": "nequip.train.MetricsManager",
        "metrics": [
            {
                "name": "per_atom_energy_mse",
                "field": {
                    "_target_": "nequip.data.PerAtomModifier",
                    "field": AtomicDataDict.TOTAL_ENERGY_KEY,
                },
                "ignore_nan": gaps,
                **_term(recipe.energy_weight, recipe.energy_huber_eV),
            },
            {
                "name": "forces_mse",
                "field": AtomicDataDict.FORCE_KEY,
                "ignore_nan": gaps,
                **_term(recipe.forces_weight, recipe.forces_huber_eV_A),
            },
        ],
    }


def _term(weight: float, limit: float | None) -> dict[str, Any]:
    if limit is None:
        return {
            "coeff": weight,
            "metric": {"_target_": "nequip.train.MeanSquaredError"},
        }
    huber = {"_target_": "nequip.train.HuberLoss", "delta": limit}
    return {"coeff": 2 * weight, "metric": huber}  # nequip's has half the square
