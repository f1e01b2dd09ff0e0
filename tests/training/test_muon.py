"""Muon: matrices move along the orthogonal factors of their gradients."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from synthzoo.errors import InputError
from synthzoo.training.recipe import FitRecipe

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from torch.optim import Optimizer

RECIPE = FitRecipe(optimizer="muon", learning_rate=0.01, muon_rate=0.2)
STEPS = 3


def optimizer_of(network: Module, recipe: FitRecipe = RECIPE) -> Optimizer:
    from synthzoo.models.isolation import nequip_session

    with nequip_session():
        from synthzoo.training.module import make_optimizer

        return make_optimizer(network, recipe)


def moves(network: Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Return by how much some steps with random gradients move each weight."""
    import torch

    random = torch.Generator().manual_seed(1)
    before = {name: weight.clone() for name, weight in network.named_parameters()}
    for _ in range(STEPS):
        for weight in network.parameters():
            weight.grad = torch.randn(weight.shape, generator=random)
        optimizer.step()
    return {
        name: (weight - before[name]).detach()
        for name, weight in network.named_parameters()
    }


def test_weights_move_as_with_nequips_muon(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    """Where nequip's computes in single precision, too, both agree."""
    import torch
    from nequip.model import MuonParamGroups
    from nequip.train import MuonWithAuxAdam

    from synthzoo.models.checkpoint import load_model

    ours, _ = load_model(tiny_checkpoint)
    theirs = copy.deepcopy(ours)
    groups = MuonParamGroups(
        theirs,
        muon={"lr": RECIPE.muon_rate},
        adam={"lr": RECIPE.learning_rate, "betas": (0.9, RECIPE.adam_beta2)},
    )
    for group in groups:
        for weight in group["params"]:
            weight.requires_grad = True
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.float)
    got = moves(ours, optimizer_of(ours))
    wanted = moves(theirs, MuonWithAuxAdam(groups))
    for name, move in wanted.items():
        torch.testing.assert_close(got[name], move, rtol=1e-4, atol=1e-5)


def test_an_orthogonal_factor_has_singular_values_of_about_one():
    """Wide or high, and whatever the size of the gradient."""
    import torch

    from synthzoo.training.muon import orthogonal

    for shape in ((5, 12, 7), (5, 7, 12)):
        random = torch.Generator().manual_seed(2)
        gradients = 1e-3 * torch.randn(shape, generator=random)
        values = torch.linalg.svdvals(orthogonal(gradients))
        assert values.min() > 0.5
        assert values.max() < 1.5


def test_a_larger_gradient_moves_a_matrix_no_farther(tiny_checkpoint: Path):
    """Only its direction counts."""
    from synthzoo.models.checkpoint import load_model

    sizes = []
    for scale in (1.0, 1000.0):
        network, _ = load_model(tiny_checkpoint)
        weights = dict(network.named_parameters())
        (name,) = [name for name in weights if "layer1" in name and "mlp.2" in name]
        before = weights[name].detach().clone()
        for number, weight in enumerate(weights.values()):
            weight.grad = scale * (number + 1) * weight.detach().clone()
        optimizer_of(network).step()
        sizes.append(float((weights[name].detach() - before).norm()))
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-4)
    assert sizes[0] > 0


def test_frozen_matrices_stay_as_they_were(tiny_checkpoint: Path):
    """All others move."""
    from synthzoo.models.checkpoint import load_model

    network, _ = load_model(tiny_checkpoint)
    recipe = FitRecipe(optimizer="muon", frozen=("layer0",))
    moved = moves(network, optimizer_of(network, recipe))
    for name, move in moved.items():
        assert bool(np.any(move.numpy())) == ("layer0" not in name), name


def test_a_network_without_matrices_is_refused():
    """The message says what to set instead."""
    import torch

    with pytest.raises(InputError, match="set `optimizer: adam`"):
        optimizer_of(torch.nn.Linear(3, 2))
