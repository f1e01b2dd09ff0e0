"""A network that grows predicts what it did, and its new features can learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from ase.build import bulk

from synthzoo.data.labels import Labels
from synthzoo.errors import InputError
from synthzoo.models.checkpoint import load_model
from synthzoo.models.graphs import to_graph
from synthzoo.models.isolation import nequip_session
from synthzoo.models.network import build_model, grow
from synthzoo.training.pretrain import pretrain
from tests.conftest import tiny_config
from tests.toy import pretrain_recipe

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.models.config import CheckpointConfig

GROWN = {
    "mirror": ("4x0e+4x1o", "4x0e+4x1o+3x1e"),
    "pseudoscalars": ("4x0e+4x1o+2x1e", "4x0e+3x0o+4x1o+5x1e"),
    "wider": ("6x0e+7x1o", "5x0e+9x1o"),
    "all": ("6x0e+5x1o", "9x0e+2x0o+6x1o+6x1e"),
    "as-it-was": ("4x0e+4x1o", "4x0e+4x1o"),
}


def three_layers(elements: tuple[str, ...] = ("C",), **change: Any) -> CheckpointConfig:
    config = tiny_config(elements)
    arguments = config.arguments | {"num_layers": 3} | change
    return replace(config, arguments=arguments, dtype="float64")


def graph(elements: tuple[str, ...] = ("C",)) -> dict[str, torch.Tensor]:
    atoms: Atoms = bulk("C", "diamond", a=3.6, cubic=True)
    atoms.symbols = [elements[i % len(elements)] for i in range(len(atoms))]
    atoms.rattle(0.2, seed=1)
    labels = Labels(energy_eV=-1.0, forces_eV_A=np.zeros((len(atoms), 3)))
    return to_graph(atoms, labels, elements=elements, cutoff_A=4.0)


def predictions(network: torch.nn.Module, data: dict[str, Any]) -> list[torch.Tensor]:
    out = network(dict(data))
    return [out[key].detach() for key in ("total_energy", "forces")]


def assert_same(grown: torch.nn.Module, network: torch.nn.Module, data: dict[str, Any]):
    """Check energy and forces, in double precision."""
    expected = predictions(network, data)
    for found, value in zip(predictions(grown, data), expected, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("features", "elements"),
    [
        (GROWN["mirror"], ("C",)),
        *[
            pytest.param(GROWN[name], ("C",), marks=pytest.mark.thorough)
            for name in ("pseudoscalars", "wider", "all")
        ],
        (GROWN["as-it-was"], ("C",)),
        pytest.param(GROWN["all"], ("C", "Si"), marks=pytest.mark.thorough),
    ],
    ids=[*GROWN, "two-elements"],
)
def test_predictions_stay_to_rounding(features, elements):
    """Old features take no part of new ones, whatever is added."""
    config = three_layers(elements)
    with nequip_session():
        network = build_model(config, seed=5)
        grown, described = grow(network, config, features, seed=6)
        assert_same(grown, network, graph(elements))
    assert described.arguments["feature_irreps_hidden"] == [*features, "4x0e"]


@pytest.mark.thorough
def test_a_network_grows_again():
    """What was built layer by layer can grow, too."""
    config = three_layers()
    with nequip_session():
        network = build_model(config, seed=5)
        once, between = grow(network, config, GROWN["mirror"], seed=6)
        second = ("4x0e+4x1o+2x1e", "6x0e+4x1o+3x1e")
        twice, _ = grow(once, between, second, seed=7)
        assert_same(twice, network, graph())


@pytest.mark.thorough
def test_higher_orders_grow():
    """A network with features of second order, which nequip evaluates."""
    config = three_layers(l_max=2, num_features=[4, 3, 2])
    features = ("4x0e+3x1o+4x2e", "5x0e+3x1o+2x1e+2x2e+2x2o")
    with nequip_session():
        network = build_model(config, seed=5)
        grown, _ = grow(network, config, features, seed=6)
        assert_same(grown, network, graph())


@pytest.mark.thorough
def test_new_features_can_learn():
    """Weights from new features to old are zero, their slopes are not."""
    config = three_layers(num_layers=4)
    features = ("4x0e+4x1o", "4x0e+4x1o+3x1e", "4x0e+4x1o")
    with nequip_session():
        network = build_model(config, seed=5)
        grown, _ = grow(network, config, features, seed=6)
        grown.train()(graph())["forces"].square().sum().backward()
    layers = [part for name, part in grown.named_modules() if name.endswith("convnet")]
    mixing = layers[2].conv.linear_2.weight
    new = mixing == 0.0
    assert int(new.sum()) == 3 * 4  # from three mirror-odd products to four vectors
    assert (mixing.grad[new].abs() > 0).all()


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (("4x0e+4x1o",), "Features are given for 1 layers; the start has 3"),
        (("4x0e+4x1o", "4x0e+3x1o"), "it would lose some"),
        (("4x0e+4x1o", "6x0e"), "it would lose some"),
    ],
)
def test_what_cannot_grow_is_refused(features, message):
    """Layers that are missing, and features that would go."""
    config = three_layers()
    with nequip_session():
        network = build_model(config)
        with pytest.raises(InputError, match=message):
            grow(network, config, features, seed=0)


@pytest.mark.thorough
def test_a_fit_grows_its_start(lj_set: Path, tmp_path: Path):
    """The recipe says how; the checkpoint describes the wider network."""
    first, second = tmp_path / "first", tmp_path / "second"
    pretrain(pretrain_recipe(max_epochs=1), lj_set, first)
    still = pretrain_recipe(max_epochs=1, learning_rate=1e-12)
    features = ("6x0e+4x1o",)
    pretrain(replace(still, grow=features), lj_set, second, start=first)
    (before, _), (after, config) = load_model(first), load_model(second)
    assert config.arguments["feature_irreps_hidden"][:-1] == list(features)
    with nequip_session():
        for found, value in zip(
            predictions(after, graph()), predictions(before, graph()), strict=True
        ):
            torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-4)


def test_growing_needs_a_start(lj_set: Path, tmp_path: Path):
    """Features that nothing could grow to are no new network's shape."""
    recipe = replace(pretrain_recipe(max_epochs=1), grow=("8x0e",))
    with pytest.raises(InputError, match="say which one it starts from"):
        pretrain(recipe, lj_set, tmp_path / "grown")
