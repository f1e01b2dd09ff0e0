"""Fine-tune a SevenNet on labelled structures, and save it as SevenNet saves networks.

    python benchmarks/tune_sevennet.py train.xyz -o tuned.pth

The loss is SevenNet's own (Huber, for energies per atom and force components), a step
takes one structure, and Adam's rate falls to zero along a cosine. Constants of the
elements are fitted first, so that energies may be on any scale. The result is a teacher
and a potential, `sevennet:tuned.pth`, of which `synthzoo evaluate` measures the errors.
Memory: 4 GB for 125 atoms of carbon.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.data import atomic_numbers

from synthzoo.data.labelled_set import LabelledSet, as_labelled, read_labelled

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 0.01
"""Where SevenNet's loss turns from squares to straight lines, in eV and eV/Å."""


def main() -> None:
    """Tune a network and save it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--start", default="7net-0", help="A name or a file.")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.process_time()
    data = as_labelled(*read_labelled([options.data]))
    checkpoint, network = _load(options.start)
    _add_constants(network, data)
    _fit(network, data, options)
    _save(checkpoint, network, options.output)
    _say(f"{options.output}: {time.process_time() - begin:.0f} s of processor time")


def _load(start: str) -> tuple[Any, Any]:
    from sevenn.util import load_checkpoint

    checkpoint = load_checkpoint(start)
    network = checkpoint.build_model()
    network.set_is_batch_data(False)
    return checkpoint, network


def _add_constants(network: Any, data: LabelledSet) -> None:
    """Shift the network's energies to the scale of the labels."""
    network.eval()
    found = [float(_energy(_predict(network, atoms))) for atoms in data.structures]
    counts = data.counts(data.elements)
    atoms = counts.sum(axis=1)
    missing: NDArray[np.float64] = data.energies_eV - np.array(found)
    constants, *_ = np.linalg.lstsq(
        counts / atoms[:, None], missing / atoms, rcond=None
    )
    shift = network.rescale_atomic_energy.shift.data
    for element, constant in zip(data.elements, constants, strict=True):
        shift[network.type_map[atomic_numbers[element]]] += float(constant)


def _fit(network: Any, data: LabelledSet, options: argparse.Namespace) -> None:
    weights = [each for each in network.parameters() if each.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=options.learning_rate)
    steps = options.epochs * len(data)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng = np.random.default_rng(options.seed)
    network.train()
    for epoch in range(options.epochs):
        losses = []
        for index in rng.permutation(len(data)):
            loss = _loss(network, data, index)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(float(loss))
        _say(f"epoch {epoch + 1}: loss {np.mean(losses):.4f}")


def _loss(network: Any, data: LabelledSet, index: int) -> torch.Tensor:
    atoms, label = data.structures[index], data.labels[index]
    found = _predict(network, atoms)
    energy = torch.tensor(label.energy_eV / len(atoms), dtype=torch.float32)
    forces = torch.tensor(label.forces_eV_A, dtype=torch.float32)
    return _huber(_energy(found) / len(atoms), energy) + _huber(
        found["inferred_force"], forces
    )


def _huber(found: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.huber_loss(found, label, delta=WIDTH)


def _predict(network: Any, atoms: Any) -> dict[str, torch.Tensor]:
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.train.dataload import unlabeled_atoms_to_graph

    graph = unlabeled_atoms_to_graph(atoms, network.cutoff)
    found: dict[str, torch.Tensor] = network(AtomGraphData.from_numpy_dict(graph))
    return found


def _energy(found: dict[str, torch.Tensor]) -> torch.Tensor:
    return found["inferred_total_energy"].squeeze()


def _save(checkpoint: Any, network: Any, output: Path) -> None:
    """Save what SevenNet's own calculator needs; its shift is among the weights.

    The version is today's: weights of old networks are put into another order on
    loading, which has been done.
    """
    import sevenn

    config = checkpoint.config | {"version": sevenn.__version__}
    torch.save({"config": config, "model_state_dict": network.state_dict()}, output)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  the result


if __name__ == "__main__":
    main()
