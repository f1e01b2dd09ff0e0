"""A run of one or several models: what is done when, and what is in which folder."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.data.structures import content_hash
from synthzoo.errors import InputError
from synthzoo.potentials import unique
from synthzoo.recipes.loading import recipe_hash, recipe_values
from synthzoo.runs.child import Lost
from synthzoo.runs.files import remove_partial
from synthzoo.runs.jobs import call_all
from synthzoo.runs.provenance import installed_versions
from synthzoo.runs.resumable import open_run, refuse_finished
from synthzoo.stability.crystals import check_model
from synthzoo.stability.engines import Engine, engine_version
from synthzoo.stability.fixed import fixed_atoms
from synthzoo.stability.replica import ReplicaJob
from synthzoo.stability.report import write_report
from synthzoo.stability.results import (
    SCANS_FILE,
    read_scans,
    read_verdicts,
    replica_result,
    write_scans,
    write_verdicts,
)
from synthzoo.stability.scans import scan_model
from synthzoo.stability.start import Start, prepare
from synthzoo.stability.state import STATE_FILE
from synthzoo.stability.verdict import Failure, Scan, Verdict
from synthzoo.stability.workers import grouped, run_replicas

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ase import Atoms

    from synthzoo.models.place import Place
    from synthzoo.potentials import Model
    from synthzoo.stability.crystals import CrystalCheck
    from synthzoo.stability.integrators import Settings
    from synthzoo.stability.protocol import MdRecipe

_LOG = logging.getLogger(__name__)

RESULT_FOLDER = "made"
REPLICA_FOLDER = "replica-{}"
RESULTS = (f"{RESULT_FOLDER}/*/{SCANS_FILE}",)
"""In the working folder of a run: what is worth going on from."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """All that decides the result of a run.

    ``models``: what is put to the test.
    ``names``: what they are called; no two alike.
    ``relaxed``: whether the first model relaxes the structures.
    ``crystals``: whether to look at the crystals of the elements, too.
    """

    models: tuple[Model, ...]
    names: tuple[str, ...]
    recipe: MdRecipe
    settings: Settings
    start: Start
    seed: int
    relaxed: bool
    place: Place
    crystals: bool = False
    engine: Engine = "ase"

    @property
    def folders(self) -> tuple[str, ...]:
        """Folder names for the models: of paths and references, the last part."""
        return unique([_folder_name(name) for name in self.names])

    def run(self, executor: Executor, output: Path) -> tuple[Verdict, ...]:
        """Run or resume everything, then move the result to the output."""
        refuse_finished(output)  # before anything slow; `open_run` looks again
        starts = self._prepare(executor)
        for told in dict.fromkeys(note for start in starts for note in start.notes):
            _LOG.warning(told)
        with open_run(output, self._manifest(starts), results=RESULTS) as run:
            made = run.folder.absolute() / RESULT_FOLDER  # workers may be elsewhere
            if run.summary is None or not (made.exists() or output.exists()):
                self._make(executor, made, starts)
                run.complete({})
            if made.exists():
                for folder in (made, *filter(Path.is_dir, made.rglob("*"))):
                    remove_partial(folder)
                    (folder / STATE_FILE).unlink(missing_ok=True)
                made.replace(output)
            run.close()
        return read_verdicts(output)

    def _make(self, executor: Executor, made: Path, starts: Sequence[Start]) -> None:
        """Run what is not done yet; write verdicts and report."""
        scans = [
            self._scans(executor, made, number, start)
            for number, start in enumerate(starts)
        ]
        jobs = [self._jobs(made, number, start) for number, start in enumerate(starts)]
        groups = [group for some in jobs for group in grouped(some)]
        run_replicas(groups, made, executor)
        verdicts = [
            self._verdict(number, starts[number], scans[number], jobs[number])
            for number in range(len(self.models))
        ]
        write_verdicts(made, verdicts)
        write_report(made, verdicts, self._crystals(executor))

    def _prepare(self, executor: Executor) -> list[Start]:
        """Look at the starting structures with each model, the first alone."""
        if self.place.compiled:  # what is said in a child is not heard
            _LOG.warning(
                "A network that was not compiled for its GPU before is compiled now, "
                "which takes minutes."
            )
        first, *others = self.models
        look = partial(prepare, recipe=self.recipe, place=self.place)
        call = partial(look, first, self.start, relaxed=self.relaxed)
        (found,) = call_all([call], executor)
        starts = [_sound(self.names[0], found)]
        same = dataclasses.replace(self.start, structures=starts[0].structures)
        calls = [partial(look, model, same, relaxed=False) for model in others]
        for name, found in zip(self.names[1:], call_all(calls, executor), strict=True):
            starts.append(_sound(name, found))
        return starts

    def _manifest(self, starts: Sequence[Start]) -> dict[str, Any]:
        fixed = [fixed_atoms(atoms).tolist() for atoms in self.start.structures]
        return ({"fixed": fixed} if any(fixed) else {}) | {
            "models": dict(
                zip(self.names, [start.provenance for start in starts], strict=True)
            ),
            "recipe": recipe_values(self.recipe),
            "settings": dataclasses.asdict(self.settings),
            "structures": [content_hash(atoms) for atoms in self.start.structures],
            "relaxed": self.relaxed,
            "seed": self.seed,
            "engine": self.engine,
        }

    def _scans(
        self, executor: Executor, made: Path, number: int, start: Start
    ) -> tuple[Scan, ...]:
        folder = made / self.folders[number]
        folder.mkdir(parents=True, exist_ok=True)
        scans = read_scans(folder)
        if scans is None:
            model, atoms = self.models[number], start.structures[0]
            call = partial(scan_model, model, atoms, self.recipe, self.place)
            (found,) = call_all([call], executor)
            scans = (_lost_scan(atoms, found),) if isinstance(found, Lost) else found
            write_scans(folder, scans)
        return scans

    def _jobs(self, made: Path, number: int, start: Start) -> list[ReplicaJob]:
        folder = made / self.folders[number]
        count = self.recipe.replicas if self.recipe.moving else 0
        jobs = [
            ReplicaJob(
                model=self.models[number],
                atoms=start.structures[replica % len(start.structures)],
                recipe=self.recipe,
                settings=self.settings,
                seed=self.seed + replica,
                folder=folder / REPLICA_FOLDER.format(replica),
                place=self.place,
                engine=self.engine,
            )
            for replica in range(count)
        ]
        for job in jobs:
            job.folder.mkdir(exist_ok=True)
        return jobs

    def _crystals(self, executor: Executor) -> dict[str, list[CrystalCheck]]:
        """Return what was found about known crystals, of models that lived so long."""
        if not self.crystals:
            return {}
        elements = sorted({s for atoms in self.start.structures for s in atoms.symbols})
        calls = [
            partial(check_model, model, elements, place=self.place)
            for model in self.models
        ]
        return {
            name: found
            for name, found in zip(self.names, call_all(calls, executor), strict=True)
            if not isinstance(found, Lost)
        }

    def _verdict(
        self,
        number: int,
        start: Start,
        scans: tuple[Scan, ...],
        jobs: Sequence[ReplicaJob],
    ) -> Verdict:
        replicas = tuple(
            replica_result(
                job,
                model=self.names[number],
                replica=replica,
                start=replica % len(start.structures),
            )
            for replica, job in enumerate(jobs)
        )
        sound = all(scan.failure is None for scan in scans)
        return Verdict(
            model=self.names[number],
            protocol=self.recipe.name,
            formula=start.structures[0].get_chemical_formula(),
            passed=sound and all(replica.survived for replica in replicas),
            scans=scans,
            replicas=replicas,
            notes=start.notes,
            provenance=self._provenance(start),
        )

    def _provenance(self, start: Start) -> dict[str, object]:
        return {
            "model": start.provenance,
            "versions": installed_versions(),
            "engine": engine_version(self.engine),
            "recipe_sha256": recipe_hash(self.recipe),
            "recipe": recipe_values(self.recipe),
            "settings": dataclasses.asdict(self.settings),
            "structures": [content_hash(atoms) for atoms in start.structures],
            "seed": self.seed,
        }


def _sound(name: str, found: Start | Lost) -> Start:
    if isinstance(found, Lost):
        raise InputError(f"{name} {found.reason} on the structure at the start.")
    return found


def _lost_scan(atoms: Atoms, lost: Lost) -> Scan:
    failure = Failure(
        kind="crash",
        stage="scans",
        time_fs=0.0,
        step=0,
        detail=f"the calculator {lost.reason}",
    )
    return Scan(
        kind="squeeze", name=str(atoms.symbols), x=(), energies_eV=(), failure=failure
    )


def _folder_name(model: str) -> str:
    last = model.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.@-]+", "-", last).strip("-") or "model"
