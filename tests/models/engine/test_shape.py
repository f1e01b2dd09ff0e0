"""A network's shape and its packed weights say all that nequip computes.

The functions here that evaluate a network are slow and plain, and define what the
shapes mean.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk
from e3nn.math import normalize2mom
from nequip.data import AtomicDataDict
from nequip.nn.convnetlayer import acts

from synthzoo.data.labels import Labels
from synthzoo.errors import InputError
from synthzoo.models.engine import pack
from synthzoo.models.engine.couplings import harmonics
from synthzoo.models.engine.layer_shape import SECOND_MOMENTS
from synthzoo.models.engine.not_covered import NotCovered
from synthzoo.models.engine.shape import Columns, Layer, NetworkShape, network_shape
from synthzoo.models.graphs import to_graph
from synthzoo.models.isolation import nequip_session
from tests.models.engine.networks import (
    CUTOFF_A,
    FULL,
    NEQUIP,
    QUICK,
    SHORT,
    THOROUGH,
    WIDE,
    build,
    for_elements,
)


def graph(elements: tuple[str, ...]) -> dict[str, Any]:
    """Return a rattled crystal of 8 atoms with its neighbours."""
    atoms = bulk("C", "diamond", a=3.4, cubic=True)
    atoms.rattle(0.1, seed=1)
    atoms.symbols = [elements[i % len(elements)] for i in range(len(atoms))]
    labels = Labels(energy_eV=0.0, forces_eV_A=np.zeros((len(atoms), 3)))
    return to_graph(atoms, labels, elements=elements, cutoff_A=CUTOFF_A)


def energies(
    shape: NetworkShape, weights: pack.Weights, data: dict[str, np.ndarray]
) -> np.ndarray:
    """Return the energy of each atom, in eV: (atoms,)."""
    types = data[AtomicDataDict.ATOM_TYPE_KEY]
    features = [pack.type_features(weights, shape)[types][:, :, None]]
    for layer in shape.layers:
        features = next_features(features, layer, shape, weights, data)
    found = np.concatenate([block[:, :, 0] for block in features], axis=1)
    matrices, activation = pack.readout(weights, shape)
    for index, matrix in enumerate(matrices):
        if index and activation:
            found = pack.ACTIVATIONS[activation](found)
        found = found @ matrix
    scales, shifts = pack.scales_shifts(weights, shape)
    atomic: np.ndarray = scales[types] * found[:, 0] + shifts[types]
    return atomic


def next_features(
    features: list[np.ndarray],
    layer: Layer,
    shape: NetworkShape,
    weights: pack.Weights,
    data: dict[str, np.ndarray],
) -> list[np.ndarray]:
    """Return the features that a layer gives: (atoms, channels, components) each."""
    types = data[AtomicDataDict.ATOM_TYPE_KEY]
    first, second, past = pack.mixing_matrices(weights, layer)
    sent = zeros(layer.incoming, len(types))
    for mixing, matrix in zip(layer.first, first, strict=True):
        sent[mixing.target] += np.einsum("nus,uv->nvs", features[mixing.source], matrix)
    norms = pack.norms(shape)[types]
    sent = [norms[:, None, None] * block for block in sent]
    summed = messages(sent, layer, shape, weights, data)
    mixed = zeros(layer.mixed, len(types))
    for mixing, matrix in zip(layer.second, second, strict=True):
        mixed[mixing.target] += np.einsum("nus,uv->nvs", summed[mixing.source], matrix)
    for mixing, matrix in zip(layer.self_connection, past, strict=True):
        mixed[mixing.target] += np.einsum(
            "nus,nuv->nvs", features[mixing.source], matrix[types]
        )
    return gated(mixed, layer)


def messages(
    sent: list[np.ndarray],
    layer: Layer,
    shape: NetworkShape,
    weights: pack.Weights,
    data: dict[str, np.ndarray],
) -> list[np.ndarray]:
    """Return the sums of the messages, edge by edge."""
    types = data[AtomicDataDict.ATOM_TYPE_KEY]
    summed = zeros(layer.summed, len(types))
    recips = pack.reciprocal_cutoffs(weights, shape)
    for receiver, sender, vector in edges(data):
        distance = np.linalg.norm(vector)
        x = distance * recips[types[receiver], types[sender]]
        if x >= 1:
            continue
        w = pack.radial_functions(weights, layer, shape, np.array([x]))[0]
        assert len(w) == layer.functions
        for path in layer.paths:
            y = harmonics_of(path.order, vector / distance)
            channels = slice(path.start, path.start + path.channels)
            out = summed[path.target][receiver, channels]
            factors = w[path.weight : path.weight + path.channels]
            for before, edge, after, value in path.entries:
                x_before = sent[path.source][sender, :, before]
                out[:, after] += factors * value * x_before * y[edge]
    return summed


def edges(data: dict[str, np.ndarray]):
    """Yield receiver, sender and vector from one to the other, of each edge."""
    positions = data[AtomicDataDict.POSITIONS_KEY]
    cell = data[AtomicDataDict.CELL_KEY].reshape(3, 3)
    shifts = data[AtomicDataDict.EDGE_CELL_SHIFT_KEY]
    for (receiver, sender), shift in zip(
        data[AtomicDataDict.EDGE_INDEX_KEY].T, shifts, strict=True
    ):
        yield receiver, sender, positions[sender] - positions[receiver] + shift @ cell


def harmonics_of(order: int, unit: np.ndarray) -> list[float]:
    x, y, z = unit
    return [
        sum(value * x**a * y**b * z**c for a, b, c, value in part)
        for part in harmonics(order)
    ]


def gated(mixed: list[np.ndarray], layer: Layer) -> list[np.ndarray]:
    """Return features after the nonlinearities."""

    def picked(blocks: list[np.ndarray], columns: Columns) -> np.ndarray:
        return blocks[columns.block][:, columns.start : columns.stop]

    found = zeros(layer.outgoing, len(mixed[0]))
    for scalar in layer.scalars:
        values = pack.ACTIVATIONS[scalar.name](picked(mixed, scalar.columns))
        picked(found, scalar.target)[:] = scalar.factor * values
    for part in layer.gated:
        gates = pack.ACTIVATIONS[part.name](picked(mixed, part.gates))
        product = part.factor * gates * picked(mixed, part.columns)
        picked(found, part.target)[:] = product
    return found


def zeros(blocks, atoms: int) -> list[np.ndarray]:
    return [np.zeros((atoms, block.channels, 2 * block.order + 1)) for block in blocks]


def compare(builder: str, arguments: dict[str, Any], elements: tuple[str, ...]) -> None:
    """Compare energies by shape and by nequip, of a network with random weights."""
    with nequip_session():
        network = build(builder, arguments, elements).eval()
        data = graph(elements)
        expected = network(dict(data))[AtomicDataDict.PER_ATOM_ENERGY_KEY]
    shape = network_shape(builder, arguments, elements, CUTOFF_A)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    arrays = {name: value.numpy() for name, value in data.items()}
    found = energies(shape, weights, arrays)
    wanted = expected.detach().numpy()[:, 0]
    spread = np.ptp(wanted)  # so that shifts do not hide what the layers give
    assert spread > 1e-4
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9 * spread)


@pytest.mark.filterwarnings("ignore:Found `per_type_energy")
@pytest.mark.parametrize(("builder", "arguments"), QUICK.values(), ids=QUICK)
def test_energies_follow_from_shape_and_weights(builder, arguments):
    """Per atom, to rounding, for a network of nequip with two elements."""
    compare(builder, arguments, ("C", "H"))


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:Found `per_type_energy")
@pytest.mark.parametrize(("builder", "arguments"), THOROUGH.values(), ids=THOROUGH)
def test_energies_follow_from_any_shape(builder, arguments):
    """All else that builders may be asked for."""
    compare(builder, arguments, ("C", "H"))


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:Found `per_type_energy")
@pytest.mark.parametrize(("builder", "arguments"), QUICK.values(), ids=QUICK)
def test_energies_of_one_element_follow(builder, arguments):
    """Where nequip takes shortcuts."""
    compare(builder, for_elements(arguments, ("C",)), ("C",))


@pytest.mark.parametrize(
    ("builder", "change", "reason"),
    [
        (NEQUIP, {"l_max": 4}, "order 4"),
        (WIDE, {"irreps_edge_sh": "1x0e+2x1o"}, "several harmonics"),
        (WIDE, {"feature_irreps_hidden": ["4x4e"] * 3 + ["4x0e"]}, "order 4"),
        (WIDE, {"feature_irreps_hidden": ["4x1e"] * 3 + ["4x0e"]}, "no path leads"),
        (WIDE, {"feature_irreps_hidden": ["4x0e"] * 3 + ["4x1o"]}, "than scalars"),
        (WIDE, {"feature_irreps_hidden": ["4x0e"] * 3 + ["0e+0e"]}, "kind of scalars"),
        (NEQUIP, {"convnet_resnet": True}, "are added"),
        (
            NEQUIP,
            {
                "readout_mlp_hidden_layers_depth": 1,
                "readout_mlp_nonlinearity": "mish",
            },
            "mish reads",
        ),
        (
            NEQUIP,
            {
                "pair_potential": {
                    "_target_": "nequip.nn.pair_potential.ZBL",
                    "units": "metal",
                    "chemical_species": ["C", "H"],
                }
            },
            "pair potential",
        ),
    ],
)
def test_what_is_not_covered_is_said(builder, change, reason):
    arguments = {NEQUIP: SHORT, WIDE: FULL}[builder] | change
    with pytest.raises(NotCovered, match=reason):
        network_shape(builder, arguments, ("C", "H"), CUTOFF_A)


def test_unknown_arguments_are_refused():
    """They might change what the network computes."""
    with pytest.raises(InputError, match="convnet_nonlinearity_type"):
        network_shape(NEQUIP, SHORT | {"convnet_nonlinearity_type": "norm"}, ("C",), 3)


@pytest.mark.parametrize("name", SECOND_MOMENTS)
def test_nonlinearities_are_normalised_as_by_e3nn(name):
    """By the numbers that e3nn finds at random."""
    assert SECOND_MOMENTS[name] == pytest.approx(normalize2mom(acts[name]).cst, 1e-12)
    points = np.linspace(-1000, 1000, 41)
    np.testing.assert_allclose(
        pack.ACTIVATIONS[name](points), acts[name](torch.as_tensor(points)), atol=1e-12
    )


def test_radial_functions_continue_beyond_both_ends():
    """Their formulas are smooth at 0, and at the cutoff, where they vanish."""
    shape = network_shape(NEQUIP, SHORT, ("C", "H"), CUTOFF_A)
    with nequip_session():
        network = build(NEQUIP, SHORT, ("C", "H"))
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    layer = shape.layers[1]
    for middle in (0.0, 1.0):
        points = middle + 1e-3 * np.arange(-3.0, 4.0)
        found = pack.radial_functions(weights, layer, shape, points)
        fourth = np.diff(found, n=4, axis=0)
        assert np.abs(fourth).max() < 1e-6 * np.abs(weights[layer.radial[0]]).max()
    assert np.abs(found[3]).max() < 1e-12


def test_shapes_need_neither_torch_nor_nequip():
    """They are found in milliseconds, in a process that has loaded none of them."""
    code = f"""
import sys
from synthzoo.models.engine import pack, shape
shape.network_shape({NEQUIP!r}, {json.loads(json.dumps(SHORT))!r}, ("C", "H"), 3.0)
print([name for name in ("torch", "nequip", "e3nn", "ase") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
