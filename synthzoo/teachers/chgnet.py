"""CHGNet, a universal potential whose weights come with its package."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version

from ase.data import atomic_numbers, chemical_symbols

from synthzoo.errors import InputError
from synthzoo.teachers.networks import (
    NetworkCalculator,
    installed_folder,
    made_apart,
    network_teacher,
)
from synthzoo.teachers.teacher import Teacher, files_sha256

EXTRA = "chgnet"
NAMES = ("0.3.0", "0.2.0", "r2scan")
"""What ``chgnet:`` may be followed by."""

ELEMENTS = tuple(chemical_symbols[1:84] + chemical_symbols[89:95])
"""Those of its data, MPtrj; it gives numbers for polonium to radium, too."""


def chgnet_sha256(what: str) -> str:
    """Return the hash of a file of weights."""
    if what not in NAMES:
        raise InputError(f"There is no CHGNet {what!r}; known: {', '.join(NAMES)}.")
    folder = installed_folder("chgnet", extra=EXTRA) / "pretrained" / what
    return files_sha256(sorted(folder.glob("*.pth.tar")))


def load_chgnet(reference: str, what: str, sha256: str) -> Teacher:
    """Return a pre-trained CHGNet as a teacher."""
    make = partial(_make, what)
    calculator, atoms_eV = made_apart(make, extra=EXTRA, reference=reference)
    return network_teacher(
        calculator,
        ELEMENTS,
        reference=reference,
        software=f"chgnet {version('chgnet')}",
        sha256=sha256,
        atoms_eV=atoms_eV,
    )


def _make(name: str) -> tuple[NetworkCalculator, dict[str, float]]:
    """Return a calculator and the atoms' mean energies to which it adds."""
    from chgnet.model import CHGNet
    from chgnet.model.dynamics import CHGNetCalculator

    network = CHGNet.load(model_name=name, use_device="cpu", verbose=False)
    theirs = CHGNetCalculator(
        network,
        use_device="cpu",
        on_isolated_atoms="ignore",
        return_site_energies=True,
    )
    means_eV = network.composition_model.fc.weight.detach().flatten().tolist()
    return NetworkCalculator(theirs), {
        element: means_eV[atomic_numbers[element] - 1] for element in ELEMENTS
    }
