"""Files of structures go through the model in batches, and come out complete or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule
from ase.calculators.singlepoint import SinglePointCalculator

import synthzoo.models.predict
import synthzoo.potentials
from synthzoo.errors import CheckpointError, InputError, SynthzooError
from synthzoo.evaluation.predict_file import predict_file
from synthzoo.models.predict import predict_structures

if TYPE_CHECKING:
    from synthzoo.models.calculator import SynthzooCalculator


def mixed_structures() -> list[Atoms]:
    """Return cells of many sizes: periodic, partly periodic, molecules, one atom."""
    rng = np.random.default_rng(0)
    found = [
        bulk("C"),
        Atoms("C", positions=[[1.0, 2.0, 3.0]]),
        bulk("C", cubic=True).repeat((2, 2, 1)),
        graphene("C2", a=2.46),
        Atoms("C3", positions=[[0, 0, 0], [0, 0, 1.3], [0, 1.2, 2.0]]),
        bulk("C", cubic=True),
    ]
    for atoms in found:
        atoms.rattle(0.05, rng=rng)
    return found


def read_all(path: Path) -> list[Atoms]:
    """Return all structures of a file."""
    return list(ase.io.iread(path))


def bad_structure() -> Atoms:
    """Return two atoms on one place."""
    return Atoms("C2", positions=[[0, 0, 0], [0, 0, 0.001]])


@pytest.mark.parametrize("batch_atoms", [1, 3, 9, 1000])
def test_batches_give_what_a_loop_gives(
    tiny_calculator: SynthzooCalculator, batch_atoms: int
):
    """Same order, same numbers, stress where there is a volume; for any batch size."""
    structures = mixed_structures()
    found = list(
        predict_structures(structures, tiny_calculator, batch_atoms=batch_atoms)
    )
    assert len(found) == len(structures)
    for atoms, predicted in zip(structures, found, strict=True):
        tiny_calculator.calculate(atoms)
        assert set(predicted.calc.results) == set(tiny_calculator.results)
        for name, value in tiny_calculator.results.items():
            # float32: another order of sums
            np.testing.assert_allclose(predicted.calc.results[name], value, atol=2e-5)
        assert predicted == atoms


def test_structures_are_streamed(tiny_calculator: SynthzooCalculator):
    """Only about one batch is read ahead of what has been yielded."""
    taken = 0

    def source() -> Iterator[Atoms]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield bulk("C")

    predicted = predict_structures(source(), tiny_calculator, batch_atoms=8)
    next(predicted)
    assert taken <= 5


def test_nothing_to_predict_is_no_error(tiny_calculator: SynthzooCalculator):
    """An empty stream gives an empty stream."""
    assert list(predict_structures([], tiny_calculator)) == []


def test_batch_must_hold_an_atom(tiny_calculator: SynthzooCalculator):
    """Zero atoms at a time would never end."""
    with pytest.raises(InputError, match="at least 1, not 0"):
        list(predict_structures([bulk("C")], tiny_calculator, batch_atoms=0))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            bad_structure(),
            r"number 4 \(index 3\): atoms 0 and 1 are at the same position",
        ),
        (Atoms(), r"number 4 \(index 3\) holds no atoms"),
        (molecule("CH4"), r"number 4 \(index 3\) contains H, but this model"),
    ],
    ids=["overlap", "empty", "element"],
)
def test_bad_structure_is_named(
    tiny_calculator: SynthzooCalculator, bad: Atoms, message: str
):
    """The message says which one it was, also inside a batch."""
    structures = [bulk("C"), bulk("C"), bulk("C"), bad, bulk("C")]
    with pytest.raises(InputError, match=message):
        list(predict_structures(structures, tiny_calculator))


def test_labels_that_came_along_are_kept(tiny_calculator: SynthzooCalculator):
    """They get another name; own keys, constraints and arrays stay as they are."""
    atoms = bulk("C")
    atoms.info.update(REF_energy=-1.0, config_type="bulk", stress=[1.0] * 6)
    atoms.arrays["REF_forces"] = np.ones((2, 3))
    forces = np.full((2, 3), 0.5)
    atoms.calc = SinglePointCalculator(
        atoms, energy=-5.0, forces=forces, magmoms=[1.0, 2.0], dipole=[0.0, 0.0, 1.0]
    )
    (predicted,) = predict_structures([atoms], tiny_calculator)
    assert predicted.info["REF_energy"] == -1.0
    assert predicted.info["config_type"] == "bulk"
    assert predicted.info["reference_energy"] == -5.0
    assert predicted.info["reference_stress"] == [1.0] * 6
    assert predicted.info["reference_dipole"] == pytest.approx([0.0, 0.0, 1.0])
    np.testing.assert_array_equal(predicted.arrays["REF_forces"], np.ones((2, 3)))
    np.testing.assert_array_equal(predicted.arrays["reference_forces"], forces)
    np.testing.assert_array_equal(predicted.arrays["reference_magmoms"], [1.0, 2.0])
    assert "stress" not in predicted.info
    assert atoms.get_potential_energy() == -5.0  # the input is not changed
    assert "stress" in atoms.info


def test_label_with_a_taken_name_is_kept_too(tiny_calculator: SynthzooCalculator):
    """Nothing that the user has is overwritten."""
    atoms = bulk("C")
    atoms.info["reference_energy"] = -1.0
    atoms.calc = SinglePointCalculator(atoms, energy=-5.0)
    (predicted,) = predict_structures([atoms], tiny_calculator)
    assert predicted.info["reference_energy"] == -1.0
    assert predicted.info["reference_reference_energy"] == -5.0


# Files


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write an extended XYZ file of mixed structures, the first with a label."""
    structures = mixed_structures()
    structures[0].calc = SinglePointCalculator(structures[0], energy=-3.0)
    path = tmp_path / "in.xyz"
    ase.io.write(path, structures, format="extxyz")
    return path


def test_file_comes_out_with_labels_and_provenance(
    tiny_checkpoint: Path, tiny_calculator: SynthzooCalculator, source: Path
):
    """ASE reads energies, forces and stress back; each frame says who made them."""
    output = source.with_name("out.xyz")
    summary = predict_file(tiny_checkpoint, source, output, device="cpu")
    found = read_all(output)
    assert summary.structures == len(found) == len(mixed_structures())
    assert summary.output == output
    assert summary.seconds > 0
    for atoms, predicted in zip(mixed_structures(), found, strict=True):
        tiny_calculator.calculate(atoms)
        energy = tiny_calculator.results["energy"]
        assert predicted.get_potential_energy() == pytest.approx(energy, abs=1e-4)
        np.testing.assert_allclose(
            predicted.get_forces(), tiny_calculator.results["forces"], atol=1e-4
        )
        assert predicted.info["predicted_by"] == summary.predicted_by
    assert found[0].info["reference_energy"] == -3.0
    assert tiny_calculator.config.weights_sha256 in summary.predicted_by
    assert "torch" in summary.predicted_by


def test_predicting_a_prediction_keeps_the_first_labels(
    tiny_checkpoint: Path, source: Path
):
    """The user's own labels survive a second model; the first prediction does not."""
    once, twice = source.with_name("once.xyz"), source.with_name("twice.xyz")
    predict_file(tiny_checkpoint, source, once, device="cpu")
    predict_file(tiny_checkpoint, once, twice, device="cpu", dtype="float64")
    (first, *_), (again, *_) = read_all(once), read_all(twice)
    assert set(again.info) == set(first.info)
    assert again.info["reference_energy"] == -3.0
    assert set(again.arrays) == set(first.arrays)


def test_other_formats_are_read(tiny_checkpoint: Path, tmp_path: Path):
    """Whatever ASE reads will do."""
    ase.io.write(tmp_path / "POSCAR", bulk("C", cubic=True), format="vasp")
    output = tmp_path / "out.xyz"
    predict_file(tiny_checkpoint, tmp_path / "POSCAR", output, device="cpu")
    assert len(read_all(output)[0]) == 8


def test_bad_frame_leaves_nothing_behind(tiny_checkpoint: Path, tmp_path: Path):
    """Neither an output nor a half-written neighbour remains."""
    source, output = tmp_path / "in.xyz", tmp_path / "out.xyz"
    ase.io.write(source, [*[bulk("C")] * 200, bad_structure()], format="extxyz")
    with pytest.raises(InputError, match=r"number 201 \(index 200\)"):
        predict_file(tiny_checkpoint, source, output, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["in.xyz"]


def test_truncated_input_leaves_nothing_behind(tiny_checkpoint: Path, source: Path):
    """A file that was cut short is an error, not a shorter output."""
    source.write_text(source.read_text()[:-200])
    output = source.with_name("out.xyz")
    with pytest.raises(InputError, match="cannot be read"):
        predict_file(tiny_checkpoint, source, output, device="cpu")
    assert not output.exists()


def test_interrupted_run_leaves_nothing_behind(
    tiny_checkpoint: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    """Ctrl-C in the middle removes the half-written file."""

    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(synthzoo.models.predict, "_labelled", interrupt)
    with pytest.raises(KeyboardInterrupt):
        predict_file(tiny_checkpoint, source, source.with_name("out.xyz"), device="cpu")
    assert [path.name for path in source.parent.iterdir()] == ["in.xyz"]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("in.xyz", "is the input"),
        ("nowhere/out.xyz", "There is no folder"),
        (".", "is a folder"),
        ("before.xyz", r"before\.xyz exists; remove it or choose another name"),
    ],
)
def test_output_that_cannot_be_is_refused_at_once(
    source: Path, output: str, message: str
):
    """Before the model is loaded: the folder named here does not exist."""
    before = source.with_name("before.xyz")
    before.write_text("an earlier result\n")
    with pytest.raises(InputError, match=message):
        predict_file("/no/model", source, source.parent / output)
    assert before.read_text() == "an earlier result\n"


@pytest.mark.parametrize(
    ("content", "message"), [("", "empty"), ("what is this\n" * 9, "cannot be read")]
)
def test_input_without_structures_is_one_error(
    tiny_checkpoint: Path, tmp_path: Path, content: str, message: str
):
    """Empty and unknown files do not become empty outputs."""
    source = tmp_path / "in.xyz"
    source.write_text(content)
    with pytest.raises(InputError, match=message):
        predict_file(tiny_checkpoint, source, tmp_path / "out.xyz", device="cpu")
    assert not (tmp_path / "out.xyz").exists()


def test_unknown_model_is_one_error(source: Path):
    """The calculator's errors pass through."""
    with pytest.raises(CheckpointError):
        predict_file(Path("/no/model"), source, source.with_name("out.xyz"))


def test_progress_does_not_touch_standard_output(
    tiny_checkpoint: Path, source: Path, capsys: pytest.CaptureFixture[str]
):
    """Results may be piped from standard output."""
    predict_file(tiny_checkpoint, source, source.with_name("out.xyz"), device="cpu")
    assert capsys.readouterr().out == ""


def test_two_predictions_do_not_share_an_output(
    tiny_checkpoint: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    """The one that comes second is refused, and nothing of the first is lost."""
    output = source.with_name("out.xyz")
    predict = predict_structures
    refused = []

    def meanwhile(*args: object, **named: object) -> Iterator[Atoms]:
        monkeypatch.setattr(synthzoo.potentials, "predict_structures", predict)
        with pytest.raises(SynthzooError, match="Another run is writing") as caught:
            predict_file(tiny_checkpoint, source, output, device="cpu")
        refused.append(caught.value)
        yield from predict(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(synthzoo.potentials, "predict_structures", meanwhile)
    summary = predict_file(tiny_checkpoint, source, output, device="cpu")
    assert len(refused) == 1
    assert len(read_all(output)) == summary.structures
    assert {path.name for path in source.parent.iterdir()} == {source.name, "out.xyz"}
