"""The checkpoint format: JSON and safetensors, of which nothing is executed."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import synthzoo
from synthzoo.architecture import check_arguments, is_number
from synthzoo.errors import CheckpointError, InputError, IntegrityError
from synthzoo.isolation import MODEL_GATE, nequip_session

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.nn import Module

FORMAT_VERSION = 1
"""The newest version of the format that this synthzoo reads and writes."""

FORMAT_SINCE = "0.1.0"
"""The first synthzoo that reads `FORMAT_VERSION`."""

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
GOLDEN_FILE = "golden.safetensors"
CARD_FILE = "README.md"
MODEL_FILES = (CONFIG_FILE, WEIGHTS_FILE, GOLDEN_FILE)

DTYPES = ("float32", "float64")
KINDS = ("potential", "starting-point")
MAX_CUTOFF_A = 20.0

_MAX_BYTES = {CONFIG_FILE: 2**20, WEIGHTS_FILE: 2**31, GOLDEN_FILE: 2**26}
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_VERSIONED_PACKAGES = ("synthzoo", "nequip", "e3nn", "torch")

# float32 carries 6e-8 of a number; sums of some thousand terms, which another machine
# adds in another order, lose two more digits.
_ENERGY_TOLERANCE = 1e-5  # of the largest energy per atom, or of 1 eV
_FORCE_TOLERANCE = 1e-4  # of the largest force, or of 1 eV/Å
_STRESS_TOLERANCE = 1e-4  # of the largest stress, or of 0.1 eV/Å³


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """What ``config.json`` says about a model.

    Attributes
    ----------
    format_version
        Version of the checkpoint format.
    builder
        Name of the nequip model builder.
    arguments
        Its keyword arguments, apart from the elements, cutoff, dtype and seed.
    elements
        Chemical symbols, in the order of the model's types.
    cutoff_A
        Radial cutoff in Å.
    dtype
        Precision in which the weights are stored.
    isolated_atom_energies_eV
        Energy of the free atom of each element on the model's scale, in eV.
    labels
        What the energies are: teacher, level of theory, reference.
    kind
        ``potential``, or ``starting-point`` if it must be fine-tuned before use.
    provenance
        Versions, recipe, seed and data hashes that made the weights.
    needs_synthzoo
        The first synthzoo that reads this format version.
    weights_sha256, golden_sha256
        Hashes of the two other files; `write_checkpoint` fills them in.
    """

    format_version: int
    builder: str
    arguments: dict[str, Any]
    elements: tuple[str, ...]
    cutoff_A: float
    dtype: str
    isolated_atom_energies_eV: dict[str, float]
    labels: dict[str, Any]
    kind: Literal["potential", "starting-point"]
    provenance: dict[str, Any]
    needs_synthzoo: str = FORMAT_SINCE
    weights_sha256: str = ""
    golden_sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """How well the golden predictions of a checkpoint were met.

    Attributes
    ----------
    structures
        Number of golden structures.
    energy_difference_meV_per_atom, force_difference_eV_A, stress_difference_eV_A3
        Largest absolute differences from the recorded predictions.
    energy_tolerance_meV_per_atom, force_tolerance_eV_A, stress_tolerance_eV_A3
        Differences that float32 arithmetic excuses.
    recorded_versions, installed_versions
        Packages that made the predictions, and those that recomputed them.
    """

    structures: int
    energy_difference_meV_per_atom: float
    force_difference_eV_A: float
    stress_difference_eV_A3: float
    energy_tolerance_meV_per_atom: float
    force_tolerance_eV_A: float
    stress_tolerance_eV_A3: float
    recorded_versions: dict[str, str]
    installed_versions: dict[str, str]

    @property
    def passed(self) -> bool:
        """Whether every difference is within its tolerance."""
        return (
            self.energy_difference_meV_per_atom <= self.energy_tolerance_meV_per_atom
            and self.force_difference_eV_A <= self.force_tolerance_eV_A
            and self.stress_difference_eV_A3 <= self.stress_tolerance_eV_A3
        )

    def summary(self) -> str:
        """Return one sentence for people; it names both sides where they differ."""
        text = (
            f"{self.structures} golden structures "
            f"{'met' if self.passed else 'NOT met'}: largest differences "
            f"{self.energy_difference_meV_per_atom:.2g} meV/atom, "
            f"{self.force_difference_eV_A:.2g} eV/Å, "
            f"{self.stress_difference_eV_A3:.2g} eV/Å³."
        )
        if self.passed:
            return text
        return (
            f"{text} Recorded with {_versions_text(self.recorded_versions)}; "
            f"here {_versions_text(self.installed_versions)}."
        )


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages on which a model's numbers depend."""
    return {name: _installed_version(name) for name in _VERSIONED_PACKAGES}


def read_config(folder: str | Path) -> CheckpointConfig:
    """Return the checked description of a checkpoint; torch is not loaded.

    Parameters
    ----------
    folder
        The checkpoint.

    Raises
    ------
    CheckpointError
        If the folder or its ``config.json`` is missing, damaged, of a newer format,
        or describes anything that this version does not allow.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"There is no checkpoint folder {folder}.")
    path = folder / CONFIG_FILE
    return _parse_config(_read_bytes(folder, CONFIG_FILE), where=str(path))


def build_model(
    config: CheckpointConfig, *, dtype: str | None = None, seed: int = 0
) -> Module:
    """Return an untrained nequip model of the described architecture, ready to train.

    The process state of the caller is kept.

    Parameters
    ----------
    config
        Description of the model.
    dtype
        Precision of the model; that of the checkpoint if not given.
    seed
        Seed of the initial weights.

    Raises
    ------
    CheckpointError
        If the installed nequip refuses the description.
    """
    check_arguments(config.builder, config.arguments, config.elements)
    with nequip_session(), MODEL_GATE.building():
        import nequip.model

        warnings.simplefilter("ignore")  # advice on arguments, meant for training
        try:
            model: Module = getattr(nequip.model, config.builder)(
                seed=seed,
                model_dtype=_checked_dtype(dtype or config.dtype),
                type_names=list(config.elements),
                r_max=config.cutoff_A,
                **copy.deepcopy(config.arguments),
            )
        except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"nequip {_installed_version('nequip')} cannot build the model that "
                f"{CONFIG_FILE} describes: {error}"
            ) from error
    return model


def load_model(
    folder: str | Path, *, dtype: str | None = None
) -> tuple[Module, CheckpointConfig]:
    """Return a checkpoint's model, ready to evaluate on the CPU, and its description.

    Parameters
    ----------
    folder
        The checkpoint.
    dtype
        Precision of the model; that of the checkpoint if not given.

    Raises
    ------
    CheckpointError
        If the folder is not a sound checkpoint; `IntegrityError` if the weights are
        not those on record.
    """
    folder = Path(folder)
    config = read_config(folder)
    weights = _read_tensors(folder, WEIGHTS_FILE, sha256=config.weights_sha256)
    model = build_model(config, dtype=dtype)
    load_weights(model, weights, where=str(folder / WEIGHTS_FILE))
    return model.eval(), config


def load_weights(model: Module, weights: Mapping[str, Tensor], *, where: str) -> None:
    """Put weights into a model of just this architecture.

    Parameters
    ----------
    model
        Model to change.
    weights
        Tensors by name; nothing may be missing or left over.
    where
        What to call the weights in a message.

    Raises
    ------
    CheckpointError
        If names or shapes differ, or a number is not finite.
    """
    with MODEL_GATE.computing():
        for name, tensor in weights.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise CheckpointError(
                    f"{where}: {name} holds numbers that are not finite."
                )
        try:
            model.load_state_dict(dict(weights), strict=True)
        except RuntimeError as error:
            raise CheckpointError(
                f"{where} does not fit the model that {CONFIG_FILE} describes: {error}"
            ) from error


def write_checkpoint(
    folder: str | Path,
    *,
    model: Module,
    config: CheckpointConfig,
    golden: Sequence[Atoms],
    card: str | None = None,
) -> None:
    """Write a checkpoint folder; it appears only when it is complete.

    Parameters
    ----------
    folder
        Where to write; it must not exist, or be empty.
    model
        Trained model of the described architecture, on any device, of any precision;
        it is not changed.
    config
        Description of the model; hashes and versions are filled in.
    golden
        A few structures whose predictions are stored, for `verify_checkpoint`.
    card
        Text of the model card.

    Raises
    ------
    InputError
        If something is at that place already, or there is no golden structure.
    CheckpointError
        If the description is not allowed, or does not fit the model.
    """
    folder = Path(folder)
    refuse_existing(folder)
    if not golden:
        raise InputError("A checkpoint needs at least one golden structure.")
    provenance = {**config.provenance, "versions": installed_versions()}
    contents = _contents(replace(config, provenance=provenance), model, golden)
    if card is not None:
        contents[CARD_FILE] = card.encode()
    with new_folder(folder) as partial:
        for name, content in contents.items():
            (partial / name).write_bytes(content)


def verify_checkpoint(folder: str | Path, *, device: str = "cpu") -> Verification:
    """Recompute a checkpoint's golden predictions and return how much they differ.

    Parameters
    ----------
    folder
        The checkpoint.
    device
        Where to compute.

    Raises
    ------
    CheckpointError
        If the folder is not a sound checkpoint; `IntegrityError` if the weights or
        the golden predictions are not those on record.
    """
    from synthzoo.calculator import SynthzooCalculator

    folder = Path(folder)
    model, config = load_model(folder)
    tensors = _read_tensors(folder, GOLDEN_FILE, sha256=config.golden_sha256)
    recorded = _unpack_golden(tensors, where=str(folder / GOLDEN_FILE))
    calculator = SynthzooCalculator(model, config, device=device)
    here = [_golden_prediction(_golden_atoms(entry), calculator) for entry in recorded]
    return _compare(recorded, here, config)


def _parse_config(content: bytes, *, where: str) -> CheckpointConfig:
    try:
        raw = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where} is not sound JSON ({error}).") from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{where} must hold a JSON object.")
    try:
        _check_format_version(raw)
        _check_values(raw)
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error}") from error
    return CheckpointConfig(**{**raw, "elements": tuple(raw["elements"])})


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _check_format_version(raw: Mapping[str, Any]) -> None:
    found = raw.get("format_version")
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise CheckpointError(
            f"format_version must be a whole number from 1, not {found!r}."
        )
    if found > FORMAT_VERSION:
        raise CheckpointError(
            f"the checkpoint has format {found}, and this synthzoo "
            f"{synthzoo.__version__} reads up to {FORMAT_VERSION}. Install "
            f"synthzoo >= {str(raw.get('needs_synthzoo', 'the newest'))[:20]}."
        )


def _check_values(raw: Mapping[str, Any]) -> None:
    known = [field.name for field in fields(CheckpointConfig)]
    if unknown := sorted(set(raw) - set(known)):
        raise CheckpointError(f"unknown keys {unknown}; known are {known}.")
    if missing := [name for name in known if name not in raw]:
        raise CheckpointError(f"missing keys {missing}.")
    for name, (accepts, expected) in _VALUE_RULES.items():
        if not accepts(raw[name]):
            raise CheckpointError(f"{name} must be {expected}.")
    if set(raw["isolated_atom_energies_eV"]) != set(raw["elements"]):
        raise CheckpointError(
            "isolated_atom_energies_eV must have one energy for each element."
        )
    check_arguments(raw["builder"], raw["arguments"], raw["elements"])


def _is_element_list(value: Any) -> bool:
    from ase.data import atomic_numbers

    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(entry, str) and entry in atomic_numbers for entry in value)
        and len(set(value)) == len(value)
    )


def _is_sha256(value: Any) -> bool:
    return (
        isinstance(value, str)
        and len(value) == hashlib.sha256().digest_size * 2
        and set(value) <= set("0123456789abcdef")
    )


def _is_table_of_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(is_number(entry) for entry in value.values())


_VALUE_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "builder": (lambda value: isinstance(value, str), "a name"),
    "arguments": (lambda value: isinstance(value, dict), "an object"),
    "elements": (_is_element_list, "a list of different chemical symbols"),
    "cutoff_A": (
        lambda value: is_number(value) and 0 < value <= MAX_CUTOFF_A,
        f"a number above 0 and up to {MAX_CUTOFF_A} (Å)",
    ),
    "dtype": (lambda value: value == "float32", "'float32'"),
    "isolated_atom_energies_eV": (_is_table_of_numbers, "an object of numbers"),
    "labels": (lambda value: isinstance(value, dict), "an object"),
    "kind": (lambda value: value in KINDS, f"one of {KINDS}"),
    "provenance": (lambda value: isinstance(value, dict), "an object"),
    "needs_synthzoo": (lambda value: isinstance(value, str), "a version"),
    "weights_sha256": (_is_sha256, "a SHA-256"),
    "golden_sha256": (_is_sha256, "a SHA-256"),
}


def _checked_dtype(dtype: str) -> str:
    if dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}.")
    return dtype


def _read_bytes(folder: Path, name: str) -> bytes:
    path = folder / name
    if not path.is_file():
        raise CheckpointError(f"{folder} is not a checkpoint: it has no {name}.")
    size = path.stat().st_size
    if size > _MAX_BYTES[name]:
        raise CheckpointError(
            f"{path} has {size} bytes; the limit is {_MAX_BYTES[name]}."
        )
    return path.read_bytes()


def _read_tensors(folder: Path, name: str, *, sha256: str) -> dict[str, Tensor]:
    """Return a safetensors file's content, once its hash is seen to be right."""
    import safetensors.torch
    from safetensors import SafetensorError

    path, content = folder / name, _read_bytes(folder, name)
    if content.startswith(_PICKLE_STARTS):
        raise CheckpointError(
            f"{path} is a pickle (or zip) file, which could run code; "
            "it is not safetensors and was not opened."
        )
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise IntegrityError(
            f"{path} is not the file on record in {CONFIG_FILE}: its SHA-256 is "
            f"{found}, expected {sha256}. It is damaged or from another checkpoint; "
            "fetch or copy the checkpoint again."
        )
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not sound safetensors ({error}).") from error


def _contents(
    config: CheckpointConfig, model: Module, golden: Sequence[Atoms]
) -> dict[str, bytes]:
    """Return the files of a checkpoint, golden predictions included."""
    import safetensors.torch

    from synthzoo.calculator import SynthzooCalculator

    stored = build_model(config)
    weights = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    load_weights(stored, weights, where="The model given")
    calculator = SynthzooCalculator(stored.eval(), config, device="cpu")
    tensors = {
        name: value.detach().clone().contiguous()
        for name, value in stored.state_dict().items()
    }
    predictions = [_golden_prediction(atoms, calculator) for atoms in golden]
    weights_bytes = safetensors.torch.save(tensors)
    golden_bytes = _pack_golden(predictions)
    config = replace(
        config,
        weights_sha256=hashlib.sha256(weights_bytes).hexdigest(),
        golden_sha256=hashlib.sha256(golden_bytes).hexdigest(),
    )
    text = json.dumps(asdict(config), indent=2, ensure_ascii=False).encode() + b"\n"
    _parse_config(text, where=CONFIG_FILE)
    return {CONFIG_FILE: text, WEIGHTS_FILE: weights_bytes, GOLDEN_FILE: golden_bytes}


def refuse_existing(folder: Path) -> None:
    """Raise `InputError` unless a folder can be made at this place.

    Parameters
    ----------
    folder
        Where it would be; an empty folder may stand there.
    """
    if folder.is_symlink() or folder.is_file():
        raise InputError(f"{folder} exists and is not a folder; choose another name.")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} exists and is not empty; choose another name.")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a neighbour folder to write in; rename it at the end, or remove it.

    Parameters
    ----------
    folder
        Its name at the end.
    """
    partial = folder.with_name(f".{folder.name}.part{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        yield partial
        if folder.is_dir():
            folder.rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


_GOLDEN_INPUTS = ("numbers", "positions", "cell", "pbc")
_GOLDEN_LABELS = ("energy", "forces", "stress")

_Golden = dict[str, "NDArray[Any]"]


def _golden_prediction(atoms: Atoms, calculator: Any) -> _Golden:
    import numpy as np

    calculator.calculate(atoms)
    entry = {
        "numbers": atoms.numbers,
        "positions": atoms.positions,
        "cell": atoms.cell.array,
        "pbc": atoms.pbc,
    }
    results = calculator.results
    labels = {name: results[name] for name in _GOLDEN_LABELS if name in results}
    return {name: np.array(value) for name, value in (entry | labels).items()}


def _golden_atoms(entry: _Golden) -> Atoms:
    from ase import Atoms

    return Atoms(**{name: entry[name] for name in _GOLDEN_INPUTS})


def _pack_golden(predictions: Sequence[_Golden]) -> bytes:
    import safetensors.numpy

    return safetensors.numpy.save(
        {
            f"{index}.{name}": value
            for index, entry in enumerate(predictions)
            for name, value in entry.items()
        }
    )


def _unpack_golden(tensors: Mapping[str, Tensor], *, where: str) -> list[_Golden]:
    entries: dict[int, _Golden] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        if not index.isdecimal() or name not in _GOLDEN_INPUTS + _GOLDEN_LABELS:
            raise CheckpointError(f"{where}: unknown entry {key!r}.")
        entries.setdefault(int(index), {})[name] = value.numpy()
    needed = {*_GOLDEN_INPUTS, "energy", "forces"}
    if not entries or any(not needed <= set(entry) for entry in entries.values()):
        raise CheckpointError(f"{where} lacks a part of a golden structure.")
    return [entries[index] for index in sorted(entries)]


def _compare(
    recorded: Sequence[_Golden], here: Sequence[_Golden], config: CheckpointConfig
) -> Verification:
    energies, forces, stresses = (
        [_largest(name, old, new) for old, new in zip(recorded, here, strict=True)]
        for name in _GOLDEN_LABELS
    )
    return Verification(
        structures=len(recorded),
        energy_difference_meV_per_atom=1000 * max(new for new, _ in energies),
        force_difference_eV_A=max(new for new, _ in forces),
        stress_difference_eV_A3=max(new for new, _ in stresses),
        energy_tolerance_meV_per_atom=1000
        * _ENERGY_TOLERANCE
        * max(1.0, *(size for _, size in energies)),
        force_tolerance_eV_A=_FORCE_TOLERANCE * max(1.0, *(size for _, size in forces)),
        stress_tolerance_eV_A3=_STRESS_TOLERANCE
        * max(0.1, *(size for _, size in stresses)),
        recorded_versions=dict(config.provenance.get("versions", {})),
        installed_versions=installed_versions(),
    )


def _largest(name: str, old: _Golden, new: _Golden) -> tuple[float, float]:
    """Return the largest difference and magnitude of a label; energies per atom."""
    import numpy as np

    if name not in old:
        return 0.0, 0.0
    if name not in new or old[name].shape != new[name].shape:
        raise CheckpointError(f"A golden {name} has a shape that cannot be.")
    atoms = len(old["numbers"]) if name == "energy" else 1
    difference = np.abs(new[name] - old[name]).max() / atoms
    return float(difference), float(np.abs(old[name]).max() / atoms)


def _versions_text(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def _installed_version(package: str) -> str:
    if package == "synthzoo":
        return synthzoo.__version__
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
