"""Files of labelled structures become a set on disk once, and are found again."""

import os
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

from synthzoo.data.flat import FlatStructures
from synthzoo.data.labels import CALCULATOR, LabelKeys, labels_of
from synthzoo.data.stored_set import StoredSet
from synthzoo.data.structures import (
    iter_structures,
    read_structures,
    write_structures,
)
from synthzoo.errors import FileWarning, InputError
from synthzoo.models.graphs import FORCES, join, to_graph
from synthzoo.runs.files import hash_files
from synthzoo.training import sets, stored_graphs, stored_sets
from synthzoo.training.sets import make_sets
from synthzoo.training.stored_graphs import StoredGraphs
from tests.toy import pretrain_recipe, stored


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "synthzoo" / "sets"


def find(file: Path) -> StoredSet:
    """Return the set of a file, with a spare folder beside the cache."""
    spare = Path(os.environ["XDG_CACHE_HOME"]).with_name("spare")
    return stored_sets.stored_set([file], sha256=hash_files([file]), spare=spare)


def folders(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir()]


def test_a_file_is_read_once(
    lj_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A copy of it is not read, either; a file that differs is."""
    found = find(lj_set)
    monkeypatch.setattr(
        stored_sets, "iter_structures", lambda *_, **__: pytest.fail("read")
    )
    copy = tmp_path / "copy.xyz"
    copy.write_bytes(lj_set.read_bytes())
    assert find(copy).folder == found.folder
    copy.write_bytes(lj_set.read_bytes().replace(b"test:lj", b"test:xx"))
    with pytest.raises(pytest.fail.Exception, match="read"):
        find(copy)


def test_another_version_reads_the_file_again(
    lj_set: Path, monkeypatch: pytest.MonkeyPatch
):
    """It might read it otherwise."""
    found = find(lj_set)
    monkeypatch.setattr("synthzoo.__version__", "99")
    assert find(lj_set).folder != found.folder


def test_a_damaged_set_is_made_again(lj_set: Path, caplog: pytest.LogCaptureFixture):
    path = find(lj_set).folder / "forces_eV_A.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert find(lj_set).folder == path.parent
    assert path.read_bytes() == content
    assert "is damaged: it is made again" in caplog.text


def test_of_two_that_want_a_set_one_makes_it(
    lj_set: Path, monkeypatch: pytest.MonkeyPatch
):
    """The other one waits for it."""
    begun: list[Path] = []
    write = stored_sets.write_set

    def slowly(structures: object, folder: Path, **named: object) -> None:
        begun.append(folder)
        time.sleep(0.2)
        write(structures, folder, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(stored_sets, "write_set", slowly)
    found: list[StoredSet] = []
    threads = [
        threading.Thread(target=lambda: found.append(find(lj_set))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == 1
    assert [len(each) for each in found] == [40, 40]


def test_an_interrupted_set_leaves_nothing_that_is_taken_for_one(
    lj_set: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    """What a kill leaves is removed by the next one that makes the set."""

    def interrupted(*args: object, **named: object) -> Iterator[Atoms]:
        for number, atoms in enumerate(iter_structures(*args, **named)):  # type: ignore[arg-type]
            if number == 20:
                (partial,) = folders(cache)
                partial.rename(partial.with_suffix(".part-0123456789ab"))  # a kill
                raise KeyboardInterrupt
            yield atoms

    with monkeypatch.context() as patch:
        patch.setattr(stored_sets, "iter_structures", interrupted)
        with pytest.raises(KeyboardInterrupt):
            find(lj_set)
    assert len(folders(cache)) == 1
    made = find(lj_set).folder
    assert folders(cache) == [made]


def test_without_a_cache_the_set_lies_in_the_folder_of_the_run(
    lj_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A home that nothing can be written to does not keep anybody from training."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert (tmp_path / "spare") in find(lj_set).folder.parents


def test_sets_that_nobody_used_for_long_are_removed(
    lj_set: Path, tmp_path: Path, cache: Path
):
    """When another one is made; one that was used stays."""
    files = [tmp_path / f"{count}.xyz" for count in (10, 20, 30)]
    for file in files:
        write_structures(file, read_structures(lj_set)[: int(file.stem)])
    used, unused = (find(file).folder for file in files[:2])
    for folder in (used, unused):
        os.utime(folder, (0, 0))
    assert find(files[0]).folder == used
    made = find(files[2]).folder
    assert sorted(folders(cache)) == sorted([used, made])


def test_what_is_said_on_reading_is_said_again(tmp_path: Path, lj_set: Path):
    """By a run that finds the set, too."""
    content = lj_set.read_text().splitlines()
    content[2] += " 7"
    file = tmp_path / "odd.xyz"
    file.write_text("\n".join(content) + "\n")
    for _ in range(2):
        with pytest.warns(FileWarning) as told:
            find(file)
        assert ["of which the header declares" in str(each.message) for each in told]
        assert len(told) == 2


def test_keys_that_the_first_structure_does_not_suggest_are_found(
    lj_set: Path, tmp_path: Path
):
    """Most structures have no other labels than `my_energy` and `my_forces`."""
    frames = read_structures(lj_set)
    for number, atoms in enumerate(frames):
        forces, energy = atoms.get_forces(), atoms.get_potential_energy()
        atoms.calc = None
        for name in ("my", "pbe") if number == 0 else ("my",):
            atoms.info[f"{name}_energy"] = energy
            atoms.arrays[f"{name}_forces"] = forces
    found = stored(frames, tmp_path)
    assert found.record.keys == LabelKeys(energy="my_energy", forces="my_forces")
    expected = [atoms.info["my_energy"] for atoms in frames]
    np.testing.assert_array_equal(found.energies_eV, expected)
    del frames[3].info["my_energy"]
    with pytest.raises(InputError, match="structure number 4 has no energy"):
        stored(frames, tmp_path)


class Frames:
    """Structures that exist while they are looked at; it counts how many do."""

    def __init__(self, frames: list[Atoms]) -> None:
        self.frames = frames
        self.alive = self.most = 0

    def __iter__(self) -> Iterator[Atoms]:
        for frame in self.frames:
            atoms = frame.copy()
            atoms.calc = frame.calc
            self.alive += 1
            self.most = max(self.most, self.alive)
            weakref.finalize(atoms, self._forget)
            yield atoms
            del atoms

    def _forget(self) -> None:
        self.alive -= 1


def test_structures_do_not_stay_in_memory(lj_set: Path, tmp_path: Path):
    """Not more than the one before, however many there are."""
    frames = Frames(read_structures(lj_set))
    stored(frames, tmp_path)  # type: ignore[arg-type]
    assert frames.most <= 2


def test_batches_from_disk_are_those_from_memory(
    lj_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """To the last bit, as are the numbers that a new network is told."""
    frames = read_structures(lj_set)
    keys = LabelKeys(energy=CALCULATOR, forces=CALCULATOR)
    graphs = [
        to_graph(atoms, labels_of(atoms, keys), elements=("C",), cutoff_A=4.0)
        for atoms in frames
    ]
    chosen = [7, 3, 30, 12]
    found = StoredGraphs(
        stored(frames, tmp_path), chosen, elements=("C",), cutoff_A=4.0
    )
    (batch,) = found.__getitems__([2, 0, 1])
    expected = join([graphs[index] for index in (30, 7, 3)])
    assert batch.keys() == expected.keys()
    for key, values in expected.items():
        torch.testing.assert_close(
            batch[key], values, rtol=0, atol=0, equal_nan=True, msg=key
        )
    forces = torch.cat([graphs[index][FORCES] for index in chosen])
    rms = float(forces.square().mean().sqrt())
    assert found.force_rms_eV_A() == rms
    edges = sum(graphs[index]["edge_index"].shape[1] for index in chosen)
    assert found.mean_neighbours() == edges / (4 * 8)
    with monkeypatch.context() as patch:
        patch.setattr(stored_graphs, "ATOMS_AT_ONCE", 9)
        parts: list[int] = []
        part = StoredSet.part

        def counted(stored: StoredSet, indices: Sequence[int]) -> FlatStructures:
            parts.append(len(indices))
            return part(stored, indices)

        patch.setattr(StoredSet, "part", counted)
        assert found.force_rms_eV_A() == pytest.approx(rms, rel=1e-15)
    assert parts == [1, 1, 1, 1]


def test_without_small_structures_the_smallest_is_golden(
    lj_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A checkpoint needs one."""
    frames = read_structures(lj_set)
    for atoms in frames[::2]:
        forces = atoms.get_forces()[:6]
        del atoms[6:]
        atoms.calc.results["forces"] = forces
    monkeypatch.setattr(sets, "GOLDEN_ATOMS", 4)
    found = make_sets(stored(frames, tmp_path), pretrain_recipe(), 4.0)
    assert set(found.validation.sizes) == {6, 8}
    assert [len(atoms) for atoms in found.golden] == [6]
