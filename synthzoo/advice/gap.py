"""Gaussian approximation potentials (GAP): SOAP and pairs of atoms, by gap_fit."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np

from synthzoo.advice.simple_models import constants_of, cutoff_of
from synthzoo.advice.trials import Said
from synthzoo.advice.vacuum import with_vacuum
from synthzoo.data import unconstrained
from synthzoo.data.labelled_set import rms
from synthzoo.errors import MissingExtraError, SynthzooError
from synthzoo.runs.files import new_file

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.data.labelled_set import LabelledSet

GAP = "GAP"
PROGRAM = "gap_fit"

MOST_POINTS = 500
"""So many environments of each element, at most, stand for all."""

NOISE_EV, FORCE_NOISE = 0.005, 0.05
"""What the fit may leave of energies (eV/atom), and of forces as a share of them."""

FADING_A = 0.7
"""Over this distance neighbours fade before the cutoff."""

_ENERGY, _FORCES = "gap_energy", "gap_forces"


def refuse_without_gap_fit() -> None:
    """Raise `MissingExtraError` if gap_fit is not installed."""
    if shutil.which(PROGRAM) is None:
        raise MissingExtraError(
            "--also gap needs gap_fit: pip install 'synthzoo[gap]'."
        )


class Gap:
    """Sparse Gaussian processes (doi 10.1021/acs.chemrev.1c00022)."""

    def fit_and_say(
        self,
        bulk: LabelledSet,
        training: Sequence[int],
        tested: Sequence[int],
        seed: int,
    ) -> Said:
        """Fit to some structures of a set and return what is said about others."""
        from quippy.potential import Potential

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "gap.xml"
            self.write(path, bulk, training, seed)
            calculator = Potential(param_filename=str(path))
            energies, forces = [], []
            for index in tested:
                atoms = _periodic(bulk.structures[index])
                atoms.calc = calculator
                energies.append(unconstrained.energy_eV(atoms))
                forces.append(unconstrained.forces_eV_A(atoms))
        return Said(energies_eV=np.array(energies), forces_eV_A=np.concatenate(forces))

    def write(
        self, path: Path, bulk: LabelledSet, training: Sequence[int], seed: int
    ) -> None:
        """Fit to some structures of a set, and write the potential."""
        part = bulk.part(training)
        constants = constants_of(bulk, training)
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "gap.xml"
            data = Path(folder) / "training.xyz"
            ase.io.write(data, [*_labelled(part)], format="extxyz")
            done = subprocess.run(  # noqa: S603  our own arguments
                [
                    PROGRAM,
                    f"at_file={data}",
                    f"gap={{{_descriptors(part)}}}",
                    f"default_sigma={{{NOISE_EV} {_force_noise(part)} 0 0}}",
                    "e0={" + ":".join(f"{k}:{v}" for k, v in constants.items()) + "}",
                    f"energy_parameter_name={_ENERGY}",
                    f"force_parameter_name={_FORCES}",
                    "virial_parameter_name=none",
                    "sparse_jitter=1e-8",
                    "do_copy_at_file=F",
                    "sparse_separate_file=F",
                    f"rnd_seed={seed + 1}",
                    f"gp_file={made}",
                ],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode or not made.is_file():
                raise SynthzooError(f"gap_fit ended with a fault: {_fault(done)}")
            with new_file(path) as partial:
                shutil.copyfile(made, partial)


def _fault(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last words of gap_fit, without what it warns of a thousand times."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines()]
    told = [line for line in lines if line and "FoX" not in line]
    return " ".join(told[-3:]) or f"exit code {done.returncode}"


def _descriptors(part: LabelledSet) -> str:
    """Return pairs of atoms, and SOAP of as many environments as there are, at most."""
    reach = f"cutoff={cutoff_of(part.structures)} cutoff_transition_width={FADING_A}"
    points = min(MOST_POINTS, int(part.counts(part.elements).sum(axis=0).min()))
    return (
        f"distance_2b {reach} n_sparse=15 delta=1 covariance_type=ard_se "
        "theta_uniform=1 sparse_method=uniform add_species=T : "
        f"soap {reach} n_max=8 l_max=6 atom_sigma=0.5 zeta=4 delta=0.5 "
        f"n_sparse={points} covariance_type=dot_product sparse_method=cur_points "
        "add_species=T"
    )


def _force_noise(part: LabelledSet) -> float:
    return max(FORCE_NOISE * rms(part.forces_eV_A), 1e-3)


def _labelled(part: LabelledSet) -> Sequence[Atoms]:
    """Return structures with labels where gap_fit finds them."""
    found = [_periodic(atoms) for atoms in part.structures]
    for atoms, label in zip(found, part.labels, strict=True):
        atoms.info = {_ENERGY: label.energy_eV}
        atoms.arrays[_FORCES] = label.forces_eV_A
    return found


def _periodic(atoms: Atoms) -> Atoms:
    """Return a structure with a cell, without labels: images are out of reach."""
    padded = with_vacuum(atoms)
    padded.pbc = True
    return padded
