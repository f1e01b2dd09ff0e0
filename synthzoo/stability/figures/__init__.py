"""The figures of a stability check."""

from synthzoo.stability.figures.bonds import BONDS_FILE, mean_bond_shares, write_bonds
from synthzoo.stability.figures.drift import DRIFT_FILE, write_drift
from synthzoo.stability.figures.dynamics import DYNAMICS_FILE, write_dynamics
from synthzoo.stability.figures.radial import RADIAL_FILE, write_radial
from synthzoo.stability.figures.scans import SCANS_FILE, write_scans
from synthzoo.stability.figures.survival import SURVIVAL_FILE, write_survival

__all__ = [
    "BONDS_FILE",
    "DRIFT_FILE",
    "DYNAMICS_FILE",
    "RADIAL_FILE",
    "SCANS_FILE",
    "SURVIVAL_FILE",
    "mean_bond_shares",
    "write_bonds",
    "write_drift",
    "write_dynamics",
    "write_radial",
    "write_scans",
    "write_survival",
]
