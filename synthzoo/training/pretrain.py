"""Stage 3: labelled structures to a checkpoint."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import yaml

from synthzoo.errors import DivergedError, InputError
from synthzoo.labelling.recipe import named_teacher_sha256
from synthzoo.models.architectures import architecture_of
from synthzoo.models.checkpoint import load_model, write_checkpoint
from synthzoo.models.config import CONFIG_FILE, FORMAT_VERSION, CheckpointConfig
from synthzoo.models.isolation import nequip_session
from synthzoo.models.network import build_model, grow
from synthzoo.potentials import Model, find_checkpoint
from synthzoo.recipes.loading import recipe_hash, recipe_values, settle_recipe
from synthzoo.recipes.schema import hashed_values
from synthzoo.runs.files import hash_files, new_file, refuse_existing_path
from synthzoo.runs.resumable import Run, join_run, open_run
from synthzoo.training.curves import draw_curves
from synthzoo.training.level_sets import find_level_files, read_level_sets
from synthzoo.training.place import (
    TrainingPlace,
    check_place,
    is_first_process,
    opens_run,
    plain_copy,
    prepared,
)
from synthzoo.training.recipe import PretrainRecipe
from synthzoo.training.sets import PretrainSets, find_provenance, make_sets
from synthzoo.training.stored_sets import stored_set

if TYPE_CHECKING:
    import torch

    from synthzoo.models.checkpoint import Checkpoint
    from synthzoo.models.interface import Statistics
    from synthzoo.models.recipe import NetworkRecipe
    from synthzoo.training.batches import Mixed
    from synthzoo.training.fit import FitResult
    from synthzoo.training.level_sets import LevelSets

Sources: TypeAlias = str | Path | Sequence[str | Path]
"""Files or patterns."""

RECIPE_FILE, CHECKPOINT_FOLDER = "recipe.yaml", "checkpoint"
RESULTS = ("*.ckpt",)
"""In the working folder: what is worth going on from."""

CONFIG_SHA256 = "config_sha256"
LAST_GOOD_FOLDER = "last-good"
"""In the working folder: the checkpoint that a fit had come to when it diverged."""


@dataclass(frozen=True, kw_only=True)
class PretrainSummary:
    """What a run of `pretrain` made.

    Attributes
    ----------
    output
        Checkpoint folder.
    parameters
        Number of trained weights.
    training_structures, training_atoms, validation_structures
        Sizes of the two sets.
    epochs, kept_epoch, steps
        Length of the fit, and the epoch whose weights were kept.
    energy_rmse_meV_per_atom, force_rmse_eV_A
        Errors on the validation set, against the labels.
    labels
        Where energies and forces were read.
    seconds
        Wall time of this run; of its last part if it was interrupted.
    """

    output: Path
    parameters: int
    training_structures: int
    training_atoms: int
    validation_structures: int
    epochs: int
    kept_epoch: int
    steps: int
    energy_rmse_meV_per_atom: float
    force_rmse_eV_A: float
    labels: str
    seconds: float


def pretrain(  # noqa: PLR0913  what to train, and where
    recipe: PretrainRecipe | str | Path,
    data: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    start: Model | None = None,
    structures: int | None = None,
    place: TrainingPlace | None = None,
    format: str | None = None,
    levels: Mapping[str, Sources] | Sources | None = None,
    level: str | None = None,
    teacher_sha256: str | None = None,
    tensorboard: bool = False,
) -> PretrainSummary:
    """Train a network on labelled structures and write it as a checkpoint.

    The state of the fit, its logs, the resolved recipe and a figure of the errors over
    the epochs are kept in ``OUTPUT.parts``. If a call was interrupted, the same call
    continues from the last state, which is minutes old at most, and ends with the same
    weights. If the loss becomes NaN, the best weights so far are written to
    ``OUTPUT.parts/last-good``.

    Parameters
    ----------
    recipe
        Network and fit: a recipe, its file, or the name of one that comes with
        synthzoo.
    data
        Files with labelled structures, as `synthzoo.relabel_file` makes them;
        energies are relative to isolated atoms.
    output
        Checkpoint folder to make.
    start
        Checkpoint from whose network and weights the fit starts, instead of a new
        network.
    structures
        Number of structures to train on, instead of that in the recipe.
    place
        Where to train; a GPU if there is one, else this process, if not given.
    format
        Of all files, as ASE calls it; guessed for each if not given.
    levels
        Files of other levels of theory, such as other teachers, by the names of the
        levels; one level without a name is ``low``. Each has a last layer of its own.
    level
        What to call the level of data, which the model predicts if not asked for
        another one; ``high`` if not given.
    teacher_sha256
        SHA-256 of the teacher's file that must have labelled the structures; that in
        the section ``relabel`` of a recipe file, if there is one.
    tensorboard
        Whether to write logs for TensorBoard, too.

    Raises
    ------
    InputError
        If the output exists, labels are missing or not finite, the set cannot be split,
        the start knows other elements or cannot grow as the recipe wants, the recipe
        grows a network but no start is given, or levels of theory cannot be fitted
        together.
    DivergedError
        If the loss becomes NaN.

    Examples
    --------
    >>> made = pretrain(  # doctest: +SKIP
    ...     "carbon-short", "labelled.xyz", "my-carbon"
    ... )
    >>> made.force_rmse_eV_A  # doctest: +SKIP
    """
    started = time.monotonic()
    place = check_place(place or TrainingPlace())
    recipe, of_recipe = _settle(recipe, structures)
    if recipe.grow and start is None:
        raise InputError("The recipe grows a network: say which one it starts from.")
    if tensorboard:
        from synthzoo.training.logs import check_tensorboard

        check_tensorboard()
    output, files = Path(output), _paths(data)
    begun = None if start is None else find_checkpoint(start, needed_for="--start")
    made = {"data_sha256": hash_files(files)} | _begun(begun)
    others = find_level_files(levels, level, place=place, recipe=recipe)
    manifest = {"recipe": hashed_values(recipe)} | made | others.manifest()
    with _opened(output, manifest, place) as run:
        if run.finished is not None:
            return _read_summary(output, run.finished)
        stored = stored_set(
            files, sha256=made["data_sha256"], spare=run.folder, format=format
        )
        made |= find_provenance(stored, teacher_sha256=teacher_sha256 or of_recipe)
        with nequip_session():
            sets = make_sets(stored, recipe, _cutoff_A(recipe, begun))
            network, config = _network(recipe, sets, begun)
            level_sets = read_level_sets(
                others,
                recipe,
                _cutoff_A(recipe, begun),
                spare=run.folder,
                format=format,
                elements=sets.elements,
            )
            training = _Training(
                levels=level_sets,
                recipe=recipe,
                sets=sets,
                folder=run.folder,
                place=place,
                config=config,
                made=made,
                tensorboard=tensorboard,
            )
            result = training.fit(prepared(network, config, place))
            summary = _summary(output, sets, result, seconds=time.monotonic() - started)
            if is_first_process():
                checkpoint = training.write(CHECKPOINT_FOLDER, result)
                draw_curves(run.folder)
                run.complete(_recorded(summary, checkpoint))
                checkpoint.replace(output)
    return summary


def _paths(data: Sources) -> list[Path]:
    return [Path(file) for file in ([data] if isinstance(data, str | Path) else data)]


def _opened(
    output: Path, manifest: dict[str, Any], place: TrainingPlace
) -> AbstractContextManager[Run]:
    if opens_run(place):
        return open_run(output, manifest, results=RESULTS)
    return nullcontext(join_run(output, manifest))


def _recorded(summary: PretrainSummary, checkpoint: Path) -> dict[str, Any]:
    """Return what the record of a run says when everything is computed."""
    values = dataclasses.asdict(summary)
    del values["output"]
    return values | {CONFIG_SHA256: hash_files([checkpoint / CONFIG_FILE])}


def _read_summary(output: Path, recorded: dict[str, Any]) -> PretrainSummary:
    """Return the summary of a run that is complete, if the output is its checkpoint."""
    values = dict(recorded)
    sha256, config = values.pop(CONFIG_SHA256), output / CONFIG_FILE
    if not config.is_file() or hash_files([config]) != sha256:
        refuse_existing_path(output)
    return PretrainSummary(output=output, **values)


def _settle(
    recipe: PretrainRecipe | str | Path, structures: int | None
) -> tuple[PretrainRecipe, str | None]:
    """Return the recipe, and the hash of the teacher that its file names."""
    sha256 = named_teacher_sha256(recipe) if isinstance(recipe, str | Path) else None
    changes: dict[str, Any] = {} if structures is None else {"structures": structures}
    return settle_recipe(PretrainRecipe, recipe, **changes), sha256


@dataclass(frozen=True, kw_only=True)
class _Training:
    """One pre-training, its inputs checked."""

    recipe: PretrainRecipe
    sets: PretrainSets
    folder: Path
    place: TrainingPlace
    config: CheckpointConfig
    made: dict[str, str]
    tensorboard: bool
    levels: LevelSets | None

    def fit(self, network: torch.nn.Module) -> FitResult:
        """Fit the network; if that diverges, write what was good."""
        import torch

        from synthzoo.training.fit import fit

        if is_first_process():
            with new_file(self.folder / RECIPE_FILE) as partial:
                partial.write_text(yaml.safe_dump(recipe_values(self.recipe)))
        if self.recipe.fit.threads is not None:
            torch.set_num_threads(self.recipe.fit.threads)
        training, validation = self.sets.training, self.sets.validation
        mixed: list[Mixed] = []
        weights: tuple[float, ...] = ()
        if self.levels is not None:
            network = self.levels.network(network, self.config)
            training, validation = training.at_level(0), validation.at_level(0)
            mixed = self.levels.mixed()
            weights = (1.0,) * (1 + len(mixed))
        try:
            return fit(
                network,
                self.recipe.fit,
                training=training,
                validation=validation,
                mixed=mixed,
                level_weights=weights,
                name=self.sets.name,
                folder=self.folder,
                place=self.place,
                tensorboard=self.tensorboard,
            )
        except DivergedError as error:
            if not is_first_process():  # a failure here would end the one that tells
                raise SystemExit(0) from error
            if error.kept is None:
                raise
            raise self._kept(error, error.kept) from error

    def write(self, name: str, result: FitResult) -> Path:
        """Write what was found as a checkpoint in the working folder."""
        from synthzoo.training.levels import LevelledNetwork

        place = self.folder / name
        if place.exists():  # of an earlier attempt that came as far
            shutil.rmtree(place)
        model, made = result.model, self.made | self.sets.sizes
        config, levels = _with_result(self.config, self.recipe, result, made), None
        if isinstance(model, LevelledNetwork) and self.levels is not None:
            levels = self.levels.new_levels(model, config)
            model = model.network
        if self.place.compiled or self.place.kernels is not None:
            model = plain_copy(model, self.config)
        write_checkpoint(
            place,
            model=model,
            config=config,
            levels=levels,
            golden=self.sets.golden,
        )
        return place

    def _kept(self, error: DivergedError, result: FitResult) -> DivergedError:
        place = self.write(LAST_GOOD_FOLDER, result)
        return DivergedError(
            f"{error} The weights of epoch {result.kept_epoch} are kept: {place}."
        )


def _summary(
    output: Path, sets: PretrainSets, result: FitResult, *, seconds: float
) -> PretrainSummary:
    return PretrainSummary(
        output=output,
        parameters=sum(weight.numel() for weight in result.model.parameters()),
        **sets.sizes,
        epochs=result.epochs,
        kept_epoch=result.kept_epoch,
        steps=result.steps,
        energy_rmse_meV_per_atom=result.energy_rmse_meV_per_atom,
        force_rmse_eV_A=result.force_rmse_eV_A,
        labels=str(sets.keys),
        seconds=seconds,
    )


def _begun(start: Checkpoint | None) -> dict[str, str]:
    """Return what is on record of the checkpoint that a fit starts from."""
    if start is None:
        return {}
    made = {"start_weights_sha256": start.config.weights_sha256}
    if "licence" in start.config.provenance:
        made["licence"] = start.config.provenance["licence"]
    return made


def _cutoff_A(recipe: PretrainRecipe, start: Checkpoint | None) -> float:
    return _wanted(recipe).cutoff_A if start is None else start.config.cutoff_A


def _wanted(recipe: PretrainRecipe) -> NetworkRecipe:
    return recipe.network or recipe.model.network()


def _network(
    recipe: PretrainRecipe, sets: PretrainSets, start: Checkpoint | None
) -> tuple[torch.nn.Module, CheckpointConfig]:
    """Return a new network, or that of the start, with its description."""
    if start is None:
        config = new_description(_wanted(recipe), sets.statistics(), kind=recipe.kind)
        return build_model(config, seed=recipe.fit.seed), config
    network, config = load_model(start)
    if config.elements != sets.elements:
        raise InputError(
            f"{start} knows {', '.join(config.elements)}, but the structures are of "
            f"{', '.join(sets.elements)}."
        )
    if recipe.grow:
        network, config = grow(network, config, recipe.grow, seed=recipe.fit.seed)
    return network, dataclasses.replace(config, kind=recipe.kind)


def new_description(
    network: NetworkRecipe,
    statistics: Statistics,
    *,
    kind: Literal["potential", "starting-point"] = "potential",
) -> CheckpointConfig:
    """Return the description of a network that has not learnt anything yet.

    ``statistics``: of the set that it will be trained on.
    """
    return CheckpointConfig(
        format_version=FORMAT_VERSION,
        builder=network.architecture,
        arguments=architecture_of(network.architecture).complete(
            network.arguments, statistics
        ),
        elements=statistics.elements,
        cutoff_A=network.cutoff_A,
        dtype="float32",
        isolated_atom_energies_eV=dict.fromkeys(statistics.elements, 0.0),
        labels={},
        kind=kind,
        provenance={},
    )


def _with_result(
    config: CheckpointConfig,
    recipe: PretrainRecipe,
    result: FitResult,
    made: dict[str, Any],
) -> CheckpointConfig:
    labels = {
        "teacher": made["teacher"],
        "energy": "total energy of the cell minus its isolated atoms",
    }
    fitted = {
        "pretrain_recipe": recipe_hash(recipe)[:12],
        "seed": recipe.fit.seed,
        "epochs": result.epochs,
        "kept_epoch": result.kept_epoch,
        "steps": result.steps,
    }
    return dataclasses.replace(config, labels=labels, provenance=made | fitted)
