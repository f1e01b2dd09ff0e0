"""Fits that torch compiles, or that use kernels: on the CPU in place of a GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.lj import LennardJones

from synthzoo.data.labelled_set import read_labelled
from synthzoo.data.structures import label, write_structures
from synthzoo.errors import InputError
from synthzoo.finetuning.data_check import check_data
from synthzoo.finetuning.fits import FitJob, run_fits
from synthzoo.finetuning.jobs import planned_fit
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.finetuning.replay import NOTHING
from synthzoo.finetuning.run import finetune
from synthzoo.models.nequip_network import NequIP
from synthzoo.training.place import TrainingPlace
from tests.conftest import write_tiny_checkpoint
from tests.toy import finetuning_plan

if TYPE_CHECKING:
    from ase import Atoms


@pytest.fixture
def job(request: pytest.FixtureRequest, tmp_path: Path) -> FitJob:
    """Return a short fit of ten crystals, two to a batch; of so many layers."""
    write_tiny_checkpoint(tmp_path / "start", layers=getattr(request, "param", 1))
    write_structures(tmp_path / "lj.xyz", [crystal(seed) for seed in range(10)])
    recipe = FinetuneRecipe(visits=20, batch_atoms=16, check_share=0.0, threads=1)
    frames, keys = read_labelled([tmp_path / "lj.xyz"])
    plan = finetuning_plan(tmp_path / "start", frames, keys, recipe)
    return planned_fit(plan, NOTHING.mixed)


def crystal(seed: int) -> Atoms:
    """Return rattled diamond with Lennard-Jones labels."""
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.1, seed=seed)
    atoms.calc = LennardJones(sigma=1.4, epsilon=0.5, rc=4.0)
    return label(
        atoms,
        energy_eV=atoms.get_potential_energy(),
        forces_eV_A=atoms.get_forces(),
    )


@pytest.mark.parametrize("function", [finetune, check_data])
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"compile": True}, "Compiling is for GPUs"),
        ({"kernels": "cuequivariance"}, "kernels of cuequivariance are for GPUs"),
    ],
    ids=["compile", "kernels"],
)
def test_what_is_for_gpus_is_refused_on_a_cpu(
    function: Any, asked: Any, said: str, tiny_checkpoint: Path, tmp_path: Path
):
    """Before any data are read: the file is not there."""
    output = (tmp_path / "mine",) if function is finetune else ()
    with pytest.raises(InputError, match=said):
        function(tiny_checkpoint, tmp_path / "no.xyz", *output, device="cpu", **asked)
    assert list(tmp_path.iterdir()) == []


def test_kernels_reach_the_network_that_is_fitted(
    job: FitJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """They get it as the fit begins with it; what they return is fitted."""
    seen: list[tuple[str, torch.nn.Module]] = []

    def with_kernels(_: NequIP, network: torch.nn.Module, kernels: str):
        seen.append((kernels, network))
        return network

    monkeypatch.setattr(NequIP, "with_kernels", with_kernels)
    place = TrainingPlace(device="cpu", kernels="openequivariance")
    (found,) = run_fits([replace(job, place=place)], tmp_path).values()
    ((kernels, network),) = seen
    assert kernels == "openequivariance"
    assert found.keys() == network.state_dict().keys()
    start = job.start.network().state_dict()
    assert any(not found[name].equal(start[name]) for name in start)


def traced(function: Any, **_: Any) -> Any:
    """Stand for `torch.compile`, whose C++ takes minutes: return what it would get."""
    return function


@pytest.mark.parametrize(
    ("compiler", "job"),
    [
        pytest.param(traced, 1, marks=pytest.mark.thorough),
        pytest.param(torch.compile, 2, marks=pytest.mark.long),
    ],
    ids=["traced", "compiled"],
    indirect=["job"],
)
def test_a_compiled_fit_learns_what_a_plain_one_does(
    job: FitJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: Any
):
    """Compiled for the CPU, by the same path as for a GPU; from the same start."""
    given: list[Any] = []

    def compile_once(function: Any, **settings: Any) -> Any:
        given.append(function)
        return compiler(function, **settings)

    monkeypatch.setattr(torch, "compile", compile_once)
    fits: list[dict[str, torch.Tensor]] = []
    for compiled in (False, True):
        place = TrainingPlace(device="cpu", compiled=compiled)
        folder = tmp_path / str(compiled)
        folder.mkdir()
        fits += run_fits([replace(job, place=place)], folder).values()
        assert len(given) == int(compiled)
    start = job.start.network().state_dict()
    plain, found = fits
    assert found.keys() == plain.keys()
    for name in plain:
        moved = (plain[name] - start[name]).numpy()
        np.testing.assert_allclose(
            (found[name] - start[name]).numpy(),
            moved,
            atol=1e-3 * np.abs(moved).max(initial=1e-6),
            err_msg=name,
        )
