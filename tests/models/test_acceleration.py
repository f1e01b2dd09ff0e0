"""The quick evaluation on the CPU computes what nequip computes."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from ase.build import bulk
from nequip.data import AtomicDataDict
from nequip.model import NequIPGNNModel

from synthzoo.data.labels import Labels
from synthzoo.models.acceleration import accelerate, settle, undo
from synthzoo.models.acceleration.layers import FastLayer, _Messages
from synthzoo.models.acceleration.plan import Block, Plan
from synthzoo.models.acceleration.radial_tables import FastEncoding, Place, interpolate
from synthzoo.models.graphs import to_graph
from synthzoo.models.isolation import nequip_session

SHAPES = {
    "no-parity": {"parity": False, "num_features": [6, 3]},
    "parity": {"parity": True, "num_features": [4, 5]},
    "scalars": {"l_max": 0, "num_features": 6},
    "one-layer": {"num_layers": 1, "parity": False, "num_features": [6, 3]},
    "deep-radial-network": {"radial_mlp_depth": 2, "radial_mlp_width": 5},
    "linear-radial-network": {"radial_mlp_depth": 0},
}


def build(*, elements: tuple[str, ...] = ("C",), dtype: str = "float64", **shape):
    """Return a small network of nequip; same weights for same arguments."""
    arguments = {"num_layers": 3, "l_max": 1, "num_features": 4, **shape}
    return NequIPGNNModel(
        seed=3,
        model_dtype=dtype,
        type_names=list(elements),
        r_max=4.0,
        radial_mlp_width=arguments.pop("radial_mlp_width", 8),
        avg_num_neighbors=20.0,
        per_type_energy_scales=2.0,
        per_type_energy_shifts=dict.fromkeys(elements, -1.0),
        **arguments,
    )


def batch(
    elements: tuple[str, ...] = ("C",), *, repeat: int = 2
) -> dict[str, torch.Tensor]:
    """Return two rattled crystals, of 8 and 8 times so many atoms, as one graph."""
    graphs = []
    for copies, seed in ((1, 1), (repeat, 2)):
        atoms = bulk("C", "diamond", a=3.6, cubic=True).repeat((copies, 1, 1))
        atoms.rattle(0.1, seed=seed)
        labels = Labels(energy_eV=-1.0, forces_eV_A=np.zeros((len(atoms), 3)))
        atoms.symbols = [elements[i % len(elements)] for i in range(len(atoms))]
        graphs.append(to_graph(atoms, labels, elements=elements, cutoff_A=4.0))
    joined: dict[str, torch.Tensor] = AtomicDataDict.batched_from_list(graphs)
    return joined


def outputs_and_slopes(network, data):
    """Return energies, forces and stress, and the gradient of a loss of all three."""
    network.train()
    network.zero_grad()
    out = network(dict(data))
    keys = (
        AtomicDataDict.TOTAL_ENERGY_KEY,
        AtomicDataDict.FORCE_KEY,
        AtomicDataDict.STRESS_KEY,
    )
    sum(out[key].square().sum() for key in keys).backward()
    slopes = {
        name: value.grad.clone()
        for name, value in network.named_parameters()
        if value.grad is not None
    }
    return [out[key].detach() for key in keys], slopes


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_agrees_with_nequip_to_rounding(shape):
    """Energies, forces, stress and all gradients for training are nequip's."""
    with nequip_session():
        data = batch()
        expected, expected_slopes = outputs_and_slopes(build(**shape), data)
        network = build(**shape)
        assert accelerate(network) is None
        found, slopes = outputs_and_slopes(network, data)
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)
    assert slopes.keys() == expected_slopes.keys()
    for name, slope in slopes.items():
        scale = float(expected_slopes[name].abs().max()) + 1e-12
        torch.testing.assert_close(
            slope, expected_slopes[name], rtol=0, atol=1e-9 * scale
        )


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("repeat", "tables"), [(1, False), (6, True)], ids=["few-edges", "many-edges"]
)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_single_precision_agrees_as_far_as_it_goes(shape, repeat, tables):
    """In float32, with and without tables, all but rounding is nequip's."""
    with nequip_session():
        data = batch(repeat=repeat)
        expected, expected_slopes = outputs_and_slopes(
            build(dtype="float32", **shape), data
        )
        network = build(dtype="float32", **shape)
        accelerate(network)
        found, slopes = outputs_and_slopes(network, data)
        encoding = next(p for p in network.modules() if isinstance(p, FastEncoding))
    assert bool(encoding.points) == tables
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)
    for name, slope in slopes.items():
        scale = float(expected_slopes[name].abs().max()) + 1e-12
        torch.testing.assert_close(
            slope, expected_slopes[name], rtol=0, atol=2e-3 * scale
        )


@pytest.mark.thorough
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_settled_networks_agree_to_rounding(shape):
    """Tables that stay are as good as single precision, at few edges, too."""
    with nequip_session():
        network = build(dtype="float32", **shape).eval()
        exact = build(**shape).eval()
        exact.load_state_dict(network.state_dict())
        accelerate(network)
        settle(network)
        expected, found = exact(batch()), network(batch())
    for key in (AtomicDataDict.TOTAL_ENERGY_KEY, AtomicDataDict.FORCE_KEY):
        torch.testing.assert_close(
            found[key].double(), expected[key].double(), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("place", ["double", "training", "elsewhere"])
def test_only_networks_that_tables_serve_are_settled(place):
    """Not those in double precision, in training, or on another device."""
    with nequip_session():
        network = build(dtype="float64" if place == "double" else "float32")
        accelerate(network.train(place == "training"))
        if place == "elsewhere":
            network.to("meta")
        settle(network)
        encoding = next(p for p in network.modules() if isinstance(p, FastEncoding))
    assert not encoding.at_rest


@pytest.mark.parametrize("change", ["load", "train"])
def test_a_settled_network_forgets_its_tables_when_weights_change(change):
    """New weights, and training, are not answered from old tables."""
    with nequip_session():
        network = build(dtype="float32").eval()
        accelerate(network)
        settle(network)
        before = network(batch())[AtomicDataDict.FORCE_KEY]
        moved = {name: 1.1 * value for name, value in network.state_dict().items()}
        if change == "load":
            network.load_state_dict(moved)
        else:
            network.train()
            for name, value in network.named_parameters():
                value.data.copy_(moved[name])
            network.eval()
        after = network(batch())[AtomicDataDict.FORCE_KEY]
        plain = build(dtype="float32").eval()
        plain.load_state_dict(network.state_dict())
        expected = plain(batch())[AtomicDataDict.FORCE_KEY]
    assert not torch.allclose(before, after, rtol=1e-3)
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-4)


def test_slopes_of_interpolated_functions_are_those_of_finite_differences():
    """First and second derivatives of the loops over tables, without nequip."""
    generator = torch.Generator().manual_seed(6)
    interval = torch.randint(5, (11,), generator=generator)
    order = torch.argsort(interval)

    def random(*shape):
        return torch.rand(*shape, dtype=torch.float64, generator=generator)

    def functions(table, fraction):
        return interpolate(table, Place(order, interval, fraction))

    inputs = [random(4, 5, 3).requires_grad_(), random(11).requires_grad_()]
    assert torch.autograd.gradcheck(functions, inputs)
    assert torch.autograd.gradgradcheck(functions, inputs)


@pytest.mark.parametrize(
    ("elements", "shape", "reason"),
    [(("C",), {"l_max": 2}, "its edges carry"), (("C", "Si"), {}, "several elements")],
    ids=["order-2", "two-elements"],
)
def test_other_networks_are_left_to_nequip(elements, shape, reason):
    """Higher orders and several elements are evaluated by nequip itself."""
    with nequip_session():
        network = build(elements=elements, **shape)
        expected, _ = outputs_and_slopes(network, batch(elements))
        assert reason in str(accelerate(network))
        found, _ = outputs_and_slopes(network, batch(elements))
    assert not any(isinstance(part, FastLayer) for part in network.modules())
    assert all(map(torch.equal, found, expected))


def test_undone_it_is_nequip_itself():
    """What is given to other programs gives bit by bit what nequip gives."""
    with nequip_session():
        expected, _ = outputs_and_slopes(build(), batch())
        network = build()
        accelerate(network)
        undo(network)
        found, _ = outputs_and_slopes(network, batch())
    assert all(map(torch.equal, found, expected))


def test_copies_and_pickles_stay_quick_and_keep_names_of_weights():
    """A copy, a pickle and a state dict are those of any other module."""
    with nequip_session():
        network = build()
        names = list(network.state_dict())
        accelerate(network)
        assert list(network.state_dict()) == names
        expected, _ = outputs_and_slopes(network, batch())
        pickled = pickle.dumps(network)
        for twin in (copy.deepcopy(network), pickle.loads(pickled)):  # noqa: S301
            assert any(isinstance(part, FastLayer) for part in twin.modules())
            found, _ = outputs_and_slopes(twin, batch())
            assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize(
    "kind", range(5), ids=["scalar", "vector", "rising", "dot", "cross"]
)
def test_slopes_of_each_kind_of_path_are_those_of_finite_differences(kind):
    """First and second derivatives of the compiled loops, without nequip."""
    generator = torch.Generator().manual_seed(5)
    channels, atoms, edges = 3, 4, 9
    x_width = 3 if kind in (1, 3, 4) else 1
    g_width = 3 if kind in (1, 2, 4) else 1
    plan = Plan(
        incoming=(),
        summed=(Block(channels, g_width),),
        mixed=(),
        first=(),
        second=(),
        self_connection=(),
        paths=np.array([(kind, channels, 0, 0, 0, channels)]),
        factors=np.array([0.7]),
        scalars=(),
        gated=(),
    )

    def random(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    sender = torch.randint(atoms, (edges,), generator=generator)
    receiver = torch.randint(atoms, (edges,), generator=generator)
    inputs = [
        value.requires_grad_()
        for value in (
            random(atoms, channels * x_width),
            random(edges, channels),
            random(edges, 3),
        )
    ]

    def messages(x, w, y):
        return _Messages.apply(x, w, y, sender, receiver, plan)

    assert torch.autograd.gradcheck(messages, inputs)
    assert torch.autograd.gradgradcheck(messages, inputs)
