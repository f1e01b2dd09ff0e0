"""Portable models of OpenKIM, evaluated through the KIM API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from synthzoo.errors import MissingExtraError, TeacherError
from synthzoo.teachers.teacher import Teacher, isolated_atoms, text_sha256

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


def kim_sha256(what: str) -> str:
    """Return the hash of a model's id and of all parameters that it publishes.

    It is the same on every machine, which that of the compiled library is not.
    """
    with _quiet():
        model = _open(what)
    return text_sha256(what, *_parameters(model))


def load_kim(reference: str, what: str, sha256: str) -> Teacher:
    """Return a portable model of OpenKIM as a teacher."""
    with _quiet():
        _open(what)
        elements, calculator = _calculator(what)
    return Teacher(
        reference=reference,
        software=f"kimpy {version('kimpy')}",
        sha256=sha256,
        elements=elements,
        calculator=calculator,
        isolated_atom_energies_eV=isolated_atoms(calculator, elements),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the KIM API from writing `kim.log` into the current folder."""
    kimpy = _kimpy()
    kimpy.log.Log.push_default_verbosity(kimpy.log_verbosity.silent)
    try:
        yield
    finally:
        kimpy.log.Log.pop_default_verbosity()


def _calculator(what: str) -> tuple[tuple[str, ...], Calculator]:
    from ase.calculators.kim import KIM, get_model_supported_species

    try:
        return tuple(get_model_supported_species(what)), KIM(what)
    except Exception as error:  # native code raises whatever it likes
        raise TeacherError(f"{what} cannot be used: {error}") from error


def _kimpy() -> Any:
    try:
        import kimpy
    except ImportError as error:
        raise MissingExtraError(
            "KIM teachers need kimpy and the KIM API: apt-get install libkim-api-dev "
            "openkim-models, or conda's kim-api; then pip install 'synthzoo[kim]'."
        ) from error
    return kimpy


def _open(what: str) -> Any:
    """Return kimpy's model in eV, Å and fs."""
    kimpy = _kimpy()
    _refuse_here(kimpy, what)
    try:
        accepted, model = kimpy.model.create(
            kimpy.numbering.zeroBased,
            kimpy.length_unit.A,
            kimpy.energy_unit.eV,
            kimpy.charge_unit.e,
            kimpy.temperature_unit.K,
            kimpy.time_unit.ps,
            what,
        )
    except Exception as error:  # kimpy has its own, which differ between versions
        raise TeacherError(
            f"There is no portable model {what!r} among the installed ones (simulator "
            "models cannot be used). `kim-api-collections-management list` shows them."
        ) from error
    if not accepted:
        raise TeacherError(f"The model {what} does not compute in eV and Å.")
    return model


def _refuse_here(kimpy: Any, what: str) -> None:
    """Refuse a library in the current folder, which KIM prefers to installed ones.

    Whoever can put a folder beside a recipe could have it run any code.
    """
    item_type = kimpy.collection_item_type.portableModel
    try:
        library, place = (
            kimpy.collections.create().get_item_library_file_name_and_collection(
                item_type, what
            )
        )
    except Exception:  # noqa: BLE001  not found: kimpy.model.create says so
        return
    if place == kimpy.collection.currentWorkingDirectory:
        raise TeacherError(
            f"{library} is a compiled model in the current folder and was not loaded. "
            "Install it with `kim-api-collections-management`, or work elsewhere."
        )


def _parameters(model: Any) -> Iterator[str]:
    """Yield one line for each published parameter: its name and its values."""
    for index in range(model.get_number_of_parameters()):
        kind, length, name, _ = model.get_parameter_metadata(index)
        read = (
            model.get_parameter_double
            if "ouble" in str(kind)
            else model.get_parameter_int
        )
        values = " ".join(repr(read(index, item)) for item in range(length))
        yield f"{name} {values}"
