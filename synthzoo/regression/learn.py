"""Learning curves of regressions of a teacher's energies of atoms: run and resume."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.data.frames import find_files
from synthzoo.environments.descriptors import soap_for, soap_settings
from synthzoo.environments.sample import Sample, take_sample
from synthzoo.errors import InputError, InterruptedRunError, MissingExtraError
from synthzoo.potentials import (
    Model,
    load_potential,
    model_name,
    teacher_reference,
)
from synthzoo.regression.environments import Environments, describe, keep, kept
from synthzoo.regression.jobs import (
    Job,
    Kind,
    Result,
    Settings,
    Split,
    make_jobs,
    read_results,
    run_job,
    write_results,
)
from synthzoo.regression.kept import KEPT, Fitted, keep_fitted
from synthzoo.regression.memory import check_memory, free_bytes
from synthzoo.regression.report import (
    NAMES,
    Point,
    describe_points,
    draw,
    page,
    summarise,
)
from synthzoo.runs.files import hash_files, hash_values, sole_writer, write_text
from synthzoo.runs.progress import progress_bar
from synthzoo.runs.provenance import installed_versions

if TYPE_CHECKING:
    from numpy.typing import NDArray

RUNS_FOLDER = "runs"
TABLE_FILE = "table.md"
VALUES_FILE = "table.json"
FIGURE_FILE = "learning-curves.png"

PACKAGES, PACKAGES_OF_DKL = ("dscribe", "psutil", "sklearn"), ("gpytorch",)
TEACHER = "teacher"
M = "representatives"

LEAST_SIGMA_MEV = 0.1
"""Below it, rounding decides."""

USUAL_SIZES = (1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000)
USUAL_ENVIRONMENTS = 50_000
ENVIRONMENTS_FOR_EACH = 1.5
"""Described for each that is fitted in the largest fit: a fold is left out, and folds
differ in size."""


@dataclass(frozen=True, kw_only=True)
class LocalEnergiesSummary:
    """What `learn_local_energies` made.

    Attributes
    ----------
    table, values, figure
        The results as Markdown, as JSON and drawn.
    models
        Regressions of the largest size, for `load_local_energies`.
    environments
        Atoms that were described.
    said
        What was left out of the files, if anything.
    points
        The learning curves.
    findings
        What they show, in words.
    """

    table: Path
    values: Path
    figure: Path
    models: tuple[Path, ...]
    environments: int
    said: str
    points: tuple[Point, ...]
    findings: tuple[str, ...]


def learn_local_energies(  # noqa: PLR0913  what a user may say
    teacher: Model,
    sources: Path | str | Sequence[Path | str],
    output: str | Path,
    *,
    regressors: Sequence[Kind] = ("gpr", "network"),
    sizes: Sequence[int] | None = None,
    environments: int | None = None,
    representatives: Sequence[int] = (5000,),
    sigmas_meV: Sequence[float] = (10.0,),
    zeta: int = 4,
    width: int = 800,
    visits: int | None = None,
    learning_rate: float = 1e-3,
    dropout: float = 0.0,
    folds: int = 5,
    tested: int | None = None,
    seed: int = 0,
    format: str | None = None,
) -> LocalEnergiesSummary:
    """Learn a teacher's energies of atoms from SOAP, and draw learning curves.

    After doi 10.1039/d2dd00137c: energies of atoms are the most plentiful label that
    there is, one for each atom. All frames of a trajectory are on one side of a split.
    Each result is a file in the output folder and is never computed again: the same
    call continues an interrupted one, and one with more sizes or regressors adds to
    what is there. The largest fits are kept there, too.

    Parameters
    ----------
    teacher
        What gives the energies of atoms: a teacher such as ``"ace:c_ace.yace"``, or a
        network of the zoo. What `relabel_file` has labelled with it is not computed
        again.
    sources
        Structures: files in any format that ASE reads, or patterns. Frames of one
        trajectory have the same ``group``; otherwise each is its own.
    output
        Folder for results, table and figure; it may exist.
    regressors
        ``"gpr"``, sparse Gaussian process regression with the kernel (x · x')^ζ;
        ``"network"``, three hidden layers; ``"dkl"``, a Gaussian process on features
        of such a network (deep kernel learning).
    sizes
        Numbers of environments to fit. If not given, those of 1000, 2000, 5000 ...
        200,000 for which there are enough.
    environments
        Most that are described by SOAP, from structures taken at random; by default
        half as many again as the largest size.
    representatives
        M of GPR, and others for comparison.
    sigmas_meV
        Regularisation σ of GPR, and others for comparison.
    zeta
        Power ζ of the kernel.
    width
        Features of each hidden layer of a network.
    visits
        Environments that a network is shown, repetitions included; by default 30 times
        each, and at least 300,000.
    learning_rate, dropout
        Of networks.
    folds
        Parts into which trajectories are divided; one after the other is tested on.
    tested
        Number of folds that are tested on; all if not given.
    seed
        Of all that is random.
    format
        Of all files, as ASE calls it; guessed for each if not given.

    Returns
    -------
    summary
        Files and learning curves.

    Raises
    ------
    InputError
        If a file cannot be read, the teacher gives no energies of atoms, there are
        fewer environments or trajectories than asked for, or GPR needs more memory
        than there is.
    MissingExtraError
        If the packages of ``synthzoo[local-energies]`` are not installed.
    InterruptedRunError
        After Ctrl-C; results are kept.

    Examples
    --------
    >>> made = learn_local_energies(  # doctest: +SKIP
    ...     "ace:c_ace.yace", "melts.xyz", "curves", sizes=[1000, 10_000]
    ... )
    >>> print(made.table.read_text())  # doctest: +SKIP
    """
    settings = Settings(
        representatives=tuple(dict.fromkeys(representatives)),
        sigmas_meV=tuple(dict.fromkeys(sigmas_meV)),
        zeta=zeta,
        width=width,
        visits=visits,
        learning_rate=learning_rate,
        dropout=dropout,
        seed=seed,
    )
    check_installed(regressors)
    _check(settings, regressors, _Folds(count=folds, tested=tested or folds))
    teacher_reference(teacher)  # refuses what no later call could name
    files = find_files(sources)
    if environments is None:
        environments = _default_environments(sizes)
    run = _Run(
        teacher=teacher,
        output=Path(output),
        kinds=tuple(dict.fromkeys(regressors)),
        settings=settings,
        description={
            "files_sha256": hash_files(files),
            "teacher": _identity(teacher),
            "environments": environments,
            "seed": seed,
            "format": format,
        },
    )
    (run.output / RUNS_FOLDER).mkdir(parents=True, exist_ok=True)
    with sole_writer(run.output):
        sample = take_sample(files, atoms=environments, seed=seed, format=format)
        return run(sample, sizes, _Folds(count=folds, tested=tested or folds))


def check_installed(regressors: Sequence[str]) -> None:
    """Raise `MissingExtraError` if what regressions need is not installed."""
    needed = [*PACKAGES, *(PACKAGES_OF_DKL if "dkl" in regressors else ())]
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"Regressions need {', '.join(missing)}: pip install "
            "'synthzoo[local-energies]'."
        )


def _check(settings: Settings, regressors: Sequence[str], folds: _Folds) -> None:
    """Refuse what cannot be."""
    unknown = [name for name in regressors if name not in NAMES]
    faults = {
        f"Regressors are {', '.join(NAMES)}, not {', '.join(unknown) or 'none'}.": (
            unknown or not regressors
        ),
        f"sigma must be at least {LEAST_SIGMA_MEV} meV.": (
            min(settings.sigmas_meV, default=0) < LEAST_SIGMA_MEV
        ),
        "M must be at least 1.": min(settings.representatives, default=0) < 1,
        f"Of {folds.count} folds, 2 at least, {folds.tested} cannot be tested on.": (
            folds.count < 2 or not 1 <= folds.tested <= folds.count
        ),
    }
    for message, wrong in faults.items():
        if wrong:
            raise InputError(message)


def _default_environments(sizes: Sequence[int] | None) -> int:
    if not sizes:
        return USUAL_ENVIRONMENTS
    return round(ENVIRONMENTS_FOR_EACH * max(sizes))


def _identity(teacher: Model) -> dict[str, Any]:
    """Return what tells a teacher from others, free of local paths."""
    found = load_potential(teacher).provenance
    return {TEACHER: model_name(teacher)} | found


@dataclass(frozen=True, kw_only=True)
class _Folds:
    """``count``: of all; ``tested``: of those that errors are measured on."""

    count: int
    tested: int


@dataclass(frozen=True, kw_only=True)
class _Run:
    """Everything but the environments.

    ``description``: what decides those.
    """

    teacher: Model
    output: Path
    kinds: tuple[Kind, ...]
    settings: Settings
    description: dict[str, Any]

    def __call__(
        self, sample: Sample, sizes: Sequence[int] | None, folds: _Folds
    ) -> LocalEnergiesSummary:
        self._check_memory(sample, sizes, folds)
        environments = self._environments(sample)
        split = Split(environments, folds.count, self.settings.seed).parts()
        parts = split[: folds.tested]
        chosen = _sizes(sizes, min(len(training) for training, _ in parts))
        about = self.description | {"folds": folds.count, "seed": self.settings.seed}
        jobs = list(make_jobs(self.kinds, chosen, len(parts), self.settings))
        keeper = _Keeper(
            folder=self.output,
            data=hash_values(about),
            largest=max(chosen),
            soap=soap_settings(sample.elements),
            teacher=self.description[TEACHER],
            representatives=self.settings.representatives[0],
        )
        try:
            results = keeper.run(jobs, environments, parts)
        except KeyboardInterrupt as error:
            raise InterruptedRunError(
                "What is finished is kept; run the same command again to go on."
            ) from error
        return self._write(sample, results, keeper.models())

    def _check_memory(
        self, sample: Sample, sizes: Sequence[int] | None, folds: _Folds
    ) -> None:
        if "gpr" not in self.kinds:
            return
        described = int(sample.sizes.sum())
        most = described - described // folds.count
        usual = [size for size in USUAL_SIZES if size <= most]
        check_memory(
            described,
            soap_for(sample.elements).get_number_of_features(),
            max(sizes or usual or [most]),
            max(self.settings.representatives),
            free_bytes(),
        )

    def _environments(self, sample: Sample) -> Environments:
        """Return those that an earlier run has described, or describe them."""
        name = f"environments-{hash_values(self.description)[:8]}.safetensors"
        known = kept(self.output / name, self.description)
        if known is None:
            known = describe(sample, self.teacher)
            keep(self.output / name, known, self.description)
        return known

    def _write(
        self, sample: Sample, results: Sequence[Result], models: Sequence[Path]
    ) -> LocalEnergiesSummary:
        points = summarise(results)
        findings = describe_points(points)
        text = page(points, findings, self.description[TEACHER][TEACHER], sample)
        write_text(self.output / TABLE_FILE, text)
        record = {
            "points": [asdict(point) for point in points],
            "runs": [asdict(result) for result in results],
            "settings": asdict(self.settings),
            "data": self.description,
            "versions": installed_versions(),
        }
        write_text(self.output / VALUES_FILE, json.dumps(record, indent=1) + "\n")
        return LocalEnergiesSummary(
            table=self.output / TABLE_FILE,
            values=self.output / VALUES_FILE,
            figure=draw(self.output / FIGURE_FILE, points),
            models=tuple(models),
            environments=int(sample.sizes.sum()),
            said=sample.left_out(),
            points=tuple(points),
            findings=tuple(findings),
        )


def _sizes(sizes: Sequence[int] | None, most: int) -> list[int]:
    """Return the sizes to fit, of which the smallest training part has ``most``."""
    if sizes is None:
        found = [size for size in USUAL_SIZES if size <= most]
        if found:
            return found
        sizes = [USUAL_SIZES[0]]
    wrong = [size for size in sizes if not 2 <= size <= most]
    if wrong or not sizes:
        raise InputError(
            f"{', '.join(f'{size:,}' for size in wrong) or 'No'} environments cannot "
            f"be fitted: with a fold left out, {most:,} are there. Give sizes from 2 "
            "to that, more structures, or a larger number of environments to describe."
        )
    return sorted(set(sizes))


@dataclass(frozen=True, kw_only=True)
class _Keeper:
    """Runs jobs that are not done, and keeps the largest fits of the first fold."""

    folder: Path
    data: str
    largest: int
    soap: dict[str, Any]
    teacher: dict[str, Any]
    representatives: int

    def run(
        self,
        jobs: Sequence[Job],
        environments: Environments,
        parts: Sequence[tuple[NDArray[Any], NDArray[Any]]],
    ) -> list[Result]:
        """Return the results of all jobs, in order."""
        found: list[Result] = []
        total = sum(job.size for job in jobs)
        with progress_bar(desc="fit", unit="environment", total=total) as bar:
            for job in jobs:
                found += self._results(job, environments, parts[job.fold])
                bar.update(job.size)
        return found

    def _results(
        self,
        job: Job,
        environments: Environments,
        parts: tuple[NDArray[Any], NDArray[Any]],
    ) -> tuple[Result, ...]:
        file = job.file(self.folder / RUNS_FOLDER, self.data)
        if not self._is_done(job, file):
            made = run_job(job, environments, parts)
            if self._keeps(job):
                self._keep(job, *made[0])
            write_results(file, [result for result, _ in made])
        return read_results(file)

    def models(self) -> list[Path]:
        """Return the files of the largest fits."""
        files = [self._model(kind) for kind in KEPT]
        return [file for file in files if file.is_file()]

    def _model(self, kind: str) -> Path:
        return self.folder / f"{kind}-{self.largest}.safetensors"

    def _keeps(self, job: Job) -> bool:
        first = job.options.get(M, self.representatives) == self.representatives
        largest = job.size == self.largest and job.fold == 0
        return job.kind in KEPT and largest and first

    def _is_done(self, job: Job, file: Path) -> bool:
        return file.is_file() and (
            not self._keeps(job) or self._model(job.kind).is_file()
        )

    def _keep(self, job: Job, result: Result, fitted: Fitted) -> None:
        about = self.teacher | {"data": self.data} | asdict(result)
        keep_fitted(self._model(job.kind), fitted, self.soap, about)
