"""Regressions of energies on spectra: what they find, and what they cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from synthzoo.environments.descriptors import soap_settings
from synthzoo.errors import DivergedError, InputError
from synthzoo.regression.environments import Environments
from synthzoo.regression.fitting import NetworkChoice
from synthzoo.regression.gpr import fit_gpr, needed_bytes
from synthzoo.regression.jobs import Job, Split, run_job
from synthzoo.regression.kept import Fitted, keep_fitted, load_local_energies
from synthzoo.regression.memory import check_memory
from synthzoo.regression.network import fit_network
from tests.extras import need

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHOICE = NetworkChoice(
    width=32, visits=20_000, learning_rate=0.003, dropout=0.0, seed=1
)


def made(count: int, *, features: int = 6, seed: int = 0) -> Environments:
    """Return random unit vectors with energies that are smooth in them."""
    generator = np.random.default_rng(seed)
    spectra = generator.uniform(0.1, 1, size=(count, features))
    spectra /= np.linalg.norm(spectra, axis=1, keepdims=True)
    return Environments(
        spectra=spectra.astype(np.float32),
        numbers=np.full(count, 6),
        energies_eV=np.sin(4 * spectra[:, 0]) + spectra[:, 1] * spectra[:, 2],
        groups=np.arange(count) // 10,
    )


def rmse(predicted: NDArray[np.float64], environments: Environments) -> float:
    return float(np.sqrt(np.mean((predicted - environments.energies_eV) ** 2)))


def test_gpr_is_what_other_code_makes_of_the_same_equation():
    """Ridge regression on Nyström's features is the same function."""
    need("sklearn", "local-energies")
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import Ridge

    training, others = made(300), made(50, seed=1)
    (gpr,) = fit_gpr(
        training, training.energies_eV, representatives=40, sigmas_eV=[0.05], zeta=4
    )
    chosen = Nystroem(kernel="poly", gamma=1, degree=4, coef0=0, n_components=40)
    points = training.spectra[:40].astype(float)
    chosen.fit(points)
    ridge = Ridge(alpha=0.05**2, fit_intercept=False)
    ridge.fit(chosen.transform(training.spectra.astype(float)), training.energies_eV)
    expected = ridge.predict(chosen.transform(others.spectra.astype(float)))
    assert gpr.predict(others) == pytest.approx(expected, abs=1e-4)


def test_a_small_sigma_interpolates_and_a_large_one_does_not():
    """With all environments as representatives."""
    few = made(20)
    small, large = fit_gpr(
        few, few.energies_eV, representatives=100, sigmas_eV=[1e-3, 10.0], zeta=4
    )
    assert len(small.points) == 20
    assert rmse(small.predict(few), few) < 0.01
    assert rmse(large.predict(few), few) > 0.1


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    """They bound the memory only."""
    training = made(100)
    arguments = {"representatives": 10, "sigmas_eV": [0.1], "zeta": 2}
    (whole,) = fit_gpr(training, training.energies_eV, **arguments)  # type: ignore[arg-type]
    expected = whole.predict(training)
    monkeypatch.setattr("synthzoo.regression.gpr._kernels.__defaults__", (7,))
    (parts,) = fit_gpr(training, training.energies_eV, **arguments)  # type: ignore[arg-type]
    assert parts.predict(training) == pytest.approx(expected, abs=1e-9)


def test_environments_of_other_elements_teach_nothing():
    """A kernel of carbon with silicon is 0, whatever the spectra are."""
    training = made(30)
    (gpr,) = fit_gpr(
        training, training.energies_eV, representatives=30, sigmas_eV=[0.01], zeta=4
    )
    other = replace(training, numbers=np.full(30, 14))
    assert (gpr.predict(other) == 0).all()


@pytest.mark.parametrize("sides", [("gpr",), ("network",)])
def test_more_environments_teach_more(sides: tuple[str, ...]):
    """And the mean energy is a worse guess than either."""
    training, others = made(1000), made(200, seed=1)
    parts = np.arange(1000), np.arange(1000, 1200)
    both = Environments(
        **{
            name: np.concatenate([getattr(training, name), getattr(others, name)])
            for name in ("spectra", "numbers", "energies_eV", "groups")
        }
    )
    options = {
        "gpr": {"representatives": 100, "sigmas_meV": [10.0], "zeta": 4},
        "network": vars(CHOICE),
    }
    for kind in sides:
        few, many = (
            run_job(
                Job(kind=kind, size=size, fold=0, options=options[kind]),  # type: ignore[arg-type]
                both,
                parts,
            )[0][0]
            for size in (20, 1000)
        )
        assert many.rmse_meV < 0.5 * few.rmse_meV
        assert many.rmse_meV < 50 < 1000 * others.energies_eV.std()


def test_networks_repeat_and_leave_the_random_numbers_alone():
    """Weights come from the seed of the fit, and from nothing else."""
    training = made(64)
    quick = replace(CHOICE, visits=500, dropout=0.2)
    state = torch.random.get_rng_state()
    one, two, other = (
        fit_network(training, training.energies_eV, choice).predict(training)
        for choice in (quick, quick, replace(quick, seed=2))
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.array_equal(one, two)
    assert not np.allclose(one, other)


def test_networks_tell_elements_apart():
    """The same spectra, but silicon has an energy of 1 eV more."""
    carbon = made(200)
    silicon = replace(
        carbon, numbers=np.full(200, 14), energies_eV=carbon.energies_eV + 1
    )
    both = Environments(
        **{
            name: np.concatenate([getattr(carbon, name), getattr(silicon, name)])
            for name in ("spectra", "numbers", "energies_eV", "groups")
        }
    )
    fitted = fit_network(both, both.energies_eV, CHOICE)
    difference = fitted.predict(silicon) - fitted.predict(carbon)
    assert difference.mean() == pytest.approx(1, abs=0.1)


def test_a_diverging_fit_says_so():
    """With what to do."""
    training = made(64)
    wild = replace(training, energies_eV=training.energies_eV * np.nan)
    with pytest.raises(DivergedError, match="smaller rate"):
        fit_network(wild, wild.energies_eV, replace(CHOICE, visits=500))


@pytest.mark.thorough
def test_deep_kernels_learn_and_repeat():
    """A Gaussian process on features that are found for it."""
    need("gpytorch", "local-energies")
    training, others = made(500), made(100, seed=1)
    options = vars(replace(CHOICE, visits=8000))
    job = Job(kind="dkl", size=500, fold=0, options=options)
    parts = np.arange(500), np.arange(500, 600)
    both = Environments(
        **{
            name: np.concatenate([getattr(training, name), getattr(others, name)])
            for name in ("spectra", "numbers", "energies_eV", "groups")
        }
    )
    one, two = (run_job(job, both, parts)[0][0] for _ in range(2))
    assert one.rmse_meV == two.rmse_meV < 500 * others.energies_eV.std()


@pytest.mark.parametrize("kind", ["gpr", "network"])
def test_what_is_kept_is_what_was_fitted(kind: str, tmp_path: Path):
    """The file gives the same energies, and holds no code."""
    need("dscribe", "local-energies")
    soap = soap_settings(["C"])
    training = made(40, features=546)
    fitted = (
        fit_gpr(
            training, training.energies_eV, representatives=9, sigmas_eV=[0.1], zeta=4
        )[0]
        if kind == "gpr"
        else fit_network(training, training.energies_eV, replace(CHOICE, visits=500))
    )
    whole = Fitted(regressor=fitted, offsets_eV={6: -7.0})
    keep_fitted(tmp_path / "kept.safetensors", whole, soap, {"rmse_meV": 1.0})
    loaded = load_local_energies(tmp_path / "kept.safetensors")
    assert loaded.about == {"rmse_meV": 1.0}
    assert loaded.elements == ("C",)
    found = loaded._fitted.predict(training)
    assert found == pytest.approx(whole.predict(training), abs=1e-9)


def test_folds_keep_trajectories_whole():
    """Each is tested once, and never where a part of it was fitted."""
    need("sklearn", "local-energies")
    environments = made(200)
    parts = Split(environments, 5, 0).parts()
    tested = np.concatenate([judged for _, judged in parts])
    assert sorted(tested) == list(range(200))
    for training, judged in parts:
        assert not set(environments.groups[training]) & set(environments.groups[judged])
    with pytest.raises(InputError, match=r"30 folds need as many .* there are 20"):
        Split(environments, 30, 0).parts()


def test_an_element_that_was_not_fitted_is_named():
    """No mean energy of it is known."""
    environments = made(20)
    environments.numbers[15:] = 14
    job = Job(
        kind="gpr",
        size=10,
        fold=0,
        options={"representatives": 5, "sigmas_meV": [1], "zeta": 4},
    )
    with pytest.raises(InputError, match="no atom of Si among 10 environments"):
        run_job(job, environments, (np.arange(15), np.arange(10, 20)))


def test_too_large_a_gpr_is_refused_with_what_fits():
    """Both numbers that are named fit, and one more would not."""
    described, features, size, points = 100_000, 546, 80_000, 50_000
    free = 8_000_000_000
    with pytest.raises(InputError, match=r"needs 8.* GB .* 8\.0 GB are free") as caught:
        check_memory(described, features, size, points, free)
    words = str(caught.value).replace(",", "").replace(".", " ").split()
    fitting = int(words[words.index("be") + 1])
    check_memory(described, features, size, fitting, free)
    with pytest.raises(InputError):
        check_memory(described, features, size, fitting + 1, free)
    fewer = int(words[-1])
    check_memory(described, features, fewer, points, free)
    with pytest.raises(InputError):
        check_memory(described, features, fewer + 1, points, free)


def test_the_memory_of_a_gpr_grows_with_both_numbers():
    """M counts squared."""
    assert needed_bytes(10_000, 546, 4000) > 2.5 * needed_bytes(10_000, 546, 2000)
    assert needed_bytes(20_000, 546, 100) > 1.5 * needed_bytes(10_000, 546, 100)
