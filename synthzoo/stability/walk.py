"""The steps of one part of a replica, looked at now and then."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.stability.detectors import (
    Detectors,
    Finding,
    Line,
    Look,
    judge_drift,
    judge_order,
    look_at,
)
from synthzoo.stability.integrators import (
    Settings,
    integrator_state,
    make_integrator,
    restore_integrator,
)
from synthzoo.stability.protocol import Conservation, Dynamics, MdRecipe
from synthzoo.stability.state import Recorder, configuration, snapshot, write_failure
from synthzoo.stability.verdict import Drift, Failure

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.stability.protocol import Part
    from synthzoo.stability.state import State


class Walk:
    """The steps of one part; afterwards the state is that at its end.

    ``state``: from which to go on; it is changed.
    ``atoms``: the structure in that state, with its calculator; it is moved.
    """

    def __init__(
        self,
        recipe: MdRecipe,
        settings: Settings,
        part: Part,
        state: State,
        atoms: Atoms,
    ) -> None:
        self._recipe, self._part, self._state = recipe, part, state
        self._atoms = atoms
        self._stage = recipe.moving[part.stage]
        self._step_fs = settings.timestep_fs * part.factor
        self._settings = dataclasses.replace(settings, timestep_fs=self._step_fs)
        self._detectors = Detectors(
            atoms, recipe.limits, state.memory, settings.friction_per_fs
        )
        self._every = (
            recipe.check_steps,
            max(1, round(recipe.sample_fs / self._step_fs)),
            max(1, round(recipe.frame_fs / self._step_fs)),
        )
        self._last_sound: Atoms | None = None
        self._finding: Finding | None = None
        self._step = 0
        self._begun_fs = state.time_fs

    def go(self, folder: Path) -> None:
        """Take all steps with ASE, or those until something goes wrong."""
        with self.watched(folder), np.errstate(all="ignore"):
            if self.sound:
                self._follow()

    @contextmanager
    def watched(self, folder: Path) -> Iterator[None]:
        """Look at the first structure; at the end of the block, bring the state there.

        In the block, the atoms are moved, and `stepped` is called after each step as
        long as the replica is `sound`.
        """
        state, part = self._state, self._part
        self._recorder = Recorder(folder, state.marks)
        try:
            with np.errstate(all="ignore"):  # an overflow is found by the detectors
                self._finding = self._begin()
            yield
            if self.sound and part.ends:
                self._finding = self._judge()
            state.marks = self._recorder.marks()
        finally:
            self._recorder.close()
        state.steps += self._step
        if self._finding is not None:
            self._fail(self._finding, folder)
        if part.aside:
            state.now = state.stage_start if part.ends else configuration(self._atoms)
            return
        state.now = configuration(self._atoms)
        state.time_fs = self._time_fs

    @property
    def sound(self) -> bool:
        """Whether nothing has gone wrong."""
        return self._finding is None

    @property
    def thermostat_K(self) -> float | None:
        """Temperature for the next step; None at constant energy.

        Along a ramp it changes with each check.
        """
        return self._target_K(self._done - self._done % self._recipe.check_steps)

    @property
    def looks_next(self) -> bool:
        """Whether the structure after the next step is looked at."""
        done = self._done + 1
        last = self._step + 1 == self._part.steps
        return last or any(done % count == 0 for count in self._every)

    def stepped(self) -> None:
        """Look at the structure after a step if it is time for anything."""
        self._step += 1
        self._finding = self._inspect(
            *(self._done % count == 0 for count in self._every)
        )

    @property
    def _done(self) -> int:
        """Steps of this stage."""
        return self._part.begin + self._step

    @property
    def _time_fs(self) -> float:
        return self._begun_fs + self._step * self._step_fs

    def _target_K(self, done: int) -> float | None:
        if isinstance(self._stage, Conservation):
            return None
        return self._stage.target_K(done / self._part.total)

    @property
    def _ensemble(self) -> str:
        return self._stage.ensemble if isinstance(self._stage, Dynamics) else "nve"

    def _look(self) -> Look:
        target_K = self._target_K(self._done)
        return look_at(self._atoms, time_fs=self._time_fs, target_K=target_K)

    def _begin(self) -> Finding | None:
        """Compute the first structure; remember it if a stage or the run begins."""
        state, part = self._state, self._part
        try:
            look = self._look()
        except Exception as error:  # noqa: BLE001  calculators raise what they like
            return self._given_up(error)
        self._last_sound = snapshot(look, self._stage.name)
        if part.begin > 0:
            return None
        state.line, state.integrator, state.stage_start = Line(), {}, state.now
        if state.steps == 0:
            self._detectors.begin(look)
            self._recorder.sample(look, part.stage)
            self._recorder.frame(self._last_sound)
        self._detectors.begin_stage(look)
        return None

    def _follow(self) -> None:
        """Take the steps."""
        rng = np.random.default_rng()
        rng.bit_generator.state = self._state.rng
        integrator = make_integrator(
            self._atoms, self._stage, self._settings, rng, self.thermostat_K
        )
        restore_integrator(integrator, self._state.integrator)
        self._take_steps(integrator)
        self._state.integrator = integrator_state(integrator)
        self._state.rng = rng.bit_generator.state

    def _take_steps(self, integrator: Any) -> None:
        heated = self._ensemble == "nvt"
        run = integrator.irun(self._part.steps)
        error = _advance(run)  # computes the structure at the start
        for _ in range(self._part.steps):
            if heated and self._done % self._recipe.check_steps == 0:
                integrator.set_temperature(temperature_K=self.thermostat_K)
            error = error or _advance(run)
            if error is not None:
                self._step += 1
                self._finding = self._given_up(error)
                return
            self.stepped()
            if not self.sound:
                return

    def _inspect(self, check: bool, sample: bool, frame: bool) -> Finding | None:  # noqa: FBT001  in the order of `_every`
        """Look at the structure if it is time for anything, and at the end."""
        last = self._step == self._part.steps
        check, frame = check or last, frame or (last and self._part.ends)
        if not (check or sample or frame):
            return None
        look = self._look()
        if check:
            finding = self._detectors.check(look, ensemble=self._ensemble)
            if finding is not None:
                return finding
            self._last_sound = snapshot(look, self._stage.name)
        if sample:
            energy_meV = 1000 * look.total_eV / len(self._atoms)
            self._state.line.add(self._done * self._step_fs / 1000, energy_meV)
        if sample and not self._part.aside:
            self._recorder.sample(look, self._part.stage)
        if frame and not self._part.aside:
            self._recorder.frame(snapshot(look, self._stage.name))
        return None

    def _given_up(self, error: Exception) -> Finding:
        """Return why a calculator raised an error, if the structure tells."""
        finding = self._detectors.explain(self._atoms, self._ensemble)
        if finding is not None:
            return finding
        return Finding("calculator", f"{type(error).__name__}: {error}")

    def _judge(self) -> Finding | None:
        """Return what the energies of a whole stage show."""
        if self._ensemble != "nve":
            return None
        state, stage, limits = self._state, self._stage, self._recipe.limits
        drift = Drift(
            stage=stage.name,
            timestep_fs=self._step_fs,
            duration_fs=self._part.total * self._step_fs,
            drift_meV_per_atom_ps=state.line.slope,
            fluctuation_meV_per_atom=state.line.deviation,
        )
        state.drifts = (*state.drifts, drift)
        if self._part.aside:
            return None
        same = [drift for drift in state.drifts if drift.stage == stage.name]
        return judge_order(same, limits) or judge_drift(state.line, limits)

    def _fail(self, finding: Finding, folder: Path) -> None:
        """Keep what was found, and the structures before and after it."""
        time_fs = self._time_fs if finding.since_fs is None else finding.since_fs
        earlier = round((self._time_fs - time_fs) / self._step_fs)
        self._state.failure = Failure(
            kind=finding.kind,
            stage=self._stage.name,
            time_fs=time_fs,
            step=self._state.steps - earlier,
            detail=finding.detail,
            atoms=finding.atoms,
        )
        try:
            after = snapshot(self._look(), self._stage.name)
        except Exception:  # noqa: BLE001  calculators raise what they like
            after = self._atoms.copy()
            after.set_constraint()
            after.info.update(time_fs=self._time_fs, stage=self._stage.name)
        write_failure(folder, self._last_sound, after)


def _advance(run: Iterator[Any]) -> Exception | None:
    """Let ASE's dynamics take a step; return the error that it ends with."""
    try:
        next(run)
    except Exception as error:  # noqa: BLE001  calculators raise what they like
        return error
    return None
