"""Small real potentials: fitted to C-ACE labels in a second or two, or random."""

import subprocess
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk

from synthzoo.teachers import Teacher

DESCRIPTORS = (
    "{distance_2b cutoff=3.7 covariance_type=ard_se delta=1.0 theta_uniform=1.0 "
    "sparse_method=uniform n_sparse=15 : soap cutoff=3.7 covariance_type=dot_product "
    "zeta=4 delta=0.3 atom_sigma=0.5 l_max=4 n_max=6 n_sparse=60 "
    "sparse_method=cur_points}"
)
BASIS = {
    "deltaSplineBins": 0.001,
    "elements": ["C"],
    "embeddings": {
        "ALL": {
            "npot": "FinnisSinclairShiftedScaled",
            "fs_parameters": [1, 1],
            "ndensity": 1,
        }
    },
    "bonds": {
        "ALL": {
            "radbase": "ChebExpCos",
            "radparameters": [5.25],
            "rcut": 4.0,
            "dcut": 0.01,
            "NameOfCutoffFunction": "cos",
        }
    },
    "functions": {"ALL": {"nradmax_by_orders": [6, 2], "lmax_by_orders": [0, 2]}},
}


def diamonds(count: int, *, first_seed: int = 0) -> list[Atoms]:
    """Return diamond, strained by -4 % to 7 % and more and more rattled."""
    structures = []
    for share, seed in zip(
        np.linspace(0, 1, count), range(first_seed, first_seed + count), strict=True
    ):
        atoms = bulk("C", a=3.57 * (0.96 + 0.11 * share), cubic=True)
        atoms.rattle(0.02 + 0.1 * share, seed=seed)
        structures.append(atoms)
    return structures


def fit_gap(folder: Path, teacher: Teacher) -> Path:
    """Fit a GAP with quippy's own `gap_fit` and return its file."""
    import quippy

    frames = []
    for atoms in [*diamonds(24), Atoms("C", cell=[20.0] * 3, pbc=True)]:
        labelled = teacher.label(atoms)
        frame = atoms.copy()
        frame.info["teacher_energy"] = labelled.get_potential_energy()
        frame.arrays["teacher_forces"] = labelled.get_forces()
        frames.append(frame)
    frames[-1].info["config_type"] = "isolated_atom"
    ase.io.write(folder / "train.xyz", frames)
    program = Path(quippy.__file__).parent / "gap_fit"
    options = {
        "at_file": "train.xyz",
        "gap": DESCRIPTORS,
        "default_sigma": "{0.005 0.1 0.0 0.0}",
        "energy_parameter_name": "teacher_energy",
        "force_parameter_name": "teacher_forces",
        "e0_method": "isolated",
        "gp_file": "gap.xml",
        "do_copy_at_file": "F",
        "sparse_separate_file": "T",
    }
    words = [f"{name}={value}" for name, value in options.items()]
    subprocess.run(
        [program, *words], cwd=folder, check=True, capture_output=True, timeout=120
    )
    return folder / "gap.xml"


def fit_ace(folder: Path, teacher: Teacher) -> Path:
    """Fit a linear ACE potential and its active set; return its file."""
    from pyace import create_multispecies_basis_config
    from pyace.activelearning import (
        compute_A_active_inverse,
        compute_active_set,
        compute_B_projections,
        save_active_inverse_set,
    )

    frames = diamonds(24)
    energies = [teacher.label(atoms).get_potential_energy() for atoms in frames]
    basis = create_multispecies_basis_config(BASIS)
    projections = compute_B_projections(basis, frames)
    rows = projections[0].reshape(len(frames), len(frames[0]), -1).sum(axis=1)
    basis.set_func_coeffs(list(np.linalg.lstsq(rows, energies, rcond=1e-8)[0]))
    basis.save(str(folder / "fitted.yaml"))
    active = compute_A_active_inverse(compute_active_set(projections))
    save_active_inverse_set(str(folder / "fitted.asi"), active, elements_name=["C"])
    return folder / "fitted.yaml"


def random_ace(folder: Path, elements: tuple[str, ...]) -> Path:
    """Return a compiled ACE potential with two densities and random coefficients."""
    from pyace import create_multispecies_basis_config
    from pyace.basis import ACEBBasisSet

    embedding = {
        "npot": "FinnisSinclairShiftedScaled",
        "fs_parameters": [1, 1, 1, 0.5],
        "ndensity": 2,
    }
    functions = {"nradmax_by_orders": [4, 2, 2, 1], "lmax_by_orders": [0, 2, 2, 1]}
    basis = create_multispecies_basis_config(
        BASIS
        | {
            "elements": list(elements),
            "embeddings": {"ALL": embedding},
            "functions": {"ALL": functions},
        }
    )
    rng = np.random.default_rng(1)
    count = len(basis.get_func_coeffs())
    basis.set_func_coeffs(list(rng.normal(scale=0.1, size=count)))
    basis.save(str(folder / "random.yaml"))
    file = folder / "random.yace"
    ACEBBasisSet(str(folder / "random.yaml")).to_ACECTildeBasisSet().save_yaml(
        str(file)
    )
    return file
