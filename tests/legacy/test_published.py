"""The checkpoints of 2023: the same function today, and one clear error otherwise."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import msgspec
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from click.testing import CliRunner

from synthzoo import load_calculator
from synthzoo.cli import main
from synthzoo.data.structures import label, write_structures
from synthzoo.errors import (
    CheckpointError,
    HubError,
    InputError,
    IntegrityError,
    UnknownModelError,
)
from synthzoo.evaluation.evaluate import evaluate_models
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.finetuning.run import finetune
from synthzoo.legacy.calibrate import calibrate, with_neighbours
from synthzoo.legacy.state import Assumptions, convert_state, read_state
from synthzoo.models.calculator import SynthzooCalculator, calculator_of
from synthzoo.models.checkpoint import load_model, read_config, verify_checkpoint
from synthzoo.models.network import build_model, load_weights
from synthzoo.zoo import find, published, registry, upstream
from synthzoo.zoo.cards import read_card
from synthzoo.zoo.publish import publish
from tests.example_card import example_head, write_card
from tests.hub_server import FakeHub, Fault, running_hub, sha256

if TYPE_CHECKING:
    from synthzoo.zoo.cards import ModelCard

LEGACY = Path(__file__).parents[1] / "legacy"
PUBLISHED = [card for card in registry.model_cards() if card.published is not None]
SMALL = Assumptions(elements=("C",), cutoff_A=4.0, avg_num_neighbors=20.0)
"""What the file no-parity.pth does not say."""

Shared = Callable[[str], Path]
State = dict[str, torch.Tensor]


def file_of(card: ModelCard) -> str:
    """Return the name under which the authors publish a model."""
    assert card.published is not None
    return card.published.address.rpartition("/")[2]


def in_float64(model: torch.nn.Module, config: Any) -> SynthzooCalculator:
    """Return a calculator of the same weights in double precision."""
    precise = build_model(config, dtype="float64")
    load_weights(precise, model.state_dict(), where="the test")
    return calculator_of(precise.eval(), config)


# The same function


@pytest.mark.thorough
@pytest.mark.parametrize("card", PUBLISHED, ids=lambda card: card.name)
def test_published_files_predict_what_they_did(
    card: ModelCard, shared: Shared, tmp_path: Path
):
    """All ten, converted as on first use, against nequip 0.5.6's own predictions."""
    source = shared(f"paper-weights/{file_of(card)}")
    published.convert_published(card, source, tmp_path / "converted")
    model, config = load_model(tmp_path / "converted")
    calculator = calculator_of(model, with_neighbours(config, 32.0))
    reference = np.load(shared(f"paper-weights/reference/{source.stem}.npz"))
    frames = ase.io.read(shared("data/carbon-quenched-gap17.extxyz"), (":"))
    for index, atoms in enumerate(frames[::6]):
        # nequip 0.5.6 kept positions in float32, which moves forces by 3e-4 eV/Å.
        atoms.positions = atoms.positions.astype(np.float32)
        atoms.cell[:] = atoms.cell.array.astype(np.float32)
        calculator.calculate(atoms)
        energy = calculator.results["energy"] - reference[f"energy_{index}"]
        assert abs(energy) < 1e-5 * len(atoms)
        np.testing.assert_allclose(
            calculator.results["forces"], reference[f"forces_{index}"], atol=2e-4
        )


def test_ten_files_are_registered():
    """Seven with labels of C-ACE, and one each with those of three other teachers."""
    assert {card.name for card in PUBLISHED} == {
        *(f"paper/ace-{n}" for n in ("100", "330", "1k", "3300", "10k", "33k", "100k")),
        "paper/edip-10k",
        "paper/gap20-10k",
        "paper/lcbop-10k",
    }


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "assumptions"),
    [
        ("two-elements", Assumptions(("C", "Si"), cutoff_A=3.5, avg_num_neighbors=12)),
        ("no-parity", SMALL),
    ],
)
def test_other_shapes_are_exact(name: str, assumptions: Assumptions):
    """Two elements, l = 2, deep radial networks, energy scales; and no parity."""
    model, config = convert_state(
        read_state(LEGACY / f"{name}.pth"), assumptions, where=name
    )
    calculator = in_float64(model, config)
    expected = json.loads((LEGACY / f"{name}.json").read_text())
    structures = published.small_structures(assumptions.elements)
    for atoms, known in zip(structures, expected, strict=True):
        calculator.calculate(atoms)
        assert calculator.results["energy"] == pytest.approx(known["energy"], abs=1e-6)
        assert np.abs(known["forces"]).max() > 1e-2
        np.testing.assert_allclose(
            calculator.results["forces"], known["forces"], atol=1e-7
        )


@pytest.mark.thorough
def test_the_largest_model_agrees_with_its_teacher(shared: Shared, tmp_path: Path):
    """paper/ace-100k and C-ACE, at the number of neighbours that its card carries."""
    card = registry.find_card("paper/ace-100k")
    assert card.published is not None
    assert card.published.avg_num_neighbors == 31.65
    folder = tmp_path / "converted"
    published.convert_published(card, shared(f"paper-weights/{file_of(card)}"), folder)
    (found,) = evaluate_models(
        [str(folder)],
        shared("data/carbon-quenched-gap17.extxyz"),
        energy_key="ace_energy",
        forces_key="ace_forces",
    )
    errors = found.groups[0]
    assert errors.energy_rmse_meV_per_atom < 15
    assert errors.force_rmse_eV_A < 0.280
    assert errors.energy_rmse_meV_per_atom == pytest.approx(
        card.results[0].energy_rmse_meV_per_atom, abs=0.06
    )
    assert errors.force_rmse_eV_A == pytest.approx(
        card.results[0].force_rmse_eV_A, abs=6e-4
    )


@pytest.mark.thorough
def test_the_number_of_neighbours_is_found_from_labels(tmp_path: Path):
    """Labels made with 20 neighbours lead a network that was given 1 back to 20."""
    state = read_state(LEGACY / "no-parity.pth")
    model, config = convert_state(state, SMALL, where="the file")
    calculator = calculator_of(model, config)
    labelled = []
    for atoms in published.small_structures(("C",)):
        calculator.calculate(atoms)
        found = calculator.results
        labelled.append(
            label(atoms, energy_eV=found["energy"], forces_eV_A=found["forces"])
        )
    data = tmp_path / "labelled.xyz"
    write_structures(data, labelled)
    summary = published.import_paper(
        LEGACY / "no-parity.pth", tmp_path / "new", calibrate_with=data
    )
    assert summary.avg_num_neighbors == pytest.approx(20.0, abs=0.05)
    assert summary.calibration is not None
    assert summary.calibration.force_rmse_eV_A < 2e-3
    assert read_config(tmp_path / "new").arguments["avg_num_neighbors"] == (
        summary.avg_num_neighbors
    )


@pytest.mark.thorough
def test_labels_of_something_else_lead_to_no_number(tmp_path: Path):
    """Where the best number is absurd, none is taken."""
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.1, seed=0)
    forces = np.zeros((len(atoms), 3))
    data = tmp_path / "labelled.xyz"
    write_structures(data, [label(atoms, energy_eV=0.0, forces_eV_A=forces)])
    model, config = convert_state(
        read_state(LEGACY / "no-parity.pth"), SMALL, where="the file"
    )
    with pytest.raises(InputError, match="absurd number of neighbours"):
        calibrate(model, config, data)


# Refusals


@pytest.fixture
def state() -> State:
    """Return the tensors of a small sound file, to be spoilt."""
    return read_state(LEGACY / "no-parity.pth")


def test_an_attack_by_unpickling_is_refused(tmp_path: Path):
    """A file whose pickle would run a command does not run it."""
    path, proof = tmp_path / "attack.pth", tmp_path / "proof"

    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {proof}",)

    torch.save({"weight": torch.zeros(2), "more": Attack()}, path)
    with pytest.raises(CheckpointError, match=r"could run code; it was not opened"):
        read_state(path)
    assert not proof.exists()
    pickle.loads(pickle.dumps(Attack()))  # noqa: S301  the attack is a real one
    assert proof.exists()


def test_a_bare_pickle_is_refused(tmp_path: Path):
    """The format of torch before 1.6 is not opened at all."""
    path = tmp_path / "bare.pth"
    path.write_bytes(pickle.dumps({"weight": [1.0]}))
    with pytest.raises(CheckpointError, match=r"not a file of torch.save"):
        read_state(path)


def test_a_deployed_model_is_refused(tmp_path: Path):
    """TorchScript carries code; the message says which file to take."""
    path = tmp_path / "deployed.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("deployed/code/__torch__.py", "import os")
    with pytest.raises(CheckpointError, match=r"Import the state.*best_model.pth"):
        read_state(path)


@pytest.mark.parametrize("keep", [0, 1000, -100])
def test_half_a_file_is_refused(tmp_path: Path, keep: int):
    """What a broken download leaves is called damaged."""
    path = tmp_path / "half.pth"
    path.write_bytes((LEGACY / "no-parity.pth").read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="damaged"):
        read_state(path)


def test_a_changed_byte_is_noticed(tmp_path: Path):
    """A weight that was altered on disk fails the archive's checksum."""
    content = bytearray((LEGACY / "no-parity.pth").read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        entry = max(archive.infolist(), key=lambda entry: entry.file_size)
        weights = archive.read(entry)
    content[bytes(content).index(weights) + len(weights) // 2] ^= 1
    path = tmp_path / "changed.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"damaged.* checksum"):
        read_state(path)


def test_a_missing_file_is_named(tmp_path: Path):
    """The message carries the path."""
    with pytest.raises(CheckpointError, match=r"There is no file .*nothing.pth"):
        read_state(tmp_path / "nothing.pth")


def test_an_archive_that_claims_to_be_huge_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A small file that unfolds to gigabytes is not unfolded."""
    monkeypatch.setattr("synthzoo.legacy.state.MAX_BYTES", 1_000_000)
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data/0", bytes(2_000_000))
    assert path.stat().st_size < 10_000
    with pytest.raises(CheckpointError, match=r"the limit is 1000000"):
        read_state(path)


@pytest.mark.parametrize(
    "content",
    [
        [torch.zeros(2)],
        {1: torch.zeros(2)},
        {"weight": 3.0},
    ],
)
def test_anything_but_named_tensors_is_refused(tmp_path: Path, content: Any):
    """Lists, numbers and names that are none are not a state."""
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="not a table of tensors by name"):
        read_state(tmp_path / "other.pth")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor([1.0, float("nan")]),
        torch.tensor([1, 2]),
        torch.zeros(1).expand(10**12),
    ],
    ids=["nan", "integers", "endless"],
)
def test_odd_tensors_are_refused(tmp_path: Path, tensor: torch.Tensor):
    """So are numbers that are none, and few numbers that pretend to be many."""
    torch.save({"weight": tensor}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match="no plain table of finite numbers"):
        read_state(tmp_path / "odd.pth")


PREFIX = "model.func."
LINEAR = torch.nn.Linear(3, 2).state_dict()


def put(name: str, values: torch.Tensor) -> Callable[[State], State]:
    """Return a function that replaces a tensor of a state, or adds it."""
    return lambda state: state | {name: values}


def drop(part: str) -> Callable[[State], State]:
    """Return a function that leaves out the tensors whose names have a part."""
    return lambda state: {name: state[name] for name in state if part not in name}


def double_a_wigner_symbol(state: State) -> State:
    """Change what e3nn computes by itself."""
    name = next(name for name in state if "_w3j_" in name)
    return state | {name: 2 * state[name]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _state: LINEAR, r"is not the energy model of nequip 0.5.6.*no 'scale"),
        (
            drop("layer1_convnet.conv.sc.weight"),
            r"it lacks the tensor .*conv.sc.weight",
        ),
        (
            put(f"{PREFIX}pair.weight", torch.ones(1)),
            r"an unknown tensor .*pair.weight",
        ),
        (
            put(f"{PREFIX}layer1_convnet.conv.sc.weight", torch.zeros(5)),
            r"conv.sc.weight has the shape \(5,\), expected",
        ),
        (double_a_wigner_symbol, r"w3j.* is not the usual constant"),
        (
            put(f"{PREFIX}chemical_embedding.linear.weight", torch.zeros(0)),
            r"no 'model.func.chemical_embedding",
        ),
        (drop(".fc."), r"no '.*fc.layer0.weight'"),
        (put("shift_by", torch.tensor(3.0)), r"whatever its size"),
        (put("scale_by", torch.ones(2)), r"impossible sizes"),
        (
            put(f"{PREFIX}per_species_rescale.shifts", torch.zeros(2)),
            r"knows 2 element\(s\), but C was given",
        ),
    ],
    ids=[
        "alien",
        "missing",
        "unknown",
        "shape",
        "constant",
        "empty",
        "no radial network",
        "constant energy",
        "two scales",
        "elements",
    ],
)
def test_other_families_are_refused(
    state: State, change: Callable[[State], State], message: str
):
    """The message says what is different."""
    with pytest.raises(CheckpointError, match=message):
        convert_state(change(state), SMALL, where="the file")


def test_an_unknown_file_needs_its_number_of_neighbours(tmp_path: Path):
    """It is not guessed, and not asked for twice."""
    source = LEGACY / "no-parity.pth"
    with pytest.raises(InputError, match=r"Give --avg-num-neighbors, or --calibrate"):
        published.import_paper(source, tmp_path / "new")
    with pytest.raises(InputError, match="or data to find it with"):
        published.import_paper(
            source, tmp_path / "new", avg_num_neighbors=3.0, calibrate_with=source
        )
    with pytest.raises(InputError, match="above 0"):
        published.import_paper(source, tmp_path / "new", avg_num_neighbors=-1.0)
    for wrong in ({"elements": ("Xx",)}, {"elements": ("C", "C")}):
        with pytest.raises(InputError, match="different chemical symbols"):
            published.import_paper(source, tmp_path / "new", **wrong)
    with pytest.raises(InputError, match="cutoff must be up to"):
        published.import_paper(source, tmp_path / "new", cutoff_A=-1.0)
    assert not (tmp_path / "new").exists()


# The register


@pytest.fixture
def server() -> Iterator[FakeHub]:
    """Serve files on loopback, as the authors' host does."""
    with running_hub() as running:
        yield running


@pytest.fixture
def card(server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    """Register a small file of 2023 as `paper/small`, and keep the cache empty."""
    content = (LEGACY / "no-parity.pth").read_bytes()
    server.large_files[sha256(content)] = content
    known = json.loads((LEGACY / "no-parity.json").read_text())
    head = example_head(
        name="paper/small",
        aliases=[],
        files={},
        published={
            "address": "https://example.org/small.pth",
            "file": {"size": len(content), "sha256": sha256(content)},
            "avg_num_neighbors": 20.0,
            "found": "given to nequip 0.5.6",
            "predictions": [
                {"energy_eV": each["energy"], "first_force_eV_A": each["forces"][0]}
                for each in known
            ],
        },
    )
    head["license"] = "none"
    card = read_card(write_card(tmp_path, head))
    assert card.published is not None
    address = f"{server.url}/storage/{sha256(content)}"  # http, which no card may have
    msgspec.structs.force_setattr(card.published, "address", address)
    monkeypatch.setattr(registry, "_installed_cards", lambda: (card,))
    monkeypatch.setenv("HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    return card


def test_a_model_is_downloaded_and_converted_once(card: ModelCard, server: FakeHub):
    """The second time nothing is asked for; it works wherever a model does."""
    assert find.location(card) == "authors"
    folder = find.find_folder("paper/small")
    assert find.location(card) == "cached"
    assert len(server.requests) == 1
    assert find.find_folder("paper/small") == find.fetch("paper/small") == folder
    assert len(server.requests) == 1
    assert verify_checkpoint(folder).passed
    atoms = bulk("C", cubic=True)
    atoms.calc = load_calculator("paper/small", device="cpu")
    assert np.isfinite(atoms.get_potential_energy())
    assert read_config(folder).provenance["source_sha256"] == (
        card.published.file.sha256  # type: ignore[union-attr]
    )


def labelled_by(model: str, data: Path, *, alone_eV: float, more_eV: float) -> None:
    """Write glasses of carbon on the scale of a code whose free atom has an energy.

    They lie a constant per atom above a model's energies; the free atom is among them.
    """
    calculator = load_calculator(model, device="cpu")
    frames = []
    for seed in range(6):
        atoms = bulk("C", cubic=True)
        atoms.rattle(0.2, seed=seed)
        calculator.calculate(atoms)
        energy = calculator.results["energy"] + len(atoms) * (alone_eV + more_eV)
        forces = calculator.results["forces"]
        frames.append(label(atoms, energy_eV=energy, forces_eV_A=forces))
    atom = Atoms("C", cell=[20.0] * 3, pbc=True)
    frames.append(label(atom, energy_eV=alone_eV, forces_eV_A=np.zeros((1, 3))))
    write_structures(data, frames)


@pytest.mark.thorough
def test_the_commands_take_it_by_its_name(card: ModelCard, tmp_path: Path):
    """Predict, evaluate, finetune, benchmark, on labels of the network itself."""
    data, out = tmp_path / "dft.xyz", tmp_path / "out.xyz"
    labelled_by("paper/small", data, alone_eV=0.0, more_eV=0.0)
    ase.io.write(tmp_path / "bulk.xyz", ase.io.read(data, ":6"))
    assert run("predict", "paper/small", data, "-o", out).exit_code == 0
    for atoms, expected in zip(
        ase.io.read(out, ":6"), ase.io.read(data, ":6"), strict=True
    ):
        energy = expected.get_potential_energy()
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-5)
    result = run("evaluate", "paper/small", tmp_path / "bulk.xyz", "--json")
    assert json.loads(result.stdout)["groups"][0]["energy_rmse_meV_per_atom"] < 1e-2
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "finetune: {visits: 6, learning_rate: 1.0e-3, check_share: 0, replay_share: 0}"
    )
    tuned = tmp_path / "tuned"
    result = run("finetune", "paper/small", data, "-o", tuned, "--recipe", recipe)
    assert result.exit_code == 0, result.stderr
    assert verify_checkpoint(tuned).passed
    assert read_config(tuned).provenance["start"]["licence"] == "none"
    result = run(
        *("benchmark", "paper/small", "--training", data, "--test", data),
        *("--least-atoms", 2, "--sizes", "0", "--draws", 1, "-o", tmp_path / "curves"),
    )
    assert result.exit_code == 0, result.stderr
    assert "| paper/small" in result.stdout


@pytest.mark.thorough
def test_a_free_atom_is_right_after_tuning(card: ModelCard, tmp_path: Path):
    """The network gives a free atom some energy; the labels it learnt had it at 0.

    After tuning it has that of the new labels. The other energies are left to the fit,
    which is a mere formality here.
    """
    data = tmp_path / "dft.xyz"
    alone = load_calculator("paper/small", device="cpu").get_potential_energy(
        Atoms("C")
    )
    assert abs(alone) > 0.1
    assert read_config(find.find_folder("paper/small")).isolated_atom_energies_eV == {
        "C": 0.0
    }
    labelled_by("paper/small", data, alone_eV=-148.0, more_eV=0.4)
    recipe = FinetuneRecipe(
        visits=6, learning_rate=1e-6, check_share=0.0, replay_share=0.0
    )
    summary = finetune("paper/small", data, tmp_path / "tuned", recipe=recipe)
    assert "isolated atoms keep their energy" in summary.reference
    config = read_config(tmp_path / "tuned")
    assert config.isolated_atom_energies_eV == {"C": -148.0}
    calculator = load_calculator(tmp_path / "tuned", device="cpu")
    tuned_alone = calculator.get_potential_energy(Atoms("C"))
    assert tuned_alone == pytest.approx(-148.0, abs=1e-3)


@pytest.mark.thorough
def test_a_download_goes_on_where_it_broke_off(card: ModelCard, server: FakeHub):
    """What has arrived is kept; only the rest is asked for, at once or another day."""
    sent: list[int] = []

    def note(body: bytes) -> bytes:
        sent.append(len(body))
        return body

    broken = Fault("GET /storage", times=2, break_off=True, change=note)
    gone = Fault("GET /storage", times=1, status=503)
    server.faults += [broken, gone]
    with pytest.raises(HubError, match=r"503.* what has arrived is kept"):
        find.find_folder("paper/small")
    (partial,) = upstream.kept_folder(card).parent.glob("*.part")
    size = card.published.file.size  # type: ignore[union-attr]
    assert sent == [size, size - size // 2]
    assert partial.stat().st_size == size // 2 + (size - size // 2) // 2
    server.faults[:] = [Fault("GET /storage", change=note)]
    assert find.find_folder("paper/small").is_dir()
    assert sent[2:] == [size - size // 2 - (size - size // 2) // 2]
    assert not partial.exists()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET /storage", change=lambda body: body[::-1]),
        Fault("GET /storage", change=lambda body: body * 2),
        Fault("GET /storage", page=True),
    ],
    ids=["other", "longer", "web page"],
)
def test_another_file_is_refused(card: ModelCard, server: FakeHub, fault: Fault):
    """Something else than the file on record is removed and never opened."""
    server.faults.append(fault)
    with pytest.raises(IntegrityError, match=r"not the file on record.*SHA-256"):
        find.find_folder("paper/small")
    kept = [*upstream.kept_folder(card).parent.iterdir()]
    assert [path.name for path in kept] == [".lock"]


def test_a_spoilt_file_in_the_cache_is_refused(card: ModelCard):
    """It is checked when it is used, not only when it arrives."""
    folder = find.find_folder("paper/small")
    (kept,) = (
        path
        for path in folder.parent.iterdir()
        if path.is_file() and path.suffix == "" and not path.name.startswith(".")
    )
    kept.write_bytes(kept.read_bytes()[:-1])
    shutil.rmtree(folder)
    with pytest.raises(IntegrityError, match="not the file on record"):
        find.find_folder("paper/small")


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET /storage", status=404),
        Fault("GET /storage", status=500),
    ],
    ids=["gone", "broken"],
)
def test_a_host_that_does_not_deliver_is_named(
    card: ModelCard, server: FakeHub, fault: Fault
):
    """One error with the address and the way out."""
    server.faults.append(fault)
    with pytest.raises(HubError, match=r"/storage/.* cannot be downloaded"):
        find.find_folder("paper/small")


def test_without_a_network_there_is_one_error(card: ModelCard):
    """Nobody listens at the address, or the network is forbidden."""
    with pytest.raises(HubError, match=r"Run `synthzoo fetch paper/small` once"):
        find.find_folder("paper/small", offline=True)
    assert card.published is not None
    address = "http://127.0.0.1:9/a.pth"
    msgspec.structs.force_setattr(card.published, "address", address)
    with pytest.raises(HubError, match=r"127.0.0.1:9.*Check the connection"):
        find.find_folder("paper/small")


def test_wrong_predictions_are_not_kept(card: ModelCard):
    """A conversion that does not give the numbers of 2023 leaves nothing behind."""
    assert card.published is not None
    first, *others = card.published.predictions
    wrong = dataclasses.replace(first, energy_eV=first.energy_eV + 0.01)
    msgspec.structs.force_setattr(card.published, "predictions", (wrong, *others))
    with pytest.raises(
        CheckpointError, match=r"same predictions here .* as in nequip 0.5.6"
    ):
        find.find_folder("paper/small")
    assert not upstream.kept_folder(card).exists()


def test_a_cache_that_cannot_be_written_is_named(
    card: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The message says which setting moves it."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("HF_ASSETS_CACHE", str(tmp_path / "file"))
    with pytest.raises(HubError, match="HF_ASSETS_CACHE"):
        find.find_folder("paper/small")


def test_a_misspelt_name_is_answered_with_the_right_one(card: ModelCard):
    """A name with a slash is not taken for a folder."""
    with pytest.raises(UnknownModelError, match="Did you mean 'paper/small'"):
        find.find_folder("paper/smal")


@pytest.mark.thorough
def test_what_has_no_licence_is_not_published(card: ModelCard, tmp_path: Path):
    """Neither the weights nor what was fitted from them."""
    with pytest.raises(InputError, match="may not be published"):
        publish("paper/small", "me/mine", dry_run=True)
    tuned = tmp_path / "tuned"
    shutil.copytree(find.find_folder("paper/small"), tuned)
    config = json.loads((tuned / "config.json").read_text())
    config["provenance"] = {"seed": 1, "start": config["provenance"]}
    (tuned / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="may not be published"):
        publish(tuned, "me/mine", dry_run=True)


def test_the_cache_lies_where_the_hub_library_has_it():
    """The place is worked out without huggingface_hub; both must agree."""
    code = (
        "from synthzoo.zoo import registry, upstream;"
        "from huggingface_hub.constants import HF_ASSETS_CACHE;"
        "card = registry.find_card('paper/ace-100');"
        "print(upstream.kept_folder(card).parents[3] == __import__('pathlib')"
        ".Path(HF_ASSETS_CACHE))"
    )
    for settings in ({}, {"HF_HOME": "/a/b"}, {"XDG_CACHE_HOME": "/c"}):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"PATH": os.environ["PATH"], "HOME": "/d", **settings},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "True\n"


# The command line


def run(*arguments: object) -> Any:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.thorough
def test_the_command_imports_files_of_other_shapes(tmp_path: Path):
    """Two elements, another cutoff: the checkpoint works in an ASE script."""
    result = run(
        *("import-paper", LEGACY / "two-elements.pth", "-o", tmp_path / "new"),
        *("--avg-num-neighbors", 12, "--cutoff", 3.5),
        *("--element", "C", "--element", "Si", "--json"),
    )
    summary = json.loads(result.stdout)
    assert summary["avg_num_neighbors"] == 12.0
    assert summary["published_as"] is None
    atoms = Atoms("CSi", positions=[[0, 0, 0], [0, 0, 1.8]])
    atoms.calc = load_calculator(tmp_path / "new", device="cpu")
    assert np.isfinite(atoms.get_forces()).all()


@pytest.mark.thorough
def test_the_command_knows_published_files(card: ModelCard, tmp_path: Path):
    """The number of neighbours comes from the card."""
    result = run("import-paper", LEGACY / "no-parity.pth", "-o", tmp_path / "new")
    assert result.exit_code == 0
    assert "published_as       paper/small" in result.stdout
    assert read_config(tmp_path / "new").arguments["avg_num_neighbors"] == 20.0


def test_the_command_fails_in_one_line(tmp_path: Path):
    """An error of the user's is one line on stderr and exit code 1."""
    result = run("import-paper", tmp_path / "nothing.pth", "-o", tmp_path / "new")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1


@pytest.mark.thorough
def test_fetching_all_leaves_out_what_has_no_licence(card: ModelCard, server: FakeHub):
    """Nothing is downloaded from its authors unless it is asked for by name."""
    result = run("fetch", "--all")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Left out, without a licence: paper/small. Fetch" in result.stderr
    assert server.requests == []
    folder = run("fetch", "paper/small").stdout.strip()
    assert Path(folder) == upstream.kept_folder(card)


def test_show_and_list_say_where_it_comes_from(card: ModelCard):
    """The licence that is missing is named; `list` downloads nothing."""
    text = run("show", "paper/small").stdout
    assert "licence          none given by the authors" in text
    row = " ".join(run("list").stdout.splitlines()[1].split())
    assert row == "paper/small C authors – Carbon for tests"
