"""Networks that the engine evaluates are trained as nequip would train them."""

from __future__ import annotations

import copy
import logging
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk
from nequip.data import AtomicDataDict

from synthzoo.data.labels import Labels
from synthzoo.models.engine.module import EngineModel, accelerate, undo
from synthzoo.models.engine.shape import network_shape
from synthzoo.models.graphs import join, to_graph
from synthzoo.models.isolation import nequip_session
from synthzoo.models.network import build_model, tell_of_slowness
from tests.conftest import tiny_config
from tests.models.engine.networks import (
    CUTOFF_A,
    NEQUIP,
    QUICK,
    SHORT,
    THOROUGH,
    build,
    for_elements,
)

CUTOFFS = {"H": {"H": 2.1, "C": 2.4}, "C": {"H": 2.4, "C": 2.8}}
NETWORKS = QUICK | THOROUGH
NETWORKS["cutoffs"] = NEQUIP, SHORT | {"per_edge_type_cutoff": CUTOFFS}
KEYS = (
    AtomicDataDict.TOTAL_ENERGY_KEY,
    AtomicDataDict.PER_ATOM_ENERGY_KEY,
    AtomicDataDict.FORCE_KEY,
    AtomicDataDict.STRESS_KEY,
    AtomicDataDict.VIRIAL_KEY,
)

pytestmark = pytest.mark.filterwarnings("ignore:Found `per_type_energy")

CASES = [
    pytest.param(
        name,
        elements,
        marks=()
        if name in {"vectors", "widened"} and elements == ("C", "H")
        else pytest.mark.thorough,
        id=f"{name}-{''.join(elements)}",
    )
    for name in NETWORKS
    for elements in (("C",), ("C", "H"))
    if not ("cutoffs" in name and elements == ("C",))
]


def pair(name: str, elements: tuple[str, ...], *, dtype: Any = torch.float64):
    """Return a network as nequip evaluates it, and as the engine does."""
    builder, arguments = NETWORKS[name]
    arguments = for_elements(arguments, elements)
    theirs = build(builder, arguments, elements)
    ours = copy.deepcopy(theirs)
    accelerate(ours, network_shape(builder, arguments, elements, CUTOFF_A))
    return theirs.to(dtype), ours.to(dtype)


def batch(elements: tuple[str, ...] = ("C", "H")) -> dict[str, torch.Tensor]:
    """Return two structures, with elements in no order, as one graph."""
    graphs = []
    for copies, seed in ((1, 1), (2, 2)):
        atoms = bulk("C", "diamond", a=3.6, cubic=True).repeat((copies, 1, 1))
        atoms.rattle(0.1, seed=seed)
        rng = np.random.default_rng(seed)
        atoms.symbols = rng.choice(elements, len(atoms))
        labels = Labels(energy_eV=-1.0, forces_eV_A=np.zeros((len(atoms), 3)))
        graphs.append(to_graph(atoms, labels, elements=elements, cutoff_A=CUTOFF_A))
    return join(graphs)


def trained(network: Any, data: Any, keys: Any = KEYS) -> tuple[Any, Any]:
    """Return what a network gives, and the gradient of a loss of all of it."""
    network.train()
    network.zero_grad()
    out = network(dict(data))
    sum(out[key].square().sum() for key in keys).backward()
    slopes = {
        name: value.grad.clone()
        for name, value in network.named_parameters()
        if value.grad is not None
    }
    return {key: out[key].detach() for key in keys}, slopes


def assert_same(found: Any, expected: Any, *, rounding: float) -> None:
    """Compare by the largest value of each."""
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        scale = float(value.abs().max()) + 1e-12
        torch.testing.assert_close(
            found[key], value, rtol=0, atol=rounding * scale, msg=str(key)
        )


@pytest.mark.parametrize(("name", "elements"), CASES)
def test_results_and_gradients_are_those_of_nequip(name, elements):
    """Energies, forces, stress, and the gradient of a loss of them, to rounding."""
    with nequip_session():
        theirs, ours = pair(name, elements)
        data = batch(elements)
        expected, expected_slopes = trained(theirs, data)
        found, slopes = trained(ours, data)
    assert_same(found, expected, rounding=1e-9)
    assert_same(slopes, expected_slopes, rounding=1e-9)


@pytest.mark.parametrize(
    "key", KEYS[:4], ids=["energy", "energies", "forces", "stress"]
)
def test_a_loss_of_one_thing_has_its_gradient(key):
    """Energies, forces or stress alone train as well."""
    with nequip_session():
        theirs, ours = pair("vectors", ("C", "H"))
        _, expected = trained(theirs, batch(), (key,))
        _, slopes = trained(ours, batch(), (key,))
    assert_same(slopes, expected, rounding=1e-9)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["vectors", "order-2"])
def test_single_precision_agrees_as_far_as_it_goes(name):
    """Training in float32 goes where nequip's does."""
    with nequip_session():
        theirs, ours = pair(name, ("C", "H"))
        expected, expected_slopes = trained(theirs, batch())
        ours.float()
        found, slopes = trained(ours, batch())
    assert_same({k: v.double() for k, v in found.items()}, expected, rounding=1e-5)
    assert_same(
        {k: v.double() for k, v in slopes.items()}, expected_slopes, rounding=1e-4
    )


def test_weights_that_are_frozen_have_no_gradient():
    """The others have the one that they had."""
    with nequip_session():
        _, ours = pair("vectors", ("C", "H"))
        _, expected = trained(ours, batch())
        frozen = [name for name in expected if "layer1" in name]
        for name in frozen:
            ours.get_parameter(name).requires_grad_(requires_grad=False)
            ours.get_parameter(name).grad = None
        _, slopes = trained(ours, batch())
    assert frozen
    assert_same(
        slopes, {k: v for k, v in expected.items() if k not in frozen}, rounding=1e-12
    )


def test_in_evaluation_lengths_are_known_and_nothing_is_differentiated():
    """Whoever looks for atoms on one place finds the lengths of edges."""
    with nequip_session():
        theirs, ours = pair("vectors", ("C", "H"))
        expected, found = theirs.eval()(batch()), ours.eval()(batch())
    lengths = AtomicDataDict.EDGE_LENGTH_KEY
    assert torch.equal(found[lengths], expected[lengths])
    assert not any(found[key].requires_grad for key in KEYS)
    assert_same(
        {key: found[key] for key in KEYS},
        {key: expected[key].detach() for key in KEYS},
        rounding=1e-9,
    )


def test_undone_it_is_nequip_itself():
    """What is given to other programs gives bit by bit what nequip gives."""
    with nequip_session():
        theirs, ours = pair("vectors", ("C", "H"))
        undo(ours)
        expected, found = trained(theirs, batch())[0], trained(ours, batch())[0]
    assert type(ours) is type(theirs)
    assert all(torch.equal(found[key], expected[key]) for key in KEYS)


@pytest.mark.thorough
def test_copies_and_pickles_stay_quick_and_keep_names_of_weights():
    """A copy, a pickle and a state dict are those of any other module."""
    with nequip_session():
        theirs, ours = pair("vectors", ("C", "H"))
        assert list(ours.state_dict()) == list(theirs.state_dict())
        expected = trained(ours, batch())[0]
        pickled = pickle.dumps(ours)
        for twin in (copy.deepcopy(ours), pickle.loads(pickled)):  # noqa: S301
            assert isinstance(twin, EngineModel)
            found = trained(twin, batch())[0]
            assert all(torch.equal(found[key], expected[key]) for key in KEYS)


@pytest.mark.parametrize("name", ["layer1_convnet", "layer1_convnet.conv.linear_1"])
def test_who_looks_into_layers_sees_them(name):
    """With a hook on a part, one of e3nn's too, nequip evaluates the network."""
    seen: list[Any] = []
    with nequip_session():
        _, ours = pair("vectors", ("C", "H"))
        part = ours.get_submodule(f"model.func.{name}")
        hook = part.register_forward_hook(lambda *_: seen.append(1))
        ours(batch())
        hook.remove()
        ours(batch())
    assert len(seen) == 1


def test_a_lost_structure_leaves_the_others_as_they_are():
    """Positions that are no numbers spoil no other structure of a batch."""
    with nequip_session():
        _, ours = pair("vectors", ("C", "H"))
        ours.eval()
        expected = ours(batch())
        data = batch()
        data[AtomicDataDict.POSITIONS_KEY][0] = torch.nan
        found = ours(data)
    energies = found[AtomicDataDict.TOTAL_ENERGY_KEY].reshape(-1)
    assert torch.isnan(energies[0])
    assert energies[1] == expected[AtomicDataDict.TOTAL_ENERGY_KEY].reshape(-1)[1]


def test_a_changed_weight_is_seen_at_once():
    """Nothing is kept from call to call, however a weight was changed."""
    with nequip_session():
        theirs, ours = pair("vectors", ("C", "H"))
        ours.eval()(batch())
        for network in (theirs, ours):
            for value in network.parameters():
                value.data.mul_(1.1)
        expected = theirs.eval()(batch())[AtomicDataDict.FORCE_KEY]
        found = ours(batch())[AtomicDataDict.FORCE_KEY]
    torch.testing.assert_close(found, expected.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("key", KEYS[2:4], ids=["forces", "stress"])
def test_slopes_of_weights_are_those_of_finite_differences(key):
    """The gradient of a loss of forces or stress, without nequip's help."""
    with nequip_session():
        _, ours = pair("parity", ("C", "H"))
        data = batch()

        def loss() -> float:
            found = ours(dict(data))[key]
            return float(found.detach().square().sum())

        _, slopes = trained(ours, data, (key,))
        rng = np.random.default_rng(0)
        for name, slope in slopes.items():
            place = tuple(int(rng.integers(size)) for size in slope.shape)
            value = ours.get_parameter(name).data
            old, values = value[place].item(), []
            for step in (1e-5, -1e-5):
                value[place] = old + step
                values.append(loss())
            value[place] = old
            expected = (values[0] - values[1]) / 2e-5
            scale = float(slope.abs().max()) + 1e-6
            assert slope[place].item() == pytest.approx(expected, abs=1e-6 * scale)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"per_edge_type_cutoff": {"H": {"C": 2.2}}}, "differ with the order"),
        ({"convnet_resnet": True}, "added to what comes into them"),
    ],
    ids=["cutoffs", "residual"],
)
def test_other_networks_are_left_to_nequip(changes, reason, caplog):
    """What the engine does not cover is said, and nequip evaluates it."""
    elements = ("C", "H")
    config = replace(
        tiny_config(elements),
        builder=NEQUIP,
        arguments=SHORT | changes,
        cutoff_A=CUTOFF_A,
    )
    tell_of_slowness.cache_clear()
    with caplog.at_level(logging.WARNING):
        network = build_model(config)
    (line,) = [record.message for record in caplog.records]
    assert reason in line
    assert not isinstance(network, EngineModel)
