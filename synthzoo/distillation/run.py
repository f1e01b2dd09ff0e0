"""From a few labelled structures and a teacher to a potential, in one call."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from synthzoo.data.frames import find_files
from synthzoo.distillation.findings import atom_notes, find
from synthzoo.distillation.plan import Plan, make_plan, recipe_of
from synthzoo.distillation.report import write_report
from synthzoo.distillation.request import Request, UserData, read_data
from synthzoo.distillation.stages import (
    POTENTIAL_FOLDER,
    RECIPE_FILE,
    SQUEEZED_FILE,
    STARTS_FILE,
    STUDENT_FOLDER,
    label_starts,
    stages,
    write_inputs,
)
from synthzoo.errors import InputError
from synthzoo.potentials import Model, teacher_reference
from synthzoo.runs.files import new_file, sole_writer, write_text
from synthzoo.runs.progress import keep_silent
from synthzoo.runs.stages import StageRecord
from synthzoo.training.build import CHECKPOINT_FOLDER

Sources = str | Path | Sequence[str | Path]

RECORD_FILE, PLAN_FILE = "distill.json", "plan.json"


@dataclass(frozen=True, kw_only=True)
class DistillSummary:
    """What a run of `distill` made.

    Attributes
    ----------
    potential
        Checkpoint folder: a model for `load_calculator`.
    student
        Checkpoint that learnt from the teacher alone.
    report
        What was found, for people.
    verdict
        What the potential is worth, in words.
    seconds
        What each stage took; if it was interrupted, its last part.
    """

    potential: Path
    student: Path
    report: Path
    verdict: tuple[str, ...]
    seconds: dict[str, float]


def distill(  # noqa: PLR0913  what a user may say
    data: Sources,
    teacher: Model,
    output: str | Path,
    *,
    minutes: float = 30.0,
    test: Sources = (),
    energy_key: str | None = None,
    forces_key: str | None = None,
    format: str | None = None,
    drop_bad: bool = False,
    compare_direct: bool | None = None,
    seed: int = 0,
    workers: int | None = None,
    tell: Callable[[str], object] | None = None,
) -> DistillSummary:
    """Make a potential of any material from a few labelled structures and a teacher.

    Synthetic structures are made around yours and labelled by the teacher. A small
    network learns them, and is then fine-tuned on your structures. Each stage leaves
    its files in the output folder. If a call was interrupted, the same call continues
    it.

    Parameters
    ----------
    data
        Labelled structures, a few dozen: files in any format that ASE reads, or
        patterns. Energies may be total energies on any scale.
    teacher
        Potential that knows the elements, however roughly: ``chgnet:0.3.0``,
        ``nep:FILE`` and so on, as for `synthzoo.potentials.resolve`.
    output
        Folder to make.
    minutes
        Time that it may take on this machine, about. It decides how many synthetic
        structures are made, and how wide the network is.
    test
        Labelled structures on which the errors are measured; nothing else is done with
        them.
    energy_key, forces_key
        Where the labels are; found among the usual names if not given.
    format
        Of the files, as ASE calls it; guessed for each if not given.
    drop_bad
        Leave out structures in which the checks find errors.
    compare_direct
        Also train a new network on your structures alone, for comparison; if not
        given, where that takes a small part of the time.
    seed
        Of everything that is random.
    workers
        Processes at a time; one for each core if not given.
    tell
        Function that is called with a text: the plan, and which stage begins.

    Raises
    ------
    InputError
        If the data cannot be used, the time is too short, or the folder was made from
        something else.
    TeacherError
        If the teacher cannot be loaded, does not know an element, or fails.
    SynthzooError
        If a stage fails.

    Examples
    --------
    >>> made = distill(  # doctest: +SKIP
    ...     "my-dft.xyz", "chgnet:0.3.0", "my-material"
    ... )
    >>> calculator = synthzoo.load_calculator(made.potential)  # doctest: +SKIP
    """
    request = _request(
        data,
        teacher,
        test=test,
        workers=workers,
        minutes=minutes,
        energy_key=energy_key,
        forces_key=forces_key,
        format=format,
        drop_bad=drop_bad,
        compare_direct=compare_direct,
        seed=seed,
    )
    output, tell = Path(output), tell or keep_silent
    _refuse_others(output)
    _refuse_other_minutes(output, minutes)
    output.parent.mkdir(parents=True, exist_ok=True)
    record = StageRecord(
        output / RECORD_FILE,
        request.manifest(),
        kind="value of",
        is_begun=lambda _: (output / PLAN_FILE).exists(),
    )
    with sole_writer(output), record:
        found = read_data(request)
        plan = _settled_plan(request, found, output, tell)
        for name, work in stages(request, found, plan, output):
            tell(f"{name[0].upper()}{name[1:]}.")
            with record.timed(name):
                work()
        results = find(output, request, found, plan)
        return DistillSummary(
            potential=output / POTENTIAL_FOLDER,
            student=output / STUDENT_FOLDER / CHECKPOINT_FOLDER,
            report=write_report(output, results),
            verdict=results.verdict,
            seconds=record.seconds,
        )


def plan_distillation(  # noqa: PLR0913  what a user may say
    data: Sources,
    teacher: Model,
    *,
    minutes: float = 30.0,
    test: Sources = (),
    energy_key: str | None = None,
    forces_key: str | None = None,
    format: str | None = None,
    drop_bad: bool = False,
    compare_direct: bool | None = None,
    workers: int | None = None,
) -> list[str]:
    """Return what `distill` would do and what that takes, in words; make nothing.

    The teacher labels your structures, so that units and signs are compared, and a few
    are learnt to measure the costs.

    Parameters
    ----------
    data, teacher, minutes, test, energy_key, forces_key, format
        As for `distill`.
    drop_bad, compare_direct, workers
        As for `distill`.

    Raises
    ------
    InputError
        If the data cannot be used, or the time is too short.
    TeacherError
        If the teacher cannot be loaded, does not know an element, or fails.

    Examples
    --------
    >>> print(*plan_distillation("my.xyz", "chgnet:0.3.0"))  # doctest: +SKIP
    """
    request = _request(
        data,
        teacher,
        test=test,
        workers=workers,
        minutes=minutes,
        energy_key=energy_key,
        forces_key=forces_key,
        format=format,
        drop_bad=drop_bad,
        compare_direct=compare_direct,
        seed=0,
    )
    told: list[str] = []
    found = read_data(request)
    with tempfile.TemporaryDirectory() as folder:
        _make_plan(request, found, Path(folder), told.append)
    return told


def _request(
    data: Sources, teacher: Model, *, test: Sources, workers: int | None, **said: Any
) -> Request:
    """Return what is asked for, with the files that are meant."""
    return Request(
        files=find_files(data),
        teacher=teacher_reference(teacher),
        test=find_files(test) if test else [],
        workers=workers or os.cpu_count() or 1,
        **said,
    )


def _settled_plan(
    request: Request, found: UserData, output: Path, tell: Callable[[str], object]
) -> Plan:
    """Return the plan of this folder; make it, with its inputs, if there is none."""
    path = output / PLAN_FILE
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=Plan)
    _clear(output)  # of what a kill has left
    try:
        plan = _make_plan(request, found, output, tell)
    except BaseException:
        _clear(output)
        raise
    recipe = recipe_of(plan, request, found.bulk, STARTS_FILE, SQUEEZED_FILE)
    write_text(output / RECIPE_FILE, yaml.safe_dump(recipe, sort_keys=False))
    with new_file(path) as partial:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(plan)))
    return plan


def _clear(output: Path) -> None:
    """Remove what comes before the plan."""
    for path in output.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != RECORD_FILE:
            path.unlink()


def _make_plan(
    request: Request, found: UserData, folder: Path, tell: Callable[[str], object]
) -> Plan:
    """Compare the labels with the teacher's and return a plan; tell of both."""
    for note in found.notes:
        tell(note)
    write_inputs(folder, found)
    label_starts(request, found, folder)
    for note in atom_notes(folder, found):
        tell(note)
    plan = make_plan(request, found.bulk)
    for line in plan.lines():
        tell(line)
    return plan


def _refuse_others(output: Path) -> None:
    """Refuse a file, and a folder that holds what `distill` has not made."""
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; the output must be a new folder.")
    if (
        output.is_dir()
        and not (output / RECORD_FILE).exists()
        and any(output.iterdir())
    ):
        raise InputError(f"{output} exists and holds other files; name a new folder.")


def _refuse_other_minutes(output: Path, minutes: float) -> None:
    """Refuse to plan again what was planned, and say what to do for a larger set."""
    if not (output / PLAN_FILE).exists():
        return
    planned = json.loads((output / RECORD_FILE).read_text())["recipe"]["minutes"]
    if minutes != planned:
        raise InputError(
            f"{output} was planned for {planned:g} minutes, and its structures and "
            f"network with it: --minutes {planned:g} goes on there or shows its "
            f"result. For {minutes:g} minutes give a new folder; this one stays as it "
            "is."
        )
