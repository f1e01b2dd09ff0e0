"""From a reference to something that computes: the one place for all commands."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from synthzoo.data import unconstrained
from synthzoo.data.structures import label
from synthzoo.errors import InputError, SynthzooError, UnknownModelError
from synthzoo.models.checkpoint import Checkpoint
from synthzoo.models.place import ANYWHERE, Place
from synthzoo.models.predict import BATCH_ATOMS, predict_structures
from synthzoo.runs.provenance import installed_versions
from synthzoo.zoo.references import ZOO, has_checkpoint

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from synthzoo.models.calculator import SynthzooCalculator
    from synthzoo.models.config import CheckpointConfig
    from synthzoo.teachers.teacher import Teacher


@dataclass(frozen=True)
class TeacherReference:
    """A teacher that is known by its reference, and not loaded yet.

    ``reference``: of the form ``kind:what``; it means the same in any folder.
    """

    reference: str
    name: str

    def __str__(self) -> str:
        """Return what the user called it."""
        return self.name


Model = Any
"""A reference as for `resolve`, what that returns, or any ASE calculator."""


def resolve(model: Model) -> Checkpoint | TeacherReference | Calculator:
    """Return what a reference means: a checkpoint, a teacher or a calculator.

    A teacher is not loaded yet. A reference is, in this order,

    1. a folder with a ``config.json``: a checkpoint, whatever its name is;
    2. ``kind:what``: a teacher, see `synthzoo.teachers.load_teacher`. ``zoo:MODEL`` is
       the checkpoint that ``MODEL`` alone is;
    3. a name of the teachers' catalogue, such as ``LCBOP``. Where the teacher needs a
       file, a colon and its path follow: ``C-ACE:c_ace.yace``;
    4. ``hf:organisation/name``, the path of a folder, or a name or alias of the zoo: a
       checkpoint, which is downloaded if it is nowhere on disk.

    So a file, or a folder that holds no checkpoint, never stands in the way of a name
    of the zoo or the catalogue. A `Path` is always a folder.

    ``model``: a reference, or an ASE calculator; what is resolved already is returned
    as it is.
    """
    if isinstance(model, Checkpoint | TeacherReference):
        return model
    if not isinstance(model, str | Path):
        return _given(model)
    from synthzoo.zoo.find import find_checkpoint

    if isinstance(model, str) and _names_teacher(model):
        from synthzoo.teachers.catalogue import resolve_reference

        return TeacherReference(resolve_reference(model), model)
    try:
        return find_checkpoint(model)
    except UnknownModelError as error:
        raise UnknownModelError(_unknown(str(model), str(error))) from error


def _given(model: Any) -> Calculator:
    if not callable(getattr(model, "get_potential_energy", None)):
        raise InputError(
            f"{model!r} is neither the name of a model nor an ASE calculator."
        )
    calculator: Calculator = model
    return calculator


def _names_teacher(text: str) -> bool:
    from synthzoo.teachers.catalogue import is_named
    from synthzoo.teachers.loading import KINDS

    if has_checkpoint(text) or text.startswith(ZOO):
        return False
    kind, colon, _ = text.partition(":")
    return (bool(colon) and kind in KINDS) or is_named(kind)


def _unknown(name: str, said: str) -> str:
    """Return what to say about a name that neither zoo nor catalogue has."""
    from synthzoo.teachers.catalogue import named_teachers
    from synthzoo.teachers.loading import KINDS

    if "Did you mean" in said:
        return said
    known = {teacher.name.lower(): teacher.name for teacher in named_teachers()}
    for close in difflib.get_close_matches(name.lower(), known, n=1):
        return f"{said} Did you mean the teacher {known[close]}?"
    return (
        f"{said} Teachers are in `synthzoo teachers list`; any other teacher is given "
        f"as kind:what, with one of the kinds {', '.join(KINDS)}."
    )


def find_checkpoint(model: Model, *, needed_for: str) -> Checkpoint:
    """Return the checkpoint that a reference means; refuse anything else.

    ``needed_for``: what cannot be done with anything else, for the message.
    """
    refuse_others(model, needed_for=needed_for)
    return cast("Checkpoint", resolve(model))


def at_level(model: Model, level: str | None) -> Model:
    """Return a model at one of its levels of theory, or as it is if none is named."""
    if level is None:
        return model
    return find_checkpoint(model, needed_for="a level of theory").at(level)


def first_at_level(models: Sequence[Model], level: str | None) -> list[Model]:
    """Return models, the first one at one of its levels of theory, if one is named."""
    return [at_level(model, level) for model in models[:1]] + list(models[1:])


def level_of(model: Model) -> str | None:
    """Return the name of the level of theory that a resolved model computes, if any."""
    if not isinstance(model, Checkpoint) or not model.levels:
        return None
    return model.level or model.levels[0]


def refuse_others(model: Model, *, needed_for: str) -> None:
    """Refuse what is no reference of a checkpoint; nothing is looked up or loaded."""
    if isinstance(model, TeacherReference) or (
        isinstance(model, str) and _names_teacher(model)
    ):
        what = f"{model} is a teacher"
    elif is_calculator(model):
        what = f"{type(_given(model)).__name__} is a calculator of this program"
    else:
        return
    raise InputError(
        f"{what}, but {needed_for} needs a checkpoint: a model of `synthzoo list`, a "
        "checkpoint folder, or hf:organisation/name."
    )


def teacher_reference(model: Model) -> str:
    """Return the reference of a model as a teacher, which means the same anywhere.

    Checkpoints are teachers of the kind ``zoo``.
    """
    found = resolve(model)
    if isinstance(found, TeacherReference):
        return found.reference
    if isinstance(found, Checkpoint):
        if found.level is not None:
            raise InputError(
                f"{found} cannot be a teacher: labels name their teacher by "
                "a reference, which has no level. Use its default level."
            )
        name = found.name
        if not has_checkpoint(name):
            name = name.removeprefix(ZOO)
        return ZOO + (str(found.folder.absolute()) if has_checkpoint(name) else name)
    kind = type(found)
    raise InputError(
        f"{kind.__name__} is a calculator of this program, which labels cannot name as "
        f"their source. Name its class instead: ase:{kind.__module__}."
        f"{kind.__qualname__}{{...}}, with its arguments as JSON."
    )


def is_calculator(model: Model) -> bool:
    """Return whether a model is an object of this program, and no reference."""
    return not isinstance(model, str | Path | Checkpoint | TeacherReference)


def is_network(model: Model) -> bool:
    """Return whether a model is a network of ours: a checkpoint or its calculator."""
    found = resolve(model)
    if is_calculator(found):
        return type(found).__module__ == "synthzoo.models.calculator"  # it loads torch
    return isinstance(found, Checkpoint)


def model_name(model: Model) -> str:
    """Return what a model is called in results."""
    return type(model).__name__ if is_calculator(model) else str(model)


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """Return names that differ: the second one of a kind is numbered, and so on.

    Examples
    --------
    >>> unique(["EMT", "carbon", "EMT"])
    ('EMT', 'carbon', 'EMT-2')
    """
    return tuple(
        name if (before := names[:number].count(name)) == 0 else f"{name}-{before + 1}"
        for number, name in enumerate(names)
    )


@dataclass(frozen=True, kw_only=True)
class Potential:
    """A calculator, and where it comes from.

    ``elements``: chemical symbols that it knows; None if it does not say.
    ``all_images``: whether it is known to count all images of an atom in a small cell.
    ``provenance``: what tells it from another one: kind, hashes, versions.
    ``teacher``: where the calculator is a teacher's.
    """

    calculator: Calculator
    elements: tuple[str, ...] | None
    all_images: bool
    provenance: dict[str, Any]
    config: CheckpointConfig | None = None
    teacher: Teacher | None = None

    def predict(
        self, structures: Iterable[Atoms], *, batch_atoms: int = BATCH_ATOMS
    ) -> Iterator[Atoms]:
        """Yield labelled copies of structures, in order.

        Energies of teachers are relative to their isolated atoms; those of other
        calculators are as they give them.

        ``batch_atoms``: atoms that a checkpoint computes at a time.
        """
        if self.teacher is not None:
            yield from map(self.teacher.label, structures)
        elif self.config is not None:
            network = cast("SynthzooCalculator", self.calculator)
            yield from predict_structures(structures, network, batch_atoms=batch_atoms)
        else:
            for index, atoms in enumerate(structures):
                yield self._labelled(atoms, index)

    def _labelled(self, atoms: Atoms, index: int) -> Atoms:
        computed = atoms.copy()
        computed.calc = self.calculator
        try:
            has_stress = atoms.pbc.all() and gives_stress(self, atoms)
            return label(
                atoms,
                energy_eV=unconstrained.energy_eV(computed),
                forces_eV_A=unconstrained.forces_eV_A(computed),
                stress_eV_A3=unconstrained.stress_eV_A3(computed)
                if has_stress
                else None,
            )
        except SynthzooError:
            raise
        except Exception as error:  # calculators raise what they like
            raise InputError(
                f"Structure number {index + 1} (index {index}) cannot be computed with "
                f"{model_name(self.calculator)}: {type(error).__name__}: {error}"
            ) from error


def load_potential(
    model: Model, *, place: Place = ANYWHERE, dtype: str = "float32"
) -> Potential:
    """Return a potential, ready to compute.

    ``place``, ``dtype``: where a checkpoint computes, and in which precision.
    """
    found = resolve(model)
    if isinstance(found, TeacherReference):
        return _teacher(found)
    if isinstance(found, Checkpoint):
        return _checkpoint(found, place, dtype)
    if is_network(found):
        config = cast("SynthzooCalculator", found).config
        return _network(found, config, {"weights_sha256": config.weights_sha256})
    kind = type(found)
    return Potential(
        calculator=found,
        elements=None,
        all_images=False,
        provenance={"calculator": f"{kind.__module__}.{kind.__qualname__}"},
    )


def refuse_starting_point(model: Model) -> None:
    """Refuse a checkpoint that has to be fine-tuned before it is a potential."""
    found = resolve(model)
    if isinstance(found, Checkpoint) and found.config.kind == "starting-point":
        raise InputError(
            f"{found} is a starting point for fine-tuning, not yet a potential: run "
            "`synthzoo finetune` with it first."
        )


def _teacher(found: TeacherReference) -> Potential:
    from synthzoo.teachers.loading import open_teacher

    teacher = open_teacher(found.reference)
    return Potential(
        calculator=teacher.calculator,
        elements=teacher.elements,
        all_images=True,
        provenance=dict(teacher.provenance),
        teacher=teacher,
    )


def _checkpoint(found: Checkpoint, place: Place, dtype: str) -> Potential:
    from synthzoo.zoo.load import load_calculator

    config = found.config
    return _network(
        load_calculator(
            found,
            device=place.device,
            dtype=dtype,
            compile=place.compiled,
            kernels=place.kernels,
        ),
        config,
        {"weights_sha256": config.weights_sha256, "versions": installed_versions()},
    )


def _network(
    calculator: Calculator, config: CheckpointConfig, provenance: dict[str, Any]
) -> Potential:
    return Potential(
        calculator=calculator,
        elements=tuple(config.elements),
        all_images=True,
        provenance=provenance,
        config=config,
    )


def forget(calculator: Calculator) -> None:
    """Let no result depend, in its last digits, on what was computed before.

    Some calculators go on with the neighbour list of a similar structure.

    ``calculator``: any; only those that can be reset are.
    """
    reset = getattr(calculator, "reset", None)
    if callable(reset):
        reset()


def gives_stress(potential: Potential, atoms: Atoms) -> bool:
    """Return whether a potential has the stress that a barostat needs."""
    from ase.calculators.calculator import PropertyNotImplementedError

    tried = atoms.copy()
    tried.calc = potential.calculator
    try:
        unconstrained.stress_eV_A3(tried)
    except (PropertyNotImplementedError, NotImplementedError):
        return False
    return True
