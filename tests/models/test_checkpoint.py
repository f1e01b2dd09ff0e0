"""Checkpoints: written at once or not at all, checked before anything is built."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from ase import Atoms
from ase.build import bulk

import synthzoo.models.checkpoint
from synthzoo.errors import CheckpointError, InputError, IntegrityError
from synthzoo.models.architectures import check_arguments
from synthzoo.models.calculator import SynthzooCalculator
from synthzoo.models.checkpoint import (
    load_model,
    load_stored,
    read_config,
    verify_checkpoint,
    write_checkpoint,
)
from synthzoo.models.config import (
    CONFIG_FILE,
    FORMAT_VERSION,
    GOLDEN_FILE,
    MODEL_FILES,
    WEIGHTS_FILE,
    CheckpointConfig,
)
from synthzoo.models.golden import Golden, representative
from synthzoo.models.network import build_model
from synthzoo.models.place import Place
from synthzoo.zoo.find import find_folder
from synthzoo.zoo.load import load_calculator

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny checkpoint, to be damaged."""
    return shutil.copytree(tiny_checkpoint, tmp_path / "tiny")


def edit_config(folder: Path, edit: Edit) -> None:
    """Change ``config.json`` in place."""
    path = folder / CONFIG_FILE
    raw = json.loads(path.read_text())
    edit(raw)
    path.write_text(json.dumps(raw))


def record_hash(folder: Path, name: str, key: str) -> None:
    """Make the hash on record that of the file, as a forger would."""
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    edit_config(folder, lambda raw: raw.update({key: digest}))


def test_written_checkpoint_gives_the_model_back(tiny_checkpoint: Path):
    """Weights and description are those that were written."""
    model, config = load_model(tiny_checkpoint)
    again, _ = load_model(tiny_checkpoint)
    fresh = build_model(config, seed=1)
    same = all(map(torch.equal, model.parameters(), again.parameters()))
    assert same
    assert not all(map(torch.equal, model.parameters(), fresh.parameters()))
    assert not model.training
    assert fresh.training
    assert config.elements == ("C",)
    assert config.provenance["versions"]["synthzoo"] == synthzoo.__version__


def test_seed_decides_the_initial_weights(tiny_checkpoint: Path):
    """The same seed gives the same initial weights."""
    config = read_config(tiny_checkpoint)
    first, second = build_model(config, seed=4), build_model(config, seed=4)
    assert all(map(torch.equal, first.parameters(), second.parameters()))


def test_reading_the_description_loads_neither_torch_nor_nequip(tiny_checkpoint: Path):
    """`read_config` stays cheap."""
    code = (
        "import sys; from synthzoo.models.checkpoint import read_config; "
        "read_config(sys.argv[1]); print({'torch', 'nequip'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_checkpoint)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set()\n"


def test_double_precision_model_has_the_stored_weights(tiny_checkpoint: Path):
    """float64 widens the stored numbers; it does not draw others."""
    single, _ = load_model(tiny_checkpoint)
    double, _ = load_model(tiny_checkpoint, dtype="float64")
    for narrow, wide in zip(single.parameters(), double.parameters(), strict=True):
        assert wide.dtype == torch.float64
        assert torch.equal(narrow.double(), wide)


def test_unknown_dtype_is_refused(tiny_checkpoint: Path):
    """The message names the choices."""
    with pytest.raises(InputError, match="float32, float64, not 'float16'"):
        load_model(tiny_checkpoint, dtype="float16")


# Writing


def test_nothing_is_left_when_writing_fails(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A full disk leaves neither the folder nor a half-written neighbour."""
    model, config = load_model(tiny_checkpoint)
    write_bytes = Path.write_bytes

    def fill_up(path: Path, content: bytes) -> int:
        if path.name == GOLDEN_FILE:
            raise OSError(28, "No space left on device")
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(OSError, match="No space"):
        write_checkpoint(
            tmp_path / "new", model=model, config=config, golden=[bulk("C")]
        )
    assert list(tmp_path.iterdir()) == []


def test_existing_work_is_not_overwritten(tiny_checkpoint: Path, tmp_path: Path):
    """A folder with anything in it, or a file, is refused before any computation."""
    model, config = load_model(tiny_checkpoint)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        with pytest.raises(InputError, match="choose another name"):
            write_checkpoint(tmp_path / name, model=model, config=config, golden=[])
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"


def test_empty_folder_is_filled_and_the_card_written(
    tiny_checkpoint: Path, tmp_path: Path
):
    """An empty folder is a good place; the card becomes README.md."""
    model, config = load_model(tiny_checkpoint)
    folder = tmp_path / "empty"
    folder.mkdir()
    write_checkpoint(
        folder, model=model, config=config, golden=[bulk("C")], card="# Tiny\n"
    )
    assert {path.name for path in folder.iterdir()} == {*MODEL_FILES, "README.md"}
    assert (folder / "README.md").read_text() == "# Tiny\n"
    assert verify_checkpoint(folder).passed


def test_writing_does_not_change_the_model_given(tiny_checkpoint: Path, tmp_path: Path):
    """A float64 model in training mode stays one, and its weights are stored."""
    config = read_config(tiny_checkpoint)
    model = build_model(config, dtype="float64", seed=7)
    write_checkpoint(tmp_path / "new", model=model, config=config, golden=[bulk("C")])
    assert model.training
    stored, _ = load_model(tmp_path / "new")
    for given, kept in zip(model.parameters(), stored.parameters(), strict=True):
        assert given.dtype == torch.float64
        assert torch.equal(given.float(), kept)


def test_golden_structures_are_needed(tiny_checkpoint: Path, tmp_path: Path):
    """Without one a checkpoint could never be verified."""
    model, config = load_model(tiny_checkpoint)
    with pytest.raises(InputError, match="at least one golden structure"):
        write_checkpoint(tmp_path / "new", model=model, config=config, golden=[])


def test_description_must_fit_the_model(tiny_checkpoint: Path, tmp_path: Path):
    """A model of another size than described is not written."""
    model, config = load_model(tiny_checkpoint)
    other = dataclasses.replace(
        config, arguments=config.arguments | {"num_features": 8}
    )
    with pytest.raises(CheckpointError, match="does not fit"):
        write_checkpoint(
            tmp_path / "new", model=model, config=other, golden=[bulk("C")]
        )
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_refused(tiny_checkpoint: Path, tmp_path: Path):
    """A diverged training does not become a checkpoint."""
    model, config = load_model(tiny_checkpoint)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not finite"):
        write_checkpoint(
            tmp_path / "new", model=model, config=config, golden=[bulk("C")]
        )


def test_description_that_could_not_be_read_is_not_written(
    tiny_checkpoint: Path, tmp_path: Path
):
    """The rules for reading hold for writing, too."""
    model, config = load_model(tiny_checkpoint)
    wrong = dataclasses.replace(config, isolated_atom_energies_eV={})
    with pytest.raises(CheckpointError, match="one energy for each element"):
        write_checkpoint(
            tmp_path / "new", model=model, config=wrong, golden=[bulk("C")]
        )


# Verifying


def test_golden_predictions_are_met(tiny_checkpoint: Path):
    """On the machine that wrote them the differences are within float32."""
    found = verify_checkpoint(tiny_checkpoint)
    assert found.passed
    assert found.structures == 2
    assert found.recorded_versions == found.installed_versions
    assert "2 golden structures reproduced" in found.summary()


@pytest.mark.parametrize(
    ("name", "shift"), [("energy", 1e-3), ("forces", 1e-3), ("stress", 1e-3)]
)
def test_other_numbers_are_noticed(checkpoint: Path, name: str, shift: float):
    """A shift of a milli-unit in one label fails, and both versions are named."""
    path = checkpoint / GOLDEN_FILE
    tensors = safetensors.torch.load_file(path)
    tensors[f"0.{name}"] += shift
    safetensors.torch.save_file(tensors, path)
    record_hash(checkpoint, GOLDEN_FILE, "golden_sha256")
    edit_config(
        checkpoint, lambda raw: raw["provenance"]["versions"].update(nequip="0.0.7")
    )
    found = verify_checkpoint(checkpoint)
    assert not found.passed
    assert "NOT reproduced" in found.summary()
    assert "Recorded with synthzoo" in found.summary()
    assert "nequip 0.0.7" in found.summary()


def without_seal(folder: Path) -> None:
    """Make the golden file one of those that were written before they had a seal."""
    path = folder / GOLDEN_FILE
    safetensors.torch.save_file(safetensors.torch.load_file(path), path)
    record_hash(folder, GOLDEN_FILE, "golden_sha256")


SEEN_IN_PREDICTIONS: dict[str, Edit] = {
    "neighbours": lambda raw: raw["arguments"].update(avg_num_neighbors=30.0),
    "cutoff": lambda raw: raw.update(cutoff_A=5.0),
}
SEEN_BY_THE_SEAL: dict[str, Edit] = {
    "shift": lambda raw: raw["arguments"].update(per_type_energy_shifts={"C": -7.1}),
    "scale": lambda raw: raw["arguments"].update(per_type_energy_scales=1.1),
    "a little": lambda raw: raw["arguments"].update(avg_num_neighbors=16.0001),
    "atoms": lambda raw: raw.update(isolated_atom_energies_eV={"C": -1.0}),
    "kind": lambda raw: raw.update(kind="starting-point"),
    "labels": lambda raw: raw.update(labels={"teacher": "another"}),
}


@pytest.mark.parametrize("edit", SEEN_IN_PREDICTIONS | SEEN_BY_THE_SEAL)
def test_an_edited_description_is_not_loaded(checkpoint: Path, edit: str):
    """Whatever decides what a model is, or what its numbers mean."""
    edit_config(checkpoint, (SEEN_IN_PREDICTIONS | SEEN_BY_THE_SEAL)[edit])
    for load in (load_calculator, load_model, verify_checkpoint):
        with pytest.raises(
            IntegrityError, match=r"config\.json does not belong to.*changed"
        ):
            load(checkpoint)


@pytest.mark.parametrize("edit", SEEN_IN_PREDICTIONS)
def test_an_edit_shows_in_the_predictions_of_older_checkpoints(
    checkpoint: Path, edit: str
):
    """They have no seal: as they are they load, edited they are refused."""
    without_seal(checkpoint)
    assert load_calculator(checkpoint, dtype="float64").config.kind == "potential"
    edit_config(checkpoint, SEEN_IN_PREDICTIONS[edit])
    for load in (load_calculator, load_model):
        with pytest.raises(IntegrityError, match=r"does not reproduce.*NOT reproduced"):
            load(checkpoint)
    assert not verify_checkpoint(checkpoint).passed


def test_every_element_is_asked_for():
    """Of the golden structures, the smallest that hold them all."""
    golden = [bulk("C", cubic=True), bulk("C"), bulk("SiC", "zincblende", a=4.4)]
    golden.append(bulk("Ge", cubic=True))
    entries: list[Golden] = [{"numbers": atoms.numbers} for atoms in golden]
    chosen = [entry["numbers"].tolist() for entry in representative(entries)]
    assert chosen == [[6, 6], [14, 6], [32] * 8]


def test_notes_and_layout_of_a_description_may_change(checkpoint: Path):
    """Provenance decides no number, and JSON can be written in many ways."""
    edit_config(checkpoint, lambda raw: raw["provenance"].update(note="mine"))
    path = checkpoint / CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True, indent=7))
    assert load_calculator(checkpoint).config.provenance["note"] == "mine"


@pytest.mark.parametrize(
    "name",
    [
        "carbon-ace-3k",
        pytest.param("silicon-ace-3k-scaled", marks=pytest.mark.thorough),
    ],
)
def test_bundled_checkpoints_load_and_edited_copies_do_not(name: str, tmp_path: Path):
    """Twice the neighbours, and a cutoff that is longer by a quarter."""
    folder = tmp_path / name
    shutil.copytree(find_folder(name), folder)
    load_model(folder)
    edits: list[Edit] = [
        lambda raw: raw["arguments"].update(avg_num_neighbors=60.0),
        lambda raw: raw.update(cutoff_A=5.0),
    ]
    sound = (folder / CONFIG_FILE).read_text()
    for edit in edits:
        (folder / CONFIG_FILE).write_text(sound)
        edit_config(folder, edit)
        with pytest.raises(IntegrityError, match="does not reproduce"):
            load_model(folder)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("name", ["energy", "forces", "stress"])
def test_a_prediction_that_is_not_a_number_is_not_met(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
):
    """In any of the structures, not only in the first."""
    seen: list[Atoms] = []

    def broken(self: SynthzooCalculator, atoms: Atoms) -> None:
        calculate(self, atoms)
        if len(seen) == number:
            self.results[name] = np.full_like(self.results[name], np.nan)
        seen.append(atoms)

    calculate = SynthzooCalculator.calculate
    monkeypatch.setattr(SynthzooCalculator, "calculate", broken)
    found = verify_checkpoint(tiny_checkpoint)
    assert not found.passed
    assert "NOT reproduced" in found.summary()
    assert "nan" in found.summary()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_golden_predictions_are_finite(
    tiny_checkpoint: Path,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    value: float,
):
    """Neither is a checkpoint with others verified, nor is one written."""
    path = checkpoint / GOLDEN_FILE
    tensors = safetensors.torch.load_file(path)
    tensors["1.forces"][2, 1] = value
    safetensors.torch.save_file(tensors, path)
    record_hash(checkpoint, GOLDEN_FILE, "golden_sha256")
    with pytest.raises(CheckpointError, match="forces of golden structure 1 is not"):
        verify_checkpoint(checkpoint)

    def broken(self: SynthzooCalculator, atoms: Atoms) -> None:
        self.results = {"energy": value, "forces": np.zeros((len(atoms), 3))}

    monkeypatch.setattr(SynthzooCalculator, "calculate", broken)
    model, config = load_model(tiny_checkpoint)
    with pytest.raises(CheckpointError, match="energy of golden structure 0 is not"):
        write_checkpoint(
            tmp_path / "new",
            model=model,
            config=config,
            golden=[bulk("C")],
        )
    assert not (tmp_path / "new").exists()


def test_molecules_can_be_golden(tiny_checkpoint: Path, tmp_path: Path):
    """A golden structure without a volume has no stress, and is verified."""
    model, config = load_model(tiny_checkpoint)
    dimer = Atoms("C2", positions=[[0, 0, 0], [0, 0, 1.3]])
    write_checkpoint(tmp_path / "new", model=model, config=config, golden=[dimer])
    assert verify_checkpoint(tmp_path / "new").passed


@pytest.mark.parametrize(
    "edit",
    [
        lambda tensors: tensors.pop("0.forces"),
        lambda tensors: tensors.update({"0.spin": torch.zeros(1)}),
        lambda tensors: tensors.update({"0.forces": torch.zeros(1, 3)}),
        lambda tensors: tensors.clear(),
    ],
    ids=["missing", "unknown", "misshapen", "empty"],
)
def test_golden_file_that_lacks_a_part_is_refused(checkpoint: Path, edit: Edit):
    """Missing, unknown or misshapen entries are one clear error."""
    path = checkpoint / GOLDEN_FILE
    tensors = safetensors.torch.load_file(path)
    edit(tensors)
    safetensors.torch.save_file(tensors, path)
    record_hash(checkpoint, GOLDEN_FILE, "golden_sha256")
    with pytest.raises(CheckpointError, match="golden"):
        verify_checkpoint(checkpoint)


def test_damaged_golden_file_is_refused(checkpoint: Path):
    """Its hash is on record as well."""
    flip_bit(checkpoint / GOLDEN_FILE, -1)
    with pytest.raises(IntegrityError, match=GOLDEN_FILE):
        verify_checkpoint(checkpoint)


# Damaged weights


def flip_bit(path: Path, index: int) -> None:
    """Flip one bit of one byte."""
    content = bytearray(path.read_bytes())
    content[index] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("index", [0, 20, 2000, -1])
def test_one_flipped_bit_of_the_weights_is_caught(checkpoint: Path, index: int):
    """Also where the file stays readable: in the length, the header or a number."""
    flip_bit(checkpoint / WEIGHTS_FILE, index)
    with pytest.raises(IntegrityError, match=r"SHA-256 is .* expected .* again"):
        load_model(checkpoint)


@pytest.mark.parametrize("length", [0, 7, 100, 3000])
def test_truncated_weights_are_caught(checkpoint: Path, length: int):
    """A download that was cut short is not loaded."""
    path = checkpoint / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(IntegrityError):
        load_model(checkpoint)


@pytest.mark.parametrize("length", [0, 7, 100, 3000])
def test_truncated_weights_with_a_forged_hash_are_caught(checkpoint: Path, length: int):
    """If someone corrects the hash, safetensors itself sees that the file is cut."""
    path = checkpoint / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:length])
    record_hash(checkpoint, WEIGHTS_FILE, "weights_sha256")
    with pytest.raises(CheckpointError, match="not a valid safetensors file"):
        load_model(checkpoint)


def test_weights_of_another_checkpoint_are_caught(checkpoint: Path, tmp_path: Path):
    """Same architecture, other seed: only the hash can tell."""
    config = read_config(checkpoint)
    other = build_model(config, seed=9)
    write_checkpoint(tmp_path / "other", model=other, config=config, golden=[bulk("C")])
    shutil.copy(tmp_path / "other" / WEIGHTS_FILE, checkpoint / WEIGHTS_FILE)
    with pytest.raises(IntegrityError, match="from another checkpoint"):
        load_model(checkpoint)


def test_swapped_weights_with_a_forged_hash_fail_verification(
    checkpoint: Path, tmp_path: Path
):
    """If someone corrects the hash, the seal tells, and without it the predictions."""
    config = read_config(checkpoint)
    other = build_model(config, seed=9)
    write_checkpoint(tmp_path / "other", model=other, config=config, golden=[bulk("C")])
    shutil.copy(tmp_path / "other" / WEIGHTS_FILE, checkpoint / WEIGHTS_FILE)
    record_hash(checkpoint, WEIGHTS_FILE, "weights_sha256")
    with pytest.raises(IntegrityError, match="comes from another checkpoint"):
        verify_checkpoint(checkpoint)
    without_seal(checkpoint)
    assert not verify_checkpoint(checkpoint).passed


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("the pickle was executed",))


@pytest.mark.parametrize("name", [WEIGHTS_FILE, GOLDEN_FILE])
@pytest.mark.parametrize(
    "dump",
    [
        lambda path: path.write_bytes(pickle.dumps(Bomb())),
        lambda path: torch.save({"weights": Bomb()}, path),
    ],
    ids=["pickle", "torch.save"],
)
def test_pickle_is_not_opened(checkpoint: Path, name: str, dump: Callable[[Path], Any]):
    """A pickle in place of safetensors is named as such, even with a right hash."""
    dump(checkpoint / name)
    record_hash(checkpoint, WEIGHTS_FILE, "weights_sha256")
    record_hash(checkpoint, GOLDEN_FILE, "golden_sha256")
    with pytest.raises(CheckpointError, match="pickle"):
        verify_checkpoint(checkpoint)


@pytest.mark.parametrize(
    "edit",
    [
        lambda tensors: tensors.popitem(),
        lambda tensors: tensors.update(extra=torch.zeros(1)),
        lambda tensors: tensors.update({next(iter(tensors)): torch.zeros(3, 5, 7)}),
    ],
    ids=["missing", "additional", "misshapen"],
)
def test_weights_must_fit_exactly(checkpoint: Path, edit: Edit):
    """Missing, additional or misshapen tensors are refused."""
    path = checkpoint / WEIGHTS_FILE
    tensors = safetensors.torch.load_file(path)
    edit(tensors)
    safetensors.torch.save_file(tensors, path)
    record_hash(checkpoint, WEIGHTS_FILE, "weights_sha256")
    without_seal(checkpoint)
    with pytest.raises(CheckpointError, match="does not fit"):
        load_model(checkpoint)


@pytest.mark.parametrize(
    "size",
    [
        lambda size: 0,  # noqa: ARG005  missing
        lambda size: max(size - 1, 2),
        lambda size: size + 1,
    ],
    ids=["missing", "short", "long"],
)
@pytest.mark.parametrize(
    "name",
    [
        "type_embed.embed_module.weight",
        "bessel_encode.bessel_weights",
        "per_type_energy_scale_shift.scales",
        "edge_norm._rmax_recip",
        "layer0_convnet.conv.edge_mlp.mlp.0.weight",
        "layer1_convnet.conv.edge_mlp.mlp.2.weight",
        "layer1_convnet.conv.linear_1.weight",
        "layer1_convnet.conv.sc.weight",
        "per_atom_energy_readout.mlp_module.mlp.0.weight",
    ],
)
def test_the_engine_takes_no_other_weights_than_those_described(
    tiny_checkpoint: Path, name: str, size: Callable[[int], int]
):
    """It computes nothing from an array that is missing or of another size."""
    stored = load_stored(tiny_checkpoint)
    weights = dict(stored.weights)
    values = weights.pop(f"model.func.{name}")
    if wanted := size(values.size):
        weights[f"model.func.{name}"] = np.resize(values, wanted)
    wrong = replace(stored, weights=weights)
    with pytest.raises(CheckpointError, match="does not fit"):
        SynthzooCalculator(wrong, place=Place(device="cpu"))


@pytest.mark.parametrize("name", MODEL_FILES)
def test_missing_file_is_named(checkpoint: Path, name: str):
    """Each of the three files is needed."""
    (checkpoint / name).unlink()
    with pytest.raises(CheckpointError, match=f"has no {name}"):
        verify_checkpoint(checkpoint)


def test_missing_folder_is_named(tmp_path: Path):
    """The message repeats the folder."""
    with pytest.raises(CheckpointError, match=r"no checkpoint folder .*nowhere"):
        read_config(tmp_path / "nowhere")


def test_large_file_is_refused_before_it_is_read(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    """A sparse file of 3 GiB is refused by its size."""
    with (checkpoint / WEIGHTS_FILE).open("wb") as stream:
        stream.truncate(3 * 2**30)
    monkeypatch.setattr(Path, "read_bytes", read_small(Path.read_bytes))
    with pytest.raises(CheckpointError, match="the limit is"):
        load_model(checkpoint)


def read_small(read_bytes: Callable[[Path], bytes]) -> Callable[[Path], bytes]:
    """Return a reader that fails the test at large files."""

    def read(path: Path) -> bytes:
        assert path.stat().st_size < 2**30
        return read_bytes(path)

    return read


# Damaged or hostile config.json


def test_newer_format_says_what_to_install(checkpoint: Path):
    """Other keys of a newer format do not hide the reason."""
    edit_config(
        checkpoint,
        lambda raw: raw.update(
            format_version=FORMAT_VERSION + 1, needs_synthzoo="3.1", quantised=True
        ),
    )
    with pytest.raises(CheckpointError, match=r"format 2.*Install synthzoo >= 3\.1"):
        read_config(checkpoint)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda raw: raw.update(format_version=0), "format_version"),
        (lambda raw: raw.update(format_version="1"), "format_version"),
        (lambda raw: raw.update(format_version=True), "format_version"),
        (lambda raw: raw.pop("format_version"), "format_version"),
        (lambda raw: raw.update(weights="../../secret"), "unknown keys .*'weights'"),
        (lambda raw: raw.update(weights_sha256="../../secret"), "SHA-256"),
        (lambda raw: raw.pop("elements"), "missing keys .*'elements'"),
        (lambda raw: raw.update(builder="os.system"), "'os.system' is not allowed"),
        (
            lambda raw: raw.update(builder=["NequIPGNNModel"]),
            "builder: expected a text",
        ),
        (lambda raw: raw.update(arguments=[]), "arguments: expected keys and"),
        (lambda raw: raw.update(elements=["C", "C"]), "elements: .*no entry twice"),
        (lambda raw: raw.update(elements=["Carbon"]), r"elements\[0\]: .*symbol"),
        (lambda raw: raw.update(elements=[]), "elements: .*at least one"),
        (lambda raw: raw.update(elements="C"), "elements: expected a list"),
        (lambda raw: raw.update(cutoff_A=1e6), "cutoff_A: .*above 0 and up to 20"),
        (lambda raw: raw.update(cutoff_A=0), "cutoff_A: .*above 0 and up to 20"),
        (lambda raw: raw.update(cutoff_A=True), "cutoff_A: expected a number"),
        (lambda raw: raw.update(dtype="int8"), "dtype: expected 'float32'"),
        (lambda raw: raw.update(dtype="float64"), "dtype: expected 'float32'"),
        (lambda raw: raw.update(kind="finished"), "kind: expected one of"),
        (lambda raw: raw.update(kind=["potential"]), "kind: expected one of"),
        (lambda raw: raw.update(labels="DFT"), "labels: expected keys and"),
        (lambda raw: raw.update(provenance=3), "provenance: expected keys and"),
        (lambda raw: raw["provenance"].update(versions=3), "provenance: .*versions"),
        (lambda raw: raw["provenance"].update(versions={"a": 1}), "provenance: .*vers"),
        (lambda raw: raw.update(needs_synthzoo=1), "needs_synthzoo: expected a text"),
        (
            lambda raw: raw.update(isolated_atom_energies_eV={"C": "0"}),
            "eV.C: expected a n",
        ),
        (lambda raw: raw.update(isolated_atom_energies_eV={"Si": 0}), "each element"),
    ],
    ids=count(),
)
def test_description_outside_the_rules_is_refused(
    checkpoint: Path, edit: Edit, message: str
):
    """One clear error that names the file and the key."""
    edit_config(checkpoint, edit)
    with pytest.raises(CheckpointError, match=f"config.json: .*{message}"):
        load_calculator(checkpoint)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not JSON",
        "[]",
        '{"format_version": 1',
        '{"cutoff_A": NaN}',
        "[" * 100_000,
        "\xff\xfe",
    ],
    ids=["empty", "words", "list", "cut", "NaN", "deep", "binary"],
)
def test_config_that_is_not_a_json_object_is_refused(checkpoint: Path, text: str):
    """Damage of any kind is a `CheckpointError`."""
    (checkpoint / CONFIG_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match="JSON"):
        read_config(checkpoint)


def test_config_of_absurd_length_is_refused(checkpoint: Path):
    """More than a megabyte is no description."""
    (checkpoint / CONFIG_FILE).write_text(" " * 2**21)
    with pytest.raises(CheckpointError, match="the limit is"):
        read_config(checkpoint)


SHORT = {"num_layers": 2, "l_max": 1, "num_features": 8, "avg_num_neighbors": 4.0}
FULL = {
    "irreps_edge_sh": "0e+1o",
    "type_embed_num_features": 8,
    "feature_irreps_hidden": ["8x0e+8x1o", "8x0e"],
    "radial_mlp_depth": [1, 1],
    "radial_mlp_width": [16, 16],
    "avg_num_neighbors": 4.0,
}
ZBL = {
    "_target_": "nequip.nn.pair_potential.ZBL",
    "units": "metal",
    "chemical_species": ["C"],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_layers": 10**9}, "num_layers: expected a whole number from 1 to 16"),
        ({"num_layers": True}, r"num_layers.*: expected"),
        ({"num_layers": 2.0}, r"num_layers.*: expected"),
        ({"l_max": 12}, r"l_max.*: expected"),
        ({"num_features": 10**6}, r"num_features.*: expected"),
        ({"num_features": []}, r"num_features.*: expected"),
        ({"num_features": [8, "8"]}, r"num_features.*: expected"),
        ({"radial_mlp_width": 10**6}, r"radial_mlp_width.*: expected"),
        ({"parity": 1}, "parity: expected true or false"),
        ({"readout_mlp_nonlinearity": "eval"}, r"readout_mlp_nonlinearity.*: expected"),
        ({"avg_num_neighbors": {"Si": 4.0}}, "avg_num_neighbors: expected"),
        ({"avg_num_neighbors": None}, "avg_num_neighbors: expected"),
        ({"avg_num_neighbors": 0}, "avg_num_neighbors: expected a number above 0"),
        ({"avg_num_neighbors": {"C": -1.0}}, "avg_num_neighbors: expected a number ab"),
        ({"per_type_energy_shifts": [0.0]}, r"per_type_energy_shifts.*: expected"),
        ({"per_edge_type_cutoff": {"C": -1}}, r"per_edge_type_cutoff.*: expected"),
        (
            {"per_edge_type_cutoff": {"C": {"Si": 3}}},
            r"per_edge_type_cutoff.*: expected",
        ),
        ({"per_edge_type_cutoff": 3}, r"per_edge_type_cutoff.*: expected"),
        ({"pair_potential": {"_target_": "os.system"}}, "pair_potential.*: .*keys"),
        (
            {"pair_potential": ZBL | {"_target_": "os.system"}},
            "pair_potential._target_: expected 'nequip.nn.pair_potential.ZBL'",
        ),
        ({"pair_potential": ZBL | {"_args_": []}}, "pair_potential.*: .*keys"),
        ({"pair_potential": "ZBL"}, "pair_potential.*: .*keys"),
        ({"compile_mode": "compile"}, "unknown keys .*compile_mode"),
        ({"seed": 1}, "unknown keys .*seed"),
        (
            {"num_features": 1024, "l_max": 6, "num_layers": 16},
            "about .* weights; the limit",
        ),
    ],
    ids=count(),
)
def test_arguments_outside_the_allow_list_are_refused(
    change: dict[str, Any], message: str
):
    """The message names the argument and what it may be."""
    with pytest.raises(CheckpointError, match=message):
        check_arguments("NequIPGNNModel", SHORT | change, ["C"])


@pytest.mark.parametrize(
    "change",
    [
        {"irreps_edge_sh": 99},
        {"irreps_edge_sh": "9o"},
        {"feature_irreps_hidden": ["8x0e; import os", "8x0e"]},
        {"feature_irreps_hidden": ["99999x0e"]},
        {"feature_irreps_hidden": "8x0e"},
        {"radial_mlp_width": [16] * 99},
    ],
    ids=count(),
)
def test_full_builder_is_held_to_limits(change: dict[str, Any]):
    """The longer builder has the same limits."""
    (name,) = change
    with pytest.raises(CheckpointError, match=rf"{name}.*: expected"):
        check_arguments("FullNequIPGNNModel", FULL | change, ["C"])


def test_missing_arguments_are_named():
    """Sizes must be given: nequip's defaults may change."""
    without_l = {name: value for name, value in SHORT.items() if name != "l_max"}
    with pytest.raises(CheckpointError, match=r"missing keys \['l_max'\]"):
        check_arguments("NequIPGNNModel", without_l, ["C"])


@pytest.mark.parametrize(
    ("builder", "arguments"),
    [
        ("NequIPGNNModel", SHORT | {"num_features": [8, 4], "pair_potential": ZBL}),
        ("NequIPGNNModel", SHORT | {"per_edge_type_cutoff": {"C": {"C": 3.5}}}),
        ("FullNequIPGNNModel", FULL),
        ("FullNequIPGNNModel", FULL | {"irreps_edge_sh": 1}),
    ],
    ids=["ZBL", "cutoff per pair", "full", "full with l"],
)
def test_what_the_allow_list_allows_can_be_built_and_written(
    tiny_checkpoint: Path, tmp_path: Path, builder: str, arguments: dict[str, Any]
):
    """Both builders, ZBL and cutoffs per pair make checkpoints that verify."""
    config: CheckpointConfig = dataclasses.replace(
        read_config(tiny_checkpoint), builder=builder, arguments=arguments
    )
    atoms = bulk("C")
    atoms.rattle(0.05, rng=np.random.default_rng(0))
    model = build_model(config)
    write_checkpoint(tmp_path / "new", model=model, config=config, golden=[atoms])
    assert verify_checkpoint(tmp_path / "new").passed


def test_arguments_that_nequip_refuses_are_one_error(tiny_checkpoint: Path):
    """Allowed one by one, but not together: nequip's complaint is passed on."""
    config = read_config(tiny_checkpoint)
    odd = dataclasses.replace(config, arguments=SHORT | {"num_features": [8, 8, 8]})
    with pytest.raises(CheckpointError, match=r"nequip .* cannot build .*length"):
        build_model(odd)


@pytest.mark.parametrize("preset", ["S", "M", "L", "XL"])
def test_published_nequip_sizes_are_within_the_limits(preset: str):
    """Limits are for absurd models: nequip's own presets for all elements pass."""
    from nequip.model.nequip_models import (
        _NEQUIP_GNN_PRESETS,
        _NEQUIP_GNN_STANDARD_PRESET,
    )

    arguments = SHORT | _NEQUIP_GNN_STANDARD_PRESET | _NEQUIP_GNN_PRESETS[preset]
    check_arguments("NequIPGNNModel", arguments, ["C"] * 89)


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("0.numbers", np.array([6, 500]), "should be atomic numbers from 1 to 118"),
        ("0.numbers", np.array([6, 0]), "should be atomic numbers from 1 to 118"),
        ("0.numbers", np.array([6.0, 6.0]), "numbers of golden structure 0 has the"),
        ("0.positions", np.zeros((0, 3)), r"positions .* expected \(2, 3\)"),
        ("0.cell", np.zeros(3), r"cell .* expected \(3, 3\)"),
        ("0.forces", np.zeros((3, 3)), r"forces .* expected \(2, 3\)"),
        ("0.energy", np.zeros(1), r"energy .* expected \(\)"),
        ("0.pbc", np.zeros(3, np.float16), "has the type float16"),
    ],
    ids=count(),
)
def test_golden_structures_that_cannot_be_are_refused(
    checkpoint: Path, entry: str, value: Any, message: str
):
    """The hash is right: whoever made the file made it so."""
    path = checkpoint / GOLDEN_FILE
    tensors = safetensors.numpy.load_file(path)
    assert len(tensors["0.numbers"]) == 2
    safetensors.numpy.save_file(tensors | {entry: value}, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    edit_config(checkpoint, lambda raw: raw.update(golden_sha256=sha256))
    with pytest.raises(CheckpointError, match=message):
        verify_checkpoint(checkpoint)
