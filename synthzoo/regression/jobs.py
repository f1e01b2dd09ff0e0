"""The points of learning curves: fit to so many environments, test on a fold."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase.data import chemical_symbols

from synthzoo.errors import InputError
from synthzoo.regression.fitting import NetworkChoice
from synthzoo.regression.gpr import fit_gpr
from synthzoo.regression.kept import Fitted, offsets_of
from synthzoo.runs.files import hash_values, read_record, write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.regression.environments import Environments
    from synthzoo.regression.kept import Regressor

Kind = Literal["gpr", "network", "dkl"]
MOST_TESTED = 20_000
"""Environments of a fold on which errors are measured, taken at random."""
MEV = 1e3
LEAST_VISITS, VISITS_OF_EACH = 300_000, 30
"""Environments that a network is shown by default, at least, and each of them."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How regressions are made.

    ``representatives``, ``sigmas_meV``: M and sigma of GPR; each with each.
    ``visits``: environments that networks are shown; by default so many times each.
    """

    representatives: tuple[int, ...]
    sigmas_meV: tuple[float, ...]
    zeta: int
    width: int
    visits: int | None
    learning_rate: float
    dropout: float
    seed: int

    def network(self, size: int) -> NetworkChoice:
        """Return how a network is fitted to so many environments."""
        return NetworkChoice(
            width=self.width,
            visits=self.visits or max(LEAST_VISITS, VISITS_OF_EACH * size),
            learning_rate=self.learning_rate,
            dropout=self.dropout,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one fit gave.

    Attributes
    ----------
    regressor
        ``gpr``, ``network`` or ``dkl``.
    size, fold
        Environments that were fitted, and the fold that errors were measured on.
    representatives, sigma_meV
        Of GPR; None for others.
    rmse_meV, mae_meV
        Errors of the energies of the fold's atoms.
    fit_seconds, predict_us
        CPU time of the fit, and of a prediction for each atom in µs, without SOAP.
    """

    regressor: str
    size: int
    fold: int
    representatives: int | None
    sigma_meV: float | None
    rmse_meV: float
    mae_meV: float
    fit_seconds: float
    predict_us: float


@dataclass(frozen=True, kw_only=True)
class Job:
    """One fit, or several that share most of their cost: one for each sigma.

    ``options``: what else decides the result.
    """

    kind: Kind
    size: int
    fold: int
    options: dict[str, Any]

    def file(self, folder: Path, data: str) -> Path:
        """Return where the results are kept.

        ``data``: hash of what decides the environments and the folds.
        """
        key = hash_values(asdict(self) | {"data": data})[:12]
        return folder / f"{self.kind}-{self.size}-{self.fold}-{key}.json"


def make_jobs(
    kinds: Sequence[Kind], sizes: Sequence[int], folds: int, settings: Settings
) -> Iterator[Job]:
    """Yield all fits, small ones first."""
    for size in sorted(sizes):
        for fold in range(folds):
            for kind in kinds:
                if kind != "gpr":
                    options = asdict(settings.network(size))
                    yield Job(kind=kind, size=size, fold=fold, options=options)
                    continue
                for representatives in settings.representatives:
                    options = {
                        "representatives": representatives,
                        "sigmas_meV": list(settings.sigmas_meV),
                        "zeta": settings.zeta,
                    }
                    yield Job(kind=kind, size=size, fold=fold, options=options)


@dataclass(frozen=True)
class Split:
    """Training and test environments of each fold; fewer are a part of more."""

    environments: Environments
    folds: int
    seed: int

    def parts(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Return, for each fold, those to fit, in random order, and those to test."""
        from sklearn.model_selection import GroupKFold

        groups = self.environments.groups
        count = len(np.unique(groups))
        if count < self.folds:
            raise InputError(
                f"{self.folds} folds need as many trajectories (or structures of none) "
                f"at least, but there are {count}."
            )
        generator = np.random.default_rng(self.seed)
        folds = GroupKFold(self.folds, shuffle=True, random_state=self.seed)
        return [
            (
                generator.permutation(training),
                generator.permutation(tested)[:MOST_TESTED],
            )
            for training, tested in folds.split(groups, groups=groups)
        ]


def run_job(
    job: Job,
    environments: Environments,
    parts: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> list[tuple[Result, Fitted]]:
    """Fit and measure; return each result with what was fitted."""
    training, tested = parts
    chosen, judged = environments.take(training[: job.size]), environments.take(tested)
    _check_elements(chosen, judged)
    offsets = offsets_eV(chosen)
    relative = chosen.energies_eV - offsets_of(chosen, offsets)
    started = time.process_time()
    regressors = _fit(job, chosen, relative)
    seconds = time.process_time() - started
    sigmas = job.options.get("sigmas_meV", [None])
    found = []
    for regressor, sigma_meV in zip(regressors, sigmas, strict=True):
        fitted = Fitted(regressor=regressor, offsets_eV=offsets)
        started = time.process_time()
        errors = fitted.predict(judged) - judged.energies_eV
        microseconds = (time.process_time() - started) / len(judged) * 1e6
        result = Result(
            regressor=job.kind,
            size=job.size,
            fold=job.fold,
            representatives=job.options.get("representatives"),
            sigma_meV=sigma_meV,
            rmse_meV=float(np.sqrt(np.mean(errors**2))) * MEV,
            mae_meV=float(np.abs(errors).mean()) * MEV,
            fit_seconds=round(seconds, 2),
            predict_us=round(microseconds, 2),
        )
        found.append((result, fitted))
    return found


def _fit(
    job: Job, environments: Environments, energies_eV: NDArray[np.float64]
) -> Sequence[Regressor]:
    if job.kind == "gpr":
        return fit_gpr(
            environments,
            energies_eV,
            representatives=job.options["representatives"],
            sigmas_eV=[each / MEV for each in job.options["sigmas_meV"]],
            zeta=job.options["zeta"],
        )
    choice = NetworkChoice(**job.options)
    if job.kind == "network":
        from synthzoo.regression.network import fit_network

        return [fit_network(environments, energies_eV, choice)]
    from synthzoo.regression.deep_kernel import fit_deep_kernel

    return [fit_deep_kernel(environments, energies_eV, choice)]


def _check_elements(chosen: Environments, judged: Environments) -> None:
    numbers = set(judged.numbers.tolist()) - set(chosen.numbers.tolist())
    if numbers:
        names = ", ".join(sorted(chemical_symbols[number] for number in numbers))
        raise InputError(
            f"There is no atom of {names} among {len(chosen):,} environments that are "
            "fitted, but there are in the structures to test on: give larger sizes, or "
            "leave such structures out."
        )


def offsets_eV(environments: Environments) -> dict[int, float]:
    """Return the mean energy of the atoms of each element, by atomic number."""
    return {
        int(number): float(
            environments.energies_eV[environments.numbers == number].mean()
        )
        for number in np.unique(environments.numbers)
    }


@dataclass(frozen=True, kw_only=True)
class _Record:
    results: tuple[Result, ...]


def write_results(path: Path, results: Sequence[Result]) -> None:
    """Write the results of a job."""
    record = {"results": [asdict(each) for each in results]}
    write_text(path, json.dumps(record, indent=1) + "\n")


def read_results(path: Path) -> tuple[Result, ...]:
    """Return the results that `write_results` has written."""
    return read_record(path, _Record).results
