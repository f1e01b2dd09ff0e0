"""A network that is fitted to several levels: what it predicts, and its loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk
from hydra.utils import instantiate

from synthzoo.data.labels import Labels
from synthzoo.models.checkpoint import load_model
from synthzoo.models.graphs import (
    ENERGIES,
    ENERGY,
    FORCES,
    LEVEL,
    SIZES,
    STRESS,
    STRUCTURE,
    Graph,
    join,
    part_of,
    split,
    to_graph,
)
from synthzoo.models.learning import Term, loss_of
from synthzoo.training.levels import LevelledNetwork, readout_name
from synthzoo.training.weights import weights_at

LEVELS = [1, 0, 1, 0]


def graphs() -> list[Graph]:
    """Return four structures of different sizes, each of a level."""
    found = []
    for number, level in enumerate(LEVELS):
        atoms = bulk("C", cubic=number % 2 == 0) * (1 + number // 2, 1, 1)
        atoms.rattle(0.1, seed=number)
        labels = Labels(energy_eV=0.0, forces_eV_A=np.zeros((len(atoms), 3)))
        graph = to_graph(atoms, labels, elements=("C",), cutoff_A=4.0)
        graph[LEVEL] = torch.tensor([[level]])
        found.append(graph)
    return found


@pytest.fixture(scope="module")
def network(tiny_checkpoint: Path) -> LevelledNetwork:
    model, config = load_model(tiny_checkpoint)
    weight = model.get_parameter(readout_name(model, config))
    return LevelledNetwork(model, config, {"low": 2 * weight.detach()})


def test_each_structure_is_computed_at_its_level(network: LevelledNetwork):
    """In a batch as alone, with the weights of a network of that level."""
    alone = []
    for graph in graphs():
        level = "low" if graph[LEVEL].item() else None
        names = weights_at(network.weights(), level)
        single = torch.func.functional_call(network.network, names, (dict(graph),))
        alone.append(single)
    found = network(join(graphs()))
    for name in (ENERGY, ENERGIES, FORCES, STRESS):
        expected = torch.cat([each[name] for each in alone])
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(
        network(graphs()[0])[ENERGY], network.network(graphs()[0])[ENERGY]
    )


def test_all_last_layers_and_the_body_learn(network: LevelledNetwork):
    """The gradient of a loss of all structures reaches each of them."""
    network.train().zero_grad()
    found = network(join(graphs()))
    (found[ENERGY].sum() + found[FORCES].square().sum()).backward()
    own, (low,) = network.network.get_parameter(network.readout), network.readouts
    slopes = [w.grad for w in (own, low, next(network.network.parameters()))]
    assert all(slope is not None and slope.abs().max() > 0 for slope in slopes)
    assert not torch.equal(slopes[0], slopes[1])  # type: ignore[arg-type]
    network.eval()


def test_a_part_of_a_graph_is_that_of_its_structures():
    whole = join(graphs())
    chosen = torch.tensor([True, False, False, True])
    part = part_of(whole, chosen)
    for found, wanted in zip(split(part), (graphs()[0], graphs()[3]), strict=True):
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, equal_nan=True)


def batch(energies_eV: list[float], levels: list[int], force_eV_A: float) -> Graph:
    """Return structures of two atoms with such values."""
    count = len(levels)
    return {
        SIZES: torch.full((count,), 2),
        STRUCTURE: torch.arange(count).repeat_interleave(2),
        LEVEL: torch.tensor(levels)[:, None],
        ENERGY: torch.tensor(energies_eV)[:, None],
        FORCES: torch.full((2 * count, 3), force_eV_A),
    }


def loss_at(found: Graph, labels: Graph, weights: tuple[float, ...]) -> float:
    terms = loss_of(Term(1.0), Term(1.0), gaps=True, level_weights=weights)
    value: float = instantiate(terms)(found, labels)["weighted_sum"].item()
    return 2 * value  # nequip divides by the sum of the coefficients


def test_each_level_has_a_mean_of_its_own_in_the_loss():
    """However many structures a level has in a batch; per atom, squared, weighted."""
    wrong = batch([2.0, 4.0, 4.0, 4.0], [0, 1, 1, 1], 0.0)
    labels = batch([0.0] * 4, [0, 1, 1, 1], 0.0)
    assert loss_at(wrong, labels, (1.0, 1.0)) == pytest.approx(1.0 + 4.0)
    assert loss_at(wrong, labels, (1.0, 0.5)) == pytest.approx(1.0 + 2.0)


def test_labels_that_are_missing_count_nothing():
    """Forces of one level only, or of none in a batch: the loss stays a number."""
    wrong = batch([2.0, 4.0], [0, 1], 3.0)
    labels = batch([0.0, 0.0], [0, 1], 0.0)
    labels[FORCES][:2] = torch.nan
    assert loss_at(wrong, labels, (1.0, 1.0)) == pytest.approx(1.0 + 4.0 + 9.0)
    labels[FORCES][:] = torch.nan
    assert loss_at(wrong, labels, (1.0, 1.0)) == pytest.approx(1.0 + 4.0)
