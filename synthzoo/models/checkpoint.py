"""The checkpoint format: JSON and safetensors, of which nothing is executed."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.errors import CheckpointError, InputError, IntegrityError
from synthzoo.models.config import (
    CARD_FILE,
    CONFIG_FILE,
    GOLDEN_FILE,
    LEVELS_FILE,
    MAP_FILE,
    UNCERTAINTY_FILE,
    WEIGHTS_FILE,
    CheckpointConfig,
    config_values,
    parse_config,
    seal_of,
)
from synthzoo.models.golden import (
    Golden,
    Verification,
    compare_golden,
    golden_atoms,
    pack_golden,
    predict_golden,
    read_seal,
    representative,
    unpack_golden,
)
from synthzoo.models.isolation import nequip_session
from synthzoo.models.network import build_model, load_weights
from synthzoo.models.place import Place
from synthzoo.runs.files import hash_content, new_output_folder, refuse_existing
from synthzoo.runs.provenance import installed_versions

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray
    from torch.nn import Module

    from synthzoo.models.levels import NewLevels
    from synthzoo.models.stored import StoredNetwork
    from synthzoo.models.uncertainty import Uncertainty


OLD_TOLERANCE = 10.0
"""Times that of `verify_checkpoint`: another model is refused, no other machine."""

MAX_BYTES = {
    CONFIG_FILE: 2**20,
    WEIGHTS_FILE: 2**31,
    GOLDEN_FILE: 2**26,
    UNCERTAINTY_FILE: 2**26,
    LEVELS_FILE: 2**28,
    MAP_FILE: 2**26,
    CARD_FILE: 2**20,
}
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder whose description is read once, and whose network built once.

    Both happen when they are first needed. Functions hand this on instead of a path. A
    copy in another process keeps the description and builds a network of its own.

    ``level``: of several levels of theory, the one that is meant; None for the default
    one.
    """

    folder: Path
    name: str
    level: str | None = None

    @cached_property
    def recorded(self) -> CheckpointConfig:
        """The checked description of all levels; see `read_config`."""
        return read_config(self.folder)

    @cached_property
    def config(self) -> CheckpointConfig:
        """The checked description of the level."""
        from synthzoo.models.levels import config_at

        return config_at(self.recorded, self.level)

    @property
    def levels(self) -> tuple[str, ...]:
        """The names of all levels, the default one first; none if there is only one."""
        from synthzoo.models.levels import level_names

        return level_names(self.recorded)

    def at(self, level: str) -> Checkpoint:
        """Return the same checkpoint at one of its levels of theory."""
        from synthzoo.models.levels import checked_level

        return replace(self, level=checked_level(self.recorded, level, name=self.name))

    @property
    def golden(self) -> list[Atoms]:
        """The structures whose predictions are stored; see `golden_structures`."""
        return golden_structures(self)

    @cached_property
    def stored(self) -> StoredNetwork:
        """The network with its weights, read and verified once; see `load_stored`."""
        return load_stored(self)

    def network(self) -> Module:
        """Return a network of the caller's own, in evaluation mode on the CPU.

        It is built once; each call returns a copy. See `load_model`.
        """
        with nequip_session():
            warnings.simplefilter("ignore")  # torch's, about how scripts are copied
            return copy.deepcopy(self._network)

    @cached_property
    def _network(self) -> Module:
        return self.stored.network()

    def __str__(self) -> str:
        """Return what the user called it."""
        return self.name if self.level is None else f"{self.name} ({self.level})"

    def __getstate__(self) -> dict[str, Any]:
        """Leave the network behind: it is large, and quickly read.

        The folder means the same wherever the other process works.
        """
        state = vars(self) | {"folder": self.folder.absolute()}
        left = {"stored", "_network"}
        return {name: value for name, value in state.items() if name not in left}


def as_checkpoint(folder: str | Path | Checkpoint) -> Checkpoint:
    """Return the checkpoint in a folder."""
    if isinstance(folder, Checkpoint):
        return folder
    return Checkpoint(Path(folder), str(folder))


def read_config(folder: str | Path) -> CheckpointConfig:
    """Return the checked description of a checkpoint; torch is not loaded."""
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"There is no checkpoint folder {folder}.")
    path = folder / CONFIG_FILE
    return parse_config(_read_bytes(folder, CONFIG_FILE), where=str(path))


def load_model(
    folder: str | Path | Checkpoint, *, dtype: str | None = None
) -> tuple[Module, CheckpointConfig]:
    """Return a checkpoint's network of torch on the CPU, and its description.

    It is ready to evaluate; see `load_stored`.
    """
    stored = load_stored(folder, dtype=dtype)
    return stored.network(), stored.config


def load_stored(
    folder: str | Path | Checkpoint, *, dtype: str | None = None
) -> StoredNetwork:
    """Return a checkpoint's network as it is stored; torch is not imported.

    The files vouch for each other: the description has the hashes of weights and golden
    predictions, and these carry the hash of the description. Where they do not yet, in
    older checkpoints, the model has to predict one golden structure of each element.

    ``dtype``: precision in which to compute; that of the checkpoint if not given.
    """
    checkpoint = as_checkpoint(folder)
    stored = _load(checkpoint, dtype)
    recorded = _read_golden(checkpoint)
    if not _is_sealed(checkpoint):
        found = _compare(stored, representative(recorded))
        if not found.within(OLD_TOLERANCE):
            raise IntegrityError(
                f"{checkpoint.folder} does not reproduce its stored predictions. "
                f"{found.summary()} Either {CONFIG_FILE} was changed, or the installed "
                "versions compute differently. Fetch or copy the checkpoint again."
            )
    return stored


def write_checkpoint(  # noqa: PLR0913  all that a checkpoint holds
    folder: str | Path,
    *,
    model: Module,
    config: CheckpointConfig,
    golden: Sequence[Atoms],
    card: str | None = None,
    uncertainty: Uncertainty | None = None,
    levels: NewLevels | None = None,
) -> None:
    """Write a checkpoint folder; it appears only when it is complete.

    ``folder``: where to write; it must not exist, or be empty.
    ``model``: trained model of the described architecture, on any device, of any
    precision; it is not changed.
    ``config``: description of the model; hashes and versions are filled in.
    ``golden``: a few structures whose predictions are stored, for `verify_checkpoint`.
    ``uncertainty``: of what the model predicts, if it is known.
    ``levels``: other levels of theory that share most of the weights, if there are any.
    """
    folder = Path(folder)
    refuse_existing(folder)
    if not golden:
        raise InputError("A checkpoint needs at least one golden structure.")
    provenance = {**config.provenance, "versions": installed_versions()}
    config = replace(config, provenance=provenance)
    contents = _contents(config, model, golden, levels)
    if card is not None:
        contents[CARD_FILE] = card.encode()
    if uncertainty is not None:
        from synthzoo.models.uncertainty import pack_uncertainty

        contents[UNCERTAINTY_FILE] = pack_uncertainty(
            uncertainty, weights_sha256=hash_content(contents[WEIGHTS_FILE])
        )
    with new_output_folder(folder) as partial:
        for name, content in contents.items():
            (partial / name).write_bytes(content)


def golden_structures(folder: str | Path | Checkpoint) -> list[Atoms]:
    """Return the structures for which a checkpoint carries predictions."""
    recorded = _read_golden(as_checkpoint(folder))
    return [golden_atoms(entry) for entry in recorded]


def verify_checkpoint(
    folder: str | Path | Checkpoint, *, device: str = "cpu"
) -> Verification:
    """Recompute a checkpoint's golden predictions and return how much they differ."""
    checkpoint = as_checkpoint(folder)
    recorded, here = [], []
    for level in checkpoint.levels or (None,):
        each = checkpoint if level is None else checkpoint.at(level)
        stored, entries = _load(each, None), _read_golden(each)
        _is_sealed(each)
        recorded += entries
        here += _predict(stored, entries, device)
    return _judged(checkpoint.recorded, recorded, here)


def _load(checkpoint: Checkpoint, dtype: str | None) -> StoredNetwork:
    """Return the described network with the weights on record."""
    from synthzoo.models.stored import StoredNetwork

    folder, config = checkpoint.folder, checkpoint.config
    sha256 = checkpoint.recorded.weights_sha256
    weights = _read_tensors(folder, WEIGHTS_FILE, sha256=sha256)
    where = str(folder / WEIGHTS_FILE)
    dtype = dtype or config.dtype
    if checkpoint.level is not None:
        from synthzoo.models.levels import weights_at

        where = str(folder / LEVELS_FILE)
        arrays = _read_levels(checkpoint)
        weights = weights_at(arrays, weights, checkpoint.level, where=where)
        return StoredNetwork(config, weights, dtype, where)
    uncertainty = _read_uncertainty(folder, sha256)
    return StoredNetwork(config, weights, dtype, where, uncertainty)


def _read_levels(checkpoint: Checkpoint) -> dict[str, NDArray[Any]]:
    levels = checkpoint.recorded.levels
    sha256 = "" if levels is None else levels.sha256
    return _read_tensors(checkpoint.folder, LEVELS_FILE, sha256=sha256)


def _read_uncertainty(folder: Path, weights_sha256: str) -> Uncertainty | None:
    if not (folder / UNCERTAINTY_FILE).exists():
        return None
    from synthzoo.models.uncertainty import unpack_uncertainty

    content = _read_bytes(folder, UNCERTAINTY_FILE)
    where = str(folder / UNCERTAINTY_FILE)
    return unpack_uncertainty(content, weights_sha256=weights_sha256, where=where)


def _read_golden(checkpoint: Checkpoint) -> list[Golden]:
    folder, sha256 = checkpoint.folder, checkpoint.recorded.golden_sha256
    if checkpoint.level is not None:
        from synthzoo.models.levels import golden_at

        where = str(folder / LEVELS_FILE)
        return golden_at(_read_levels(checkpoint), checkpoint.level, where=where)
    tensors = _read_tensors(folder, GOLDEN_FILE, sha256=sha256)
    return unpack_golden(tensors, where=str(folder / GOLDEN_FILE))


def _is_sealed(checkpoint: Checkpoint) -> bool:
    """Return whether the golden predictions vouch for the description.

    Raises `IntegrityError` if they are those of another one.
    """
    seal = read_seal(_read_bytes(checkpoint.folder, GOLDEN_FILE))
    if seal not in (None, seal_of(checkpoint.recorded)):
        raise IntegrityError(
            f"{checkpoint.folder / CONFIG_FILE} does not belong to {GOLDEN_FILE}: it "
            "was changed, or comes from another checkpoint. Fetch or copy the "
            "checkpoint again."
        )
    return seal is not None


def _compare(stored: StoredNetwork, recorded: Sequence[Golden]) -> Verification:
    """Return how much a network's predictions differ from those on record."""
    return _judged(stored.config, recorded, _predict(stored, recorded, "cpu"))


def _predict(
    stored: StoredNetwork, recorded: Sequence[Golden], device: str
) -> list[Golden]:
    from synthzoo.models.calculator import SynthzooCalculator

    calculator = SynthzooCalculator(stored, place=Place(device=device))
    return [predict_golden(golden_atoms(entry), calculator) for entry in recorded]


def _judged(
    config: CheckpointConfig, recorded: Sequence[Golden], here: Sequence[Golden]
) -> Verification:
    versions = config.provenance.get("versions", {})
    return compare_golden(recorded, here, recorded_versions=dict(versions))


def _read_bytes(folder: Path, name: str) -> bytes:
    path = folder / name
    if not path.is_file():
        raise CheckpointError(f"{folder} is not a checkpoint: it has no {name}.")
    size = path.stat().st_size
    if size > MAX_BYTES[name]:
        raise CheckpointError(
            f"{path} has {size} bytes; the limit is {MAX_BYTES[name]}."
        )
    return path.read_bytes()


def _read_tensors(folder: Path, name: str, *, sha256: str) -> dict[str, NDArray[Any]]:
    """Return a safetensors file's content, once its hash is seen to be right."""
    import safetensors.numpy
    from safetensors import SafetensorError

    path, content = folder / name, _read_bytes(folder, name)
    if content.startswith(_PICKLE_STARTS):
        raise CheckpointError(
            f"{path} is a pickle (or zip) file, which could run code; "
            "it is not safetensors and was not opened."
        )
    found = hash_content(content)
    if found != sha256:
        raise IntegrityError(
            f"{path} is not the file on record in {CONFIG_FILE}: its SHA-256 is "
            f"{found}, expected {sha256}. It is damaged or from another checkpoint; "
            "fetch or copy the checkpoint again."
        )
    try:
        return safetensors.numpy.load(content)
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is not a valid safetensors file ({error})."
        ) from error
    except KeyError as error:  # a type of number that numpy lacks
        raise CheckpointError(f"{path} holds numbers of the type {error}.") from error


def _contents(
    config: CheckpointConfig,
    model: Module,
    golden: Sequence[Atoms],
    levels: NewLevels | None,
) -> dict[str, bytes]:
    """Return the files of a checkpoint, golden predictions included."""
    import safetensors.torch

    from synthzoo.models.calculator import calculator_of

    stored = build_model(config)
    weights = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    load_weights(stored, weights, where="The model given")
    calculator = calculator_of(stored.eval(), config)
    tensors = {
        name: value.detach().clone().contiguous()
        for name, value in stored.state_dict().items()
    }
    predictions = [predict_golden(atoms, calculator) for atoms in golden]
    weights_bytes = safetensors.torch.save(tensors)
    contents, described = {WEIGHTS_FILE: weights_bytes}, None
    if levels is not None:
        from synthzoo.models.levels import pack_levels

        base = {name: value.numpy() for name, value in tensors.items()}
        contents[LEVELS_FILE], described = pack_levels(base, levels, golden)
    config = replace(
        config,
        weights_sha256=hash_content(weights_bytes),
        golden_sha256="0" * 64,  # of no weight for the seal, which stands in that file
        levels=described,
    )
    seal = seal_of(parse_config(_as_json(config), where=CONFIG_FILE))
    golden_bytes = pack_golden(predictions, seal=seal)
    golden_sha256 = hash_content(golden_bytes)
    return contents | {
        CONFIG_FILE: _as_json(replace(config, golden_sha256=golden_sha256)),
        GOLDEN_FILE: golden_bytes,
    }


def _as_json(config: CheckpointConfig) -> bytes:
    text = json.dumps(config_values(config), indent=2, ensure_ascii=False)
    return text.encode() + b"\n"
