"""Which descriptions of environments separate atoms by their number of bonds.

    python benchmarks/separation.py structures.xyz --model carbon \
      --regression curves/network-100000.safetensors

The share of the ten nearest environments, in other structures, that have as many bonds,
and the silhouettes of `synthzoo map`, for SOAP that fades towards its cutoff or does
not, for the features after each layer of networks of the zoo, and for the hidden layers
of a regression of `synthzoo local-energies`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from synthzoo.environments.descriptors import (
    LARGEST_ANGULAR,
    RADIAL_FUNCTIONS,
    SOAP_CUTOFF_A,
    computed_by,
    soap_features,
)
from synthzoo.environments.projection import fit_projection
from synthzoo.environments.quality import separation_of
from synthzoo.environments.quantities import bonds_of
from synthzoo.environments.sample import Sample, take_sample
from synthzoo.environments.soap import soap_of
from synthzoo.regression.kept import load_local_energies
from synthzoo.reports.document import markdown_table
from synthzoo.zoo.load import load_calculator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.models.calculator import SynthzooCalculator

LAYER = "_convnet"
SCALARS = "0e"
Described = tuple[str, "NDArray[np.float32]", bool]
"""Name and features, and whether each of these counts by its standard deviation."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("structures", type=Path, nargs="+")
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--regression", type=Path)
    parser.add_argument("--environments", type=int, default=10_000)
    parser.add_argument("--least-atoms", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sample = take_sample(options.structures, atoms=options.environments, seed=0)
    chosen = [atoms for atoms in sample.structures if len(atoms) >= options.least_atoms]
    bonds = bonds_of(chosen)
    owners = np.repeat(np.arange(len(chosen)), [len(atoms) for atoms in chosen])
    rows = []
    for name, features, standardise in _all(options, sample, chosen):
        kept = fit_projection(
            features, name=name, source="", method="pca", standardise=standardise
        )
        found = separation_of(name, kept.rows, bonds, owners, seed=0)
        silhouette = "" if found.silhouette is None else f"{found.silhouette:.2f}"
        rows.append([name, f"{found.purity:.1%}", silhouette])
        print(*rows[-1], flush=True)  # noqa: T201
    head = ["description", "same number of bonds", "silhouette"]
    print(markdown_table(head, rows))  # noqa: T201


def _all(
    options: argparse.Namespace, sample: Sample, chosen: Sequence[Any]
) -> Iterator[Described]:
    for smooth in (False, True):
        soap = soap_of(
            sample.elements,
            cutoff_A=SOAP_CUTOFF_A,
            radial=RADIAL_FUNCTIONS,
            angular=LARGEST_ANGULAR,
            smooth=smooth,
        )
        spectra = soap_features(chosen, soap)
        yield f"SOAP, {'fading' if smooth else 'not fading'}", spectra, False
    if options.regression:
        yield from _hidden(options.regression, spectra, chosen)
    for name in options.model:
        calculator = load_calculator(name)
        for number, features in enumerate(_layers(calculator, chosen), start=1):
            yield f"{name}, layer {number}", features, False
            yield f"{name}, layer {number}, standardised", features, True
        last = computed_by(calculator, chosen).features
        yield f"{name}, as in `synthzoo map`", last, True


def _hidden(
    path: Path, spectra: NDArray[np.float32], chosen: Sequence[Any]
) -> Iterator[Described]:
    """Yield what each hidden layer of a network on SOAP that fades gives."""
    hidden = load_local_energies(path)._fitted.regressor.module.hidden
    seen: list[NDArray[np.float32]] = []
    layers = [layer for layer in hidden if isinstance(layer, torch.nn.CELU)]
    for layer in layers:
        layer.register_forward_hook(lambda *found: seen.append(found[-1].numpy()))
    numbers = np.concatenate([atoms.numbers for atoms in chosen])
    with torch.inference_mode():
        hidden.features(torch.from_numpy(spectra), torch.from_numpy(numbers))
    for number, features in enumerate(seen, start=1):
        yield f"network on SOAP, hidden layer {number}", features, False


def _layers(
    calculator: SynthzooCalculator, structures: Sequence[Any]
) -> list[NDArray[np.float32]]:
    """Return the features after each layer that do not change under rotations."""
    network = calculator.torch_pass.network
    layers = [part for name, part in network.named_modules() if name.endswith(LAYER)]
    seen: list[list[NDArray[np.float32]]] = [[] for _ in layers]

    def collect(number: int, scalars: int) -> Any:
        return lambda _, __, found: seen[number].append(
            found["node_features"][:, :scalars].detach().numpy().astype(np.float32)
        )

    hooks = [
        layer.register_forward_hook(collect(number, _scalars(layer)))
        for number, layer in enumerate(layers)
    ]
    for atoms in structures:
        calculator.torch_pass.compute([atoms])
    for hook in hooks:
        hook.remove()
    return [np.concatenate(parts) for parts in seen]


def _scalars(layer: Any) -> int:
    return int(layer.irreps_out["node_features"].count(SCALARS))


if __name__ == "__main__":
    main()
