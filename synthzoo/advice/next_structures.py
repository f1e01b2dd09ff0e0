"""The structures to compute next by DFT, from a pool or from dynamics of the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from ase.io.trajectory import Trajectory

from synthzoo.advice.choice import choose, still_ones
from synthzoo.advice.dft_codes import Wanted
from synthzoo.advice.dft_inputs import Inputs, elements_of, find_code
from synthzoo.data.frames import read_frames
from synthzoo.data.labelled_set import rms
from synthzoo.data.structures import content_hash, read_structures, write_structures
from synthzoo.errors import InputError
from synthzoo.models.hidden import features_of_each, results_of_each
from synthzoo.models.uncertainty import FORCES, WHO_KNOWS, distances
from synthzoo.potentials import Model, is_network, load_potential, model_name, resolve
from synthzoo.recipes.loading import recipe_values
from synthzoo.runs.files import refuse_existing
from synthzoo.runs.resumable import open_run, refuse_finished, working_folder
from synthzoo.stability.check import find_protocol, run_md
from synthzoo.stability.contacts import shortest_contact
from synthzoo.stability.protocol import Limits

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.advice.choice import Choice
    from synthzoo.data.frames import FrameSet
    from synthzoo.models.calculator import SynthzooCalculator
    from synthzoo.models.engine.evaluator import Result
    from synthzoo.models.uncertainty import Uncertainty

DYNAMICS_FOLDER = "dynamics"
PROTOCOL = "ramp"
RUNS = 4
LEAST_RATIO = 0.6
"""Atoms nearer than this share of the sum of their covalent radii have met by a fault
of the model: such structures teach little that is of use."""


SAME = 1e-4
"""Mean features of one structure, read from two files, differ by less than this share
of their length."""


@dataclass(frozen=True, kw_only=True)
class SuggestSummary:
    """What `suggest` has chosen.

    Attributes
    ----------
    output
        Structures, the one that teaches most first.
    structures
        How many were chosen.
    candidates
        How many there were to choose from, with those that were left out.
    left_out
        How many of these were not looked at: the model cannot compute them, atoms
        almost coincide, they occur twice, or they are known.
    before_eV_A, after_eV_A
        Predicted standard deviation of force components, root mean square over all
        candidates, now and once the chosen ones are known (eV/Å).
    inputs
        Folder with inputs for a DFT code; None if none were asked for.
    """

    output: Path
    structures: int
    candidates: int
    left_out: int
    before_eV_A: float
    after_eV_A: float
    inputs: Path | None = None


def suggest(  # noqa: PLR0913  what a user may say
    model: Model,
    source: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    count: int = 20,
    known: str | Path | Sequence[str | Path] = (),
    protocol: str | Path | None = None,
    runs: int = RUNS,
    hottest_K: float | None = None,
    duration: float = 1.0,
    seed: int = 0,
    format: str | None = None,
    workers: int | None = None,
    code: str | None = None,
    template: str | Path | None = None,
    pseudopotentials: Mapping[str, str] | None = None,
    k_spacing_1_A: float | None = None,
) -> SuggestSummary:
    """Choose the structures that are most worth computing next, and write them.

    Candidates are the structures of the files. If there are too few to choose from, or
    if a protocol is named, the model runs dynamics from them, whose frames are
    candidates, too. Each choice is the candidate whose labels would make the model
    surest of all candidates, once those chosen before are known. Structures are written
    without labels, with ``forces_uncertainty`` (eV/Å) for each atom.

    Parameters
    ----------
    model
        A model that knows how sure it is, as `finetune` makes it.
    source
        Candidates, or structures from which to start: files in any format that ASE
        reads, or patterns. Dynamics start from none that is a single atom, or would be
        left out.
    output
        Extended XYZ file to make. Compute labels for its structures, then give the old
        and the new file to `finetune`.
    count
        How many structures to choose.
    known
        Structures that have been computed already, such as the data of the model: the
        same ones are not chosen again.
    protocol
        Dynamics that explore, as for `run_md`. If not given, ``ramp`` is run where the
        files hold no more structures than are to be chosen.
    runs
        Runs of the dynamics; they start from the structures in turn.
    hottest_K, duration
        Highest temperature, and factor of all durations, of the protocol.
    seed
        Of the first run; the others have the following numbers.
    format
        Of all files, as ASE calls it; guessed for each if not given.
    workers
        Runs at a time; one for each core if not given.
    code, template, pseudopotentials, k_spacing_1_A
        If a code is named, inputs for it are written, too, as `write_dft_inputs` does,
        to a folder beside the output that is called after output and code.

    Raises
    ------
    InputError
        If the model does not know how sure it is, the output exists, no candidate is
        left, or inputs for the code cannot be written.
    SynthzooError
        If the model cannot be loaded.

    Examples
    --------
    >>> done = suggest("my-carbon", "start.xyz", "next.xyz")  # doctest: +SKIP
    >>> done.structures  # doctest: +SKIP
    20
    """
    output = Path(output)
    refuse_finished(output)
    _refuse_nothing(count, runs)
    found = resolve(model)
    calculator, uncertainty = _sure(found)
    frames = read_frames(source, format=format)
    old = read_frames(known, format=format).structures if known else []
    inputs = None
    if code is not None:
        wanted = Wanted(
            template=None if template is None else Path(template),
            pseudopotentials=pseudopotentials or {},
            k_spacing_1_A=k_spacing_1_A,
            elements=elements_of(frames.structures),
        )
        inputs = _announced(output, code, wanted)
    if protocol is None and len(frames.structures) <= count:
        protocol = PROTOCOL
    recipe = None if protocol is None else find_protocol(protocol)
    manifest = {
        "model": calculator.config.weights_sha256,
        "structures": [content_hash(atoms) for atoms in frames.structures],
        "protocol": None
        if protocol is None
        else recipe_values(find_protocol(protocol)),
        "settings": [count, runs, hottest_K, duration, seed],
        **({"known": [content_hash(atoms) for atoms in old]} if old else {}),
    }
    with open_run(output, manifest, results=(f"{DYNAMICS_FOLDER}*",)) as run:
        if run.finished is None:
            pool = [*_named(frames)]
            if recipe is not None:
                folder = run.folder / DYNAMICS_FOLDER
                if not folder.exists():
                    run_md(
                        found,
                        _starts(frames.structures, calculator),
                        folder,
                        protocol=dataclasses.replace(recipe, replicas=runs),
                        hottest_K=hottest_K,
                        duration=duration,
                        seed=seed,
                        workers=workers,
                    )
                pool += _explored(folder)
            run.complete(_write(output, pool, old, calculator, uncertainty, count))
        if inputs is not None and not inputs.folder.exists():
            inputs.write(read_structures(output))
        summary = run.summary or {}
        run.close()
    made = None if inputs is None else inputs.folder
    return SuggestSummary(output=output, inputs=made, **summary)


def _refuse_nothing(count: int, runs: int) -> None:
    if count < 1 or runs < 1:
        raise InputError("Choose at least one structure, by at least one run.")


def _announced(output: Path, code: str, wanted: Wanted) -> Inputs:
    """Return the inputs to write; refuse before anything else is done."""
    inputs = Inputs(output.with_name(f"{output.stem}-{code}"), code, wanted)
    find_code(code, wanted)
    if not working_folder(output).exists():
        refuse_existing(inputs.folder)
    return inputs


def _sure(model: Any) -> tuple[SynthzooCalculator, Uncertainty]:
    calculator: SynthzooCalculator | None = None
    if is_network(model):
        calculator = cast("SynthzooCalculator", load_potential(model).calculator)
    uncertainty = None if calculator is None else calculator.stored.uncertainty
    if calculator is None or uncertainty is None:
        raise InputError(
            f"{model_name(model)} does not know how sure it is. {WHO_KNOWS} Fine-tune "
            "it on your data first."
        )
    return calculator, uncertainty


def _named(frames: FrameSet) -> Iterator[Atoms]:
    for atoms, origin in zip(frames.structures, frames.origins, strict=True):
        yield _bare(atoms, str(origin))


def _starts(
    structures: Sequence[Atoms], calculator: SynthzooCalculator
) -> Sequence[Atoms]:
    """Return the structures that can move; all, to be refused, if none can."""
    able = [atoms for atoms in _sound(structures, calculator) if len(atoms) > 1]
    return able or structures


def _explored(folder: Path) -> Iterator[Atoms]:
    """Yield the frames of all runs, but those at their starts."""
    for path in sorted(folder.rglob("*.traj")):
        name = path.parent.name
        with Trajectory(path) as frames:
            for atoms in frames:
                time_ps = atoms.info["time_fs"] / 1000
                if time_ps > 0:
                    yield _bare(atoms, f"dynamics, {name}, {time_ps:.2f} ps")


def _bare(atoms: Atoms, origin: str) -> Atoms:
    """Return a structure without labels and velocities, with where it comes from."""
    from ase import Atoms

    bare = Atoms(
        atoms.symbols,
        positions=atoms.positions,
        cell=atoms.cell,
        pbc=atoms.pbc,
        info={"origin": origin},
    )
    kind = atoms.info.get("config_type", atoms.info.get("kind"))
    if kind is not None:
        bare.info["kind"] = kind
    return bare


def _sound(pool: Iterable[Atoms], calculator: SynthzooCalculator) -> Iterator[Atoms]:
    """Yield each candidate once that a person would compute, and the model can."""
    seen: set[str] = set()
    for atoms in pool:
        try:
            calculator.check(atoms)
        except InputError:
            continue
        nearest = shortest_contact(atoms, Limits())
        key = content_hash(atoms)
        if key in seen or (nearest is not None and nearest.ratio < LEAST_RATIO):
            continue
        seen.add(key)
        yield atoms


def _new(
    pool: Sequence[Atoms], known: Sequence[Atoms], calculator: SynthzooCalculator
) -> tuple[list[Atoms], list[Result]]:
    """Return the sound candidates that are not known, and what the model says of each.

    The same structure has the same features, however a code has moved or sorted it.
    """
    kept = list(_sound(pool, calculator))
    found = list(results_of_each(calculator, kept))
    old = features_of_each(calculator, list(_sound(known, calculator)))
    means = np.array([each.mean(axis=0) for each in old])
    if not len(means):
        return kept, found
    sizes = np.linalg.norm(means, axis=1)
    new = [
        index
        for index, each in enumerate(found)
        if (
            np.linalg.norm(means - np.asarray(each.features).mean(axis=0), axis=1)
            > SAME * sizes
        ).all()
    ]
    return [kept[index] for index in new], [found[index] for index in new]


def _write(
    output: Path,
    pool: Sequence[Atoms],
    known: Sequence[Atoms],
    calculator: SynthzooCalculator,
    uncertainty: Uncertainty,
    count: int,
) -> dict[str, Any]:
    kept, found = _new(pool, known, calculator)
    if not kept:
        raise InputError(
            f"None of the {len(pool)} candidates can be chosen: the model does not "
            "know their elements, atoms almost coincide, or they are known."
        )
    features = [np.asarray(each.features) for each in found]
    still = still_ones([each.forces for each in found])
    deviations = [
        (place not in still)
        * uncertainty.forces_eV_A
        * distances(each, uncertainty.root)
        for place, each in enumerate(features)
    ]
    chosen = choose(features, uncertainty, count, still=still)
    for rank, choice in enumerate(chosen, start=1):
        atoms = kept[choice.index]
        atoms.info["suggestion"] = rank
        atoms.info["reason"] = _reason(
            choice, None if choice.index in still else rms(deviations[choice.index])
        )
        atoms.arrays[FORCES] = deviations[choice.index]
    write_structures(output, [kept[choice.index] for choice in chosen])
    return {
        "structures": len(chosen),
        "candidates": len(pool),
        "left_out": len(pool) - len(kept),
        "before_eV_A": rms(np.array([rms(each) for each in deviations])),
        "after_eV_A": chosen[-1].deviation_eV_A,
    }


def _reason(choice: Choice, deviation_eV_A: float | None) -> str:
    """Return in words why a structure was chosen.

    ``deviation_eV_A``: of its forces; None if symmetry forbids them.
    """
    own = (
        "symmetry forbids forces, so it is for its energy"
        if deviation_eV_A is None
        else f"standard deviation of its forces {deviation_eV_A:.3g} eV/A"
    )
    return (
        f"{own}; once it is known, {choice.deviation_eV_A:.3g} eV/A over all candidates"
    )
