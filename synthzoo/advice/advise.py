"""Advice about a user's set: which model, what to expect of it, and what to do next."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.advice.adviser import FITS_FOLDER, Adviser
from synthzoo.advice.data import read_data
from synthzoo.advice.findings import Found
from synthzoo.advice.gap import refuse_without_gap_fit
from synthzoo.advice.invariants import NEEDS_ACE
from synthzoo.advice.label_noise import label_noise
from synthzoo.advice.page import write_page
from synthzoo.advice.parts import PARTS_FOLDER, write_parts
from synthzoo.advice.request import FIT_ATOMS, WITH_GAP, AdviceRequest, Also
from synthzoo.advice.starts import ShortFit, visits_of
from synthzoo.advice.unknown import (
    refuse_other_elements,
    unknown_to_data,
    unknown_to_start,
)
from synthzoo.advice.verdict import ENERGIES, FORCES, choose_model, outlook_of
from synthzoo.data.frames import find_files, read_frames
from synthzoo.reports.document import HTML_FILE
from synthzoo.runs.files import write_text
from synthzoo.runs.progress import keep_silent
from synthzoo.runs.provenance import installed_versions
from synthzoo.runs.resumable import open_run, refuse_finished

if TYPE_CHECKING:
    from synthzoo.advice.data import UserData
    from synthzoo.data.frames import FrameSet
    from synthzoo.potentials import Model

PAGE_FOLDER = "page"
VALUES_FILE = "advice.json"


@dataclass(frozen=True, kw_only=True)
class AdviceSummary:
    """What `advise` says.

    Attributes
    ----------
    output
        Folder with the page, its numbers, and the parts of the data.
    page
        The advice for people, as one HTML file.
    use, expect, next
        The advice in three sentences: which model, how good it will be, and what to do.
    best
        Model with the smallest error of forces.
    enough
        Simplest model whose errors are not clearly larger.
    force_rmse_eV_A, energy_rmse_meV_per_atom
        Errors of the latter on structures that were left out of its fits.
    left_out
        Models that were not tried, and why.
    seconds
        Wall time of this call.
    """

    output: Path
    page: Path
    use: str
    expect: str
    next: str
    best: str
    enough: str
    force_rmse_eV_A: float
    energy_rmse_meV_per_atom: float
    left_out: tuple[str, ...]
    seconds: float


def advise(  # noqa: PLR0913  what a user may say
    data: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    models: Sequence[Model] = (),
    simulate: str | Path | Sequence[str | Path] = (),
    starts: int = 1,
    also: Sequence[Also] = (),
    goal_eV_A: float | None = None,
    fit_atoms: int = FIT_ATOMS,
    energy_key: str | None = None,
    forces_key: str | None = None,
    format: str | None = None,
    drop_bad: bool = False,
    seed: int = 0,
    workers: int | None = None,
    tell: Callable[[str], object] | None = None,
) -> AdviceSummary:
    """Say which model suits labelled structures, and whether more would help.

    Models from constants to fine-tuned networks are fitted to parts of the data and
    tested on what was left out, with few structures and with many. The page compares
    their errors, draws learning curves, says which environments of atoms are unknown,
    and ends in advice of three sentences, each with its evidence. If a call was
    interrupted, the same call continues it.

    Parameters
    ----------
    data
        Labelled structures: files in any format that ASE reads, or patterns.
    output
        Folder to make, for the page and all numbers.
    models
        Networks to fine-tune. If not given, those of the zoo that know the elements,
        the ones whose forces are best before any fit.
    simulate
        Structures that shall be simulated, without labels. The page tells how many of
        their atoms are unlike all in the data.
    starts
        How many networks of the zoo are fine-tuned.
    also
        Further models that take much longer: ``direct``, a new network of the shape of
        the first start; ``gap``, a Gaussian approximation potential with SOAP.
    goal_eV_A
        Error of forces that is wanted. The page tells how many structures it takes.
    fit_atoms
        Atoms that a fit of a network sees in all, at most; 0 for as many as `finetune`
        shows it. The larger, the longer it takes, and the better the networks are.
    energy_key, forces_key
        Where the labels are; found among the usual names if not given.
    format
        Of all files, as ASE calls it; guessed for each if not given.
    drop_bad
        Leave out structures in which the checks find errors.
    seed
        Of the parts, and of the fits.
    workers
        Fits of networks that run at a time; one for each core if not given.
    tell
        Function that is called with a text: what is about to be done.

    Raises
    ------
    InputError
        If the output exists, the data cannot be used, there are too few structures, or
        a model does not know their elements.
    MissingExtraError
        If a GAP is asked for and gap_fit is not installed.
    SynthzooError
        If a model cannot be loaded, or a fit diverges.

    Examples
    --------
    >>> advice = advise("my-dft.xyz", "advice")  # doctest: +SKIP
    >>> print(advice.use)  # doctest: +SKIP
    """
    started = time.monotonic()
    output = Path(output)
    refuse_finished(output)
    if WITH_GAP in also:
        refuse_without_gap_fit()
    request = AdviceRequest(
        files=find_files(data),
        models=list(models),
        wanted=find_files(simulate) if simulate else [],
        starts=starts,
        also=tuple(also),
        goal_eV_A=goal_eV_A,
        most_atoms=fit_atoms or None,
        energy_key=energy_key,
        forces_key=forces_key,
        format=format,
        drop_bad=drop_bad,
        seed=seed,
        workers=workers or os.cpu_count() or 1,
    )
    manifest = request.manifest()
    with open_run(output, manifest, results=("*.npz", f"{FITS_FOLDER}/*/*")) as run:
        made = run.folder / PAGE_FOLDER
        found = run.summary
        if found is None or not (made.exists() or output.exists()):
            told = _write(run.folder, request, manifest, tell or keep_silent)
            found = run.complete(told)
        if made.exists():
            made.replace(output)
        run.close()
    found["left_out"] = tuple(found["left_out"])
    return AdviceSummary(
        output=output,
        page=output / HTML_FILE,
        seconds=round(time.monotonic() - started, 1),
        **found,
    )


def _write(
    run: Path,
    request: AdviceRequest,
    manifest: dict[str, Any],
    tell: Callable[[str], object],
) -> dict[str, Any]:
    """Find out everything, write page, numbers and parts; return the summary."""
    data = read_data(
        request.files,
        energy_key=request.energy_key,
        forces_key=request.forces_key,
        format=request.format,
        drop_bad=request.drop_bad,
    )
    adviser = Adviser(request, data, run, tell)
    fits, found = _found(adviser)
    folder = run / PAGE_FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_parts(run, folder / PARTS_FOLDER, data, adviser.folds, fits)
    made = manifest | {"versions": installed_versions()}
    told = write_page(folder, found, made)
    numbers = found.numbers() | dataclasses.asdict(told) | {"made_by": made}
    text = json.dumps(numbers, indent=1, ensure_ascii=False, default=_plain_value)
    write_text(folder / VALUES_FILE, text + "\n")
    errors = found.verdict.enough.prediction.errors[0]
    return {
        **dataclasses.asdict(told),
        "best": found.verdict.best.name,
        "enough": found.verdict.enough.name,
        FORCES: errors.force_rmse_eV_A,
        ENERGIES: errors.energy_rmse_meV_per_atom,
        "left_out": list(found.left_out),
    }


def _found(adviser: Adviser) -> tuple[list[ShortFit], Found]:
    """Return the fits of networks, and all that was found out."""
    request, data = adviser.request, adviser.data
    adviser.announce()
    wanted = _wanted(request, data)
    starts = adviser.starts()
    tuned = adviser.chosen(starts)
    fits = adviser.fits(tuned)
    tried = (
        *adviser.simple(),
        *adviser.untuned(tuned),
        *adviser.networks(fits),
    )
    verdict = choose_model([each for each in tried if each.size == adviser.sizes[-1]])
    first = next(iter(tuned), None)
    by_data = None if wanted is None else unknown_to_data(first, data, wanted)
    if wanted is not None and by_data is None:
        adviser.left_out.append(f"structures to simulate against the data: {NEEDS_ACE}")
    return fits, Found(
        data=data,
        trials=tried,
        starts=tuple(starts),
        tuned=tuple(dict.fromkeys(f.start.name for f in fits if not f.job.fresh)),
        left_out=tuple(adviser.left_out),
        noise=label_noise(data.bulk, data.alike),
        by_start=None if first is None else unknown_to_start(first, data),
        by_data=by_data,
        origins=() if wanted is None else tuple(map(str, wanted.origins)),
        visits=visits_of(fits),
        verdict=verdict,
        outlook=outlook_of(
            [each for each in tried if each.name == verdict.enough.name],
            len(data.bulk),
            request.goal_eV_A,
        ),
    )


def _wanted(request: AdviceRequest, data: UserData) -> FrameSet | None:
    if not request.wanted:
        return None
    wanted = read_frames(request.wanted, format=request.format)
    refuse_other_elements(wanted, data)
    return wanted


def _plain_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
