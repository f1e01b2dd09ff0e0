"""The force of which a model is least sure, and a limit to that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from synthzoo.errors import InputError
from synthzoo.models.uncertainty import FORCES, WHO_KNOWS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class Doubt(NamedTuple):
    """Which atom it is, and the standard deviation of a component of its force."""

    atom: int
    deviation_eV_A: float

    def passes(self, limit_eV_A: float) -> bool:
        """Return whether the deviation is larger than a limit."""
        return self.deviation_eV_A > limit_eV_A

    def text(self, name: str, limit_eV_A: float) -> str:
        """Return it in words, with what to call the atom."""
        return (
            f"a standard deviation of {self.deviation_eV_A:.3g} eV/Å of the force on "
            f"{name}, with {limit_eV_A:.3g} allowed"
        )


def largest_doubt(deviations_eV_A: NDArray[Any]) -> Doubt:
    """Return the force of which a model is least sure.

    ``deviations_eV_A``: of the forces on all atoms, ``(n_atoms,)``.
    """
    atom = int(deviations_eV_A.argmax())
    return Doubt(atom, float(deviations_eV_A[atom]))


def refuse_limit(
    results: Mapping[str, Any], limit_eV_A: float | None, *, model: str = "The model"
) -> None:
    """Raise `InputError` for a limit where a calculator gives no uncertainty.

    ``results``: of the calculator.
    """
    if limit_eV_A is not None and FORCES not in results:
        raise InputError(
            f"{model} gives no uncertainty here, so none can be limited. {WHO_KNOWS} "
            "Choose such a model, or give no limit."
        )
