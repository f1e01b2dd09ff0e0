"""Does a potential survive? A protocol, its replicas, and the verdict."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms

from synthzoo.data.structures import read_structures
from synthzoo.errors import InputError
from synthzoo.models.place import Kernels, Place
from synthzoo.potentials import (
    Model,
    first_at_level,
    model_name,
    refuse_starting_point,
    resolve,
    unique,
)
from synthzoo.recipes.loading import find_recipe, load_recipe, recipes_folder
from synthzoo.stability.engines import check_engine
from synthzoo.stability.fixed import check_fixed
from synthzoo.stability.integrators import Settings
from synthzoo.stability.protocol import PREFIX, MdRecipe, default_step_fs, rescaled
from synthzoo.stability.session import Session
from synthzoo.stability.start import clean_structures
from synthzoo.stability.workers import find_executor

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from synthzoo.stability.verdict import Verdict


def run_md(  # noqa: PLR0913  what a user may say
    model: Model,
    structures: Atoms | Sequence[Atoms] | str | Path,
    output: str | Path,
    *,
    level: str | None = None,
    protocol: str | Path | MdRecipe = "quick",
    format: str | None = None,
    seed: int = 0,
    relaxed: bool = False,
    crystals: bool = False,
    workers: int | None = None,
    device: str = "auto",
    compile: bool = False,
    kernels: Kernels | None = None,
    engine: str = "ase",
    executor: Executor | None = None,
    **changes: Any,
) -> Verdict:
    """Run molecular dynamics with a model and return whether it survives.

    If a call was interrupted, the same call continues it and ends with the same
    trajectories.

    Parameters
    ----------
    model
        Checkpoint, teacher such as ``ace:c_ace.yace`` or ``LCBOP``, or any ASE
        calculator; see `synthzoo.potentials.resolve`.
    structures
        Initial structures: one or several, which the replicas use in turn; or a file.
        Of a file the last frame is used, or those that an index behind the name
        selects, as in ``"run.xyz@:"``. Velocities are drawn anew. Atoms that
        ASE's ``FixAtoms`` fixes stay where they are.
    output
        Folder to make: trajectories, verdict and report.
    level
        Level of theory, of a checkpoint that has several; its default one if not given.
    protocol
        Name (``quick``, ``nve``, ``ramp``, ``anneal``, ``npt``, ``compress``,
        ``melt-quench``), YAML file, or recipe.
    format
        Of a file of structures, as ASE calls it, such as ``vasp-xml``; guessed if not
        given.
    seed
        Seed of the first replica; the others have the following numbers.
    relaxed
        Whether to relax the structures first.
    crystals
        Whether to measure crystals of the elements for the report: lattice constants,
        bulk modulus, phonons. They do not change the verdict.
    workers
        Replicas at a time, each in a process of its own; one for each core if not
        given. A calculator is used in this process unless more than one is given.
    device, compile, kernels
        Where a checkpoint computes (``cpu``, ``cuda`` …, or ``auto``), and how on a
        GPU, as for `load_calculator`.
    engine
        What moves the atoms: ``ase``, or ``torch-sim`` for all replicas of a checkpoint
        as one batch, which pays on a GPU. The verdict is found in the same way.
    executor
        Where replicas run instead of on this machine; its workers must see the folder
        of the output and the model's files.
    **changes
        What to change in the protocol: ``replicas``; ``timestep_fs``; ``thermostat``
        (``langevin``, ``bussi`` or ``nose-hoover``); ``duration``, a factor of all
        durations; ``hottest_K``, instead of its highest temperature;
        ``max_uncertainty``, the standard deviation of a force (eV/Å) at which a run
        ends, for models that know theirs; or any other field of
        `synthzoo.stability.protocol.MdRecipe`.

    Raises
    ------
    InputError
        If a structure, the protocol or the model cannot be used, or the output exists.
    SynthzooError
        If the model cannot be loaded, or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     verdict = run_md(
    ...         EMT(), bulk("Cu", cubic=True), f"{folder}/md", protocol="compress"
    ...     )
    >>> verdict.passed
    True
    """
    (verdict,) = compare_md(
        [model],
        structures,
        output,
        level=level,
        protocol=protocol,
        format=format,
        seed=seed,
        relaxed=relaxed,
        crystals=crystals,
        workers=workers,
        device=device,
        compile=compile,
        kernels=kernels,
        engine=engine,
        executor=executor,
        **changes,
    )
    return verdict


def compare_md(  # noqa: PLR0913  what a user may say
    models: Sequence[Model],
    structures: Atoms | Sequence[Atoms] | str | Path,
    output: str | Path,
    *,
    level: str | None = None,
    protocol: str | Path | MdRecipe = "quick",
    format: str | None = None,
    seed: int = 0,
    relaxed: bool = False,
    crystals: bool = False,
    workers: int | None = None,
    device: str = "auto",
    compile: bool = False,
    kernels: Kernels | None = None,
    engine: str = "ase",
    executor: Executor | None = None,
    **changes: Any,
) -> tuple[Verdict, ...]:
    """Run molecular dynamics with several models from the same structures and seeds.

    Parameters
    ----------
    models
        Each as for `run_md`. If the structures are relaxed, the first model relaxes
        them.
    structures, output
        As for `run_md`.
    level
        Level of theory of the first model, as for `run_md`.
    protocol, format, seed, relaxed, crystals, workers, device
        As for `run_md`.
    compile, kernels, engine, executor, **changes
        As for `run_md`.

    Raises
    ------
    InputError
        If a structure, the protocol or a model cannot be used, or the output exists.
    SynthzooError
        If a model cannot be loaded, or the disk is full.

    Examples
    --------
    >>> verdicts = compare_md(  # doctest: +SKIP
    ...     ["carbon", "paper/ace"], "diamond.xyz", "md", protocol="ramp"
    ... )
    """
    recipe = _changed(find_protocol(protocol), **changes)
    given = _structures(structures, format)
    if not given or not models:
        raise InputError("Give at least one model and one structure.")
    found = [resolve(model) for model in first_at_level(models, level)]
    for model in found:
        refuse_starting_point(model)
    settings = _settings(recipe, given)
    check_fixed(given, recipe, engine)
    session = Session(
        models=tuple(found),
        names=unique([model_name(model) for model in found]),
        recipe=recipe,
        settings=settings,
        start=clean_structures(given, recipe, settings.timestep_fs),
        seed=seed,
        relaxed=relaxed,
        place=Place(device=device, compiled=compile, kernels=kernels),
        crystals=crystals,
        engine=check_engine(engine, recipe, found),
    )
    output = Path(output)
    with find_executor(found, workers, executor) as where:
        return session.run(where, output)


def find_protocol(protocol: str | Path | MdRecipe) -> MdRecipe:
    """Return the recipe of a protocol, with its name.

    ``protocol``: name of one that comes with synthzoo, YAML file with a section ``md``,
    or the recipe itself.
    """
    if isinstance(protocol, MdRecipe):
        return protocol
    name = str(protocol)
    if name in protocol_names():
        recipe = load_recipe(MdRecipe, find_recipe(PREFIX + name))
        return dataclasses.replace(recipe, name=name)
    path = Path(protocol)
    if not path.is_file():
        raise InputError(
            f"There is no protocol {name}, and no file of that name. Protocols: "
            f"{', '.join(protocol_names())}."
        )
    return dataclasses.replace(load_recipe(MdRecipe, path), name=path.stem)


def _changed(
    recipe: MdRecipe,
    *,
    duration: float = 1.0,
    hottest_K: float | None = None,
    max_uncertainty: float | None = None,
    **fields: Any,
) -> MdRecipe:
    """Return a protocol with some of its values changed."""
    recipe = dataclasses.replace(recipe, **fields)
    if max_uncertainty is not None:
        limits = dataclasses.replace(recipe.limits, uncertainty_eV_A=max_uncertainty)
        recipe = dataclasses.replace(recipe, limits=limits)
    return rescaled(recipe, duration=duration, hottest_K=hottest_K)


_FRAMES = re.compile(r"(?P<path>.+)@(?P<index>[-:\d]+)")
"""A file and the frames to take of it; another "@" is a part of the file's name."""


def _structures(
    structures: Atoms | Sequence[Atoms] | str | Path, format: str | None
) -> tuple[Atoms, ...]:
    """Return the structures that are given, or those of a file that are asked for."""
    if isinstance(structures, Atoms):
        return (structures,)
    if not isinstance(structures, str | Path):
        return tuple(structures)
    chosen = _FRAMES.fullmatch(str(structures))
    if chosen is None or Path(structures).exists():
        return tuple(read_structures(structures, format=format)[-1:])
    path, index = chosen["path"], chosen["index"]
    frames = read_structures(path, format=format)
    try:
        wanted = [int(part) if part else None for part in index.split(":")]
        taken = frames[slice(*wanted)] if ":" in index else [frames[int(index)]]
    except (ValueError, IndexError, TypeError):
        taken = []
    if not taken:
        raise InputError(
            f"{index!r} chooses none of the {len(frames)} frames of {path}. Write an "
            "index or a slice as in Python, such as @0 or @::10."
        )
    return tuple(taken)


def protocol_names() -> list[str]:
    """Return the names of the protocols that come with synthzoo."""
    found = recipes_folder().glob(f"{PREFIX}*.yaml")
    return sorted(path.stem.removeprefix(PREFIX) for path in found)


def _settings(recipe: MdRecipe, structures: Sequence[Atoms]) -> Settings:
    shortest_fs = min(default_step_fs(atoms) for atoms in structures if len(atoms))
    return Settings(
        thermostat=recipe.thermostat,
        friction_per_fs=recipe.friction_per_fs,
        timestep_fs=recipe.timestep_fs or shortest_fs,
        barostat_fs=recipe.barostat_fs,
    )
