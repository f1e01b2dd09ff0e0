"""Data that cannot be fine-tuned on: one clear message each, and nothing half-made."""

import re
from itertools import product
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from click.testing import CliRunner

from synthzoo.data.structures import label
from synthzoo.errors import InputError
from synthzoo.finetuning.data_check import check_data
from synthzoo.finetuning.run import finetune
from tests.finetuning.test_report import labelled_crystals

KCAL = 23.0605


@pytest.fixture(scope="module")
def frames(tiny_checkpoint: Path) -> list[Atoms]:
    """Return 12 sound frames."""
    found: list[Atoms] = labelled_crystals(tiny_checkpoint, 12, -148.0)
    return found


def _renamed(frames: list[Atoms], energy: str | None, forces: str | None):
    """Return frames whose labels have these keys, or are gone."""
    changed = []
    for atoms in frames:
        bare = atoms.copy()
        if energy:
            bare.info[energy] = atoms.get_potential_energy()
        if forces:
            bare.arrays[forces] = atoms.get_forces()
        changed.append(bare)
    return changed


def _with(frames: list[Atoms], index: int, change):
    """Return copies, one of them changed in place."""
    copies = _renamed(frames, "dft_energy", "dft_forces")
    change(copies[index])
    return copies


def _nan_force(atoms: Atoms) -> None:
    atoms.arrays["dft_forces"][0, 0] = np.nan


def _absurd(atoms: Atoms) -> None:
    atoms.info["dft_energy"] = 1e12


def _oxide(atoms: Atoms) -> None:
    atoms.symbols[0] = "O"


def _too_close(atoms: Atoms) -> None:
    atoms.positions[1] = atoms.positions[0] + [0.3, 0, 0]


def _no_label(atoms: Atoms) -> None:
    del atoms.info["dft_energy"]


def _in_kcal(frames):
    changed = _renamed(frames, "dft_energy", "dft_forces")
    for atoms in changed:
        atoms.info["dft_energy"] *= KCAL
        atoms.arrays["dft_forces"] *= KCAL
    return changed


CASES = {
    "no labels": (
        lambda frames: _renamed(frames, None, None),
        r"No structure has energy labels under a known key.*Keys there are: none",
    ),
    "unknown keys": (
        lambda frames: _renamed(frames, "mystery", "vectors"),
        r"Keys there are: \['mystery'\].*\['vectors'\].*--energy-key",
    ),
    "energies without forces": (
        lambda frames: _renamed(frames, "dft_energy", None),
        "No structure has forces labels.*add --energies-only",
    ),
    "forces without energies": (
        lambda frames: _renamed(frames, None, "dft_forces"),
        "No structure has energy labels.*Forces alone cannot be fine-tuned on",
    ),
    "two energies": (
        lambda frames: [
            _set_info(atoms, "pbe_energy", 1.0)
            for atoms in _renamed(frames, "dft_energy", "dft_forces")
        ],
        r"Several keys could be the energy: \['dft_energy', 'pbe_energy'\]",
    ),
    "an element the model lacks": (
        lambda frames: _with(frames, 3, _oxide),
        r"dft\.xyz@3 contains O, but this model knows only C\..*`synthzoo pretrain`",
    ),
    "atoms too close": (
        lambda frames: _with(frames, 2, _too_close),
        r"closer than 0\.5 Å.*dft\.xyz@2",
    ),
    "a label that is no number": (
        lambda frames: _with(frames, 4, _nan_force),
        r"not finite numbers.*dft\.xyz@4.*--drop-bad",
    ),
    "an absurd label": (
        lambda frames: _with(frames, 4, _absurd),
        r"an absurd energy.*dft\.xyz@4.*--drop-bad",
    ),
    "a label that is missing": (
        lambda frames: _with(frames, 5, _no_label),
        r"1 of 12 structures have no energy.*dft\.xyz@5.*--drop-bad",
    ),
    "other units": (_in_kcal, "kcal/mol"),
    "isolated atoms only": (
        lambda _frames: _renamed_atom(),
        r"all of them single atoms: there is nothing to fit",
    ),
}


def _set_info(atoms: Atoms, key: str, value: float) -> Atoms:
    atoms.info[key] = value
    return atoms


def _renamed_atom() -> list[Atoms]:
    atom = Atoms("C", cell=[20.0] * 3, pbc=True)
    atom.info["dft_energy"] = -148.0
    atom.arrays["dft_forces"] = np.zeros((1, 3))
    return [atom]


@pytest.mark.parametrize("case", CASES)
def test_bad_data_are_refused_in_words(
    tiny_checkpoint: Path, frames: list[Atoms], tmp_path: Path, case: str
):
    """The message says what came and what to do; nothing is written."""
    change, message = CASES[case]
    path = tmp_path / "dft.xyz"
    ase.io.write(path, change(frames))
    with pytest.raises(InputError, match=f"(?s){message}"):
        finetune(tiny_checkpoint, path, tmp_path / "mine")
    assert [found.name for found in tmp_path.iterdir()] == ["dft.xyz"]


def test_files_that_are_missing_are_named(tiny_checkpoint: Path, tmp_path: Path):
    """Neither a name nor a pattern may fit nothing."""
    with pytest.raises(InputError, match=r"no\.xyz"):
        finetune(tiny_checkpoint, tmp_path / "no.xyz", tmp_path / "mine")
    with pytest.raises(InputError, match="No file fits the pattern"):
        finetune(tiny_checkpoint, f"{tmp_path}/*.xyz", tmp_path / "mine")


@pytest.mark.parametrize("device", ["cuda:99", "tpu"])
def test_a_device_that_is_not_there_is_named(
    tiny_checkpoint: Path, frames: list[Atoms], tmp_path: Path, device: str
):
    """Before anything is read or written."""
    path = tmp_path / "dft.xyz"
    ase.io.write(path, _renamed(frames, "dft_energy", "dft_forces"))
    with pytest.raises(InputError, match=device):
        finetune(tiny_checkpoint, path, tmp_path / "mine", device=device)
    assert [found.name for found in tmp_path.iterdir()] == ["dft.xyz"]


def test_two_levels_of_theory_in_two_files_are_told_apart(
    tiny_checkpoint: Path, frames: list[Atoms], tmp_path: Path
):
    """Another code is an error that names the file; another functional a warning."""
    ase.io.write(tmp_path / "one.xyz", _renamed(frames, "dft_energy", "dft_forces"))
    other = tmp_path / "other.xyz"
    for gap_eV, told in ((1.0, "findings"), (30.0, "errors")):
        ase.io.write(other, _moved(frames[:6], gap_eV))
        found = check_data(tiny_checkpoint, [tmp_path / "one.xyz", other])
        (text,) = [text for text in getattr(found, told) if "two clusters" in text]
        assert f"{gap_eV:.3g}" in text
        assert "and 6 from" in text
        assert "other.xyz" in text
    with pytest.raises(InputError, match="two clusters"):
        finetune(tiny_checkpoint, [tmp_path / "one.xyz", other], tmp_path / "mine")


def _moved(frames: list[Atoms], gap_eV: float) -> list[Atoms]:
    changed: list[Atoms] = _renamed(frames, "dft_energy", "dft_forces")
    for atoms in changed:
        atoms.rattle(0.01, seed=1)
        atoms.info["dft_energy"] += gap_eV * len(atoms)
    return changed


def test_files_of_several_formats_are_fitted_together(
    tiny_checkpoint: Path, frames: list[Atoms], tmp_path: Path
):
    """A database, a trajectory and extended XYZ, two of them by a pattern."""
    for name, part in (("a.db", frames[:4]), ("b.traj", frames[4:8])):
        ase.io.write(tmp_path / name, part)
    ase.io.write(tmp_path / "c.xyz", frames[8:])
    found = check_data(tiny_checkpoint, [tmp_path / "a.db", f"{tmp_path}/[bc].*"])
    assert found.structures == 12
    assert (found.energy_key, found.forces_key) == ("calculator", "calculator")
    assert found.errors == ()
    assert re.search(r"C -14\d\.\d+", str(found.reference))


def test_near_copies_stay_on_one_side_of_a_split(
    tiny_checkpoint: Path, frames: list[Atoms], tmp_path: Path
):
    """A structure that was moved or repeated joins the group of its original."""
    from synthzoo.data.labelled_set import read_labelled
    from synthzoo.data.structures import group_of
    from synthzoo.finetuning.checks import examine, fit_for_use
    from synthzoo.zoo.load import load_calculator

    copies = _renamed(frames[:3], "dft_energy", "dft_forces")
    for atoms in copies:
        atoms.positions += 0.4
    originals = _renamed(frames, "dft_energy", "dft_forces")
    ase.io.write(tmp_path / "dft.xyz", [*originals, *copies])
    read, keys = read_labelled([tmp_path / "dft.xyz"])
    examination = examine(read, keys, load_calculator(tiny_checkpoint, device="cpu"))
    found = fit_for_use(examination).labelled
    groups = [group_of(atoms) for atoms in found.structures]
    assert groups[12:] == groups[:3]
    assert len(set(groups)) == 12


def test_check_looks_and_writes_nothing(
    tiny_checkpoint: Path, frames: list[Atoms], tmp_path: Path
):
    """Sound data: keys and reference; broken data: errors, not an exception."""
    path = tmp_path / "dft.xyz"
    ase.io.write(path, _renamed(frames, "dft_energy", "dft_forces"))
    found = check_data(tiny_checkpoint, path)
    assert (found.energy_key, found.forces_key) == ("dft_energy", "dft_forces")
    assert found.errors == ()
    assert "Energy reference" in str(found.reference)
    ase.io.write(path, _with(frames, 4, _nan_force))
    found = check_data(tiny_checkpoint, path)
    assert len(found.errors) == 1
    assert found.reference is None
    assert [found.name for found in tmp_path.iterdir()] == ["dft.xyz"]


@pytest.mark.thorough
def test_check_heeds_what_the_fit_would_heed(
    tiny_checkpoint: Path, frames: list[Atoms], tmp_path: Path
):
    """Recipe, test set and --drop-bad: what they change is said, nothing is fitted."""
    from synthzoo.cli import main

    path, test = tmp_path / "dft.xyz", tmp_path / "test.xyz"
    ase.io.write(path, _with(frames, 4, _nan_force))
    ase.io.write(test, _renamed(frames[:3], "dft_energy", "dft_forces"))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("finetune: {visits: 77}")
    command = ["finetune", str(tiny_checkpoint), str(path), "--check"]

    def told(*options: str) -> str:
        result = CliRunner().invoke(main, [*command, *map(str, options)])
        return " ".join(result.output.split())

    assert "ERROR" in told()
    dropped = told("--drop-bad")
    assert "note To be left out:" in dropped
    assert "ERROR" not in dropped
    assert "11 structures are to be fitted. " in dropped
    assert "as many to each of 5 that leave out a part" in dropped
    tested = told("--drop-bad", "--test", str(test), "--recipe", str(recipe))
    assert "11 structures are to be fitted, 3 tested on. 77 structures are" in tested
    assert "leave out a part" not in tested
    assert "5 from scratch" in told("--drop-bad", "--compare-direct")
    recipe.write_text("finetune: {visitz: 77}")
    assert "visitz" in told("--recipe", str(recipe))
    assert "no.xyz" in told("--drop-bad", "--test", str(tmp_path / "no.xyz"))
    assert "tpu" in told("--drop-bad", "--device", "tpu")
    assert sorted(found.name for found in tmp_path.iterdir()) == [
        "dft.xyz",
        "recipe.yaml",
        "test.xyz",
    ]


def supercells(checkpoint: Path) -> list[Atoms]:
    """Return supercells of diamond with one displaced atom each, as for phonons."""
    from synthzoo.zoo.load import load_calculator

    calculator = load_calculator(checkpoint)
    found = []
    for atom, axis, sign in product((0, 3), range(3), (-1, 1)):
        atoms = bulk("C", cubic=True).repeat((2, 1, 1))
        atoms.positions[atom, axis] += 0.01 * sign
        atoms.calc = calculator
        energy = atoms.get_potential_energy() - 148.0 * len(atoms)
        forces = np.array(atoms.get_forces())
        found.append(label(atoms, energy_eV=energy, forces_eV_A=forces))
    return found


@pytest.mark.thorough
def test_near_copies_alone_are_fitted_with_a_weak_check(
    tiny_checkpoint: Path, tmp_path: Path
):
    """Twelve displaced supercells: all are fitted; the check claims nothing."""
    from synthzoo.finetuning.recipe import FinetuneRecipe

    path = tmp_path / "phonons.xyz"
    ase.io.write(path, supercells(tiny_checkpoint))
    found = check_data(tiny_checkpoint, path)
    assert found.errors == ()
    assert "Give other structures with --test" in str(found.fits)
    summary = finetune(
        tiny_checkpoint,
        path,
        tmp_path / "mine",
        recipe=FinetuneRecipe(visits=12, replay_share=0.0, threads=1),
        workers=1,
    )
    assert summary.training_structures == 12
    assert "cannot be told" in summary.verdict
    assert "on 12 left-out structures" in summary.verdict
    assert "`--test FILE`" in summary.verdict
    assert "this check is weak" in (tmp_path / "mine" / "report.md").read_text()


def test_energies_alone_can_be_checked(
    tiny_checkpoint: Path, frames: list[Atoms], tmp_path: Path
):
    """The command looks at them as it would fit them, and says so."""
    from synthzoo.cli import main

    ase.io.write(tmp_path / "dft.xyz", _renamed(frames, "dft_energy", None))
    command = ["finetune", str(tiny_checkpoint), str(tmp_path / "dft.xyz"), "--check"]
    result = CliRunner().invoke(main, [*command, "--energies-only"])
    assert result.exit_code == 0, result.output
    assert "energies under dft_energy, forces not looked at." in result.stdout
    assert "Energy reference" in result.stdout
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "add --energies-only" in result.stderr


@pytest.mark.thorough
def test_broken_frames_can_be_left_out(
    tiny_checkpoint: Path, frames: list[Atoms], tmp_path: Path
):
    """With --drop-bad the rest is fitted, and the report names what was dropped."""
    from synthzoo.finetuning.recipe import FinetuneRecipe

    path = tmp_path / "dft.xyz"
    ase.io.write(path, _with(frames, 4, _nan_force))
    summary = finetune(
        tiny_checkpoint,
        path,
        tmp_path / "mine",
        recipe=FinetuneRecipe(visits=11, check_share=0.0, replay_share=0.0, threads=1),
        drop_bad=True,
    )
    assert summary.training_structures == 11
    assert "dft.xyz@4" in (tmp_path / "mine" / "report.md").read_text()


@pytest.mark.thorough
def test_one_structure_is_enough(tiny_checkpoint: Path, tmp_path: Path):
    """Nothing can be held out, and the verdict says so."""
    atoms = labelled_crystals(tiny_checkpoint, 1, -148.0)
    ase.io.write(tmp_path / "one.xyz", atoms)
    from synthzoo.finetuning.recipe import FinetuneRecipe

    recipe = FinetuneRecipe(visits=3, replay_share=0.0, threads=1)
    summary = finetune(
        tiny_checkpoint, tmp_path / "one.xyz", tmp_path / "mine", recipe=recipe
    )
    assert "cannot say whether fine-tuning helps" in summary.verdict
    with pytest.raises(InputError, match="cannot be split"):
        finetune(
            tiny_checkpoint,
            tmp_path / "one.xyz",
            tmp_path / "other",
            recipe=FinetuneRecipe(held_out_share=0.5),
        )


def test_too_little_memory_takes_smaller_batches(caplog: pytest.LogCaptureFixture):
    """A real failure of torch to get memory halves the batch; other errors pass."""
    import torch

    from synthzoo.errors import SynthzooError
    from synthzoo.finetuning.fits import with_smaller_batches

    def attempt(batch_atoms: int) -> int:
        torch.empty(2**60 if batch_atoms > 30 else 1)
        return batch_atoms

    assert with_smaller_batches(attempt, 96, largest=20) == 24
    assert (
        "Batches of 96 atoms do not fit into the memory: starting again with 48"
        in caplog.text
    )
    with pytest.raises(SynthzooError, match="one structure with 64 atoms"):
        with_smaller_batches(attempt, 96, largest=64)

    def fail(batch_atoms: int) -> int:
        raise RuntimeError("other")

    with pytest.raises(RuntimeError, match="other"):
        with_smaller_batches(fail, 96, largest=20)


def test_a_fit_with_smaller_batches_starts_again(tmp_path: Path):
    """States of other batches are removed, those of the same are kept."""
    from synthzoo.finetuning.fits import _prepare, read_batch_atoms

    folder = tmp_path / "fit"
    folder.mkdir()
    _prepare(folder, 96)
    (folder / "last.ckpt").touch()
    _prepare(folder, 96)
    assert (folder / "last.ckpt").exists()
    _prepare(folder, 48)
    assert [path.name for path in folder.iterdir()] == ["batch_atoms"]
    assert read_batch_atoms(folder) == 48
