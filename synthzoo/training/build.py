"""All stages of a recipe in one call: generate, relabel, pretrain, verify."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from synthzoo.data.frames import iter_raw_frames
from synthzoo.errors import CheckpointError
from synthzoo.generation.recipe import GenerateRecipe
from synthzoo.generation.run import generate_structures
from synthzoo.generation.start_files import with_hashes, without_folders
from synthzoo.labelling.recipe import RelabelRecipe
from synthzoo.labelling.relabel import relabel_file
from synthzoo.models.checkpoint import read_config, verify_checkpoint
from synthzoo.recipes.loading import load_recipe, recipe_hash, teacher_name
from synthzoo.runs.files import sole_writer
from synthzoo.runs.resumable import is_missing, working_folder
from synthzoo.runs.stages import StageRecord
from synthzoo.training.curves import read_errors
from synthzoo.training.place import TrainingPlace
from synthzoo.training.pretrain import pretrain
from synthzoo.training.recipe import PretrainRecipe

STRUCTURES_FILE = "structures.xyz"
LABELLED_FILE = "labelled.xyz"
CHECKPOINT_FOLDER = "checkpoint"
RECORD_FILE = "build.json"
STAGES = {
    "generate": STRUCTURES_FILE,
    "relabel": LABELLED_FILE,
    "pretrain": CHECKPOINT_FOLDER,
}
"""What each section of a recipe makes."""


@dataclass(frozen=True, kw_only=True)
class BuildSummary:
    """What `build_checkpoint` made.

    Attributes
    ----------
    checkpoint
        Its folder; it works wherever a model's name does.
    structures, labelled
        How many were generated, and how many of them have labels.
    epochs
        Length of the fit.
    energy_rmse_meV_per_atom, force_rmse_eV_A
        On the structures that were held out, against the teacher.
    verification
        What recomputing its golden predictions gave, in words.
    seconds
        What each stage took; if it was interrupted, its last part.
    """

    checkpoint: Path
    structures: int
    labelled: int
    epochs: int
    energy_rmse_meV_per_atom: float
    force_rmse_eV_A: float
    verification: str
    seconds: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class _Recipes:
    generate: GenerateRecipe
    relabel: RelabelRecipe
    pretrain: PretrainRecipe

    def manifest(self) -> dict[str, str]:
        """Return what decides the result, wherever the files of the recipe lie."""
        generate = without_folders(with_hashes(self.generate))
        settled = dataclasses.replace(self, generate=generate)
        return {
            field.name: recipe_hash(getattr(settled, field.name))
            for field in dataclasses.fields(settled)
        }


def build_checkpoint(  # noqa: PLR0913  what a recipe leaves to its user
    recipe: str | Path,
    output: str | Path,
    *,
    driver: str | None = None,
    teacher: str | None = None,
    workers: int | None = None,
    device: str = "auto",
    trust: bool = False,
) -> BuildSummary:
    """Generate structures, label them and train a network on them, as a recipe says.

    Each stage leaves its file in the output folder. If a call was interrupted, the same
    call continues it, and repeats no stage that is complete.

    Parameters
    ----------
    recipe
        File, or name of a recipe that comes with synthzoo, with the sections
        ``generate``, ``relabel`` and ``pretrain``.
    output
        Folder for structures, labels and checkpoint.
    driver
        Reference of the teacher that moves the atoms, instead of the recipe's.
    teacher
        Reference of the teacher that labels, instead of the recipe's. It also moves the
        atoms if the recipe names one teacher for both.
    workers
        Number of processes; one for each core if not given.
    device
        Where to train: ``cpu``, ``cuda`` …, or ``auto`` for CUDA where there is one.
    trust
        Whether a recipe file of others may name any Python class as its teacher.

    Raises
    ------
    InputError
        If the recipe lacks a section, or the folder was made with another recipe.
    CheckpointError
        If the checkpoint does not reproduce its own stored predictions.
    SynthzooError
        If a stage fails.

    Examples
    --------
    >>> made = build_checkpoint(  # doctest: +SKIP
    ...     "carbon-lcbop-2k", "lcbop", device="cpu"
    ... )
    >>> calculator = synthzoo.load_calculator(made.checkpoint)  # doctest: +SKIP
    """
    output = Path(output)
    recipes = _load(recipe, driver, teacher, trust=trust)
    output.parent.mkdir(parents=True, exist_ok=True)
    record = StageRecord(
        output / RECORD_FILE,
        recipes.manifest(),
        kind="section",
        is_begun=lambda section: _is_begun(output / STAGES[section]),
    )
    with sole_writer(output), record:
        made, labelled = output / STRUCTURES_FILE, output / LABELLED_FILE
        checkpoint = output / CHECKPOINT_FOLDER
        if is_missing(made):
            with record.timed("generate"):
                generate_structures(recipes.generate, made, workers=workers)
        if is_missing(labelled):
            with record.timed("relabel"):
                relabel_file(made, labelled, recipe=recipes.relabel, workers=workers)
        if not checkpoint.exists():
            with record.timed("pretrain"):
                place = TrainingPlace(device=device)
                pretrain(recipes.pretrain, labelled, checkpoint, place=place)
        return _summary(output, record, _verified(checkpoint))


def _is_begun(output: Path) -> bool:
    return output.exists() or working_folder(output).exists()


def _verified(checkpoint: Path) -> str:
    verification = verify_checkpoint(checkpoint)
    if not verification.passed:
        raise CheckpointError(f"{checkpoint}: {verification.summary()}")
    return verification.summary()


def _summary(output: Path, record: StageRecord, verification: str) -> BuildSummary:
    """Return what is in the folder, whichever call has made it."""
    checkpoint = output / CHECKPOINT_FOLDER
    made = read_config(checkpoint).provenance
    errors = {epoch.epoch: epoch for epoch in read_errors(working_folder(checkpoint))}
    kept = errors[made["kept_epoch"]]
    return BuildSummary(
        checkpoint=checkpoint,
        structures=sum(1 for _ in iter_raw_frames(output / STRUCTURES_FILE)),
        labelled=sum(1 for _ in iter_raw_frames(output / LABELLED_FILE)),
        epochs=made["epochs"],
        energy_rmse_meV_per_atom=kept.energy_rmse_meV_per_atom,
        force_rmse_eV_A=kept.force_rmse_eV_A,
        verification=verification,
        seconds=record.seconds,
    )


def _load(
    recipe: str | Path, driver: str | None, teacher: str | None, *, trust: bool
) -> _Recipes:
    if driver is None and teacher is not None and _has_one_teacher(recipe):
        driver = teacher
    return _Recipes(
        generate=load_recipe(GenerateRecipe, recipe, teacher=driver, trust=trust),
        relabel=load_recipe(RelabelRecipe, recipe, teacher=teacher, trust=trust),
        pretrain=load_recipe(PretrainRecipe, recipe),
    )


def _has_one_teacher(recipe: str | Path) -> bool:
    """Return whether what moves the atoms is what labels them."""
    generate = load_recipe(GenerateRecipe, recipe, trust=True)
    relabel = load_recipe(RelabelRecipe, recipe, trust=True)
    return teacher_name(generate.driver) == teacher_name(relabel.teacher)
