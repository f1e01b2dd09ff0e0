"""The recipes: frozen dataclasses that the YAML files mirror, one section per stage.

Defaults live here only. Unknown keys are errors, so that a misspelt option is never
silently ignored.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import reprlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from synthzoo.errors import InputError
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.generation.recipe import Part, Range  # noqa: TC001  from_values resolves them
from synthzoo.models.architecture import (
    EXPONENTS,
    MAX_BESSELS,
    MAX_CUTOFF_A,
    MAX_DEPTH,
    MAX_FEATURES,
    MAX_L,
    MAX_LAYERS,
    MAX_WIDTH,
)
from synthzoo.recipes.plain_values import read_yaml
from synthzoo.recipes.schema import (
    LATER,
    NOT_EMPTY,
    Checked,
    Count,
    CountFrom0,
    NotNegative,
    Positive,
    Seed,
    Share,
    Symbol,
    above_0,
    from_values,
    hashed_values,
    matching,
    number,
    whole,
)
from synthzoo.runs.files import SHA256, is_there, packaged_folder
from synthzoo.stability.protocol import MdRecipe
from synthzoo.training.recipe import LearningRate, StepsRecipe


@dataclass(frozen=True, kw_only=True)
class ThinRecipe(Checked):
    """Which structures of a set to keep: those that are least like each other.

    Attributes
    ----------
    keep
        Number of structures.
    cutoff_A
        Radius of the atomic environments that are compared.
    environments
        Each structure is represented by so many of its environments, those that are
        least like each other.
    one_of_each
        Key in ``Atoms.info``, such as ``kind``: at least one structure is kept for each
        of its values.
    """

    keep: Count
    cutoff_A: Annotated[float, above_0(MAX_CUTOFF_A)] = 5.0
    environments: Count = 8
    one_of_each: str | None = None


@dataclass(frozen=True, kw_only=True)
class GenerateRecipe(Checked):
    """Which synthetic structures to make.

    Attributes
    ----------
    element
        Chemical symbol.
    seed
        Every part, trajectory and structure draws from its own stream under this seed.
    driver
        Teacher whose forces move the atoms, such as ``ace:c_ace.yace``.
    parts
        What to make, in this order.
    thin
        Which of the structures to keep; all of them if not given.
    """

    element: Symbol
    seed: Seed
    driver: str
    parts: Annotated[tuple[Part, ...], NOT_EMPTY]
    thin: ThinRecipe | None = field(default=None, metadata=LATER)


@dataclass(frozen=True, kw_only=True)
class RelabelRecipe(Checked):
    """How to label structures with a teacher, and which to leave out.

    Attributes
    ----------
    teacher
        Label source, such as ``ace:c_ace.yace``.
    teacher_sha256
        SHA-256 that the teacher's file must have; any file if not given.
    max_force_eV_A
        A structure with a longer force vector on any atom is left out.
    min_distance_A
        A structure with a shorter distance is left out.
    energy_window_eV_per_atom
        Structures outside of it are left out; relative to isolated atoms.
    max_seconds
        A structure that takes the teacher longer fails; never if not given.
    chunk_structures
        Structures per unit of work; what is lost when a run is killed.
    """

    teacher: str
    teacher_sha256: Annotated[str, matching(SHA256, "a SHA-256")] | None = None
    max_force_eV_A: Positive | None = 30.0
    min_distance_A: Positive | None = None
    energy_window_eV_per_atom: Range | None = None
    max_seconds: Positive | None = field(default=600.0, metadata=LATER)
    chunk_structures: Count = 50


@dataclass(frozen=True, kw_only=True)
class ModelRecipe(Checked):
    """The shape of the network: the arguments of `nequip.model.NequIPGNNModel`.

    Attributes
    ----------
    cutoff_A
        Radius within which atoms are neighbours.
    num_layers
        Number of interaction blocks.
    l_max
        Largest rotation order of the features.
    parity
        Whether features of odd mirror parity are kept.
    num_features
        Features for each rotation order from 0 to ``l_max``.
    type_embed_num_features
        Features that tell the elements apart.
    radial_mlp_depth
        Hidden layers of the radial network.
    radial_mlp_width
        Neurons of each of them.
    num_bessels
        Bessel functions that describe a distance.
    bessel_trainable
        Whether their frequencies are trained.
    polynomial_cutoff_p
        Exponent of the polynomial cutoff.
    """

    cutoff_A: Annotated[float, above_0(MAX_CUTOFF_A)] = 4.0
    num_layers: Annotated[int, whole(1, MAX_LAYERS)] = 4
    l_max: Annotated[int, whole(0, MAX_L)] = 1
    parity: bool = False
    num_features: tuple[Annotated[int, whole(1, MAX_FEATURES)], ...] = (32, 16)
    type_embed_num_features: Annotated[int, whole(1, MAX_FEATURES)] = 8
    radial_mlp_depth: Annotated[int, whole(0, MAX_DEPTH)] = 1
    radial_mlp_width: Annotated[int, whole(1, MAX_WIDTH)] = 32
    num_bessels: Annotated[int, whole(1, MAX_BESSELS)] = 8
    bessel_trainable: bool = True
    polynomial_cutoff_p: Annotated[int, whole(*EXPONENTS)] = 6


@dataclass(frozen=True, kw_only=True)
class FitRecipe(StepsRecipe):
    """How the weights are found; `StepsRecipe` has the other attributes.

    Attributes
    ----------
    max_epochs
        Number of passes over the training set.
    learning_rate
        Of Adam, after the warm-up.
    energy_weight
        Factor of the mean squared error of energy per atom (eV) in the loss.
    validation_share
        Share of the structures that is held out, whole groups each.
    keep
        Epoch whose averaged weights are kept: that with the smallest force error on the
        validation set, or the last, for a fit that starts from weights which have seen
        a part of that set.
    patience
        Epochs without a better validation error after which training stops; never if
        not given.
    energy_huber_eV, forces_huber_eV_A
        Errors (per atom, per component) beyond which the loss grows in proportion, no
        longer with their squares; never if not given.
    adam_beta2
        Decay of Adam's mean of squared gradients.
    """

    max_epochs: Count = 50
    learning_rate: LearningRate = 0.01
    energy_weight: NotNegative = 4.0
    validation_share: Share = 0.06
    keep: Literal["best", "last"] = "best"
    patience: CountFrom0 | None = None
    energy_huber_eV: Positive | None = field(default=None, metadata=LATER)
    forces_huber_eV_A: Positive | None = field(default=None, metadata=LATER)
    adam_beta2: Annotated[float, number(0, 1)] = field(default=0.999, metadata=LATER)


@dataclass(frozen=True, kw_only=True)
class PretrainRecipe(Checked):
    """From labelled structures to a checkpoint.

    Attributes
    ----------
    kind
        Whether the checkpoint is a potential or only a start for fine-tuning.
    structures
        Number of training structures, of those that are not held out; all of them if
        not given. Fewer are a part of more, and the validation set stays the same.
    model
        Shape of the network.
    grow
        Features of each layer but the last, such as ``64x0e+32x1o+32x1e``, to which the
        network that the fit starts from is made wider; its predictions stay at first.
    fit
        How its weights are found.
    """

    kind: Literal["potential", "starting-point"] = "potential"
    structures: Count | None = field(default=None, metadata=LATER)
    model: ModelRecipe = field(default_factory=ModelRecipe)
    grow: tuple[str, ...] = field(default=(), metadata=LATER)
    fit: FitRecipe = field(default_factory=FitRecipe)


SECTIONS: dict[str, type] = {
    "generate": GenerateRecipe,
    "relabel": RelabelRecipe,
    "pretrain": PretrainRecipe,
    "finetune": FinetuneRecipe,
    "md": MdRecipe,
}

TEACHER_KEYS = {"driver", "teacher"}
"""Keys of recipes whose values are references of teachers."""

CLASS_KIND = "ase"
"""Kind of teacher that is any Python class."""

_QUOTED_PATH, _LAST_PART = re.compile(r'"[^"]*/([^"/]*)"'), r'"\1"'

Recipe = TypeVar(
    "Recipe", GenerateRecipe, RelabelRecipe, PretrainRecipe, FinetuneRecipe, MdRecipe
)


def load_recipe(
    cls: type[Recipe],
    path: Path | str,
    *,
    teacher: str | None = None,
    trust: bool = False,
) -> Recipe:
    """Return one section of a recipe file, checked.

    Parameters
    ----------
    cls
        Recipe class; it says which section to read.
    path
        YAML file, or the name of a recipe that comes with synthzoo.
    teacher
        Reference that stands for the recipe's own driver or teacher.
    trust
        Whether the file may name an ASE calculator (``ase:``), a class that is imported
        and called: it can run any program. Recipes that come with synthzoo always may.

    Raises
    ------
    InputError
        If the file is missing or not YAML, the section is absent, a key is unknown or
        missing, a value cannot be, or the file of others names a class.

    Notes
    -----
    Instead of keys, a section may hold the name of another recipe (or of a file beside
    this one), whose section of the same name is meant.
    """
    path = find_recipe(path)
    name = next(name for name, known in SECTIONS.items() if known is cls)
    section = _section(path, name)
    if isinstance(section, str):
        beside = path.parent / section
        path = find_recipe(beside if is_there(beside) else section)
        section = _section(path, name)
    recipe = parse_recipe(cls, section, source=f"{path}, section {name}")
    if teacher is not None and (key := _teacher_key(recipe)):
        override: dict[str, Any] = {key: teacher}
        return dataclasses.replace(recipe, **override)
    if not trust:
        _refuse_foreign_class(recipe, path)
    return recipe


def _teacher_key(recipe: Any) -> str | None:
    names = (field.name for field in dataclasses.fields(recipe))
    return next((name for name in names if name in TEACHER_KEYS), None)


def _refuse_foreign_class(recipe: Any, path: Path) -> None:
    """Refuse a class that a recipe names which does not come with synthzoo."""
    key = _teacher_key(recipe)
    if key is None or path.resolve().parent == recipes_folder().resolve():
        return
    kind, _, what = getattr(recipe, key).partition(":")
    if kind == CLASS_KIND:
        raise InputError(
            f"{path}: {key} is the Python class {what.partition('{')[0]}, which would "
            "be imported and called, and can run any program. If you trust whoever "
            "wrote this recipe, allow it with --trust (in Python: trust=True)."
        )


def _section(path: Path, name: str) -> Any:
    sections = _read_yaml(path)
    if unknown := [key for key in sections if key not in SECTIONS]:
        raise InputError(
            f"{path}: unknown sections {reprlib.repr(unknown)}. Known sections: "
            f"{list(SECTIONS)}."
        )
    if name not in sections:
        raise InputError(f"{path} has no section `{name}`.")
    return sections[name]


def named_teacher_sha256(path: Path | str) -> str | None:
    """Return the SHA-256 of the teacher's file that a recipe names, if it does.

    Parameters
    ----------
    path
        YAML file, or the name of a recipe that comes with synthzoo.

    Raises
    ------
    InputError
        As for `load_recipe`, if the file has a section `relabel`.
    """
    if "relabel" not in _read_yaml(find_recipe(path)):
        return None
    return load_recipe(RelabelRecipe, path, trust=True).teacher_sha256


def parse_recipe(cls: type[Recipe], values: Any, *, source: str) -> Recipe:
    """Return a recipe made from plain values, checked; see `load_recipe`.

    Parameters
    ----------
    cls
        Recipe class.
    values
        Keys and values, as YAML gives them.
    source
        What messages start with.
    """
    return from_values(cls, values, source=source)


def recipe_values(recipe: Any) -> dict[str, Any]:
    """Return a recipe as plain values that JSON and YAML can hold.

    Parameters
    ----------
    recipe
        Any recipe.
    """
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(recipe)))
    return values


def recipe_hash(recipe: Any) -> str:
    """Return the SHA-256 of a resolved recipe, defaults included.

    Of a teacher only the kind and the file's name count, not the folder it lies in. An
    option that came later counts once it is used.

    Parameters
    ----------
    recipe
        Any recipe.
    """
    values = hashed_values(recipe)
    for key in TEACHER_KEYS & values.keys():
        values[key] = teacher_name(values[key])
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def teacher_name(reference: str) -> str:
    """Return a teacher's reference without the folder in which its file lies.

    Parameters
    ----------
    reference
        Of the form ``kind:what``.

    Examples
    --------
    >>> teacher_name("ace:potentials/c_ace.yace")
    'ace:c_ace.yace'
    >>> teacher_name("lammps:tersoff:mine/C.tersoff")
    'lammps:tersoff:C.tersoff'
    >>> teacher_name('ase:my.Code{"pseudopotentials": "home/me/C.upf"}')
    'ase:my.Code{"pseudopotentials": "C.upf"}'
    >>> teacher_name("zoo:hf:someone/carbon")
    'zoo:hf:someone/carbon'
    """
    kind, _, what = reference.partition(":")
    if "{" in what:  # the arguments of an ASE calculator may hold paths, too
        return f"{kind}:{_QUOTED_PATH.sub(_LAST_PART, what)}"
    if what.startswith("hf:"):  # a repository's name holds a slash
        return reference
    style, colon, file = what.rpartition(":")
    return f"{kind}:{style}{colon}{Path(file).name}"


def recipes_folder() -> Path:
    """Return the folder of the recipes that come with synthzoo.

    Raises
    ------
    InputError
        If the installation has none.
    """
    return packaged_folder(Path(__file__).parent, "recipes")


def find_recipe(name: Path | str) -> Path:
    """Return the path of a recipe file, or of a recipe that comes with synthzoo.

    Parameters
    ----------
    name
        Path, or name of a recipe that comes with synthzoo.

    Raises
    ------
    InputError
        If there is neither.
    """
    path = Path(name)
    if is_there(path) and path.is_file():
        return path
    packaged = recipes_folder() / f"{name}.yaml"
    if is_there(packaged):
        return packaged
    known = sorted(found.stem for found in recipes_folder().glob("*.yaml"))
    raise InputError(
        f"There is no recipe file {name}, and no recipe of that name comes with "
        f"synthzoo. It has: {', '.join(known)}."
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}.") from error
    content = read_yaml(text, source=str(path))
    if not isinstance(content, dict):
        raise InputError(f"{path} should hold sections {list(SECTIONS)}.")
    return content
