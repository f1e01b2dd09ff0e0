"""The stages of a protocol in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def stage_text(stage: Mapping[str, Any]) -> str:
    """Return what is done in a stage.

    Parameters
    ----------
    stage
        As a recipe holds it.

    Examples
    --------
    >>> heat = {"kind": "dynamics", "ensemble": "nvt", "duration_fs": 2e4}
    >>> stage_text(heat | {"start_K": 300.0, "end_K": 3000.0})
    '20 ps of dynamics, 300 → 3000 K'
    """
    if stage["kind"] == "dimers":
        return (
            f"two atoms, from {stage['farthest']:g} to {stage['nearest']:g} times the "
            "sum of their covalent radii"
        )
    if stage["kind"] == "squeeze":
        return (
            "the structure, squeezed until its nearest atoms are at "
            f"{stage['nearest']:g} times the sum of their covalent radii"
        )
    duration = f"{stage['duration_fs'] / 1000:g} ps"
    if stage["kind"] == "conservation":
        factors = ", ".join(f"{factor:g}" for factor in stage["factors"])
        return f"{duration} at constant energy with {factors} times the time step"
    return f"{duration} {_dynamics_text(stage)}"


def _dynamics_text(stage: Mapping[str, Any]) -> str:
    if stage["ensemble"] == "nve":
        return "at constant energy"
    end_K = stage["start_K"] if stage["end_K"] is None else stage["end_K"]
    text = f"of dynamics, {stage['start_K']:g} K"
    if end_K != stage["start_K"]:
        text = f"of dynamics, {stage['start_K']:g} → {end_K:g} K"
    if stage["ensemble"] == "npt":
        return f"{text}, {stage['pressure_GPa']:g} GPa"
    return text
