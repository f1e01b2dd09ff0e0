"""The demo: what the zoo's carbon potential does in minutes, without a network."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.md.velocitydistribution import (
    Stationary,
    force_temperature,
    thermalize_momenta,
)
from ase.md.verlet import VelocityVerlet

from synthzoo.data import unconstrained
from synthzoo.data.samples import load_sample
from synthzoo.data.structures import group_of, kind_of, label, write_structures
from synthzoo.demo.summary import (
    CHECK_FOLDER,
    CURVE_FILE,
    KINDS,
    MD_CELLS,
    PROTOCOL,
    RELAXED_FILE,
    RESULTS_FILE,
    SAMPLE,
    START_K,
    STEPS_PER_FRAME,
    TEST_FILE,
    TIMESTEP_FS,
    TRAINING_FILE,
    TRAJECTORY_FILE,
    TUNED_FOLDER,
    DemoCheck,
    DemoSummary,
    Dynamics,
    TunedSample,
)
from synthzoo.errors import InputError
from synthzoo.evaluation.crystals import (
    ELEMENT,
    Relaxation,
    diamond_curve,
    relax_crystals,
    volumes_around,
)
from synthzoo.evaluation.errors import GroupErrors
from synthzoo.models.checkpoint import Checkpoint, as_checkpoint
from synthzoo.potentials import Model, find_checkpoint
from synthzoo.runs.files import new_output_folder, refuse_existing
from synthzoo.runs.progress import progress_bar
from synthzoo.runs.provenance import installed_versions

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.finetuning.recipe import FinetuneRecipe
    from synthzoo.models.config import CheckpointConfig
    from synthzoo.zoo.card_records import ReferenceValues


def check_model(
    checkpoint: Checkpoint, atoms: Atoms, folder: Path, *, duration_ps: float, seed: int
) -> DemoCheck:
    """Run a short protocol, with its report in a folder of its own."""
    from synthzoo.stability.check import find_protocol, run_md
    from synthzoo.stability.protocol import planned_fs, rescaled
    from synthzoo.stability.verdict import verdict_lines
    from synthzoo.zoo.load import load_calculator

    start = atoms.copy()
    start.set_momenta(np.zeros((len(start), 3)))
    recipe = find_protocol(PROTOCOL)
    factor = 1000 * duration_ps / planned_fs(recipe)
    verdict = run_md(
        load_calculator(checkpoint, device="cpu"),
        start,
        folder / CHECK_FOLDER,
        protocol=rescaled(recipe, duration=factor, hottest_K=None),
        seed=seed,
    )
    _, *lines = verdict_lines(verdict)
    return DemoCheck(
        protocol=PROTOCOL, passed=verdict.passed, lines=tuple(map(str.strip, lines))
    )


def tune_sample(
    checkpoint: Checkpoint,
    folder: Path,
    *,
    structures: int,
    seed: int,
    recipe: FinetuneRecipe | None = None,
) -> TunedSample:
    """Fine-tune a checkpoint on a few structures of the sample, test it on the others.

    ``folder``: where the two sets and the tuned checkpoint are written.
    ``recipe``: how; if not given, by the command's own defaults, but without the trials
    that say whether longer fits are better: they would take as long as all the rest.
    """
    from synthzoo.finetuning.recipe import FinetuneRecipe
    from synthzoo.finetuning.run import finetune

    frames = [atoms for atoms in load_sample(SAMPLE) if kind_of(atoms) in KINDS]
    training, test = split_sample(frames, structures, seed)
    write_structures(folder / TRAINING_FILE, training)
    write_structures(folder / TEST_FILE, test)
    summary = finetune(
        checkpoint,
        folder / TRAINING_FILE,
        folder / TUNED_FOLDER,
        recipe=recipe or FinetuneRecipe(most_visits=1),
        test=folder / TEST_FILE,
    )
    metrics = json.loads((summary.output / "metrics.json").read_text(encoding="utf-8"))
    (judged,) = metrics["unseen"]
    before, after = (
        msgspec.convert(judged[side], tuple[GroupErrors, ...])
        for side in ("before", "after")
    )
    return TunedSample(
        sample=SAMPLE,
        training_structures=summary.training_structures,
        test_structures=after[0].structures,
        before=before,
        after=after,
        verdict=summary.verdict,
        seconds=summary.seconds,
    )


def split_sample(
    frames: list[Atoms], count: int, seed: int
) -> tuple[list[Atoms], list[Atoms]]:
    """Return one frame of each of some groups, and all frames of the other groups."""
    rng = np.random.default_rng(seed)
    groups: dict[str, list[Atoms]] = {}
    for atoms in frames:
        groups.setdefault(group_of(atoms), []).append(atoms)
    names = sorted(groups)
    rng.shuffle(names)
    drawn = [groups[name][rng.integers(len(groups[name]))] for name in names[:count]]
    return drawn, [atoms for name in names[count:] for atoms in groups[name]]


def run_demo(
    output: str | Path,
    *,
    model: Model = "carbon",
    duration_ps: float = 0.5,
    tune_on: int = 25,
    check_ps: float = 0.5,
    seed: int = 1,
) -> DemoSummary:
    """Relax diamond and graphene, run molecular dynamics, fine-tune, and report.

    Parameters
    ----------
    output
        Folder to make.
    model
        Checkpoint of a potential of carbon, as for `synthzoo.potentials.resolve`.
    duration_ps
        Length of the molecular dynamics.
    tune_on
        Number of structures of the sample ``carbon-pbe`` to fine-tune on; 0 leaves
        that out.
    check_ps
        Length of the dynamics in the stability check at the end.
    seed
        Seed of the initial displacements and velocities, and of the choice of those
        structures.

    Raises
    ------
    InputError
        If the folder exists and is not empty, or the model is no potential of carbon.
    SynthzooError
        If the model cannot be loaded.

    Examples
    --------
    >>> summary = run_demo("synthzoo-demo")  # doctest: +SKIP
    >>> print(summary.report.read_text())  # doctest: +SKIP
    """
    from synthzoo.demo.report import write_demo_figure, write_demo_report
    from synthzoo.zoo.load import load_calculator
    from synthzoo.zoo.registry import card_of

    started = time.monotonic()
    output = Path(output)
    refuse_existing(output)
    checkpoint = find_checkpoint(model, needed_for="demo")
    config = checkpoint.config
    _check_model(str(checkpoint), config)
    calculator = load_calculator(checkpoint, device="cpu")
    card = card_of(config)
    reference = card.reference_values if card else None
    with _one_thread(), new_output_folder(output) as folder:
        rng = np.random.default_rng(seed)
        relaxed = relax_crystals(calculator, rng)
        diamond, graphene = (relaxed[name][0] for name in ("diamond", "graphene"))
        curve, points = diamond_curve(calculator, _volumes(diamond, reference))
        for name, atoms in (
            (RELAXED_FILE, [found for _, found in relaxed.values()]),
            (CURVE_FILE, points),
        ):
            write_structures(folder / name, map(_labelled, atoms))
        start = bulk(ELEMENT, "diamond", a=diamond.a_A, cubic=True).repeat(MD_CELLS)
        start.calc = calculator
        thermalize_momenta(start, START_K, rng=rng)
        dynamics = _dynamics(start, duration_ps, folder)
        tuned = (
            tune_sample(checkpoint, folder, structures=tune_on, seed=seed)
            if tune_on
            else None
        )
        last = as_checkpoint(folder / TUNED_FOLDER) if tune_on else checkpoint
        summary = DemoSummary(
            output=output,
            model=str(checkpoint),
            weights_sha256=config.weights_sha256,
            seed=seed,
            versions=installed_versions(),
            diamond=diamond,
            graphene=graphene,
            curve=curve,
            dynamics=dynamics,
            reference=reference,
            failures=tuple(known.summary for known in card.known_failures)
            if card
            else (),
            tuned=tuned,
            check=check_model(last, start, folder, duration_ps=check_ps, seed=seed),
            seconds=time.monotonic() - started,
        )
        _write_results(folder / RESULTS_FILE, summary)
        write_demo_figure(folder, summary)
        write_demo_report(folder, summary)
    return summary


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread: cells this small gain nothing from more.

    On a machine that is busy otherwise, more threads wait for each other for minutes.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _check_model(model: str, config: CheckpointConfig) -> None:
    if ELEMENT not in config.elements:
        raise InputError(
            f"The demo needs a potential of carbon; {model} knows "
            f"{', '.join(config.elements)}."
        )
    if config.kind != "potential":
        raise InputError(
            f"The demo needs a potential; {model} is only a starting point for "
            "fine-tuning."
        )


def _volumes(
    diamond: Relaxation, reference: ReferenceValues | None
) -> tuple[float, ...]:
    """Return the teacher's volumes, or some around the relaxed one."""
    known = reference.crystals.get("diamond") if reference else None
    if known and known.volumes_A3_per_atom:
        return known.volumes_A3_per_atom
    return volumes_around(diamond.a_A)


def _dynamics(atoms: Atoms, duration_ps: float, folder: Path) -> Dynamics:
    """Run at constant energy from the directions of the momenta that the atoms have."""
    steps = max(1, round(1000 * duration_ps / TIMESTEP_FS))
    Stationary(atoms)
    force_temperature(atoms, START_K)
    integrator = VelocityVerlet(atoms, TIMESTEP_FS * units.fs)
    states = progress_bar(
        integrator.irun(steps), desc="demo", unit="step", total=steps + 1
    )
    temperatures, energies, frames = [], [], []
    try:
        for step, _ in enumerate(states):
            temperatures.append(atoms.get_temperature())
            total_eV = unconstrained.energy_eV(atoms) + atoms.get_kinetic_energy()
            energies.append(1000 * total_eV / len(atoms))
            if step % STEPS_PER_FRAME == 0:
                frames.append(_labelled(atoms, time_ps=step * TIMESTEP_FS / 1000))
    except InputError as error:
        raise InputError(
            f"This model does not hold diamond together: it collapsed in the dynamics "
            f"({error})"
        ) from error
    write_structures(folder / TRAJECTORY_FILE, frames)
    times = np.arange(steps + 1) * TIMESTEP_FS / 1000
    changes = np.array(energies) - energies[0]
    return Dynamics(
        atoms=len(atoms),
        timestep_fs=TIMESTEP_FS,
        times_ps=tuple(times.tolist()),
        temperatures_K=tuple(map(float, temperatures)),
        energies_meV_per_atom=tuple(changes.tolist()),
        drift_meV_per_atom=float(np.polyfit(times, changes, 1)[0] * times[-1]),
    )


def _labelled(atoms: Atoms, **info: Any) -> Atoms:
    """Return a copy that keeps the results, for writing."""
    copy = label(
        atoms,
        energy_eV=unconstrained.energy_eV(atoms),
        forces_eV_A=unconstrained.forces_eV_A(atoms),
    )
    copy.info.update(info)
    return copy


def _write_results(path: Path, summary: DemoSummary) -> None:
    values = dataclasses.asdict(summary)
    del values["output"]
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
