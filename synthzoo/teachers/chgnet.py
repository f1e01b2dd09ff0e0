"""CHGNet, a universal potential whose weights come with its package."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers, chemical_symbols

from synthzoo.errors import InputError
from synthzoo.teachers.networks import (
    LABELS,
    NetworkCalculator,
    installed_folder,
    made_apart,
    network_teacher,
)
from synthzoo.teachers.teacher import Teacher, files_sha256

if TYPE_CHECKING:
    from ase import Atoms
    from chgnet.model import CHGNet

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

    network = CHGNet.load(model_name=name, use_device="cpu", verbose=False)
    network.eval().requires_grad_(requires_grad=False)
    network.graph_converter.set_isolated_atom_response("ignore")
    means_eV = network.composition_model.fc.weight.detach().flatten().tolist()
    return NetworkCalculator(_Calculator(network)), {
        element: means_eV[atomic_numbers[element] - 1] for element in ELEMENTS
    }


class _Calculator(Calculator):
    """CHGNet with one way back through the network for forces and stress.

    Its own calculator goes back twice and prepares a third way, for training: that
    takes twice as long.
    """

    implemented_properties = [*LABELS]  # noqa: RUF012  as ASE has it

    def __init__(self, network: CHGNet) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._network = network

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | tuple[str, ...] = LABELS,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute everything for a structure and keep it in ``results``."""
        import torch
        from chgnet.model.model import BatchedGraph
        from pymatgen.io.ase import AseAtomsAdaptor

        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        network = self._network
        structure = AseAtomsAdaptor.get_structure(self.atoms)  # type: ignore[arg-type]  # set just now
        graph = network.graph_converter(structure)
        batch = BatchedGraph.from_graphs(
            [graph],
            bond_basis_expansion=network.bond_basis_expansion,
            angle_basis_expansion=network.angle_basis_expansion,
            compute_stress=True,
        )
        found = network._compute(batch, return_site_energies=True)
        (sites,), (positions,), (strain,) = (
            found["site_energies"],
            batch.atom_positions,
            batch.strains,
        )
        gradient, by_strain = torch.autograd.grad(sites.sum(), (positions, strain))
        (constants,) = network.composition_model.get_site_energies([graph])
        energies = (sites.detach() + constants).double()
        self.results = {
            "energy": float(energies.sum()),
            "energies": energies.numpy(),
            "forces": -gradient.numpy(),
            "stress": by_strain.numpy() / float(batch.volumes[0]),
        }
